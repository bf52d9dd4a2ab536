"""The Indiana collection in generated trees of its three owners, and real."""

import itertools
import json
import pathlib
import xml.etree.ElementTree as ET

import film_trees
import pandas as pd
import pytest
import release_frames
from release_trees import iu_xray as tree

from scan42_jax.data.pipeline import open_films

TEXTS = ("report", "findings", "impression", "indication")
VIEWS = {"Frontal": "FRONTAL", "Lateral": "LATERAL"}
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@pytest.fixture
def small(tmp_path):
  """A tree of the test's own, of Open-i."""
  tree.make_tree(tmp_path / "raw", seed=4, num_patients=40)
  return tmp_path / "raw"


def _frame(dataset) -> tuple[pd.DataFrame, dict[str, str]]:
  """Rows with their texts, and skipped ones by file."""
  rows = list(dataset.rows())
  dataset.rows = lambda: iter([row for row in rows if not row.skip])
  found = release_frames.frame(dataset)
  for name in TEXTS:
    found[name] = [getattr(row, name) for row in rows if not row.skip]
  return found, {row.file: row.skip for row in rows if row.skip}


def _sections_of_xml(path: pathlib.Path) -> dict[str, str]:
  found = {}
  for node in ET.parse(path).iter("AbstractText"):
    found[node.get("Label").lower()] = " ".join((node.text or "").split())
  return found


def _fields(table: pd.DataFrame) -> pd.DataFrame:
  """The frame of films from columns file, uid, split, view and sections."""
  heads = ("comparison", "indication", "findings", "impression")
  lines = pd.DataFrame(
    {
      head: (head.upper() + ": " + table[head] + "\n").where(
        table[head] != "", ""
      )
      for head in heads
    }
  )
  return pd.DataFrame(
    {
      "file": table["file"],
      "patient_id": "CXR" + table["uid"],
      "split": table["split"],
      "view": table["view"],
      "sex": "",
      "age_years": float("nan"),
      "report": lines.sum(axis=1).str.removesuffix("\n"),
      **{name: table[name] for name in TEXTS[1:]},
    }
  )


def _r2gen(folder: pathlib.Path) -> pd.DataFrame:
  lists = json.loads((folder / "annotation.json").read_text())
  table = pd.DataFrame([*itertools.chain(*lists.values())])
  table["uid"] = table["id"].str.extract(r"CXR(\d+)_")
  table["split"] = table["split"].map(SPLITS)
  return table


def _expected(folder: pathlib.Path, sections: pd.DataFrame) -> pd.DataFrame:
  """Films of Open-i or Kaggle, from the projections and reports by uid."""
  table = pd.read_csv(folder / "indiana_projections.csv", dtype=str)
  table = table.join(sections, on="uid")
  splits = _r2gen(folder).set_index("uid")["split"]
  table["split"] = table["uid"].map(splits).fillna("train")
  table["view"] = table["projection"].map(VIEWS)
  rest = table["filename"].str.split("_", n=1).str[1]
  table.index = "CXR" + table["uid"] + "_" + rest.str.removesuffix(".dcm.png")
  return table


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_open_i(tmp_path, seed):
  tree.make_tree(tmp_path, seed=seed, num_patients=200)
  found, skipped = _frame(release_frames.build("iu_xray", tmp_path))
  xml = {p.stem: p for p in (tmp_path / "ecgen-radiology").glob("*.xml")}
  sections = pd.DataFrame({n: _sections_of_xml(p) for n, p in xml.items()}).T
  table = _expected(tmp_path, sections)
  files = {
    path.stem.replace("CXR1_1_", "CXR1_"): str(path.relative_to(tmp_path))
    for path in (tmp_path / "NLMCXR_png").iterdir()
  }
  table["file"] = table.index.map(files)
  release_frames.assert_same(found, _fields(table))
  assert len(found) > 300 and set(found["split"]) == set(SPLITS.values())
  empty = set(xml) - set(table["uid"])
  assert empty and skipped == dict.fromkeys(
    (f"ecgen-radiology/{uid}.xml" for uid in empty), "report without a film"
  )


def test_rows_of_open_i_alone(tmp_path):
  tree.make_tree(tmp_path, seed=2, num_patients=30, companions=False)
  # Unpacked into a folder of its own.
  (tmp_path / "reports").mkdir()
  (tmp_path / "ecgen-radiology").rename(tmp_path / "reports/ecgen-radiology")
  found, _ = _frame(release_frames.build("iu_xray", tmp_path))
  assert len(found) == len(list(tmp_path.rglob("*.png")))
  assert set(found["view"]) == set(found["split"]) == {""}


def test_rows_of_kaggle(tmp_path):
  tree.make_tree(tmp_path, seed=3, num_patients=200, form="kaggle")
  found, skipped = _frame(release_frames.build("iu_xray", tmp_path))
  reports = pd.read_csv(
    tmp_path / "indiana_reports.csv", dtype=str, keep_default_na=False
  ).set_index("uid")
  sections = reports[["comparison", "indication", "findings", "impression"]]
  sections = sections.apply(
    lambda column: column.str.replace(r"\s+", " ", regex=True)
  )
  table = _expected(tmp_path, sections)
  table["file"] = "images/images_normalized/" + table["filename"]
  release_frames.assert_same(found, _fields(table))
  assert len(found) > 300 and not skipped


def test_both_names_of_a_film_have_one_id(tmp_path):
  frames = []
  for form in ("open-i", "kaggle"):
    source = tmp_path / form
    tree.make_tree(source, seed=5, num_patients=40, form=form)
    frames.append(_frame(release_frames.build("iu_xray", source))[0])
  release_frames.assert_same(*(frame.drop(columns="file") for frame in frames))


@pytest.mark.parametrize("seed", [6, 7])
def test_rows_of_r2gen(tmp_path, seed):
  tree.make_tree(tmp_path, seed=seed, num_patients=200, form="r2gen")
  (tmp_path / "indiana_projections.csv").unlink()
  found, skipped = _frame(release_frames.build("iu_xray", tmp_path))
  table = _r2gen(tmp_path).explode("image_path")
  table = table.rename(columns={"report": "findings"}).assign(
    file="images/" + table["image_path"],
    view="",
    **dict.fromkeys(("comparison", "indication", "impression"), ""),
  )
  table["findings"] = table["findings"].str.split().str.join(" ")
  table.index = table["image_path"].str.removesuffix(".png")
  release_frames.assert_same(found, _fields(table))
  assert len(found) > 200
  assert skipped == {
    "images/CXR9999_IM-0001/0.png": "film of no study of R2Gen"
  }


def test_prepared(small, tmp_path):
  manifest, _ = film_trees.prepare(
    small, tmp_path, dataset="iu_xray", all_views=True
  )
  found, _ = _frame(release_frames.build("iu_xray", small))
  films = manifest["films"]
  assert films == {n: (found["split"] == n).sum() for n in SPLITS.values()}
  assert not manifest["quarantined"] and manifest["label_names"] == []
  for split, count in films.items():
    for example in open_films(tmp_path, "iu_xray", split) if count else ():
      row = found.loc[example["image_id"]]
      names = (*TEXTS, "patient_id", "view")
      assert [example[n] for n in names] == row[list(names)].to_list()
      assert example["labels"].shape == (0,)


def test_faulty_reports_are_named(small):
  xml = sorted((small / "ecgen-radiology").glob("*.xml"))
  damaged, unnamed, lost = [p for p in xml if "parentImage" in p.read_text()][
    :3
  ]
  films = {p.stem: str(p.relative_to(small)) for p in small.rglob("*.png")}

  def named(path):
    return [n.get("id") for n in ET.parse(path).iter("parentImage")]

  orphans = named(damaged)
  damaged.write_text(damaged.read_text()[:-20])
  gone = named(unnamed)
  unnamed.write_text(unnamed.read_text().replace(gone[0], "scan.png"))
  (small / films[named(lost)[0]]).unlink()
  with (small / "indiana_projections.csv").open("a") as stream:
    stream.write("1,1_IM-9-9.dcm.png,Oblique\n1,scan.png,Frontal\n")
  dataset = release_frames.build("iu_xray", small)
  found = release_frames.faults(dataset)
  last = len((small / "indiana_projections.csv").read_text().splitlines())
  rows = [f"indiana_projections.csv row {last - n}" for n in (1, 0)]
  assert set(found) == {
    f"ecgen-radiology/{damaged.name}",
    f"ecgen-radiology/{unnamed.name}",
    *(films[name] for name in orphans + gone),
    *rows,
  }
  assert "damaged XML" in found[f"ecgen-radiology/{damaged.name}"]
  assert "'scan.png' is no film" in found[f"ecgen-radiology/{unnamed.name}"]
  assert found[films[orphans[0]]] == "no report names this film"
  assert "projection 'Oblique' is unknown" in found[rows[0]]
  with pytest.raises(FileNotFoundError):
    for row in dataset.rows():
      dataset.fingerprint(row)


def test_faulty_rows_of_kaggle_are_named(tmp_path):
  source = tmp_path / "raw"
  tree.make_tree(source, seed=8, num_patients=20, form="kaggle")
  lines = (source / "indiana_reports.csv").read_text().splitlines(True)
  table = pd.read_csv(source / "indiana_projections.csv")
  uid = table["uid"].iloc[-1]
  kept = [line for line in lines if not line.startswith(f"{uid},")]
  (source / "indiana_reports.csv").write_text("".join([*kept, kept[1]]))
  found = release_frames.faults(release_frames.build("iu_xray", source))
  films = table.loc[table["uid"] == uid, "filename"]
  assert set(found) == {
    f"indiana_reports.csv row {len(kept) + 1}",
    *("images/images_normalized/" + films),
  }
  name = films.iloc[-1]
  assert found[f"images/images_normalized/{name}"] == (
    f"indiana_projections.csv row {len(table) + 1}: {name} has no report {uid}"
  )


def test_a_table_in_another_encoding_is_used(tmp_path):
  source = tmp_path / "raw"
  tree.make_tree(source, seed=8, num_patients=20, form="kaggle")
  path = source / "indiana_reports.csv"
  text = path.read_text().replace("Lungs are", "Lungs (français) are")
  path.write_bytes(text.encode("cp1252"))
  lines = text.count("français")
  rows = list(release_frames.build("iu_xray", source).rows())
  assert any("Lungs (français) are" in row.report for row in rows)
  faults = [row.fault for row in rows if row.fault]
  assert len(faults) == 1
  number = int(faults[0].split()[2])
  assert 0 < number <= lines and faults[0] == (
    f"indiana_reports.csv has {number} lines in CP-1252 instead of UTF-8"
  )


def test_what_is_missing_stops_in_one_line(small, tmp_path):
  inside = small / "ecgen-radiology"
  with pytest.raises(FileNotFoundError, match=f"give --source={small}$"):
    release_frames.frame(release_frames.build("iu_xray", inside))
  kaggle = tmp_path / "kaggle"
  tree.make_tree(kaggle, seed=9, num_patients=9, form="kaggle")
  path = kaggle / "indiana_projections.csv"
  path.write_text(path.read_text().replace("projection", "view", 1))
  with pytest.raises(ValueError, match=r"has no column projection; columns f"):
    release_frames.frame(release_frames.build("iu_xray", kaggle))
  path.unlink()
  with pytest.raises(FileNotFoundError, match=r"projections\.csv is not in"):
    release_frames.frame(release_frames.build("iu_xray", kaggle))
  (small / "annotation.json").write_text("{}}")
  with pytest.raises(ValueError, match="is not R2Gen's lists"):
    release_frames.frame(release_frames.build("iu_xray", small))


def test_golden_counts_of_real_reports(real_data_dir, tmp_path):
  source = real_data_dir / "openi_reports"
  manifest, _ = film_trees.prepare(
    source,
    tmp_path,
    dataset="iu_xray",
    all_views=True,
    max_broken_percent=100.0,
  )
  xml = sorted((source / "ecgen-radiology").glob("*.xml"))
  named = [len(list(ET.parse(p).iter("parentImage"))) for p in xml]
  films = list((source / "images").glob("*.png"))
  splits = dict(_r2gen(source)[["uid", "split"]].to_numpy().tolist())
  counts = pd.Series(
    [splits.get(path.name[3:].partition("_")[0], "train") for path in films]
  ).value_counts()
  assert manifest["films"] == {n: counts.get(n, 0) for n in SPLITS.values()}
  # Most films of the reports are not in this folder.
  assert manifest["quarantined"] == sum(named) - len(films)
  assert manifest["skipped"] == {"report without a film": named.count(0)}
  assert not manifest["unknown_view"]
  for example in open_films(tmp_path, "iu_xray", "train"):
    uid = example["patient_id"].removeprefix("CXR")
    sections = _sections_of_xml(source / "ecgen-radiology" / f"{uid}.xml")
    for name in TEXTS[1:]:
      assert example[name] == sections[name]
