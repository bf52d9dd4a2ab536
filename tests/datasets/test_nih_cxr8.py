"""ChestX-ray14 in generated trees of its layout, and real films of it."""

import pathlib

import film_trees
import numpy as np
import pandas as pd
import pytest
import release_frames
from release_trees import nih_cxr8 as tree

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import nih_cxr8

TABLE = "Data_Entry_2017_v2020.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A tree that no test may change."""
  root = tmp_path_factory.mktemp("nih")
  tree.make_tree(root, seed=0, num_patients=120)
  return root


@pytest.fixture
def small(tmp_path):
  """A smaller one of the test's own."""
  tree.make_tree(tmp_path / "raw", seed=1, num_patients=15)
  return tmp_path / "raw"


def _findings(table: pd.DataFrame) -> pd.DataFrame:
  found = table["Finding Labels"].str.get_dummies(sep="|")
  return found.reindex(columns=sorted(tree.LABELS), fill_value=0)


def _expected(folder: pathlib.Path, table: pd.DataFrame) -> pd.DataFrame:
  test = pd.read_csv(folder / "test_list.txt", header=None)[0]
  names = table["Image Index"]
  files = {p.name: str(p.relative_to(folder)) for p in folder.rglob("*.png")}
  fields = pd.DataFrame(
    {
      "file": names.map(files),
      "patient_id": table["Patient ID"].astype(str),
      "split": np.where(names.isin(test), "test", ""),
      "view": table["View Position"],
      "sex": table["Patient Gender"],
      "age_years": table["Patient Age"],
    }
  )
  return pd.concat([fields, _findings(table)], axis=1).set_axis(names)


def test_rows(made):
  found = release_frames.frame(release_frames.build("nih_cxr8", made))
  assert len(found) > 200
  # The header's brackets hold commas: eleven columns.
  table = pd.read_csv(made / TABLE)
  assert table.shape[1] == 11
  release_frames.assert_same(found, _expected(made, table))


def test_rows_of_the_first_table(tmp_path):
  tree.make_tree(tmp_path, seed=2, num_patients=40, first_table=True)
  found = release_frames.frame(release_frames.build("nih_cxr8", tmp_path))
  table = pd.read_csv(tmp_path / "Data_Entry_2017.csv")
  ages = table["Patient Age"].str.extract(r"(\d+)Y")[0].astype(float)
  assert (ages > 400).sum() == 1
  table["Patient Age"] = ages.where(ages < 150)
  release_frames.assert_same(found, _expected(tmp_path, table))


def test_boxes(made):
  rows = {r.image_id: r for r in release_frames.build("nih_cxr8", made).rows()}
  names = ["name", "label", "x", "y", "w", "h"]
  table = pd.read_csv(
    made / "BBox_List_2017.csv", skiprows=1, header=None, usecols=range(6)
  ).set_axis(names, axis=1)
  assert len(table) > 10 and "Infiltrate" in set(table["label"])
  for name, row in rows.items():
    expected = table[table["name"] == name]
    found = [(b.left, b.top, b.width, b.height) for b in row.boxes]
    np.testing.assert_allclose(
      np.reshape(found, (-1, 4)), expected[["x", "y", "w", "h"]] / 1024
    )
    wanted = expected["label"].replace("Infiltrate", "Infiltration")
    assert [
      nih_cxr8.LABEL_NAMES[b.label] for b in row.boxes
    ] == wanted.to_list()


def test_prepared(made, tmp_path):
  manifest, _ = film_trees.prepare(
    made, tmp_path, dataset="nih_cxr8", holdout_percent=20.0
  )
  table = pd.read_csv(made / TABLE).set_index("Image Index")
  test = (made / "test_list.txt").read_text().split()
  films = manifest["films"]
  assert films["test"] == len(test) and sum(films.values()) == len(table)
  patients = {}
  for split in films:
    patients[split] = set()
    for example in open_films(tmp_path, "nih_cxr8", split):
      row = table.loc[example["image_id"]]
      assert (split == "test") == (example["image_id"] in test)
      assert example["patient_id"] == str(row["Patient ID"])
      assert example["age_years"] == row["Patient Age"]
      found = np.array(nih_cxr8.LABEL_NAMES)[example["labels"] == 1]
      assert "|".join(found) == "|".join(
        sorted(row["Finding Labels"].replace("No Finding", "").split("|"))
      )
      patients[split].add(example["patient_id"])
  assert patients["validation"] and patients["train"]
  assert not patients["validation"] & (patients["train"] | patients["test"])


def _edit(path: pathlib.Path, old: str, new: str) -> None:
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))


def test_faulty_rows_are_named(small):
  lines = (small / TABLE).read_text().splitlines()
  names = [line.split(",")[0] for line in lines]
  cells = lines[1].split(",")
  _edit(small / TABLE, lines[1], ",".join([cells[0], "Flu", *cells[2:]]))
  _edit(small / "train_val_list.txt", names[2] + "\n", "")
  (next(small.rglob(names[3]))).unlink()
  _edit(small / TABLE, lines[4] + "\n", lines[4] + "\n" + lines[4] + "\n")
  _edit(small / "BBox_List_2017.csv", ",,,\n", ",,,\nx.png,Flu,1,2,3,4,,,\n")
  dataset = release_frames.build("nih_cxr8", small)
  found = release_frames.faults(dataset)
  found = {pathlib.Path(file).name: why for file, why in found.items()}
  assert len(found) == 4
  assert "'Flu' names 'Flu'" in found[cells[0]]
  assert f"{names[2]!r} is in neither" in found[names[2]]
  twin = next(why for why in found.values() if "twice" in why)
  assert f"{TABLE} row 5 and {TABLE} row 6" in twin
  assert "is no box" in found["BBox_List_2017.csv row 2"]
  lost = next(row for row in dataset.rows() if row.image_id == names[3])
  with pytest.raises(FileNotFoundError):
    dataset.fingerprint(lost)


def test_what_is_missing_stops_in_one_line(small):
  _edit(small / TABLE, "Patient ID", "Patient")
  with pytest.raises(ValueError, match=r"has no column Patient ID; columns f"):
    release_frames.frame(release_frames.build("nih_cxr8", small))
  (small / "test_list.txt").write_text(
    (small / "train_val_list.txt").read_text()
  )
  with pytest.raises(ValueError, match=r"is in both train_val_list\.txt and"):
    release_frames.frame(release_frames.build("nih_cxr8", small))
  (small / "test_list.txt").unlink()
  with pytest.raises(FileNotFoundError, match=r"test_list\.txt is not in .* f"):
    release_frames.frame(release_frames.build("nih_cxr8", small))
  inside = small / "images_001"
  with pytest.raises(FileNotFoundError, match=f"give --source={small}$"):
    release_frames.frame(release_frames.build("nih_cxr8", inside))


def test_golden_counts_of_the_real_layout(real_data_dir, tmp_path):
  source = real_data_dir / "nih_cxr14" / "official_layout"
  table = pd.read_csv(source / TABLE)
  manifest, _ = film_trees.prepare(source, tmp_path, dataset="nih_cxr8")
  lists = {
    n: (source / n).read_text().split() for n in nih_cxr8._LISTS.values()
  }
  films = manifest["films"]
  assert films["test"] == len(lists["test_list.txt"])
  assert films["train"] + films["validation"] == len(
    lists["train_val_list.txt"]
  )
  assert sum(films.values()) == len(table) and not manifest["quarantined"]
  found = release_frames.frame(release_frames.build("nih_cxr8", source))
  release_frames.assert_same(found, _expected(source, table))


def test_golden_counts_of_real_films(real_data_dir, tmp_path):
  folder = real_data_dir / "nih_cxr14"
  table = pd.read_csv(folder / TABLE)
  source = tmp_path / "raw"
  for name in table["Image Index"]:
    film = source / "images_001" / "images" / name
    film.parent.mkdir(parents=True, exist_ok=True)
    # The content tells a JPEG from a PNG, not the name.
    film.symlink_to(folder / "images_518" / f"{name[:-4]}.jpg")
  (source / TABLE).symlink_to(folder / TABLE)
  fold = table["Patient ID"] % 5 == 0
  for name, chosen in (("test_list.txt", fold), ("train_val_list.txt", ~fold)):
    names = table.loc[chosen, "Image Index"]
    (source / name).write_text("".join(f"{n}\n" for n in names))
  manifest, _ = film_trees.prepare(
    source, tmp_path, dataset="nih_cxr8", short_side_px=64
  )
  assert sum(manifest["films"].values()) == len(table)
  assert manifest["films"]["test"] == fold.sum()
  labels = np.concatenate(
    [
      [example["labels"] for example in open_films(tmp_path, "nih_cxr8", split)]
      for split, count in manifest["films"].items()
      if count
    ]
  )
  assert labels.sum(0).tolist() == _findings(table).sum().to_list()
