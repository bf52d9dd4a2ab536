"""Films of your own, prepared with --dataset=folder --labels_csv=FILE.

  python -m scan42_jax.eval.classification --config=configs/eval/folder.py
    --encoder=SRC --workdir=W --data_dir=D

`configs/eval/folder.py:NAME` takes the dataset that was prepared with
--name=NAME. `--config.data.exclusive` makes its labels classes.
"""

import ml_collections

from scan42_jax.eval.config import default_config


def get_config(name: str = "folder") -> ml_collections.ConfigDict:
  """Returns the evaluation of a prepared folder."""
  config = default_config()
  config.data.dataset = name
  return config
