"""CheXmask over generated trees of its six sets."""

import io
import re

import film_trees
import numpy as np
import pandas as pd
import pytest
import release_frames
from PIL import Image
from release_trees import chexmask as tree

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import chexmask_outlines

DATASETS = {
  "ChestX-Ray8": "nih_cxr8",
  "CheXpert": "chexpert",
  "MIMIC-CXR-JPG": "mimic_cxr",
  "Padchest": "padchest",
  "VinDr-CXR": "vindr_cxr",
}
NAMES = {
  "Right Lung": "right_lung",
  "Left Lung": "left_lung",
  "Heart": "heart",
}


def _decoded(runs: str, height: int, width: int) -> np.ndarray:
  flat = np.zeros(height * width, bool)
  numbers = [int(number) for number in runs.split()]
  for start, length in zip(numbers[::2], numbers[1::2], strict=True):
    flat[start - 1 : start - 1 + length] = True
  return flat.reshape(height, width)


def _filled(points, height: int, width: int) -> np.ndarray:
  """Counts the edges to the right of each pixel, one pixel after another."""
  mask = np.zeros((height, width), bool)
  for y in range(height):
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
      if (y0 > y) != (y1 > y):
        edge = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        mask[y, : int(np.ceil(edge)) if edge > 0 else 0] ^= True
  return mask


def _expected_masks(cells: pd.Series, height: int, width: int):
  grid = (cells["Height"] or height, cells["Width"] or width)
  exchanged = tuple(map(int, grid)) != (height, width)
  numbers = re.findall(r"\d+", cells["Landmarks"])
  points = np.array(numbers, int).reshape(-1, 2)
  masks = {}
  for organ, part in tree.ORGANS.items():
    if cells[organ] and not exchanged:
      masks[NAMES[organ]] = _decoded(cells[organ], height, width)
    elif len(points):
      masks[NAMES[organ]] = _filled(points[part], height, width)
  return masks


def _read(table) -> pd.DataFrame:
  found = pd.read_csv(table, dtype=str, keep_default_na=False)
  column = tree.ID_COLUMNS[table.name.split(".")[0]]
  quality = found[[tree.MEAN, tree.MAX]].astype(float).min(axis=1)
  return found.assign(quality=quality).set_index(column)


def _make(folder, name, **options):
  seed = list(tree.ID_COLUMNS).index(name)
  table = tree.make_tree(folder, seed=seed, num_patients=40, table=name)
  options = {"labels_csv": table, **options}
  return table, release_frames.build("chexmask", folder / "films", **options)


@pytest.mark.parametrize("name", DATASETS)
def test_rows_are_those_of_the_films(tmp_path, name):
  table, dataset = _make(tmp_path, name)
  films = release_frames.build(DATASETS[name], tmp_path / "films")
  assert dataset.label_names() == films.label_names()
  known = {row.image_id: row for row in films.rows() if not row.fault}
  rows = _read(table).drop("of another release")
  found = [row for row in dataset.rows() if not row.fault]
  assert [row.image_id for row in found] == rows.index.to_list()
  for row, quality in zip(found, rows["quality"], strict=True):
    film = known[row.image_id]
    assert row.skip == "mask quality below 0.7" * (quality < 0.7)
    for field in (*release_frames.FIELDS, "labels", "boxes", "report"):
      # NaN is not itself.
      assert str(getattr(row, field)) == str(getattr(film, field))


def test_candid_ptx_is_found_by_name(tmp_path):
  table, dataset = _make(tmp_path, "CANDID-PTX")
  files = {path.stem: path for path in (tmp_path / "films").rglob("4.*")}
  ids = _read(table).index.drop("of another release")
  found = {row.image_id: row.file for row in dataset.rows() if not row.fault}
  assert found == {
    name: f"images/{files[name.removesuffix('.jpg')].name}" for name in ids
  }
  assert any(not file.endswith(".jpg") for file in found.values())


@pytest.mark.parametrize("name", tree.ID_COLUMNS)
def test_prepared(tmp_path, name):
  table, dataset = _make(tmp_path, name)
  manifest, _ = film_trees.prepare(
    tmp_path / "films",
    tmp_path / "data",
    dataset="chexmask",
    labels_csv=table,
    holdout_percent=20.0,
    max_broken_percent=20.0,
  )
  rows = _read(table).drop("of another release")
  good = rows[rows["quality"] >= 0.7]
  skipped = len(rows) - len(good)
  assert manifest["skipped"] == {"mask quality below 0.7": skipped}
  sizes, kinds = {}, set()
  for split, films in manifest["films"].items():
    for example in (
      open_films(tmp_path / "data", "chexmask", split) if films else ()
    ):
      shape = np.asarray(Image.open(io.BytesIO(example["image"]))).shape
      expected = _expected_masks(good.loc[example["image_id"]], *shape)
      masks = {organ: png for organ, png in example["masks"].items() if png}
      assert set(masks) == set(expected)
      for organ, png in masks.items():
        found = np.asarray(Image.open(io.BytesIO(png)))
        np.testing.assert_array_equal(found, 255 * expected[organ])
      sizes[example["image_id"]] = shape
      kinds.add(len(masks))
  bare = [cells for film, cells in good.iterrows() if film not in sizes]
  assert not any(_expected_masks(cells, 40, 32) for cells in bare)
  assert len(sizes) > 15 and kinds >= {3}
  faults = [row for row in dataset.rows() if row.fault]
  assert manifest["quarantined"] == len(bare) + len(faults) >= 1


def test_left_is_on_the_right(tmp_path):
  table, _ = _make(tmp_path, "CheXpert")
  cells = _read(table).iloc[0].to_dict()
  masks = chexmask_outlines.organ_masks(cells, height=40, width=32)
  columns = {name: mask.nonzero()[1].mean() for name, mask in masks.items()}
  assert columns["right_lung"] < columns["heart"] < columns["left_lung"]


def test_quality_is_the_users_choice(tmp_path):
  table, dataset = _make(tmp_path, "MIMIC-CXR-JPG", min_mask_quality=0.9)
  quality = _read(table).drop("of another release")["quality"]
  skips = [row.skip for row in dataset.rows() if not row.fault]
  assert skips == ["mask quality below 0.9" * (q < 0.9) for q in quality]


def test_new_outlines_change_the_fingerprint(tmp_path):
  table, dataset = _make(tmp_path, "CANDID-PTX", min_mask_quality=0.0)
  before = [dataset.fingerprint(r) for r in dataset.rows() if not r.fault]
  lines = table.read_text().splitlines(True)
  assert '"' in lines[1]
  number = lines[1].index('"') + 1
  lines[1] = lines[1][:number] + "9" + lines[1][number:]
  table.write_text("".join(lines))
  after = [dataset.fingerprint(r) for r in dataset.rows() if not r.fault]
  assert before[0] != after[0] and before[1:] == after[1:]


def test_faulty_rows_are_named(tmp_path):
  table, dataset = _make(tmp_path, "CANDID-PTX", min_mask_quality=0.0)
  column = "ImageID"
  found = pd.read_csv(table, dtype=str, keep_default_na=False)
  found.loc[0, tree.MEAN] = ""
  found.loc[3, column] = found.loc[2, column]
  found.to_csv(table, index=False)
  faults = release_frames.faults(dataset)
  last = len(found) + 1
  ids = found[column]
  assert faults.pop("CANDID-PTX.csv row 2") == (
    "CANDID-PTX.csv row 2: Dice RCA (Mean) or Dice RCA (Max) is no number"
  )
  assert faults.pop(f"CANDID-PTX.csv row {last}") == (
    f"CANDID-PTX.csv row {last}: of another release is no film of "
    f"{tmp_path / 'films'}"
  )
  assert [why.partition(" is ")[2] for why in faults.values()] == [
    "listed twice: CANDID-PTX.csv row 4 and CANDID-PTX.csv row 5"
  ]
  assert ids[2].removesuffix(".jpg") in next(iter(faults))


def test_damaged_outlines_are_named(tmp_path):
  table, _ = _make(tmp_path, "CANDID-PTX")
  found = pd.read_csv(table, dtype=str, keep_default_na=False)
  found[[tree.MEAN, tree.MAX]] = "0.9"
  found.loc[0, "Heart"] = "1 2 3"
  found.loc[1, "Landmarks"] = "[[1 2]]"
  found.loc[2, ["Height", "Width"]] = "1024"
  found.loc[3, ["Landmarks", "Left Lung", "Right Lung", "Heart"]] = ""
  found.loc[4, "Heart"] = "1 2000"
  found.loc[5, "Height"] = "tall"
  found.to_csv(table, index=False)
  film_trees.prepare(
    tmp_path / "films",
    tmp_path / "data",
    dataset="chexmask",
    labels_csv=table,
    max_broken_percent=50.0,
  )
  path = next((tmp_path / "data").rglob("quarantine.csv"))
  reasons = {}
  for cells in film_trees.read_csv(path):
    place, _, reason = cells["reason"].partition(": ")
    reasons[int(place.removeprefix("CANDID-PTX.csv row "))] = reason
  last = len(found) + 1
  assert reasons.pop(last).startswith("of another release is no film of")
  assert reasons == {
    2: "run lengths end in a start: 3 numbers",
    3: "Landmarks are not 120 points",
    4: "masks are 1024 x 1024, the film 40 x 32; the tables in "
    "OriginalResolution fit films of the releases",
    5: "outlines neither lungs nor heart",
    6: "run '1 2000' leaves the mask of 40 x 32 pixels",
    7: "Height tall or Width 32 is no number",
  }


def test_a_smaller_copy_of_the_film(tmp_path):
  table, _ = _make(tmp_path, "CANDID-PTX")
  cells = _read(table).iloc[0].to_dict()
  full = chexmask_outlines.organ_masks(cells, height=40, width=32)
  half = chexmask_outlines.organ_masks(cells, height=20, width=16)
  for name, mask in half.items():
    np.testing.assert_array_equal(mask, full[name][1::2, 1::2])
  with pytest.raises(ValueError, match="masks are 40 x 32, the film 20 x 20"):
    chexmask_outlines.organ_masks(cells, height=20, width=20)
  with pytest.raises(ValueError, match="masks are 40 x 32, the film 80 x 64"):
    chexmask_outlines.organ_masks(cells, height=80, width=64)


def test_what_is_missing_stops_in_one_line(tmp_path):
  table, _ = _make(tmp_path, "CheXpert")
  films = tmp_path / "films"
  for path in (None, tmp_path, table.with_name("JSRT.csv")):
    with pytest.raises(ValueError, match=r"is no table of CheXmask, such as"):
      release_frames.build("chexmask", films, labels_csv=path)
  other = table.with_name("VinDr-CXR.csv")
  with pytest.raises(FileNotFoundError, match=r"VinDr-CXR\.csv is not in .* f"):
    release_frames.build("chexmask", films, labels_csv=other)
  with pytest.raises(FileNotFoundError, match=f"give --source={films}$"):
    list(release_frames.build("chexmask", tmp_path, labels_csv=table).rows())
  table.rename(other)
  with pytest.raises(FileNotFoundError, match="train or test is not in"):
    list(release_frames.build("chexmask", tmp_path, labels_csv=other).rows())


def test_a_table_cut_short_is_used_as_far_as_it_goes(tmp_path):
  table, dataset = _make(tmp_path, "ChestX-Ray8")
  whole = [row.image_id for row in dataset.rows() if not row.fault]
  data = table.read_bytes()
  assert table.suffix == ".gz"
  table.write_bytes(data[: len(data) * 2 // 3])
  rows = list(dataset.rows())
  found = [row.image_id for row in rows if not row.fault]
  assert 10 < len(found) < len(whole) and found == whole[: len(found)]
  cut = next(row.fault for row in rows if row.file == table.name)
  assert cut.startswith(f"{table.name} is cut short after line")


def test_golden_masks_of_real_films(real_data_dir, tmp_path):
  real = real_data_dir / "covid_cxr"
  rows = pd.read_csv(
    real / "masks_chexmask_format.csv", dtype=str, keep_default_na=False
  )
  table = tmp_path / "CANDID-PTX.csv"
  rows.assign(**{tree.MEAN: 1, tree.MAX: 1, "Landmarks": ""}).to_csv(
    table, index=False
  )
  manifest, _ = film_trees.prepare(
    real / "images",
    tmp_path,
    dataset="chexmask",
    labels_csv=table,
    all_views=True,
    holdout_percent=0.0,
  )
  assert manifest["films"]["train"] == len(rows)
  assert not manifest["quarantined"]
  rows = rows.set_index("ImageID")
  for example in open_films(tmp_path, "chexmask", "train"):
    name = example["image_id"]
    painted = np.asarray(
      Image.open(real / "masks_radiologist" / f"{name.rpartition('.')[0]}.png")
    )
    masks = {
      organ: np.asarray(Image.open(io.BytesIO(png))) > 0
      for organ, png in example["masks"].items()
      if png
    }
    drawn = {NAMES[n] for n in NAMES if rows.loc[name, n]}
    assert set(masks) == drawn
    over = np.zeros(painted.shape, bool)  # Organs painted over this one.
    for value, organ in ((3, "heart"), (2, "right_lung"), (1, "left_lung")):
      if organ in masks:
        np.testing.assert_array_equal(masks[organ] & ~over, painted == value)
        over |= masks[organ]


def test_golden_real_rows(real_data_dir):
  tables = sorted((real_data_dir / "chexmask/Preprocessed").glob("*.csv.gz"))
  assert len(tables) == 6
  for table in tables:
    rows = _read(table)
    for cells in rows.to_dict("records"):
      masks = chexmask_outlines.organ_masks(cells, height=1024, width=1024)
      blank = {name: "" for name in tree.ORGANS}
      drawn = chexmask_outlines.organ_masks(
        cells | blank, height=1024, width=1024
      )
      for organ, name in NAMES.items():
        expected = _decoded(cells[organ], 1024, 1024)
        np.testing.assert_array_equal(masks[name], expected)
        overlap = 2 * (drawn[name] & expected).sum()
        dice = overlap / (drawn[name].sum() + expected.sum())
        assert dice >= 0.99
