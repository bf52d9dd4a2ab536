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
# # Segmentation: lungs and heart from patch tokens
#
# A head on an encoder's patch tokens learns the outlines of lungs and heart. The
# mean training mask stands beside the result: chests are alike, so it is hard to
# beat.
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
FOLDER = "work/segmentation"
FILMS = 300
STEPS = 200  # Of the tiny encoder's pretraining.
HEAD_STEPS = 150

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
# ## The head

# %%
notebook.run(
  "eval segmentation",
  "--config=configs/eval/folder.py",
  f"--encoder={ENCODER}",
  f"--workdir={WORK / 'masks'}",
  f"--data_dir={WORK / 'data'}",
  "--config.segmentation.data.size_px=224",
  f"--config.segmentation.train.steps={HEAD_STEPS}",
  "--config.segmentation.train.batch_size=8",
)

# %%
notebook.Page(WORK / "masks" / "report.html")

# %% [markdown]
# ## Masks of new films

# %%
few = WORK / "few"
few.mkdir(exist_ok=True)
for path in sorted((WORK / "films" / "dicom").glob("*.dcm"))[:4]:
  (few / path.name).write_bytes(path.read_bytes())
notebook.run(
  "eval predict",
  f"--model={WORK / 'masks'}",
  f"--images={few}",
  f"--output={WORK / 'predicted'}",
)
sorted(path.name for path in (WORK / "predicted").iterdir())
