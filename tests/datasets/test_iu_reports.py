"""Reports of the Indiana collection in their three forms."""

import itertools
import json

import pandas as pd
import pytest

from scan42_jax.datasets import iu_reports


@pytest.mark.parametrize(
  "name, study, film",
  [
    ("CXR14_IM-0256-1001", "CXR14", "CXR14_IM-0256-1001"),
    ("14_IM-0256-1001.dcm.png", "CXR14", "CXR14_IM-0256-1001"),
    ("CXR1_1_IM-0001-3001.png", "CXR1", "CXR1_IM-0001-3001"),
    ("1_IM-0001-3001.dcm.png", "CXR1", "CXR1_IM-0001-3001"),
    ("CXR1021_IM-0017-1001-0002", "CXR1021", "CXR1021_IM-0017-1001-0002"),
  ],
)
def test_one_id_for_the_names_of_a_film(name, study, film):
  assert iu_reports.film_id(name) == (study, film)


@pytest.mark.parametrize("name", ["", "0.png", "CXR1_2_IM-0001-3001", "IM-1"])
def test_other_names_are_refused(name):
  with pytest.raises(ValueError, match="is no film of the collection"):
    iu_reports.film_id(name)


def test_xml(tmp_path):
  path = tmp_path / "7.xml"
  path.write_text(
    '<?xml version="1.0" encoding="utf-8"?><e><AbstractText Label="FINDINGS">'
    "Heart &lt; normal,\n  XXXX.</AbstractText>"
    '<AbstractText Label="IMPRESSION"></AbstractText>'
    '<AbstractText Label="INDICATION">Pain</AbstractText>'
    '<parentImage id="CXR7_IM-1-2"/><parentImage id="CXR7_IM-1-1"/></e>'
  )
  report = iu_reports.read_xml(path)
  assert report == iu_reports.Report(
    indication="Pain",
    findings="Heart < normal, XXXX.",
    films=("CXR7_IM-1-2", "CXR7_IM-1-1"),
  )
  assert report.text == "INDICATION: Pain\nFINDINGS: Heart < normal, XXXX."
  path.write_text("<e><AbstractText>")
  with pytest.raises(ValueError, match="damaged XML: no element found"):
    iu_reports.read_xml(path)


def test_golden_xml_and_tables_agree(real_data_dir):
  folder = real_data_dir / "openi_reports"
  table = pd.read_csv(
    folder / "indiana_reports.csv", dtype=str, keep_default_na=False
  )
  assert len(table) > 200
  films = 0
  for cells in table.to_dict("records"):
    path = folder / "ecgen-radiology" / f"{cells['uid']}.xml"
    report = iu_reports.read_xml(path)
    for name in iu_reports.SECTIONS:
      # The tables have lost the word None, as readers of tables do.
      text = getattr(report, name).removeprefix("None" * (not cells[name]))
      assert text == getattr(iu_reports.from_cells(cells), name)
    for name in report.films:
      study, _ = iu_reports.film_id(name)
      assert study == f"CXR{cells['uid']}"
      films += 1
  assert films > 400


def test_golden_r2gen_reports_are_the_findings(real_data_dir):
  folder = real_data_dir / "openi_reports"
  found = iu_reports.read_r2gen(folder / "annotation.json")
  lists = json.loads((folder / "annotation.json").read_text())
  entries = [*itertools.chain(*lists.values())]
  assert len(found) == len(entries)
  for (study, report), entry in zip(found, entries, strict=True):
    number = iu_reports.study_number(study).removeprefix("CXR")
    xml = iu_reports.read_xml(folder / "ecgen-radiology" / f"{number}.xml")
    assert report.findings == xml.findings
    assert report.split == entry["split"].replace("val", "validation")
    assert list(report.films) == entry["image_path"]


@pytest.mark.parametrize(
  "text",
  [
    "[1]",
    "{",
    '{"train": [{"id": "CXR1_IM-1"}]}',
    '{"dev": [{"id": "CXR1_IM-1", "report": "a", "image_path": ["b"]}]}',
    '{"test": [{"id": "CXR1_IM-1", "report": "a", "image_path": ["../b"]}]}',
    '{"test": [{"id": "1", "report": "a", "image_path": ["b"]}]}',
  ],
)
def test_other_json_is_refused(tmp_path, text):
  (tmp_path / "a.json").write_text(text)
  with pytest.raises(ValueError, match=r"^a\.json is not R2Gen's lists of id"):
    iu_reports.read_r2gen(tmp_path / "a.json")
