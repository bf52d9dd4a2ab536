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


def _candidate_blocks(
  key: Array, limit: Int[Array, ""], grid: tuple[int, int], s: MaskSettings
) -> tuple[Bool[Array, "T H"], Bool[Array, "T W"]]:
  """Rows and columns of random blocks; none for a block as long as the grid."""
  area, aspect, top, left = jax.random.uniform(key, (4, _TRIES))
  area = s.min_patches + area * (limit - s.min_patches)
  aspect = jnp.exp((2.0 * aspect - 1.0) * np.log(s.min_aspect))
  height = jnp.round(jnp.sqrt(area * aspect))
  width = jnp.round(jnp.sqrt(area / aspect))
  fits = (height < grid[0]) & (width < grid[1])

  def span(size, place, length):
    start = jnp.floor(place * (length - size + 1.0))[:, None]
    cell = jnp.arange(length)
    return (cell >= start) & (cell < start + size[:, None]) & fits[:, None]

  return span(height, top, grid[0]), span(width, left, grid[1])


def block_mask(
  key: Array,
  target: Int[Array, ""],
  *,
  grid: tuple[int, int],
  settings: MaskSettings,
) -> Bool[Array, "H W"]:
  """One mask of at most `target` patches, grown block by block.

  A block is taken when it adds at least one patch and not more than are
  missing; the first of ten tries counts and ten failures end the mask, so the
  count can fall a little short. Failed tries change nothing, hence all ten are
  drawn and judged at once.
  """
  most = settings.max_patches or grid[0] * grid[1] // 2

  def grow(state):
    mask, missing, step, _ = state
    limit = jnp.minimum(missing, most)
    rows, columns = _candidate_blocks(
      jax.random.fold_in(key, step), limit, grid, settings
    )
    free = (~mask).astype(jnp.float32)
    added = jnp.einsum("th,hw,tw->t", rows * 1.0, free, columns * 1.0)
    added = added.astype(jnp.int32)
    valid = (added > 0) & (added <= limit)
    first, found = jnp.argmax(valid), valid.any()
    block = rows[first][:, None] & columns[first][None, :] & found
    missing = missing - jnp.where(found, added[first], 0)
    return mask | block, missing, step + 1, found & (missing > 0)

  state = (jnp.zeros(grid, bool), target, 0, target > 0)
  return jax.lax.while_loop(lambda state: state[3], grow, state)[0]


def _group_masks(
  key: Array, *, grid: tuple[int, int], settings: MaskSettings
) -> Bool[Array, "N P"]:
  """Masks of one group's crops, in random order, the rest of them empty."""
  crops, num_patches = _CROPS * settings.group_images, grid[0] * grid[1]
  edges = ratio_edges(settings)
  ratio_key, block_key, order_key = jax.random.split(key, 3)
  masked = len(edges) - 1
  ratio = jax.random.uniform(ratio_key, (masked,))
  ratio = edges[:-1] + ratio * np.diff(edges)
  # Rounding must not lift a target past its bin: the slots are counted from it.
  target = jnp.minimum(
    (num_patches * ratio).astype(jnp.int32),
    _largest_counts(settings, num_patches),
  )
  masks = jax.vmap(partial(block_mask, grid=grid, settings=settings))(
    jax.random.split(block_key, masked), target
  ).reshape(masked, num_patches)
  masks = jnp.pad(masks, ((0, crops - masked), (0, 0)))
  return masks[jax.random.permutation(order_key, crops)]


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
