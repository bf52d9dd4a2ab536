"""From raw films to batches on the device."""
