"""The package's floors: a module imports only from lower ones.

Modules of one folder may import each other.
"""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "scan42_jax"

FLOORS = {
  0: ["types", "paths", "chips"],
  1: [
    "command_line",
    "digests",
    "distributed",
    "mappings",
    "precision",
    "program_cache",
    "sharding",
    "whole_files",
  ],
  2: [
    "models.",
    "losses.",
    "metrics.",
    "pages.",
    "schedules",
    "crash",
    "guards",
    "checkpoint",
    "data.film",
    "data.rendering",
    "data.bounded",
    "data.dicom",
    "data.any_film",
    "data.images",
    "data.signatures",
    "data.image_ops",
    "data.crops",
    "data.joint_views",
    "data.masking",
    "data.mask_text",
    "data.batches",
  ],
  3: [
    "caretaker",
    "datasets.",
    "objective",
    "optim",
    "telemetry",
    "weights.",
    "pictures.maps",
  ],
  4: [
    "data.broken",
    "data.exclusions",
    "data.finished",
    "data.mixture",
    "data.sources",
    "data.pipeline",
    "encoder",
    "settings",
    "train_step",
  ],
  5: ["eval.", "pictures.", "run_report.", "config", "compute", "program"],
  6: [
    "cli",
    "planning",
    "train",
    "data.workers",
    "data.records",
    "data.manifest",
    "data.assembly",
    "data.beam",
    "data.gathering",
    "data.prepare",
    "data.describe",
    "data.description",
    "data.statistics",
    "data.leakage",
    "data.overlap",
    "data.overlap_report",
    "data.verification",
    "data.verify",
    "checkup.",
    "extraction.",
    "release.",
    "showroom.",
  ],
  7: [
    "main",
    "plan",
    "replay",
    "status",
    "features",
    "visualize",
    "report",
    "doctor",
    "demo",
    "notebook",
    "weights.export",
  ],
}
CORE = [
  "types",
  "paths",
  "models.ssl",
  "losses.dino",
  "losses.ibot",
  "losses.koleo",
  "losses.teacher",
  "data.batches",
  "data.crops",
  "data.masking",
  "optim",
  "schedules",
  "sharding",
  "objective",
  "train_step",
]
CORE_NEEDS = {"jax", "jaxlib", "flax", "optax", "einops", "numpy"}
ONLY_IN = {
  "apache_beam": ["data.beam"],
  "pydicom": ["data.dicom", "datasets."],
  "PIL": [
    "data.any_film",
    "data.images",
    "eval.results.pictures",
    "pictures.drawing",
    "release.curve",
    "run_report.pictures",
    "showroom.looking",
  ],
  "grain": ["data.mixture", "data.pipeline"],
  "orbax": ["checkpoint"],
  "clu": ["telemetry"],
  "tensorboard": ["telemetry"],
  "pyarrow": ["extraction.outputs"],
  "gradio": ["showroom.interface"],
  "flax.linen": ["models."],
  "ml_collections": ["config", "train", "main", "plan", "eval."],
}


def _modules():
  for path in sorted(PACKAGE.rglob("*.py")):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if not name.endswith("__init__"):
      yield name, path


def _matches(name, patterns):
  return any(
    name.startswith(p) if p.endswith(".") else name == p for p in patterns
  )


def _floor(name):
  # A binary may stand above the folder that it lies in.
  found = [floor for floor, names in FLOORS.items() if name in names] or [
    floor for floor, names in FLOORS.items() if _matches(name, names)
  ]
  assert len(found) == 1, f"{name} stands on floors {found}; list it on one"
  return found[0]


def _imports(path):
  """Dotted names that a file imports, everywhere in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _ours(imported):
  """'scan42_jax.data.crops.make_crops' -> 'data.crops'; None if not ours."""
  parts = imported.split(".")
  if parts[0] != "scan42_jax":
    return None
  known = {name for name, _ in _modules()}
  for end in range(len(parts), 1, -1):
    if ".".join(parts[1:end]) in known:
      return ".".join(parts[1:end])
  return None


@pytest.mark.parametrize("name, path", list(_modules()))
def test_imports_go_down(name, path):
  for imported in map(_ours, _imports(path)):
    if imported is None:
      continue
    same_folder = "." in name and name.split(".")[0] == imported.split(".")[0]
    upward = _floor(imported) > _floor(name)
    level = _floor(imported) == _floor(name) and not same_folder
    assert not upward and not level, f"{name} must not import {imported}"


@pytest.mark.parametrize("name, path", list(_modules()))
def test_each_library_has_its_room(name, path):
  for library, rooms in ONLY_IN.items():
    uses = any(
      i == library or i.startswith(f"{library}.") for i in _imports(path)
    )
    assert not uses or _matches(name, rooms), f"{name} imports {library}"


def test_the_core_needs_only_jax_flax_optax_einops_numpy():
  allowed = CORE_NEEDS | set(sys.stdlib_module_names) | {"scan42_jax"}
  paths = dict(_modules())
  pending, seen = list(CORE), set()
  while pending:
    name = pending.pop()
    if name in seen:
      continue
    seen.add(name)
    for imported in _imports(paths[name]):
      ours = _ours(imported)
      pending += [ours] if ours else []
      top = imported.split(".")[0]
      # types.py uses jaxtyping where it is installed, and only there.
      assert top in allowed or (name, top) == ("types", "jaxtyping"), (
        f"{name} imports {imported}"
      )


def test_importing_the_package_is_cheap():
  code = (
    "import sys, scan42_jax;"
    "heavy = {'jax', 'flax', 'tensorflow', 'grain', 'clu', 'pydicom', 'numpy'};"
    "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_the_core_brings_no_heavy_library():
  modules = ", ".join(f"scan42_jax.{name}" for name in CORE)
  code = (
    f"import sys, {modules};"
    "heavy = {'tensorflow', 'grain', 'clu', 'pydicom', 'tensorflow_datasets'};"
    "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
