"""One TFDS builder per dataset, over one base."""

CLASSES = {
  "brax": "Brax",
  "chexmask": "Chexmask",
  "chexpert": "Chexpert",
  "folder": "Folder",
  "iu_xray": "IuXray",
  "mimic_cxr": "MimicCxr",
  "nih_cxr8": "NihCxr8",
  "padchest": "Padchest",
  "phantom": "Phantom",
  "rsna_pneumonia": "RsnaPneumonia",
  "vindr_cxr": "VindrCxr",
}
"""Class of each dataset, in the module that has the dataset's name."""
