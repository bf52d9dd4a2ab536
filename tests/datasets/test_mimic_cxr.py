"""MIMIC-CXR-JPG in generated trees of its layout, with reports."""

import gzip
import pathlib

import film_trees
import pandas as pd
import pytest
import release_frames
from release_trees import mimic_cxr as tree

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import labels, report_sections

STEM = "mimic-cxr-2.0.0"
SPLITS = {"train": "train", "validate": "validation", "test": "test"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A tree that no test may change."""
  root = tmp_path_factory.mktemp("mimic")
  tree.make_tree(root, seed=0, num_patients=100)
  return root


@pytest.fixture
def small(tmp_path):
  """A smaller one of the test's own."""
  tree.make_tree(tmp_path / "raw", seed=1, num_patients=12)
  return tmp_path / "raw"


def _read(folder: pathlib.Path, name: str) -> pd.DataFrame:
  return pd.read_csv(folder / name, dtype={"study_id": str, "subject_id": str})


def _labels(table: pd.DataFrame, studies: pd.Series, suffix: str):
  values = table.set_index("study_id")[tree.LABELS]
  values = values.fillna(labels.NOT_MENTIONED).reindex(studies)
  values = values.fillna(labels.MISSING).astype(int).add_suffix(suffix)
  return values.reset_index(drop=True)


def _expected(folder: pathlib.Path, *, gold: bool) -> pd.DataFrame:
  split = _read(folder, f"{STEM}-split.csv.gz")
  metadata = _read(folder, f"{STEM}-metadata.csv.gz")
  views = metadata[["dicom_id", "ViewPosition"]]
  films = split.merge(views, on="dicom_id", validate="1:1")
  subject, study = "p" + films["subject_id"], "s" + films["study_id"]
  group = subject.str[:3]
  fields = pd.DataFrame(
    {
      "file": "files/"
      + (group + "/" + subject + "/" + study + "/")
      + (films["dicom_id"] + ".jpg"),
      "patient_id": films["subject_id"],
      "split": films["split"].map(SPLITS),
      "view": films["ViewPosition"].fillna(""),
      "sex": "",
      "age_years": float("nan"),
    }
  )
  parts = [fields]
  for suffix, name in {"": "chexpert", " (NegBio)": "negbio"}.items():
    table = _read(folder, f"{STEM}-{name}.csv.gz")
    parts.append(_labels(table, films["study_id"], suffix))
  if gold:
    table = _read(folder, "mimic-cxr-2.1.0-test-set-labeled.csv")
    table = table.rename(columns={"Airspace Opacity": "Lung Opacity"})
    parts.append(_labels(table, films["study_id"], " (radiologist)"))
  return pd.concat(parts, axis=1).set_axis(films["dicom_id"])


def test_rows(made):
  found = release_frames.frame(release_frames.build("mimic_cxr", made))
  assert len(found) > 350 and set(found["split"]) == set(SPLITS.values())
  assert (found["Edema"] == labels.MISSING).any()
  release_frames.assert_same(found, _expected(made, gold=True))


def test_rows_of_the_older_release(tmp_path):
  tree.make_tree(
    tmp_path, seed=2, num_patients=30, version="2.0.0", reports=None
  )
  found = release_frames.frame(release_frames.build("mimic_cxr", tmp_path))
  release_frames.assert_same(found, _expected(tmp_path, gold=False))


def test_tables_that_were_unpacked(small):
  before = release_frames.frame(release_frames.build("mimic_cxr", small))
  for path in small.glob("*.csv.gz"):
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
  after = release_frames.frame(release_frames.build("mimic_cxr", small))
  release_frames.assert_same(after, before)


@pytest.mark.parametrize("folder", ["files", "mimic-cxr-reports/files"])
def test_reports_are_those_of_the_study(tmp_path, folder):
  tree.make_tree(tmp_path, seed=3, num_patients=15, reports=folder)
  dataset = release_frames.build("mimic_cxr", tmp_path)
  seen = set()
  for row in dataset.rows():
    study = pathlib.Path(row.file).parent
    path = tmp_path / folder / study.relative_to("files").with_suffix(".txt")
    texts = dataset.texts(row)
    assert texts["report"] == path.read_text()
    sections = report_sections.split_report(texts["report"], study=study.name)
    assert texts["findings"] == sections.findings
    assert texts["impression"] == sections.impression != ""
    assert texts["indication"].startswith("___ year old with cough")
    seen.add((bool(texts["findings"]), "ADDENDUM" in texts["report"]))
  assert len(seen) >= 3


def test_prepared(small, tmp_path):
  # One report is gone: its films stay.
  lost = next(small.rglob("*.txt"))
  lost.unlink()
  manifest, _ = film_trees.prepare(
    small, tmp_path / "data", dataset="mimic_cxr"
  )
  table = _expected(small, gold=True)
  lateral = table["view"].isin(["LATERAL", "LL", "SWIMMERS", "XTABLE LATERAL"])
  counts = table[~lateral]["split"].value_counts()
  assert manifest["films"] == {
    split: counts.get(split, 0) for split in SPLITS.values()
  }
  assert manifest["skipped"] == {"lateral view": lateral.sum()}
  assert manifest["unknown_view"] == (table["view"] == "").sum()
  names, reports = manifest["label_names"], 0
  for split, count in manifest["films"].items():
    for example in (
      open_films(tmp_path / "data", "mimic_cxr", split) if count else ()
    ):
      row = table.loc[example["image_id"]]
      assert row["split"] == split
      assert example["labels"].tolist() == row[names].to_list()
      study = pathlib.Path(row["file"]).parent
      assert bool(example["report"]) == (study.name != lost.stem)
      reports += bool(example["findings"])
  assert reports > 5


def _drop(path: pathlib.Path, line: int, *, again: int = 0) -> list[str]:
  """Takes a line out of a table; repeats another at its end."""
  lines = gzip.decompress(path.read_bytes()).decode().splitlines(True)
  kept = lines[: line - 1] + lines[line:]
  kept += [lines[again - 1]] if again else []
  path.write_bytes(gzip.compress("".join(kept).encode()))
  return lines


def test_tables_that_disagree_are_told(small):
  split, views = (
    _drop(small / f"{STEM}-{name}.csv.gz", line, again=again)
    for name, line, again in (("split", 3, 5), ("metadata", 4, 6))
  )
  _drop(small / f"{STEM}-chexpert.csv.gz", 20, again=4)
  found = release_frames.faults(release_frames.build("mimic_cxr", small))
  told = " | ".join(found.values())
  ids = [line.split(",")[0] for line in split]
  assert ids == [line.split(",")[0] for line in views]
  assert (
    f"{ids[2]} is in {STEM}-metadata.csv.gz but not in {STEM}-split" in told
  )
  assert f"{ids[3]} is not in {STEM}-metadata.csv.gz" in told
  assert f"{STEM}-metadata.csv.gz row {len(views)} lists {ids[5]} for" in told
  assert "listed twice" in told and "chexpert.csv.gz row" in told
  assert sum("no table lists" in why for why in found.values()) == 1


def test_what_is_missing_stops_in_one_line(small):
  inside = small / "files"
  with pytest.raises(FileNotFoundError, match=f"give --source={small}$"):
    release_frames.frame(release_frames.build("mimic_cxr", inside))
  path = small / f"{STEM}-split.csv.gz"
  text = gzip.decompress(path.read_bytes()).decode()
  path.write_bytes(gzip.compress(text.replace("study_id", "study").encode()))
  with pytest.raises(
    ValueError, match=r"split\.csv\.gz has no column study_id"
  ):
    release_frames.frame(release_frames.build("mimic_cxr", small))
  path.write_bytes(gzip.compress(text.replace(",train", ",dev").encode()))
  found = release_frames.faults(release_frames.build("mimic_cxr", small))
  assert "split 'dev' is not in ('train', 'validate'" in str(found)
  path.unlink()
  with pytest.raises(
    FileNotFoundError, match=r"split\.csv\.gz is not in .*fou"
  ):
    release_frames.frame(release_frames.build("mimic_cxr", small))
