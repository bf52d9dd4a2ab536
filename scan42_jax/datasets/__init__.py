"""One TFDS builder per dataset, over one base."""

CLASSES = {
  "brax": "Brax",
  "chexpert": "Chexpert",
  "folder": "Folder",
  "mimic_cxr": "MimicCxr",
  "nih_cxr8": "NihCxr8",
  "padchest": "Padchest",
  "phantom": "Phantom",
}
"""Class of each dataset, in the module that has the dataset's name."""
