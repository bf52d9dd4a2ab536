"""The Indiana collection in miniature, as its three owners ship it."""

import itertools
import json
import pathlib
from xml.sax import saxutils

import numpy as np
from PIL import Image
from release_trees.files import film, pick, write_csv, write_film

SECTIONS = ["COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION"]
_REPORT_COLUMNS = [
  "uid",
  "MeSH",
  "Problems",
  "image",
  "indication",
  "comparison",
  "findings",
  "impression",
]
_TEXTS = [
  "Heart size is normal. Lungs are clear.",
  "No pneumothorax & no effusion, < 5 mm XXXX.",
  "XXXX-year-old male, chest pain",
  'Stable "mild" cardiomegaly,  XXXX XXXX.',
]
_SPLITS = {"train": 7, "val": 1, "test": 2}


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  form: str = "open-i",
  companions: bool = True,
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: reports; some have no film.
    form: whose films they are: 'open-i', 'kaggle' or 'r2gen'.
    companions: add Kaggle's projections and R2Gen's annotation.json.
  """
  rng = np.random.default_rng(seed)
  # Apart, so that all forms of one seed have the same reports.
  pictures = np.random.default_rng([seed, 1])
  reports, films, studies = [], [], {name: [] for name in _SPLITS}
  for uid in range(1, num_patients + 1):
    texts = {name: _text(rng, name) for name in SECTIONS}
    names = _film_names(rng, uid)
    reports.append(
      [
        uid,
        "normal",
        "normal",
        "Xray Chest PA and Lateral",
        *(texts[n] for n in ("INDICATION", "COMPARISON", "FINDINGS")),
        texts["IMPRESSION"],
      ]
    )
    films += [
      [uid, f"{uid}_{name}.dcm.png", "Lateral" if number == 1 else "Frontal"]
      for number, name in enumerate(names)
    ]
    if len(names) == 2:
      split = pick(rng, _SPLITS)
      studies[split].append(_study(uid, names, texts["FINDINGS"], split))
    if form == "open-i":
      _write_xml(folder, uid, texts, names)
      for name in names:
        _write_rgb(
          folder / "NLMCXR_png" / f"{_open_i(uid, name)}.png", pictures
        )
  if form == "kaggle":
    for _, name, _ in films:
      write_film(folder / "images" / "images_normalized" / name, pictures)
    write_csv(folder / "indiana_reports.csv", _REPORT_COLUMNS, reports)
  if form == "kaggle" or companions:
    columns = ["uid", "filename", "projection"]
    write_csv(folder / "indiana_projections.csv", columns, films)
  if form == "r2gen":
    for study in itertools.chain(*studies.values()):
      for path in study["image_path"]:
        write_film(folder / "images" / path, pictures)
    write_film(folder / "images" / "CXR9999_IM-0001" / "0.png", pictures)
  if form == "r2gen" or companions:
    if seed % 2:  # As in a copy that is in use.
      studies["    "] = studies.pop("test")
    (folder / "annotation.json").write_text(json.dumps(studies))


def _text(rng, section):
  blank = {"FINDINGS": 3, "IMPRESSION": 1, "COMPARISON": 4, "INDICATION": 1}
  if rng.integers(20) < blank[section]:
    return None
  return str(rng.choice(_TEXTS))


def _film_names(rng, uid):
  count = pick(rng, {0: 1, 1: 4, 2: 20, 3: 2, 5: 1})
  series = f"IM-{rng.integers(3000):04d}"
  if uid % 7 == 3:  # Four parts.
    return [f"{series}-0001-{n:04d}" for n in range(1, count + 1)]
  return [f"{series}-{n}001" for n in range(1, count + 1)]


def _open_i(uid, name):
  """The first report's films repeat its number."""
  return f"CXR{uid}_{uid}_{name}" if uid == 1 else f"CXR{uid}_{name}"


def _study(uid, names, findings, split):
  study = f"CXR{uid}_{'-'.join(names[0].split('-')[:2])}"
  return {
    "id": study,
    "report": findings or "None.",
    "image_path": [f"{study}/{n}.png" for n in range(2)],
    "split": split,
  }


def _write_xml(folder, uid, texts, names):
  sections = "".join(
    f'<AbstractText Label="{name}">{saxutils.escape(text or "")}'
    "</AbstractText>\n         "
    for name, text in texts.items()
  )
  images = "".join(
    f'<parentImage id="{_open_i(uid, name)}"><figureId>F{n}</figureId>'
    "<caption>PA and lateral chest</caption></parentImage>\n"
    for n, name in enumerate(names, start=1)
  )
  path = folder / "ecgen-radiology" / f"{uid}.xml"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(
    '<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n'
    f'<uId id="CXR{uid}"/><MedlineCitation><Article><Abstract>\n{sections}'
    "</Abstract></Article></MedlineCitation>\n"
    f"<MeSH><major>normal</major></MeSH>\n{images}</eCitation>"
  )


def _write_rgb(path, rng):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.stack([film(rng)] * 3, -1)).save(path)
