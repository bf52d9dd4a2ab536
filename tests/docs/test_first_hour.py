"""The commands of the first hour, in small, one after another.

Every command on the pages is either run here, with flags that make it short, or
listed with the reason why it is not; what is listed is checked for its flags,
config and fields in test_pages.py.
"""

import os
import re
import subprocess
import sys
import textwrap

import doc_pages as pages
import pytest

START = pages.ROOT / "docs" / "start.md"
_TINY_RUN = (
  "--config.data.datasets=('folder',)",
  "--config.schedule.total_steps=2",
  "--config.schedule.warmup_steps=1",
  "--config.schedule.freeze_last_layer_steps=0",
  "--config.loop.monitor_every=0",
  "--config.loop.linear_probe=False",
  "--config.loop.report_films=0",
)
_TINY_JUDGEMENT = ("--config.data.dataset=folder", "--config.protocol=knn")
# In the order in which they are run; the page shows them in another.
RUN = [
  ("scan42 doctor", ()),
  ("scan42 prepare --dataset=folder", ()),
  (r"scan42 pretrain .*--workdir=work/quickstart$", _TINY_RUN),
  (r"scan42 pretrain .*--workdir=work/mine ", _TINY_RUN[1:4]),
  ("scan42 status work/quickstart", ()),
  ("scan42 report work/quickstart work/other", ()),
  ("scan42 features ", ()),
  ("scan42 visualize ", ()),
  (r"scan42 eval classification .*--encoder=work", _TINY_JUDGEMENT),
  (r"scan42 eval classification .*--encoder=random", _TINY_JUDGEMENT),
  ("scan42 eval compare work/random work/linear", ()),
  ("scan42 export ", ()),
]
# What the page has lying about by then, and the test has under another name.
_INSTEAD = {"data/phantom": "data/folder", "work/other": "work/mine"}

NOT_RUN = {
  r"^pip |^mkdocs |python -m (pytest|venv)": "installs, tests: .ci/run does",
  r"dinov2_vit|facebook/|microsoft/|--language_model=": (
    "wants released weights"
  ),
  r"chexpert|mimic|padchest|nih_cxr8|brax|rsna|vindr|chexmask|iu_xray": (
    "wants films that their owners give on request"
  ),
  r"launch\.|--distributed|phantom_reports|-m xmanager": (
    "a cluster or many minutes; its own tests run it in small"
  ),
  r"benchmarks\.": "a measurement, not a step of anybody's work",
  r"scan42(_jax\.|\s)demo": "tests/showroom runs it in a browser",
  r"[= ](DIR|FILE|SRC|W|W/\S*|D|A|B|NAME|CONFIG\S*|PYTHON|WORKDIR)\b": (
    "a pattern with words in capitals for names"
  ),
  r"=/": "paths of somebody else's machine",
  r"--config=configs/quickstart.py --workdir=work/quickstart$": (
    "the quickstart itself takes minutes; run in small above"
  ),
  r"scan42(_jax\.| )plan": "tests/test_plan.py runs it",
  r"eval[. ](segmentation|predict|classification)": (
    "tests/eval runs it on small films"
  ),
  r"eval[. ]compare|weights\.export": "run above under its other name",
  r"data\.verify": "tests/data runs it",
  r"^scan42 \w+$": "a name, not a command",
  r" \.\.\. ": "shortened; it stands in full above",
}

# Their commands are the origin of numbers that took minutes to hours.
MEASURED = ("results.md", "performance.md", "reliability.md")


def _run(command, folder, *flags):
  module, words = pages.module_and_words(command)
  for ours, theirs in _INSTEAD.items():
    words = [word.replace(ours, theirs) for word in words]
  return _python(folder, "-m", module, *words, *flags)


def _python(folder, *words):
  return subprocess.run(
    [sys.executable, *words],
    cwd=folder,
    env=os.environ
    | {
      "PYTHONPATH": str(pages.ROOT),
      "XLA_FLAGS": "--xla_backend_optimization_level=0",
    },
    capture_output=True,
    text=True,
    timeout=400,
  )


def test_the_first_hour(tmp_path):
  commands = pages.commands(START)
  draw, look = re.findall(r"```python\n(.*?)```", START.read_text(), re.DOTALL)
  done = _python(tmp_path, "-c", draw)
  assert done.returncode == 0, done.stderr
  for pattern, flags in RUN:
    (command,) = [c for c in commands if re.match(pattern, c)]
    done = _run(command, tmp_path, *flags)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
  # How another page reads the file that was written.
  features = (pages.ROOT / "docs" / "features.md").read_text()
  (read,) = [
    block
    for block in re.findall(r"(?:^(?: {4}.*)?\n)+", features, re.MULTILINE)
    if "pq.read_table" in block
  ]
  done = _python(tmp_path, "-c", textwrap.dedent(read))
  assert done.returncode == 0, done.stderr
  done = _python(tmp_path, "-c", look)
  assert done.returncode == 0 and "(1, 96)" in done.stdout, done.stderr
  for made in (
    "work/quickstart/report.html",
    "compared.html",
    "features.parquet",
    "pictures/index.html",
    "work/linear/report.html",
    "work/linear/comparison.html",
    "release/model.safetensors",
  ):
    assert (tmp_path / made).is_file(), made


def _is_run(page, command):
  return page == START and any(re.match(p, command) for p, _ in RUN)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_what_is_not_run_has_a_reason(page):
  if page.name in MEASURED:
    return
  for command in pages.commands(page):
    reasons = [why for p, why in NOT_RUN.items() if re.search(p, command)]
    assert reasons or _is_run(page, command), command
