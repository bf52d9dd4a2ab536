"""From one row of a dataset's tables to one encoded film.

This is what the worker processes of the preparation run: it opens files and
knows neither TFDS nor where the result is stored.
"""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable, Mapping

from scan42_jax.data import images
from scan42_jax.datasets import views

MASK_NAMES = ("left_lung", "right_lung", "heart")
"""The patient's left: it lies on the right of the picture."""

PUBLISHED_JPEG_QUALITY = 75


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
  """What the user chose; all that a dataset may depend on besides its files.

  Attributes:
    source: folder of the raw release; None suits a dataset that makes it.
    name: name under which the dataset is stored; '' takes the dataset's own.
    published: as the published run had them: converted by its rules, equalised
      at full resolution, JPEG quality 75; a dataset of its own name.
    short_side_px: a film is shrunk to this short side, never enlarged.
    all_views: keep lateral and oblique films.
    keep_burned_in: keep films whose header says that text is drawn into them.
    labels_csv: table of a `folder` dataset, or one of CheXmask.
    min_mask_quality: films with masks of lower quality are left out, where a
      release tells the quality.
    exclude: glob patterns of files that a `folder` dataset leaves out.
    keep_ids: store ids as they are where they would be hashed.
    hash_ids: hash ids also where their owner made them to name nobody.
    id_salt: secret that makes the hashes of ids impossible to guess.
    split_seed: seed of the split by patient, where the release has none.
    holdout_percent: patients of that split in validation, and again in test.
    phantom_films: that the `phantom` dataset draws.
    max_broken_percent: rows and files that may be broken before the
      preparation stops; None allows 10 of 100 rows or more.
  """

  source: pathlib.Path | None = None
  name: str = ""
  published: bool = False
  short_side_px: int = 1024
  all_views: bool = False
  keep_burned_in: bool = False
  labels_csv: pathlib.Path | None = None
  min_mask_quality: float = 0.7
  exclude: tuple[str, ...] = ()
  keep_ids: bool = False
  hash_ids: bool = False
  id_salt: str = ""
  split_seed: int = 0
  holdout_percent: float = 5.0
  phantom_films: int = 3500
  max_broken_percent: float | None = None

  def __post_init__(self):
    if not re.fullmatch(r"|[a-z][a-z0-9_]*", self.name):
      raise ValueError(
        f"name {self.name!r} is not made of small letters, digits and _"
      )
    if self.short_side_px < 1:
      raise ValueError(f"short_side_px is {self.short_side_px}, must be >= 1")
    if not 0 <= self.holdout_percent < 50:
      raise ValueError(
        f"holdout_percent is {self.holdout_percent}, must be in 0..50: it is "
        "taken twice, for validation and for test"
      )
    if self.hash_ids and (self.keep_ids or not self.id_salt):
      raise ValueError(
        "hash_ids needs an id_salt of your own and no keep_ids: published ids "
        "are few enough to try them all"
      )
    if self.phantom_films < 1:
      raise ValueError(f"phantom_films is {self.phantom_films}, must be >= 1")
    percent = self.max_broken_percent
    if percent is not None and not 0 <= percent <= 100:
      raise ValueError(f"max_broken_percent is {percent}, must be in 0..100")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
  """A finding's bounding box; lengths are shares of the film's width or height.

  Attributes:
    label: index of the finding in the labels of the dataset.
    left: edge of the box, from the left of the picture.
    top: edge of the box, from the top.
    width: of the box.
    height: of the box.
  """

  label: int
  left: float
  top: float
  width: float
  height: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
  """What the tables say of one film; its file has not been opened.

  Attributes:
    file: path under the source folder, with forward slashes; unique.
    image_id: unique id of the film; '' takes `file`.
    patient_id: '' takes the one of the file's header.
    split: 'train', 'validation' or 'test'; '' splits by patient hash.
    view: 'PA', 'AP', ...; '' takes the one of the file's header.
    sex: 'M', 'F'; '' takes the one of the file's header.
    age_years: NaN takes the one of the file's header.
    labels: a code of labels.py for each label of the dataset.
    report: text of the report, or ''.
    findings: section of the report, or ''; like the next two.
    impression: section of the report.
    indication: section of the report.
    boxes: findings that somebody outlined.
    masks: name of MASK_NAMES -> PNG file under the source folder.
    where: the row's place for messages: 'train.csv row 17'.
    skip: why the film, though sound, is not wanted; films are counted by this
      reason and not opened.
    fault: why the row cannot be used; it then goes to the quarantine list and
      its file is not opened. `file` may then also name a row or a table.
  """

  file: str
  image_id: str = ""
  patient_id: str = ""
  split: str = ""
  view: str = ""
  sex: str = ""
  age_years: float = float("nan")
  labels: tuple[int, ...] = ()
  report: str = ""
  findings: str = ""
  impression: str = ""
  indication: str = ""
  boxes: tuple[Box, ...] = ()
  masks: Mapping[str, str] = dataclasses.field(default_factory=dict)
  where: str = ""
  skip: str = ""
  fault: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """What one file gave: a film, or the reason why it gives none.

  Attributes:
    file: path under the source folder.
    fingerprint: changes when the file or an option that matters changes.
    refused: '' for a film, else the reason.
    broken: the file is damaged or absent, to be listed in the quarantine.
    view: from the header, like the next three; '' or NaN where unknown.
    patient_id: hashed, unless the user keeps ids.
    sex: 'M', 'F' or ''.
    age_years: age at the examination.
    image: grey JPEG.
    masks: name of MASK_NAMES -> PNG of the film's original size.
  """

  file: str
  fingerprint: str = ""
  refused: str = ""
  broken: bool = False
  view: str = ""
  patient_id: str = ""
  sex: str = ""
  age_years: float = float("nan")
  image: bytes = b""
  masks: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


Loader = Callable[[Row, Options], tuple[images.Film, Mapping[str, bytes]]]


def read_row(
  row: Row, fingerprint: str, *, options: Options, load: Loader
) -> Reading:
  """Makes the Reading of a row; every fault of a file ends up inside it.

  Args:
    row: what to read.
    fingerprint: stored with the reading.
    options: the user's choices.
    load: opens the row's files, see `load_files`.

  Returns:
    The Reading.
  """
  known = {"file": row.file, "fingerprint": fingerprint}
  if row.skip:
    return Reading(**known, refused=row.skip)
  try:
    film, masks = load(row, options)
  except images.RejectedFilm as error:
    broken = error.kind != "skipped"
    return Reading(**known, refused=str(error), broken=broken)
  refused = refuse(row.view or film.view, options, burned_in=film.burned_in)
  if refused:
    return Reading(**known, refused=refused)
  return Reading(
    **known,
    view=film.view,
    patient_id=stored_id(film.patient_id, options),
    sex=film.sex,
    age_years=float(film.age_years),
    image=_encode(film, options),
    masks=masks,
  )


def load_files(
  row: Row, options: Options
) -> tuple[images.Film, Mapping[str, bytes]]:
  """Opens the film of a row and its masks.

  Raises:
    RejectedFilm: a file is damaged, or a mask does not fit its film.
  """
  # Masks are compared with the full film; it is equalised in full, too.
  in_full = options.published or row.masks
  film = images.read_film(
    options.source / row.file,
    published=options.published,
    short_side_px=None if in_full else options.short_side_px,
  )
  masks = {}
  for name, file in row.masks.items():
    masks[name] = _read_mask(options.source / file)
    shape = images.decode_film(masks[name]).shape
    if shape != film.pixels.shape:
      raise images.RejectedFilm(
        f"mask {name} is {shape}, the film {film.pixels.shape}"
      )
  return film, masks


def stored_id(text: str, options: Options) -> str:
  """Returns an id that names nobody: a keyed hash, unless ids are kept."""
  if not text or options.keep_ids:
    return text
  key = hashlib.sha256(options.id_salt.encode()).digest()
  return hashlib.blake2b(text.encode(), digest_size=8, key=key).hexdigest()


def id_key(options: Options) -> str:
  """Tells hashes of one secret from those of another; gives neither away."""
  return stored_id("the same id?", options)


def refuse(view: str, options: Options, *, burned_in: bool = False) -> str:
  """Says why a sound film is not wanted; '' if it is."""
  if burned_in and not options.keep_burned_in:
    return "text burned into the film"
  return "" if options.all_views else views.off_frontal(view)


def _encode(film: images.Film, options: Options) -> bytes:
  pixels = film.pixels
  if options.published:
    pixels = images.equalize_histogram(pixels)
  pixels = images.shrink(pixels, short_side_px=options.short_side_px)
  if options.published:
    return images.encode_film(pixels, quality=PUBLISHED_JPEG_QUALITY)
  return images.encode_film(pixels)


def _read_mask(path: pathlib.Path) -> bytes:
  try:
    encoded = path.read_bytes()
  except OSError as error:
    raise images.RejectedFilm(f"mask {path.name}: {error.strerror}") from None
  if not encoded.startswith(b"\x89PNG"):
    raise images.RejectedFilm(f"mask {path.name} is no PNG")
  return encoded
