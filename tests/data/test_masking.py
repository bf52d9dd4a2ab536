"""Block masks against the reference's statistics, and their own promises."""

import dataclasses
from functools import partial

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from scan42_jax.data import masking

NAME = "masking.npz"
SETTINGS = masking.MaskSettings(group_images=4)
GRID = (7, 6)

make_masks = jax.jit(masking.make_masks, static_argnames=("grid", "settings"))
compact = jax.jit(masking.compact, static_argnames="slots")


def _settings(meta):
  return masking.MaskSettings(
    probability=meta["prob"],
    ratio=tuple(meta["ratio"]),
    min_patches=meta["min_num_patches"],
    max_patches=int(meta["max_num_patches"]),
    group_images=meta["batch"],
  )


def _cases(golden_file):
  arrays, meta = golden_files.load(golden_file(NAME))
  tags = {key.split("/")[0] for key in arrays}
  for tag in sorted(tags):
    yield golden_files.strip(arrays, f"{tag}/"), meta[tag]


def _assert_mean(values, mean, std, draws):
  """Within five standard errors; both sides were sampled."""
  values = np.asarray(values, np.float64)
  error = std * np.sqrt(1 / draws + 1 / values.shape[0])
  assert (np.abs(values.mean(axis=0) - mean) <= 5 * error + 1e-12).all()


def _assert_moments(values, stats, name, draws):
  """Mean and standard deviation of one statistic."""
  std = stats[f"{name}_std"]
  _assert_mean(values, stats[f"{name}_mean"], std, draws)
  error = std * np.sqrt(1 / draws + 1 / len(values)) / np.sqrt(2)
  assert abs(np.std(values) - std) <= 5 * error


def test_golden_edges_and_slots(golden_file):
  for arrays, meta in _cases(golden_file):
    settings = _settings(meta)
    np.testing.assert_allclose(
      masking.ratio_edges(settings), arrays["linspace_ratios"], rtol=1e-6
    )
    slots = masking.mask_slots(settings, meta["n_tokens"])
    assert slots == meta["upperbound"]


def test_golden_statistics_of_single_masks(golden_file):
  """Targets by bin, counts by bin, shortfall and where the patches lie."""
  for arrays, meta in _cases(golden_file):
    settings, grid = _settings(meta), (meta["grid"], meta["grid"])
    groups = meta["draws"] // meta["n_masked_images"]
    shares = jax.random.uniform(
      jax.random.key(1), (groups, meta["n_masked_images"])
    )
    targets = jax.vmap(
      partial(
        masking.choose_targets,
        num_patches=meta["n_tokens"],
        settings=settings,
      )
    )(shares)
    masks = jax.jit(
      jax.vmap(
        jax.vmap(partial(masking.block_mask, grid=grid, settings=settings))
      )
    )(jax.random.split(jax.random.key(2), targets.shape), targets)
    counts, targets = np.asarray(masks.sum((2, 3))), np.asarray(targets)
    shortfall = (targets - counts).ravel()
    assert shortfall.min() >= -meta["overshoot_max"]
    _assert_moments(counts.ravel(), meta, "count", meta["draws"])
    _assert_mean(
      shortfall, meta["shortfall_mean"], meta["shortfall_std"], meta["draws"]
    )
    exact = meta["frac_exact"]
    _assert_mean(
      shortfall == 0, exact, np.sqrt(exact * (1 - exact)), meta["draws"]
    )
    # A target's spread is that of its count: shortfalls are a patch or two.
    spread = np.maximum(arrays["per_bin_count_std"], targets.std(axis=0))
    _assert_mean(targets, arrays["per_bin_target_mean"], spread, groups)
    _assert_mean(counts, arrays["per_bin_count_mean"], spread, groups)
    _assert_cells(np.asarray(masks), arrays, meta)


def _assert_cells(masks, arrays, meta):
  cells = masks.reshape(-1, *masks.shape[2:])
  mean = arrays["cell_mask_probability"]
  _assert_mean(cells, mean, np.sqrt(mean * (1 - mean)), meta["draws"])


def test_golden_statistics_of_first_blocks(golden_file):
  for _, meta in _cases(golden_file):
    settings = _settings(meta)
    empty = jnp.zeros((meta["grid"], meta["grid"]), bool)
    draw = jax.jit(
      jax.vmap(
        partial(masking.draw_block, settings=settings), in_axes=(0, None, None)
      )
    )
    for name in (key for key in meta if key.startswith("first_rect_target")):
      stats = meta[name]
      limit = min(
        int(name.removeprefix("first_rect_target")), settings.max_patches
      )
      keys = jax.random.split(jax.random.key(5), stats["n"])
      blocks, added = map(np.asarray, draw(keys, empty, limit))
      assert (blocks.sum((1, 2)) == added).all()
      heights = blocks.any(axis=2).sum(axis=1)
      widths = blocks.any(axis=1).sum(axis=1)
      assert (heights * widths == added).all()
      _assert_moments(added, stats, "area", stats["n"])
      _assert_moments(np.log(heights / widths), stats, "log_aspect", stats["n"])


def test_golden_statistics_of_batches(golden_file):
  """Whole batches through the public door: number and total of the masks."""
  for _, meta in _cases(golden_file):
    settings, grid = _settings(meta), (meta["grid"], meta["grid"])
    groups = meta["draws"] // meta["n_masked_images"]
    index = jnp.arange(groups * meta["batch"])
    masks, _, weight = make_masks(
      jax.random.key(3), index, grid=grid, settings=settings
    )
    masks = np.asarray(masks).reshape(groups, -1, meta["n_tokens"])
    assert masks.shape[1] == meta["n_global_images"]
    assert (masks.any(-1).sum(-1) == meta["n_masked_images"]).all()
    np.testing.assert_allclose(
      weight.sum(1), meta["n_masked_images"], rtol=1e-5
    )
    _assert_moments(masks.sum((1, 2)), meta, "batch_total", groups)
    share = masks.any(-1)
    _assert_mean(share, meta["prob"], 0.5, groups)


def _collated(arrays):
  for name in sorted({key.split("/")[0] for key in arrays}):
    if name.startswith("collate_"):
      yield golden_files.strip(arrays, f"{name}/")


def test_golden_compact(golden_file):
  """The reference's lists, given its masks, in its own crop-major order."""
  for arrays, meta in _cases(golden_file):
    for out in _collated(arrays):
      masks, count = out["collated_masks"], int(out["n_masked_patches"][0])
      settings = dataclasses.replace(
        _settings(meta), group_images=len(masks) // 2
      )
      slots = masking.mask_slots(settings, masks.shape[1])
      assert slots == out["upperbound"]
      index, weight = compact(jnp.asarray(masks), slots)
      np.testing.assert_array_equal(index[:count], out["mask_indices_list"])
      np.testing.assert_allclose(weight[:count], out["masks_weight"], rtol=1e-6)
      assert not index[count:].any()
      assert not weight[count:].any()


def test_golden_compact_image_major(golden_file):
  """The same with crops of one image side by side, as batches are here."""
  for arrays, _ in _cases(golden_file):
    for out in _collated(arrays):
      crop_major = out["collated_masks"]
      num_patches, count = crop_major.shape[1], len(out["mask_indices_list"])
      images = len(crop_major) // 2
      masks = crop_major.reshape(2, images, -1).transpose(1, 0, 2)
      index, weight = compact(
        jnp.asarray(masks.reshape(2 * images, -1)), int(out["upperbound"])
      )
      row, patch = np.divmod(out["mask_indices_list"], num_patches)
      crop, image = np.divmod(row, images)
      expected = (image * 2 + crop) * num_patches + patch
      order = np.argsort(expected)
      np.testing.assert_array_equal(index[:count], expected[order])
      np.testing.assert_allclose(
        weight[:count], out["masks_weight"][order], rtol=1e-6
      )


@pytest.mark.parametrize(
  ("grid", "max_patches"), [((5, 5), None), ((3, 11), 6)]
)
def test_mask_never_exceeds_its_target(grid, max_patches):
  settings = dataclasses.replace(SETTINGS, max_patches=max_patches)
  targets = jnp.arange(grid[0] * grid[1] // 2)
  keys = jax.random.split(jax.random.key(0), len(targets))
  masks = jax.jit(
    jax.vmap(partial(masking.block_mask, grid=grid, settings=settings))
  )(keys, targets)
  counts = masks.sum((1, 2))
  assert (counts <= targets).all()
  # Below four patches all tries may fail, in the reference too.
  assert (counts[4:] > 0).all()


def test_blocks_are_shorter_than_the_grid():
  draw = partial(masking.draw_block, settings=SETTINGS)
  blocks, added = jax.jit(jax.vmap(draw, in_axes=(0, None, None)))(
    jax.random.split(jax.random.key(0), 200), jnp.zeros((2, 9), bool), 9
  )
  assert (added > 0).mean() > 0.5  # In so flat a grid many tries fail.
  assert blocks.any(axis=2).sum(axis=1).max() == 1


def test_a_block_adds_what_it_says():
  mask = jax.random.bernoulli(jax.random.key(1), 0.5, (9, 9))
  draw = partial(masking.draw_block, settings=SETTINGS)
  blocks, added = jax.jit(jax.vmap(draw, in_axes=(0, None, None)))(
    jax.random.split(jax.random.key(0), 200), mask, 12
  )
  np.testing.assert_array_equal((blocks & ~mask).sum((1, 2)), added)
  assert added.max() <= 12


def test_masks_fit_their_slots():
  settings = dataclasses.replace(SETTINGS, probability=0.8, ratio=(0.2, 0.6))
  masks, index, weight = make_masks(
    jax.random.key(0), jnp.arange(64), grid=GRID, settings=settings
  )
  slots = masking.mask_slots(settings, GRID[0] * GRID[1])
  assert masks.shape == (64, 2, 42)
  assert index.shape == weight.shape == (16, slots)
  flat = np.asarray(masks).reshape(16, -1)
  for place, (group, row, share) in enumerate(
    zip(flat, np.asarray(index), np.asarray(weight), strict=True)
  ):
    true = np.flatnonzero(group)
    np.testing.assert_array_equal(row[: len(true)], true)
    assert not row[len(true) :].any(), place
    counts = group.reshape(8, -1).sum(1)
    np.testing.assert_allclose(share[: len(true)], 1 / counts[true // 42])
    assert not share[len(true) :].any()
    np.testing.assert_allclose(share.sum(), int(8 * 0.8), rtol=1e-6)


def test_no_masks_at_probability_zero():
  settings = dataclasses.replace(SETTINGS, probability=0.0)
  masks, index, weight = make_masks(
    jax.random.key(0), jnp.arange(8), grid=GRID, settings=settings
  )
  assert not masks.any()
  assert index.shape == weight.shape == (2, 0)


def test_masks_depend_on_key_and_first_index_alone():
  key, index = jax.random.key(0), jnp.arange(100, 132)
  whole = make_masks(key, index, grid=GRID, settings=SETTINGS)
  for start in range(0, 32, 8):
    part = make_masks(
      key, index[start : start + 8], grid=GRID, settings=SETTINGS
    )
    groups = slice(start // 4, start // 4 + 2)
    np.testing.assert_array_equal(part[0], whole[0][start : start + 8])
    np.testing.assert_array_equal(part[1], whole[1][groups])
    np.testing.assert_array_equal(part[2], whole[2][groups])
  other = make_masks(jax.random.key(1), index, grid=GRID, settings=SETTINGS)
  assert (other[0] != whole[0]).any(axis=(1, 2)).mean() > 0.5
  assert (whole[0][:4] != whole[0][4:8]).any()


def test_masks_are_the_same_compiled_and_on_eight_devices():
  key, index = jax.random.key(0), jnp.arange(32)
  plain = masking.make_masks(key, index, grid=GRID, settings=SETTINGS)
  compiled = make_masks(key, index, grid=GRID, settings=SETTINGS)
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  spread = jax.device_put(index, NamedSharding(mesh, PartitionSpec("data")))
  sharded = make_masks(key, spread, grid=GRID, settings=SETTINGS)
  for one, two, three in zip(plain, compiled, sharded, strict=True):
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


def test_incomplete_group_is_refused():
  with pytest.raises(ValueError, match=r"6 images .* groups of 4"):
    masking.make_masks(
      jax.random.key(0), jnp.arange(6), grid=GRID, settings=SETTINGS
    )
