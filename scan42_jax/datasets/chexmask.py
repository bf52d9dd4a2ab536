"""`chexmask`: lungs and heart of CheXmask, over the films of their release."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping

from scan42_jax.data import images
from scan42_jax.datasets import (
  base,
  chexmask_outlines,
  chexpert,
  folder,
  mimic_cxr,
  nih_cxr8,
  padchest,
  reading,
  tables,
  vindr_cxr,
)
from scan42_jax.datasets.reading import Options, Reading, Row

_SETS = {  # Name of the table: dataset of the films, column of their ids.
  "CANDID-PTX": (folder.Folder, "ImageID"),
  "ChestX-Ray8": (nih_cxr8.NihCxr8, "Image Index"),
  "CheXpert": (chexpert.Chexpert, "Path"),
  "MIMIC-CXR-JPG": (mimic_cxr.MimicCxr, "dicom_id"),
  "Padchest": (padchest.Padchest, "ImageID"),
  "VinDr-CXR": (vindr_cxr.VindrCxr, "image_id"),
}
_QUALITY = ("Dice RCA (Mean)", "Dice RCA (Max)")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MaskedRow(Row):
  """A film of the release, and where its outlines have been put by."""

  spot: chexmask_outlines.Spot | None = None


class Chexmask(base.FilmDataset):
  """CheXmask: lungs and heart of 676,803 films, outlined by a network.

  The source is the release of one of the six sets; `labels_csv` is CheXmask's
  table for it, best of OriginalResolution. Films, labels, splits, patients and
  reports are those of the set's own dataset; CANDID-PTX has none, its films are
  found by name. Films whose quality, the smaller Dice RCA, is below
  `min_mask_quality` are left out. Gaggion et al., Scientific Data 2024,
  https://doi.org/10.13026/dx54-8351
  """

  def __init__(self, options: Options, *, data_dir: str):
    table = _table(options)
    films, self._id_column = _SETS[table.name.partition(".")[0]]
    self._table = table
    self._films = films(
      dataclasses.replace(options, labels_csv=None), data_dir=data_dir
    )
    self._store = pathlib.Path(data_dir) / "outlines"
    super().__init__(options, data_dir=data_dir)

  @property
  def load(self) -> reading.Loader:
    """Opens the film of a row and draws its masks."""
    return functools.partial(_load, store=self._store)

  def label_names(self) -> tuple[str, ...]:
    """Those of the films' own dataset."""
    return self._films.label_names()

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the table, then the faults of their release."""
    films: dict[str, Row] = {}
    faults = []
    for row in self._films.rows():
      if row.fault:
        faults.append(row)
      else:
        name = row.image_id or row.file.rpartition("/")[2]
        films.setdefault(_stem(name), row)
    self._store.parent.mkdir(parents=True, exist_ok=True)
    with self._store.open("wb") as store:
      yield from self.parse_table(
        self._table,
        (self._id_column, *_QUALITY, *chexmask_outlines.COLUMNS),
        functools.partial(self._masked_row, films=films, store=store),
        optional=(),
      )
    yield from faults

  def fingerprint(self, row: Row) -> str:
    """Identifies what a film, its outlines and the options make."""
    digest = row.spot.digest if row.spot else ""
    return f"{super().fingerprint(row)}{digest}"

  def split(self, row: Row, found: Reading) -> str:
    """Returns the split that the films' own dataset gives."""
    return self._films.split(row, found)

  def patients_of(self) -> str:
    """Names the films' own dataset."""
    return self._films.patients_of()

  def texts(self, row: Row) -> dict[str, str]:
    """Returns the texts that the films' own dataset gives."""
    return self._films.texts(row)

  def _masked_row(self, cells, where, *, films, store) -> MaskedRow:
    image_id = cells[self._id_column]
    film = films.get(_stem(image_id))
    if film is None:
      raise ValueError(f"{image_id} is no film of {self.options.source}")
    limit = self.options.min_mask_quality
    good = _quality(cells) >= limit
    known = {f.name: getattr(film, f.name) for f in dataclasses.fields(film)}
    known |= {"image_id": image_id, "where": where}
    return MaskedRow(
      **known | {"skip": "" if good else f"mask quality below {limit:g}"},
      spot=chexmask_outlines.put_by(cells, store) if good else None,
    )


def _table(options: Options) -> pathlib.Path:
  """Returns CheXmask's table.

  Raises:
    ValueError, FileNotFoundError: no table is given, or none that is known.
  """
  path = options.labels_csv
  if path is None or path.name.partition(".")[0] not in _SETS:
    raise ValueError(
      f"labels_csv {path} is no table of CheXmask, such as "
      f"OriginalResolution/CheXpert.csv; it has {', '.join(_SETS)}, each for "
      "the release that --source names"
    )
  return tables.find_table(path.parent, path.name)


def _stem(image_id: str) -> str:
  """Leaves out the suffix: CANDID-PTX's ids need not have that of its files."""
  return re.sub(r"\.(jpg|jpeg|png|dcm)$", "", image_id, flags=re.IGNORECASE)


def _quality(cells: tables.Cells) -> float:
  """The smaller Dice: PadChest's table exchanges mean and maximum at times."""
  try:
    return min(float(cells[name]) for name in _QUALITY)
  except ValueError:
    raise ValueError(f"{' or '.join(_QUALITY)} is no number") from None


def _load(
  row: MaskedRow, options: Options, *, store: pathlib.Path
) -> tuple[images.Film, Mapping[str, bytes]]:
  film = images.read_film(
    options.source / row.file, published=options.published
  )
  height, width = film.pixels.shape
  try:
    masks = chexmask_outlines.organ_masks(
      chexmask_outlines.fetch(store, row.spot), height=height, width=width
    )
  except ValueError as error:
    raise images.RejectedFilm(f"{row.where}: {error}") from None
  if not masks:
    raise images.RejectedFilm(f"{row.where}: outlines neither lungs nor heart")
  return film, {name: images.encode_mask(m) for name, m in masks.items()}
