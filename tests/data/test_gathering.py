"""Too much damage stops a preparation, which keeps what it has read."""

import film_trees
import pytest

from scan42_jax.data import records


@pytest.fixture
def source(tmp_path):
  """Twenty films, the last four of them cut."""
  for i in range(20):
    path = film_trees.write_film(tmp_path / "raw" / f"{i:02d}.png", seed=i)
    if i >= 16:
      path.write_bytes(path.read_bytes()[:60])
  return tmp_path / "raw"


def test_too_many_broken_films_stop_at_once_and_keep_the_work(source, tmp_path):
  data_dir = tmp_path / "data"
  with pytest.raises(ValueError) as caught:
    film_trees.prepare(source, data_dir, max_broken_percent=10.0)
  line = str(caught.value)
  assert "3 of 20 rows and files are broken (15.0 %" in line
  assert "--max_broken_percent" in line and "16.png: damaged" in line
  assert "\n" not in line
  partial = data_dir / "folder" / "partial"
  listed = film_trees.read_csv(partial / "quarantine.csv")
  assert [row["file"] for row in listed] == ["16.png", "17.png", "18.png"]
  assert str(partial / "quarantine.csv") in line
  journal = records.Journal(partial / "journal")
  assert len(list(journal.readings())) == 16
  manifest, said = film_trees.prepare(source, data_dir, max_broken_percent=20.0)
  assert sum(manifest["films"].values()) == 16
  assert manifest["quarantined"] == 4
  assert any("4/4 films read" in line for line in said)


def test_faults_of_tables_count_too_and_stop_before_any_film(source, tmp_path):
  rows = [{"file": f"{i:02d}.png"} for i in range(8)]
  rows += [{"file": "gone.png"}, {"file": "00.png"}]
  table = film_trees.write_table(tmp_path / "labels.csv", rows)
  with pytest.raises(ValueError, match=r"2 of 10 .*20\.0 %.*gone\.png"):
    film_trees.prepare(
      source, tmp_path / "data", labels_csv=table, max_broken_percent=19.0
    )
  assert not list((tmp_path / "data/folder/partial/journal").iterdir())
