"""Which patches the student must guess: block masks in fixed shapes.

Masks of a group of neighbouring images are drawn together, since their ratios
are spread over the group (BEiT's block masks as DINOv2 uses them). Replacing
tokens and the loss on them are the business of the model and of losses/ibot.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.types import Array, Bool, Float, Int

_CROPS = 2  # Global crops of an image.
_TRIES = 10  # Rectangles tried before a mask is left as it is.


@dataclasses.dataclass(frozen=True)
class MaskSettings:
  """How masks are drawn.

  Attributes:
    probability: share of a group's global crops that get a mask.
    ratio: smallest and largest share of patches masked in such a crop.
    min_patches: smallest area of a block, unless fewer patches remain.
    max_patches: largest area of a block, None for half of the grid. The
      published run meant half of 37 x 37 patches and computed 666, by a slip in
      operator precedence: give that number to repeat it.
    min_aspect: flattest block, height / width; the steepest is its inverse.
    group_images: images whose masks are drawn together; divides the batch.
  """

  probability: float = 0.5
  ratio: tuple[float, float] = (0.1, 0.5)
  min_patches: int = 4
  max_patches: int | None = None
  min_aspect: float = 0.3
  group_images: int = 64


def ratio_edges(settings: MaskSettings) -> np.ndarray:
  """Borders of the equal bins from which the masked crops draw their ratio."""
  masked = int(_CROPS * settings.group_images * settings.probability)
  return np.linspace(*settings.ratio, masked + 1, dtype=np.float32)


def _largest_counts(settings: MaskSettings, num_patches: int) -> np.ndarray:
  edges = ratio_edges(settings)
  return (np.float32(num_patches) * edges[1:]).astype(np.int32)


def mask_slots(settings: MaskSettings, num_patches: int) -> int:
  """Most patches that one group can have masked: M of `Batch.mask_index`."""
  return int(_largest_counts(settings, num_patches).sum())


def choose_targets(
  share: Float[Array, "N"], num_patches: int, settings: MaskSettings
) -> Int[Array, "N"]:
  """How many patches to mask in each masked crop of a group, one per bin.

  Args:
    share: place of each target in its bin, 0 to 1.
    num_patches: patches of a crop.
    settings: how to draw.
  """
  edges = ratio_edges(settings)
  target = num_patches * (edges[:-1] + share * np.diff(edges))
  # Rounding must not lift a target past its bin: the slots are counted from it.
  return jnp.minimum(
    target.astype(jnp.int32), _largest_counts(settings, num_patches)
  )


def _spans(
  size: Float[Array, "T"], share: Float[Array, "T"], length: int
) -> Bool[Array, "T length"]:
  """Cells covered by spans of these sizes; `share` places them from 0 to 1."""
  start = jnp.floor(share * (length - size + 1.0))[:, None]
  cell = jnp.arange(length)
  return (cell >= start) & (cell < start + size[:, None])


def draw_block(
  key: Array,
  mask: Bool[Array, "H W"],
  limit: Int[Array, ""],
  *,
  settings: MaskSettings,
) -> tuple[Bool[Array, "H W"], Int[Array, ""]]:
  """Draws a rectangle that adds 1 to `limit` patches to the mask.

  The first of ten tries counts. Failed tries change nothing, hence all ten are
  drawn and judged at once.

  Returns:
    The rectangle and the number of patches it adds; empty and 0 if ten failed.
  """
  s, (height, width) = settings, mask.shape
  # Flat, since XLA compiles it many times faster than a small matrix.
  share = jax.random.uniform(key, (4 * _TRIES,))
  area, aspect, top, left = share.reshape(4, _TRIES)
  area = s.min_patches + area * (limit - s.min_patches)
  aspect = jnp.exp((2.0 * aspect - 1.0) * np.log(s.min_aspect))
  high = jnp.round(jnp.sqrt(area * aspect))
  wide = jnp.round(jnp.sqrt(area / aspect))
  rows, columns = _spans(high, top, height), _spans(wide, left, width)
  added = jnp.einsum(
    "th,hw,tw->t", *(x.astype(jnp.float32) for x in (rows, ~mask, columns))
  ).astype(jnp.int32)
  fits = (high < height) & (wide < width)
  valid = fits & (added > 0) & (added <= limit)
  first, found = jnp.argmax(valid), valid.any()
  block = rows[first][:, None] & columns[first][None, :] & found
  return block, jnp.where(found, added[first], 0)


def block_mask(
  key: Array,
  target: Int[Array, ""],
  *,
  grid: tuple[int, int],
  settings: MaskSettings,
) -> Bool[Array, "H W"]:
  """Grows one mask of at most `target` patches, block by block.

  It ends when no block was found, so the count can fall a little short.
  """
  most = settings.max_patches or grid[0] * grid[1] // 2

  def grow(state):
    mask, missing, step, _ = state
    block, added = draw_block(
      jax.random.fold_in(key, step),
      mask,
      jnp.minimum(missing, most),
      settings=settings,
    )
    missing = missing - added
    return mask | block, missing, step + 1, (added > 0) & (missing > 0)

  state = (jnp.zeros(grid, bool), target, 0, target > 0)
  return jax.lax.while_loop(lambda state: state[3], grow, state)[0]


def _group_masks(
  key: Array, *, grid: tuple[int, int], settings: MaskSettings
) -> Bool[Array, "N P"]:
  """Masks of one group's crops, in random order, the rest of them empty."""
  crops, num_patches = _CROPS * settings.group_images, grid[0] * grid[1]
  masked = len(ratio_edges(settings)) - 1
  share_key, block_key = jax.random.split(key)
  share = jax.random.uniform(share_key, (masked + crops,))
  target = choose_targets(share[:masked], num_patches, settings)
  keys = jax.random.split(block_key, masked)
  masks = jax.vmap(partial(block_mask, grid=grid, settings=settings))(
    keys, target
  ).reshape(masked, num_patches)
  masks = jnp.pad(masks, ((0, crops - masked), (0, 0)))
  return masks[jnp.argsort(share[masked:])]


def compact(
  patch_mask: Bool[Array, "N P"], slots: int
) -> tuple[Int[Array, "M"], Float[Array, "M"]]:
  """Lists the True places of one group in a fixed number of slots.

  Args:
    patch_mask: masks of the group's crops, image by image.
    slots: M, at least the number of True places; see `mask_slots`.

  Returns:
    Places in the flattened mask, ascending, then zeros; and 1 / masked patches
    of the place's crop, 0 in unused slots.
  """
  num_patches = patch_mask.shape[1]
  flat = patch_mask.reshape(-1)
  slot = jnp.where(flat, jnp.cumsum(flat) - 1, slots)
  places = jnp.arange(flat.size, dtype=jnp.int32)
  index = jnp.zeros(slots, jnp.int32).at[slot].set(places, mode="drop")
  count = patch_mask.sum(axis=1)
  used = jnp.arange(slots) < count.sum()
  weight = 1.0 / jnp.maximum(count, 1)[index // num_patches]
  return index, jnp.where(used, weight, 0.0)


def make_masks(
  key: Array,
  index: Int[Array, "B"],
  *,
  grid: tuple[int, int],
  settings: MaskSettings,
) -> tuple[Bool[Array, "B G P"], Int[Array, "Q M"], Float[Array, "Q M"]]:
  """Draws the masks of a batch of whole groups.

  A group's masks depend on the key and on the index of its first sample alone,
  so a batch may be split between groups without changing them. Use another key
  than for the crops.

  Args:
    key: key of the run.
    index: `Films.index`, groups of neighbours in the stream.
    grid: rows and columns of patches of a global crop.
    settings: how to draw.

  Returns:
    `patch_mask`, `mask_index` and `mask_weight` of `Batch`.

  Raises:
    ValueError: if the batch does not consist of whole groups.
  """
  group, num_patches = settings.group_images, grid[0] * grid[1]
  if index.shape[0] % group:
    raise ValueError(
      f"batch of {index.shape[0]} images does not divide into mask groups of"
      f" {group}: choose group_images so that it divides the batch"
    )
  firsts = index.reshape(-1, group)[:, 0]
  keys = jax.vmap(partial(jax.random.fold_in, key))(firsts)
  masks = jax.vmap(partial(_group_masks, grid=grid, settings=settings))(keys)
  slots = mask_slots(settings, num_patches)
  places, weight = jax.vmap(partial(compact, slots=slots))(masks)
  return masks.reshape(-1, _CROPS, num_patches), places, weight
