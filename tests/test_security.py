"""What no module may do, whatever it reads."""

import ast
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import fuzz
from scan42_jax.eval.segmenting.mask_files import file_name

PACKAGE = pathlib.Path(__file__).parents[1] / "scan42_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
RUNS_WHAT_IT_READS = {"pickle", "marshal", "shelve", "dill", "joblib", "yaml"}


def _calls(tree):
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_nothing_that_is_read_is_run(path):
  tree = ast.parse(path.read_text())
  imported = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      imported |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      imported.add(node.module.split(".")[0])
  # Beam's workers read what the process that started them wrote.
  allowed = {"pickle"} if path == PACKAGE / "data" / "beam.py" else set()
  assert imported & RUNS_WHAT_IT_READS <= allowed
  for name, call in _calls(tree):
    assert name not in ("eval", "exec", "os.system", "os.popen"), name
    options = {k.arg: ast.unparse(k.value) for k in call.keywords}
    assert options.get("shell", "False") == "False"
    if name in ("np.load", "numpy.load"):
      assert options.get("allow_pickle", "False") == "False"


@given(st.text(max_size=40))
def test_an_id_cannot_leave_its_folder(image_id):
  name = file_name(image_id)
  folder = pathlib.Path("/folder")
  assert (folder / f"{name}_heart.png").resolve().parent == folder
  assert name == image_id or name != file_name(name + "x")


@pytest.mark.parametrize("name", ["dicom", "jpeg", "png", "csv", "run_config"])
def test_damaged_files_are_read_or_refused(name, tmp_path):
  found = fuzz.fuzz(name, 60, seed=11, folder=tmp_path)
  assert fuzz.bad(found) == 0, found
  assert found["refused"] > 10


def test_the_harness_sees_a_crash_and_an_escape(tmp_path, monkeypatch):
  program = tmp_path / "readers.py"
  program.write_text(
    "import os, sys\n"
    "from benchmarks import fuzz\n"
    "def crash(path): os.kill(os.getpid(), 11)\n"
    "def escape(path): {}['x']\n"
    "reader = crash if sys.argv[1] == 'crash' else escape\n"
    "fuzz.FORMATS[sys.argv[1]] = ('f', reader, lambda: [b'abc'])\n"
    "fuzz.serve(sys.argv[1])\n"
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.syspath_prepend(str(PACKAGE.parent))
  monkeypatch.setitem(fuzz.FORMATS, "crash", ("f", None, lambda: [b"abc"]))
  monkeypatch.setitem(fuzz.FORMATS, "escape", ("f", None, lambda: [b"abc"]))
  for name, expected in [("crash", "crashed"), ("escape", "escaped: KeyError")]:
    found = fuzz.fuzz(name, 2, seed=0, folder=tmp_path, program="readers")
    assert fuzz.bad(found) == 2 and any(k.startswith(expected) for k in found)
    assert len(list(tmp_path.glob(f"{name}_0_*"))) == 2
