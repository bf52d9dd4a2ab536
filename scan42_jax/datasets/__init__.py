"""One TFDS builder per dataset, over one base."""

CLASSES = {"chexpert": "Chexpert", "folder": "Folder", "phantom": "Phantom"}
"""Class of each dataset, in the module that has the dataset's name."""
