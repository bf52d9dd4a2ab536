"""The notebooks agree with their scripts, and run from top to bottom."""

import importlib.util
import os
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BOOKS = sorted((ROOT / "colabs").glob("*.py"))
# In the place of what the cell of parameters says.
SMALL = {
  "FILMS": "48",
  "STEPS": "4",
  "HEAD_STEPS": "2",
  "DECODER_STEPS": "2",
}

pytestmark = pytest.mark.skipif(
  not all(map(importlib.util.find_spec, ("jupytext", "nbclient", "ipykernel"))),
  reason="the extra [colabs] is not installed",
)


def _read(path):
  import jupytext

  return jupytext.read(path)


def _code(book):
  return [cell for cell in book.cells if cell.cell_type == "code"]


def test_there_are_five():
  assert len(BOOKS) == 5


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_notebook_and_script_are_one(path):
  book, script = _read(path.with_suffix(".ipynb")), _read(path)
  assert [(c.cell_type, c.source) for c in book.cells] == [
    (c.cell_type, c.source) for c in script.cells
  ], f"run: jupytext --update --to ipynb {path}"
  assert not any(cell.get("outputs") for cell in _code(book))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_install_comes_first_and_one_variable_chooses_weights(path):
  install, parameters, *_ = _code(_read(path))
  assert "pip" in install.source and "scan42-jax" in install.source
  assert parameters.metadata["tags"] == ["parameters"]
  assert len(re.findall("^CHECKPOINT =", parameters.source, re.M)) == 1


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
  import nbclient

  book = _read(path.with_suffix(".ipynb"))
  parameters = _code(book)[1]
  for name, value in SMALL.items():
    parameters.source = re.sub(
      rf"^{name} = \S+", f"{name} = {value}", parameters.source, flags=re.M
    )
  environment = os.environ | {
    "PYTHONPATH": str(ROOT),
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
  }
  nbclient.NotebookClient(
    book,
    timeout=600,
    kernel_name="python3",
    resources={"metadata": {"path": str(tmp_path)}},
  ).execute(env=environment)
  shown = "".join(
    output.get("text", "")
    for cell in _code(book)
    for output in cell.outputs
    if output.output_type == "stream"
  )
  assert "Traceback" not in shown and "warning" not in shown.lower()
