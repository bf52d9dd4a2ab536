"""Films of your own, prepared with --dataset=folder --labels_csv=FILE.

  python -m scan42_jax.eval.classification --config=configs/eval/folder.py
    --encoder=SRC --workdir=W --data_dir=D
  python -m scan42_jax.eval.segmentation --config=configs/eval/folder.py
    --encoder=SRC --workdir=W --data_dir=D

`configs/eval/folder.py:NAME` takes the dataset that was prepared with
--name=NAME. `--config.data.exclusive` makes its labels classes.
Segmentation learns the table's columns mask_left_lung, mask_right_lung and
mask_heart.
"""

import ml_collections

from scan42_jax.eval.config import default_config
from scan42_jax.eval.segmenting.mask_config import default_segmentation


def get_config(name: str = "folder") -> ml_collections.ConfigDict:
  """Returns the evaluations of a prepared folder."""
  config = default_config()
  config.data.dataset = name
  segmentation = default_segmentation()
  segmentation.data.dataset = name
  with config.unlocked():
    config.segmentation = segmentation
  return config
