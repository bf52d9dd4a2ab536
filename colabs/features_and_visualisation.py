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
# # Features, neighbours and pictures
#
# An encoder in three lines of Python; films that it takes for alike; and what its
# attention and patches look like.
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
FOLDER = "work/features_and_visualisation"
FILMS = 300
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
# ## Features in three lines

# %%
import scan42_jax

encoder = scan42_jax.load_encoder(str(ENCODER))
paths = sorted((WORK / "films" / "dicom").glob("*.dcm"))
features = encoder(paths[:64])
print(encoder)
print(features.cls.shape, features.registers.shape, features.patches.shape)

# %% [markdown]
# ## The film that is nearest to the first
#
# By the cosine of class tokens; a film of the same patient would be no surprise.

# %%
import numpy as np

unit = features.cls / np.linalg.norm(features.cls, axis=1, keepdims=True)
nearest = np.argsort(-unit @ unit[0])[1:4]
for i in nearest:
  print(paths[i].name, f"similarity {unit[i] @ unit[0]:.3f}")

# %% [markdown]
# ## Attention, components, similarity

# %%
notebook.run(
  "visualize",
  f"--encoder={ENCODER}",
  f"--images={paths[0]},{paths[nearest[0]]}",
  f"--output={WORK / 'pictures'}",
)
notebook.Page(WORK / "pictures" / "index.html", height_px=900)

# %% [markdown]
# ## Features of a whole dataset, in one file

# %%
notebook.run(
  "features",
  f"--source={WORK / 'data' / 'folder'}",
  f"--encoder={ENCODER}",
  f"--output={WORK / 'features.parquet'}",
)

# %%
import pyarrow.parquet

table = pyarrow.parquet.read_table(WORK / "features.parquet")
print(table.num_rows, "films:", ", ".join(table.column_names))
