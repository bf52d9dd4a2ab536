"""What a trained encoder is worth: features, probes, evaluations."""
