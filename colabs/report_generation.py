# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Report generation: from a film to its findings
#
# A small decoder with cross-attention to patch tokens learns to write the findings
# of drawn films. Texts written about another patient's film stand beside it: what
# those score is what style alone is worth.
#
# Runs on a CPU in under five minutes, on films that are drawn. **Not for clinical
# use.**

# %%
# Install, where that has not been done. In a checkout: pip install .
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("scan42_jax") is None:
  subprocess.run(
    [sys.executable, "-m", "pip", "install", "-q", "scan42-jax[reports]"],
    check=True,
  )

# %% tags=["parameters"]
# An encoder: a Hugging Face folder or cached id ("m42-health/CXformer-small"), a
# DINOv2 .pth, or a work folder. "" trains a tiny one here.
CHECKPOINT = ""
FOLDER = "work/report_generation"
FILMS = 400
STEPS = 200  # Of the tiny encoder's pretraining.
DECODER_STEPS = 120

# %%
import pathlib

from scan42_jax import notebook

WORK = pathlib.Path(FOLDER)

# %% [markdown]
# ## Films
#
# A folder of DICOM files and a table of labels, as a hospital might have it; then
# the same prepared for training and evaluation.

# %%
table = notebook.draw_phantoms(WORK / "films", FILMS)
notebook.run(
  "prepare",
  "--dataset=folder",
  f"--source={WORK / 'films'}",
  f"--labels_csv={table}",
  f"--data_dir={WORK / 'data'}",
)

# %% [markdown]
# ## An encoder
#
# With `CHECKPOINT` it is loaded from there; otherwise a tiny one is pretrained on
# the drawn films for a moment, which is enough to see the path, not to be good.

# %%
ENCODER = CHECKPOINT
if not CHECKPOINT:
  ENCODER = WORK / "pretraining"
  notebook.run(
    "pretrain",
    "--config=configs/quickstart.py",
    f"--workdir={ENCODER}",
    f"--data_dir={WORK / 'data'}",
    "--config.data.datasets=('folder',)",
    f"--config.schedule.total_steps={STEPS}",
    f"--config.schedule.warmup_steps={STEPS // 10}",
    f"--config.schedule.freeze_last_layer_steps={STEPS // 20}",
    f"--config.loop.monitor_every={STEPS}",
    "--config.loop.linear_probe=False",
  )

# %% [markdown]
# ## The decoder
#
# A real one takes thousands of steps; these are enough to see texts, not to trust
# them.

# %%
notebook.run(
  "eval report_generation",
  "--config=configs/eval/phantom_reports.py",
  f"--encoder={ENCODER}",
  f"--workdir={WORK / 'reports'}",
  f"--data_dir={WORK / 'data'}",
  "--config.text.dataset=folder",
  "--config.training.first.steps=0",  # An encoder takes longer.
  f"--config.training.second.steps={DECODER_STEPS}",
  f"--config.training.evaluate_every={DECODER_STEPS}",
  "--config.decoding.max_tokens=40",
)

# %%
notebook.Page(WORK / "reports" / "report.html")

# %% [markdown]
# ## Texts, film by film, with what the decoder looked at

# %%
notebook.Page(WORK / "reports" / "cases.html")
