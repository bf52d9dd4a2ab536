"""One TFDS builder per dataset, over one base."""
