"""Dice and IoU: reference numbers, pooling, empty structures."""

import golden_files
import numpy as np

from scan42_jax.metrics.overlap import count_overlap, dice, iou


def _golden_counts(golden_file):
  arrays, meta = golden_files.load(golden_file("eval_segmentation.npz"))
  prediction = arrays["in/logits"].argmax(axis=1)
  regions = [(c,) for c in range(meta["num_classes"])]
  counts = [
    count_overlap(p, t, regions)
    for p, t in zip(prediction, arrays["in/labels"], strict=True)
  ]
  return np.array(counts), arrays, meta


def test_golden_dice_and_iou(golden_file):
  counts, arrays, meta = _golden_counts(golden_file)
  pooled, single = dice(counts.sum(axis=0)), dice(counts)
  for found, name in [
    (pooled, "dice_dataset_per_class"),
    (pooled[1:].mean(), "dice_dataset_mean_foreground"),
    (single, "dice_per_image_per_class"),
    (single[:, 1:].mean(), "dice_per_image_mean_foreground"),
    (iou(counts.sum(axis=0)), "iou_dataset_per_class"),
  ]:
    np.testing.assert_allclose(found, arrays[f"out/{name}"], atol=1e-6)
  absent = meta["absent_class"]
  assert pooled[absent] == 1
  assert iou(counts.sum(axis=0))[absent] == 0


def test_counts_are_those_of_single_masks():
  rng = np.random.default_rng(0)
  prediction, truth = rng.integers(0, 5, (2, 30, 20)).astype(np.uint8)
  regions = [(1,), (3,), (1, 2)]
  counts = count_overlap(prediction, truth, regions)
  for found, region in zip(counts, regions, strict=True):
    p, t = np.isin(prediction, region), np.isin(truth, region)
    assert list(found) == [(p & t).sum(), p.sum(), t.sum()]


def test_a_union_forgives_exchanged_sides():
  truth = np.array([[1, 1, 0, 2, 2]])
  prediction = np.array([[2, 2, 0, 1, 1]])
  left, right, union = dice(
    count_overlap(prediction, truth, [(1,), (2,), (1, 2)])
  )
  assert (left, right, union) == (0, 0, 1)


def test_pooling_weighs_by_size():
  counts = np.array([[[0, 1, 1]], [[100, 100, 100]]])
  assert dice(counts).mean() == 0.5
  np.testing.assert_allclose(dice(counts.sum(axis=0)), 200 / 202)
