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
# # Classification: what does an encoder know of findings?
#
# A linear head on frozen features, the same head on an encoder that has learnt
# nothing, and the difference between the two on the same resamples of patients.
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
    [sys.executable, "-m", "pip", "install", "-q", "scan42-jax"],
    check=True,
  )

# %% tags=["parameters"]
# An encoder: a Hugging Face folder or cached id ("m42-health/CXformer-small"), a
# DINOv2 .pth, or a work folder. "" trains a tiny one here.
CHECKPOINT = ""
FOLDER = "work/classification"
FILMS = 600
STEPS = 200  # Of the tiny encoder's pretraining.

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
# ## Two heads
#
# 52 linear heads are trained at once, and validation chooses one of them. `random:`
# is an encoder of the same shape that has learnt nothing.

# %%
source = f"random:{ENCODER}"
for name, encoder in {"learnt": ENCODER, "random": source}.items():
  notebook.run(
    "eval classification",
    "--config=configs/eval/folder.py",
    f"--encoder={encoder}",
    f"--workdir={WORK / name}",
    f"--data_dir={WORK / 'data'}",
    "--config.data.canvas_px=320",
    "--config.features.batch_size=64",
  )

# %% [markdown]
# ## What training gave
#
# Intervals are of a bootstrap over patients. On a few hundred films they are wide:
# this shows that the path works, not that a model is good.

# %%
notebook.run("eval compare", WORK / "random", WORK / "learnt")

# %%
notebook.Page(WORK / "learnt" / "report.html")

# %% [markdown]
# ## New films

# %%
notebook.run(
  "eval predict",
  f"--model={WORK / 'learnt'}",
  f"--images={WORK / 'films' / 'dicom'}",
  f"--output={WORK / 'scores.csv'}",
)
print("\n".join((WORK / "scores.csv").read_text().splitlines()[:4]))
