"""What a prepared dataset holds, counted; as text and as a page."""

import math
import subprocess
import sys
from collections import Counter

import film_trees
import pytest

from scan42_jax.data import description, pipeline, statistics

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Twelve films of six patients, in three splits."""
  root = tmp_path_factory.mktemp("describe")
  rows = []
  for i in range(12):
    film_trees.write_film(
      root / "raw" / f"{i:02d}.png", seed=i, height=40 + i, width=32
    )
    rows.append(
      {
        "file": f"{i:02d}.png",
        "patient_id": f"p{i // 2}{HOSTILE}" if i < 9 else "",
        "split": ("train", "train", "train", "test")[i // 3],
        "view": "PA" if i % 2 else "",
        "sex": "MF"[i % 2] if i < 8 else "",
        "age": str(5 + 9 * i) if i else "",
        "report": "Clear." if i == 3 else "",
        "edema": ("1", "0", "-1", "")[i % 4],
        HOSTILE: "1",
      }
    )
  table = film_trees.write_table(root / "labels.csv", rows)
  film_trees.prepare(
    root / "raw", root / "data", labels_csv=table, keep_ids=True
  )
  return root / "data"


def _run(data_dir, *arguments):
  command = [sys.executable, "-m", "scan42_jax.data.describe", *arguments]
  return subprocess.run(
    [*command, f"--data_dir={data_dir}"],
    capture_output=True,
    text=True,
    env=film_trees.environment(),
  )


def test_counts_of_a_split(data_dir):
  counts = statistics.count_split(
    pipeline.open_films(data_dir, "folder", "train")
  )
  assert (counts.split, counts.num_films) == ("train", 9)
  assert counts.patients == {f"p{i}{HOSTILE}": 2 - (i == 4) for i in range(5)}
  assert counts.views == {"PA": 4, "unknown": 5}
  assert counts.sexes == {"M": 4, "F": 4, "unknown": 1}
  ages = [5 + 9 * i for i in range(1, 9)]
  expected = Counter(f"{a // 10 * 10}-{a // 10 * 10 + 9}" for a in ages)
  assert counts.ages == expected + Counter(unknown=1)
  assert counts.labels["edema"] == {1: 3, 0: 2, -1: 2, -3: 2}
  assert counts.sizes == {(40 + i, 32): 1 for i in range(9)}
  assert counts.extras == {"report": 1, "masks": 0, "boxes": 0}


@pytest.mark.parametrize(
  ("years", "band"),
  [(0.0, "0-9"), (9.99, "0-9"), (10.0, "10-19"), (89.9, "80-89"),
   (90.0, "90+"), (104.0, "90+"), (math.nan, "unknown")],
)  # fmt: skip
def test_age_band(years, band):
  assert statistics.age_band(years) == band


def test_quantile_and_positives():
  counts = Counter({10: 1, 20: 8, 30: 1})
  values = [statistics.quantile(counts, q) for q in (0, 0.1, 0.5, 0.95, 1)]
  assert values == [10, 10, 20, 30, 30]
  assert statistics.quantile(counts, 1, key=lambda v: -v) == -10
  assert statistics.positives(Counter({1: 1, 0: 3, -1: 9})) == 0.25
  assert math.isnan(statistics.positives(Counter({-2: 5})))


def test_tables_add_up(data_dir):
  splits = [
    statistics.count_split(pipeline.open_films(data_dir, "folder", split))
    for split in ("train", "test")
  ]
  tables = {table.title: table for table in description.tables(splits)}
  films = {row[0]: row[1:] for row in tables["Films"].rows}
  assert tables["Films"].columns == ("", "train", "test", "all")
  assert films["films"] == ("9", "3", "12")
  assert films["films of no known patient"] == ("0", "3", "3")
  assert films["most films of a patient"] == ("2", "0", "2")
  views = {row[0]: row[1:] for row in tables["Views"].rows}
  assert views["PA"] == ("4 (44.4 %)", "2 (66.7 %)", "6 (50.0 %)")
  labels = {row[0]: row[1:] for row in tables["Labels"].rows}
  assert labels["edema"] == ("3 (25.0 %)",) * 3 + ("0", "3 (25.0 %)")
  ages = [row[0] for row in tables["Age in years"].rows]
  assert ages[-1] == "unknown"
  starts = [int(band.rstrip("+").split("-")[0]) for band in ages[:-1]]
  assert starts == sorted(starts) and starts[-1] == 90
  sizes = {row[0]: row[1:] for row in tables["Stored size in pixels"].rows}
  assert sizes["height"] == ("40", "40", "45", "51", "51")
  assert sizes["short side"] == ("32",) * 5


def test_command_prints_tables(data_dir):
  for arguments in (("--dataset=folder",), ("folder",)):
    done = _run(data_dir, *arguments)
    assert done.returncode == 0, done.stderr
    assert "films of no known patient  0      3     3" in done.stdout
    assert "positive" in done.stdout and "edema" in done.stdout


def test_page_escapes_and_shows_films_only_on_request(data_dir, tmp_path):
  page = tmp_path / "pages" / "page.html"
  assert _run(data_dir, "folder", f"--html={page}").returncode == 0
  text = page.read_text()
  assert "<img" not in text and "<svg" in text and "4 (44.4 %)" in text
  done = _run(data_dir, "folder", f"--html={page}", "--thumbnails=2")
  assert done.returncode == 0, done.stderr
  text = page.read_text()
  assert text.count("<img") == 4  # Two splits have films.
  assert "<script" not in text and "&lt;script&gt;" in text
  assert 'src="http' not in text and "url(" not in text


def test_mistakes_end_in_one_line(data_dir):
  for arguments, message in [
    ((), "describe: name one dataset: --dataset=NAME"),
    (("a", "b"), "describe: name one dataset"),
    (("nih",), "describe: no dataset 'nih'"),
    (("folder", "--thumbnails=3"), "describe: --thumbnails needs --html"),
  ]:
    done = _run(data_dir, *arguments)
    assert done.returncode == 1 and done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
