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
# # Pretrain on your folder
#
# From a folder of DICOM, PNG and JPEG to an encoder and a folder to publish. Set
# `FILMS_FOLDER` to your own; nothing leaves the machine.
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
FOLDER = "work/pretrain_on_your_folder"
FILMS_FOLDER = ""  # Yours; "" draws films.
FILMS = 400  # To draw.
STEPS = 300

# %%
import pathlib

from scan42_jax import notebook

WORK = pathlib.Path(FOLDER)

# %% [markdown]
# ## Is the machine all right?

# %%
notebook.run("doctor", f"--data_dir={WORK / 'data'}")

# %% [markdown]
# ## Prepare
#
# Every film is read once, brought to at most 1,024 pixels, and stored. What cannot
# be read is listed with the reason in `quarantine.csv`.

# %%
if not FILMS_FOLDER:
  notebook.draw_phantoms(WORK / "films", FILMS)
  FILMS_FOLDER = WORK / "films" / "dicom"
notebook.run(
  "prepare",
  "--dataset=folder",
  f"--source={FILMS_FOLDER}",
  f"--data_dir={WORK / 'data'}",
)

# %%
notebook.run("describe", f"--data_dir={WORK / 'data'}", "--dataset=folder")

# %% [markdown]
# ## What will it take?
#
# For a ViT-S on a GPU, read off the program without starting it.

# %%
notebook.run("plan", "--config=configs/vits.py", "--devices=8", "--chip=h100")

# %% [markdown]
# ## Pretrain
#
# With `CHECKPOINT` the run continues from there and takes over its shape; without,
# a tiny encoder starts from scratch. Interrupt it and run the cell again: it goes
# on.

# %%
start = [f"--config.init_from={CHECKPOINT}"] if CHECKPOINT else []
notebook.run(
  "pretrain",
  "--config=configs/quickstart.py",
  f"--workdir={WORK / 'run'}",
  f"--data_dir={WORK / 'data'}",
  "--config.data.datasets=('folder',)",
  f"--config.schedule.total_steps={STEPS}",
  f"--config.schedule.warmup_steps={STEPS // 10}",
  f"--config.schedule.freeze_last_layer_steps={STEPS // 20}",
  f"--config.loop.monitor_every={STEPS // 3}",
  "--config.loop.log_every=10",
  "--config.loop.linear_probe=False",
  *start,
)

# %% [markdown]
# ## Look at the run
#
# The loss falls in a collapsed run as well: look at the monitors.

# %%
notebook.Page(WORK / "run" / "report.html", height_px=900)

# %%
notebook.run("status", WORK / "run")

# %% [markdown]
# ## Pass it on
#
# A folder that `transformers` loads, with a model card.

# %%
notebook.run(
  "export",
  f"--workdir={WORK / 'run'}",
  f"--output={WORK / 'release'}",
  f"--data_dir={WORK / 'data'}",
)
print((WORK / "release" / "README.md").read_text()[:1500])
