"""Position-embedding resizing against DINOv2's numbers."""

import golden_files
import numpy as np

from scan42_jax.models.position import resize_position_embedding


def test_golden_resized_tables(golden_file):
  arrays, meta = golden_files.load(golden_file("pos_embed_37.npz"))
  table = arrays["in/pos_embed"][0]
  for name, expected in golden_files.strip(arrays, "out/").items():
    mode, size = name.split("/")
    offset, antialias = mode.removeprefix("off").split("_aa")
    height, width = (
      int(side) // meta["cfg"]["patch"] for side in size.split("x")
    )
    resized = resize_position_embedding(
      table,
      (height, width),
      offset=float(offset),
      antialias=antialias == "1",
    )
    np.testing.assert_allclose(
      resized,
      expected.reshape(resized.shape),
      rtol=2e-5,
      atol=2e-5,
      err_msg=name,
    )


def test_native_grid_returns_the_table_itself():
  table = np.random.default_rng(0).normal(size=(1 + 9, 4)).astype(np.float32)
  for antialias in (False, True):
    resized = resize_position_embedding(
      table, (3, 3), offset=0.1, antialias=antialias
    )
    np.testing.assert_array_equal(resized, table)
