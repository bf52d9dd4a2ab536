"""`iu_xray`: the Indiana University collection of films with reports."""

import collections
import contextlib
import pathlib
from collections.abc import Iterator, Mapping

from scan42_jax.datasets import base, film_files, iu_reports, tables, views
from scan42_jax.datasets.iu_reports import Report
from scan42_jax.datasets.reading import Row

_XML = "ecgen-radiology"
_REPORTS, _PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
_R2GEN = "annotation.json"
_KAGGLE_FOLDER = "images/images_normalized"

_REPORT_COLUMNS = ("uid", *iu_reports.SECTIONS)
_OTHER_COLUMNS = ("MeSH", "Problems", "image")
_FILM_COLUMNS = ("uid", "filename", "projection")
_VIEWS = {"Frontal": views.FRONTAL, "Lateral": views.LATERAL}


class IuXray(base.FilmDataset):
  """Indiana University chest X-rays of Open-i: 7,470 films, 3,955 reports.

  The source is a folder with Open-i's `ecgen-radiology` and its PNG files, the
  Kaggle edition's indiana_reports.csv, indiana_projections.csv and PNG files,
  or R2Gen's annotation.json and `images`; the first of these that is there
  lists the films. Kaggle's projections give views to Open-i's films, too, and
  R2Gen's file gives the split to both; studies that it lacks go to training.
  There are no labels, and no patients: each report is one. Demner-Fushman et
  al., JAMIA 2016, https://doi.org/10.1093/jamia/ocv080
  """

  def label_names(self) -> tuple[str, ...]:
    """None."""
    return ()

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the reports, and films that no report names."""
    source = self.options.source
    folders = (source, *sorted(source.glob("*/")))
    xml = next((f / _XML for f in folders if (f / _XML).is_dir()), None)
    if xml is None and not tables.optional_table(source, _REPORTS):
      if not (source / _R2GEN).is_file():
        raise tables.not_found(source, _XML, _REPORTS, _R2GEN)
      yield from self._r2gen_rows(source / _R2GEN)
      return
    files = self._files()
    rows = self._open_i_rows(xml, files) if xml else self._kaggle_rows(files)
    named = set()
    for row in rows:
      named.add(row.file)
      yield row
    for file in files.values():
      if file not in named:
        yield Row(file=file, where=file, fault="no report names this film")

  def _open_i_rows(self, folder, files) -> Iterator[Row]:
    """Lists the films of Open-i's XML."""
    views_of, splits = self._views(), self._splits()
    for path in sorted(folder.glob("*.xml")):
      file = path.relative_to(self.options.source).as_posix()
      try:
        report = iu_reports.read_xml(path)
        films = [iu_reports.film_id(name) for name in report.films]
      except ValueError as error:
        yield Row(file=file, where=file, fault=f"{file}: {error}")
        continue
      if not films:
        yield Row(file=file, where=file, skip="report without a film")
      for study, film in films:
        yield _row(
          study,
          film,
          report,
          file=files.get(film, f"{film}.png"),
          view=views_of.get(film, ""),
          split=splits[study],
          where=file,
        )

  def _kaggle_rows(self, files) -> Iterator[Row]:
    """Lists the films of Kaggle's table of projections."""
    source = self.options.source
    reports = self.keyed_table(
      tables.find_table(source, _REPORTS),
      _REPORT_COLUMNS,
      lambda cells: (cells["uid"], iu_reports.from_cells(cells)),
      optional=_OTHER_COLUMNS,
    )
    splits = self._splits()

    def file_of(cells):
      _, film = iu_reports.film_id(cells["filename"])
      return files.get(film, f"{_KAGGLE_FOLDER}/{cells['filename']}")

    def parse(cells, where):
      study, film = iu_reports.film_id(cells["filename"])
      if study != f"CXR{cells['uid']}" or cells["uid"] not in reports:
        raise ValueError(f"{cells['filename']} has no report {cells['uid']}")
      return _row(
        study,
        film,
        reports[cells["uid"]],
        file=file_of(cells),
        view=_view(cells),
        split=splits[study],
        where=where,
      )

    yield from self.parse_table(
      tables.find_table(source, _PROJECTIONS),
      _FILM_COLUMNS,
      parse,
      file_of=file_of,
      optional=(),
    )

  def _r2gen_rows(self, path) -> Iterator[Row]:
    """Lists the pictures of R2Gen's studies, then those of other studies."""
    folder = self.options.source / "images"
    prefix = "images/" if folder.is_dir() else ""
    named = set()
    for study, report in iu_reports.read_r2gen(path):
      for film in report.films:
        yield _row(
          iu_reports.study_number(study),
          f"{study}/{pathlib.PurePosixPath(film).stem}",
          report,
          file=f"{prefix}{film}",
          view="",
          split=report.split,
          where=f"{path.name} {study}",
        )
        named.add(film)
    for film in film_files.find_films(folder):
      if film not in named:
        file = f"{prefix}{film}"
        yield Row(file=file, where=file, skip="film of no study of R2Gen")

  def _files(self) -> dict[str, str]:
    """Maps films to their files, wherever they lie under the source."""
    files: dict[str, str] = {}
    for file in film_files.find_films(self.options.source):
      with contextlib.suppress(ValueError):
        _, film = iu_reports.film_id(file.rpartition("/")[2])
        files.setdefault(film, file)
    return files

  def _views(self) -> dict[str, str]:
    """Maps films to their views; empty where no table tells."""
    path = tables.optional_table(self.options.source, _PROJECTIONS)
    if path is None:
      return {}
    return self.keyed_table(
      path,
      _FILM_COLUMNS,
      lambda cells: (iu_reports.film_id(cells["filename"])[1], _view(cells)),
      optional=(),
    )

  def _splits(self) -> Mapping[str, str]:
    """Maps reports to R2Gen's split, all to '' where its file is absent."""
    path = self.options.source / _R2GEN
    if not path.is_file():
      return collections.defaultdict(str)
    splits = collections.defaultdict(lambda: "train")
    for study, report in iu_reports.read_r2gen(path):
      number = iu_reports.study_number(study)
      if splits.setdefault(number, report.split) != report.split:
        raise ValueError(f"{path.name} has {number} in two splits")
    return splits


def _row(study: str, film: str, report: Report, **fields: str) -> Row:
  return Row(
    image_id=film,
    patient_id=study,
    report=report.text,
    findings=report.findings,
    impression=report.impression,
    indication=report.indication,
    **fields,
  )


def _view(cells: tables.Cells) -> str:
  if cells["projection"] not in _VIEWS:
    raise ValueError(f"projection {cells['projection']!r} is unknown")
  return _VIEWS[cells["projection"]]
