"""The project's Markdown pages and the commands on them."""

import ast
import functools
import pathlib
import re
import runpy
import shlex

from scan42_jax import cli

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_HEADS = ("scan42 ", "python -m ", "pip install", "pip wheel", "mkdocs ")


def commands(page: pathlib.Path) -> list[str]:
  """Returns the commands on a page: in blocks, and in the cells of tables."""
  text = page.read_text()
  blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
  rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
  blocks += re.findall(r"(?:^ {4}.*\n)+", rest, re.MULTILINE)
  blocks += re.findall(
    r"^\|.*`((?:scan42|python -m) [^`]*)`", rest, re.MULTILINE
  )
  found = []
  for block in blocks:
    for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines():
      parts = re.split(r" && ", line.strip())
      found += [part for part in parts if part.startswith(_HEADS)]
  return found


def module_and_words(command: str) -> tuple[str, list[str]]:
  """Splits a command of ours into its module and the rest."""
  # A name in square brackets may be left out.
  words = shlex.split(re.sub(r"[\[\]](?=\s|$|-|WORKDIR)", "", command))
  if words[0] == "python":
    return words[2], words[3:]
  for length in (2, 1):
    name = " ".join(words[1 : 1 + length])
    if name in cli.COMMANDS:
      return cli.COMMANDS[name][0], words[1 + length :]
  return "", words[1:]


@functools.cache
def flag_names(module: str) -> frozenset[str]:
  """Returns the flags that a module's source defines."""
  path = ROOT / f"{module.replace('.', '/')}.py"
  names = set()
  sources = [path]
  if module.startswith("launch."):
    sources.append(ROOT / "launch" / "request.py")
  for source in sources:
    for node in ast.walk(ast.parse(source.read_text())):
      if not isinstance(node, ast.Call) or not node.args:
        continue
      called = ast.unparse(node.func)
      first = node.args[0]
      if isinstance(first, ast.Constant) and (
        ".DEFINE_" in called or called.endswith(("add", "add_argument"))
      ):
        names.add(str(first.value).lstrip("-"))
  return frozenset(names)


def faults(command: str) -> list[str]:
  """Says what a command asks for that there is not: flags, configs, fields."""
  module, words = module_and_words(command)
  if not (ROOT / f"{module.replace('.', '/')}.py").is_file():
    return [f"no module {module!r}"]
  known, found, config = flag_names(module), [], None
  for word in words:
    if not word.startswith("--") or word == "--":
      continue
    name, _, value = word[2:].partition("=")
    if name == "config":
      config, problem = _config(value)
      found += [problem] if problem else []
    elif name.startswith("config."):
      field = name.removeprefix("config.")
      if config is not None and not _has(config, field):
        found.append(f"no field {field}")
    elif name not in known and name.removeprefix("no") not in known:
      found.append(f"{module} has no flag --{name}")
  return found


def _config(value):
  path, _, argument = value.partition(":")
  if path.isupper() or "CONFIG" in path:
    return None, ""  # A placeholder.
  if not (ROOT / path).is_file():
    return None, f"no config {path}"
  get_config = runpy.run_path(str(ROOT / path))["get_config"]
  return get_config(*filter(None, [argument])), ""


def _has(config, field):
  for name in field.split("."):
    if name not in config:
      return False
    config = config[name]
  return True
