"""Small evaluations of report generation, and a writer that knows one text."""

import pathlib
from collections.abc import Callable

import jax
import numpy as np
from release_trees import iu_xray as tree
from tiny_encoder import write_encoder

from scan42_jax.data import assembly
from scan42_jax.datasets.reading import Options
from scan42_jax.encoder import Encoder, load_encoder
from scan42_jax.eval.reports import building, settings, training
from scan42_jax.eval.reports.decoding import DecodingSettings
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.patches import Viewer
from scan42_jax.eval.reports.reporter import save_reporter
from scan42_jax.eval.reports.run import Evaluation
from scan42_jax.eval.reports.writer import longest_row
from scan42_jax.sharding import make_mesh
from scan42_jax.weights.digest import weights_sha256

SMALL = settings.ReportSettings(
  text=settings.TextSettings(
    dataset="iu_xray", indication=True, max_report_tokens=24
  ),
  small=settings.SmallDecoderSettings(
    vocab_size=300, width=16, depth=1, num_heads=2
  ),
  training=settings.TrainingSettings(
    first=settings.StageSettings(steps=4, learning_rate=1e-3),
    batch_size=8,
    evaluate_every=2,
  ),
  decoding=DecodingSettings(max_tokens=12),
  score=settings.ScoreSettings(draws=20, cases=3),
)


def prepare_reports(source: pathlib.Path, data_dir: pathlib.Path):
  """Prepares films with reports; returns the data folder."""
  assembly.prepare(
    "iu_xray",
    Options(source=source, max_broken_percent=100.0),
    data_dir=data_dir,
    num_workers=0,
    say=lambda line: None,
  )
  return data_dir


def prepare(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns folders of data and of an encoder."""
  tree.make_tree(folder / "raw", seed=4, num_patients=40)
  write_encoder(folder / "encoder")
  return prepare_reports(folder / "raw", folder / "data"), folder / "encoder"


def evaluation(
  prepared: tuple[pathlib.Path, pathlib.Path],
  workdir: pathlib.Path,
  *,
  chosen: settings.ReportSettings = SMALL,
  say: Callable[[str], None] = lambda line: None,
  devices: int = 8,
  language_model: pathlib.Path | None = None,
) -> Evaluation:
  """Returns an evaluation that runs in seconds."""
  data_dir, source = prepared
  encoder = load_encoder(source)
  workdir.mkdir(exist_ok=True)
  return Evaluation(
    settings=chosen,
    encoder=encoder,
    encoder_name=str(source),
    encoder_sha256=weights_sha256(encoder.params),
    mesh=make_mesh((-1, 1, 1), jax.devices()[:devices]),
    data_dir=data_dir,
    workdir=workdir,
    say=say,
    language_model=language_model,
  )


def write_reporter(folder: pathlib.Path, encoder: Encoder, text: str):
  """Trains a writer that says one text of every film; returns its folder."""
  folder.mkdir()
  chosen = settings.ReportSettings(
    text=settings.TextSettings(max_report_tokens=60),
    small=settings.SmallDecoderSettings(
      vocab_size=300, width=16, depth=1, num_heads=2, dropout=0.0
    ),
    training=settings.TrainingSettings(
      first=settings.StageSettings(steps=60, learning_rate=3e-2),
      batch_size=1,
      evaluate_every=60,
    ),
    decoding=DecodingSettings(max_tokens=60),
  )
  mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
  pairs = [Pair(film=0, image_id="i", patient_id="p", text=text)]
  film = np.zeros((40, 40), np.uint8)
  grid = encoder([film]).patches.shape[1:3]
  seen = Viewer(encoder, prepared=False)([film])
  sight = building.Sight(grid, encoder.config.width)
  writer, params = building.build(
    chosen, pairs, mesh=mesh, sight=sight, workdir=folder, folder=None
  )
  length, _ = longest_row(writer, pairs)
  material = training.Material(pairs, lambda films: seen[films], length)
  params, _ = training.train(
    training.Course(
      writer=writer,
      train=material,
      validation=material,
      settings=chosen.training,
      seed=0,
      mesh=mesh,
      workdir=folder,
      config={},
      say=lambda line: None,
    ),
    params,
  )
  save_reporter(
    folder, encoder, params, settings=chosen, sight=sight, language_model=None
  )
  return folder
