"""The journal: what it is given survives, and nothing else."""

from scan42_jax.data import records
from scan42_jax.datasets.reading import Reading


def test_journal_gives_back_what_it_took(tmp_path):
  readings = [
    Reading(
      file=f"{i}.png", fingerprint="f", image=b"i" * i, masks={"heart": b"m"}
    )
    for i in range(5)
  ] + [Reading(file="ü.png", refused="lateral view", age_years=3.0)]
  (tmp_path / "journal").mkdir()
  (tmp_path / "journal" / "00000000.tmp").write_bytes(b"cut")
  with records.Journal(tmp_path / "journal") as journal:
    for reading in readings:
      journal.add(reading)
    journal.flush()
    found = list(journal.readings())
  assert [light.file for light, _ in found] == [r.file for r in readings]
  assert all(light.image == b"" for light, _ in found)
  loaded = [records.load_reading(place) for _, place in found]
  assert [repr(r) for r in loaded] == [repr(r) for r in readings]
  assert [p.name for p in (tmp_path / "journal").iterdir()] == [
    "00000000.chunk"
  ]
