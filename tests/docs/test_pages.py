"""What the pages say is so: commands, links, messages, names."""

import ast
import importlib.util
import re
import subprocess
import sys

import doc_pages as pages
import pytest

OURS = (
  "scan42 ",
  "python -m scan42_jax",
  "python -m launch",
  "python -m benchmarks",
)
MESSAGES = pages.ROOT / "docs" / "troubleshooting.md"


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_commands_ask_for_what_there_is(page):
  wrong = {}
  for command in pages.commands(page):
    if command.startswith(OURS) and (found := pages.faults(command)):
      wrong[command] = found
  assert not wrong


def test_faults_are_found():
  good = (
    "scan42 pretrain --config=configs/vits.py --workdir=W --config.batch_size=8"
  )
  assert not pages.faults(good)
  for bad, fault in {
    "scan42 pretrain --wrkdir=W": "no flag --wrkdir",
    "scan42 pretrain --config=configs/vitz.py": "no config",
    "scan42 plan --config=configs/vits.py --config.batch=8": "no field batch",
    "python -m scan42_jax.nothing": "no module",
    "scan42 evaluate --encoder=E": "no module",
  }.items():
    assert any(fault in found for found in pages.faults(bad)), bad


def test_commands_are_found_wherever_they_stand(tmp_path):
  page = tmp_path / "page.md"
  page.write_text(
    "text `scan42 status W`\n\n    pip install . && scan42 plan --config=c \\\n"
    "      --devices=2\n\n```bash\nscan42 doctor\n# scan42 no\n```\n\n"
    "| a | `scan42 report W` |\n"
  )
  assert sorted(pages.commands(page)) == [
    "pip install .",
    "scan42 doctor",
    "scan42 plan --config=c --devices=2",
    "scan42 report W",
  ]


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
  for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
    # Pages of the code are made when the site is built.
    if not target.startswith("http") and target != "settings.md":
      assert (page.parent / target).exists(), f"{page.name}: {target}"


def _texts():
  """All texts of the code, with ... for what is filled in."""
  texts = []
  for path in (pages.ROOT / "scan42_jax").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.JoinedStr):
        parts = [
          part.value if isinstance(part, ast.Constant) else "..."
          for part in node.values
        ]
        texts.append("".join(parts))
      elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        texts.append(node.value)
  return "\n".join(texts)


def test_messages_are_those_that_are_printed():
  rows = re.findall(r"^\| `([^`]+)` \|", MESSAGES.read_text(), re.MULTILINE)
  texts = _texts()
  assert len(rows) > 35
  for message in rows:
    for piece in filter(None, re.split(r"\s*\.\.\.\s*", message)):
      piece = piece.strip(" ()")
      assert piece in texts, f"{message}: no message has {piece!r}"


def test_every_public_name_has_a_docstring():
  bare = []
  for path in (pages.ROOT / "scan42_jax").rglob("*.py"):
    tree = ast.parse(path.read_text())
    if not ast.get_docstring(tree):
      bare.append(f"{path.name}")
    scopes = [tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))]
    for scope in scopes:
      if getattr(scope, "name", "").startswith("_"):
        continue
      for node in scope.body:
        if (
          isinstance(node, ast.FunctionDef | ast.ClassDef)
          and not node.name.startswith("_")
          and node.name != "setup"  # Flax calls it.
          and not ast.get_docstring(node)
        ):
          bare.append(f"{path.name}: {node.name}")
  assert not bare


@pytest.mark.skipif(
  not importlib.util.find_spec("mkdocs")
  or not importlib.util.find_spec("mkdocstrings"),
  reason="the extra [docs] is not installed",
)
def test_the_site_is_built_without_a_warning(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
    cwd=pages.ROOT,
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  settings = (tmp_path / "settings" / "index.html").read_text()
  assert "config.schedule" in settings and "0.0003" in settings
  rows = re.findall(r"<tr>\s*<td><code>.*?</tr>", settings, re.DOTALL)
  assert len(rows) > 80
  bare = [row for row in rows if re.search(r"<td></td>\s*</tr>", row)]
  assert not bare, "a setting without a meaning"
  reference = (tmp_path / "api" / "top" / "index.html").read_text()
  assert 'id="scan42_jax.encoder.load_encoder"' in reference
