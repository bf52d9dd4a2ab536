"""How fast films are prepared, and in how much memory.

  python -m benchmarks.prepare_throughput --folder=DIR

Makes films of 2,500 x 3,000 pixels as JPEG and as DICOM, decodes them in full
without doing anything else, prepares them, and compares the two: aim at least
80 % of that speed. Then prepares many small films and looks at the memory:
aim no growth with their number beyond what lists of file names need.
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pydicom
from absl import app, flags, logging
from PIL import Image
from pydicom import dataset, encaps, uid

from scan42_jax.data import assembly, images, workers
from scan42_jax.datasets.reading import Options

_FOLDER = flags.DEFINE_string(
  "folder", None, "Gets the films, a few GB; emptied first.", required=True
)
_FILMS = flags.DEFINE_integer("films", 400, "Films of each kind.")
_KINDS = flags.DEFINE_list(
  "kinds", ["jpeg", "dicom", "dicom_jpeg", "dicom_jpeg2000"], "Kinds of films."
)
_SMALL_FILMS = flags.DEFINE_list(
  "small_films", ["1000", "10000"], "Numbers of small films."
)
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes that read.")

_DISTINCT = 8  # The rest are links to these.
_HEIGHT, _WIDTH = 3000, 2500
_SYNTAXES = {
  "dicom": uid.ExplicitVRLittleEndian,
  "dicom_jpeg": uid.JPEGBaseline8Bit,
  "dicom_jpeg2000": uid.JPEG2000Lossless,
}


def draw_film(seed: int) -> np.ndarray:
  """A chest's rough shape with grain like a detector's, uint8."""
  rng = np.random.default_rng(seed)
  low = rng.uniform(40, 200, (9, 8)).astype(np.float32)
  smooth = Image.fromarray(low).resize((_WIDTH, _HEIGHT), Image.BICUBIC)
  grain = rng.normal(0, 2, (_HEIGHT, _WIDTH)).astype(np.float32)
  return (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)


def write_dicom(path: pathlib.Path, pixels: np.ndarray, syntax: uid.UID):
  """Writes 12 bits in 16, but 8 bits where the syntax is JPEG baseline."""
  meta = dataset.FileMetaDataset()
  meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
  meta.MediaStorageSOPInstanceUID = uid.generate_uid()
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  film = dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
  film.SOPClassUID = meta.MediaStorageSOPClassUID
  film.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
  film.Modality, film.ViewPosition = "DX", "PA"
  film.Rows, film.Columns = pixels.shape
  film.SamplesPerPixel, film.PixelRepresentation = 1, 0
  film.PhotometricInterpretation = "MONOCHROME2"
  eight = syntax == uid.JPEGBaseline8Bit
  film.BitsAllocated = 8 if eight else 16
  film.BitsStored = 8 if eight else 12
  film.HighBit = film.BitsStored - 1
  if eight:
    meta.TransferSyntaxUID = syntax
    film.PixelData = encaps.encapsulate([images.encode_film(pixels)])
    film["PixelData"].VR = "OB"
  else:
    film.WindowCenter, film.WindowWidth = 2048, 4096
    film.PixelData = (pixels.astype(np.uint16) * 16).tobytes()
    if syntax == uid.JPEG2000Lossless:
      film.compress(syntax)
  pydicom.dcmwrite(path, film)


def make_films(folder: pathlib.Path, kind: str) -> list[pathlib.Path]:
  """Writes the films of a kind and returns their files."""
  folder.mkdir(parents=True)
  suffix = "jpg" if kind == "jpeg" else "dcm"
  paths = [folder / f"{i:05d}.{suffix}" for i in range(_FILMS.value)]
  for i, path in enumerate(paths):
    if i >= _DISTINCT:
      os.link(paths[i % _DISTINCT], path)
    elif kind == "jpeg":
      path.write_bytes(images.encode_film(draw_film(i)))
    else:
      write_dicom(path, draw_film(i), _SYNTAXES[kind])
  return paths


def decode(path: pathlib.Path) -> tuple[int, int]:
  """Decodes a film and lets go of it."""
  return images.read_film(path).pixels.shape


def compare(folder: pathlib.Path, kind: str) -> dict:
  """Times the decoding and the preparation of one kind of film."""
  paths = make_films(folder / kind, kind)
  start = time.perf_counter()
  jobs = [(path,) for path in paths]
  for _, result in workers.run_jobs(decode, jobs, workers=_WORKERS.value):
    assert result == (_HEIGHT, _WIDTH), result
  decoded = time.perf_counter()
  assembly.prepare(
    "folder",
    Options(source=folder / kind, name=kind),
    data_dir=folder / "data",
    num_workers=_WORKERS.value,
    say=lambda line: None,
  )
  seconds = (decoded - start, time.perf_counter() - decoded)
  shutil.rmtree(folder)
  return {
    "kind": kind,
    "films": len(paths),
    "decoded_per_s": round(len(paths) / seconds[0], 1),
    "prepared_per_s": round(len(paths) / seconds[1], 1),
    "share": round(seconds[0] / seconds[1], 3),
  }


def measure_memory(folder: pathlib.Path, count: int) -> dict:
  """Prepares small films in a process of its own and watches its memory."""
  source = folder / "small"
  source.mkdir(parents=True)
  rng = np.random.default_rng(0)
  stream = io.BytesIO()
  noise = rng.integers(0, 256, (160, 160)).astype(np.uint8)
  Image.fromarray(noise).save(stream, "PNG")
  for i in range(count):
    (source / f"{i:06d}.png").write_bytes(stream.getvalue())
  command = [sys.executable, "-m", "scan42_jax.data.prepare"]
  command += ["--dataset=folder", f"--source={source}"]
  command += [f"--data_dir={folder / 'data'}", f"--workers={_WORKERS.value}"]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  peak = {}
  while process.poll() is None:
    for pid in [process.pid, *_children(process.pid)]:
      peak[pid] = max(peak.get(pid, 0), _peak_mib(pid))
    time.sleep(0.05)
  assert process.returncode == 0
  shutil.rmtree(folder)
  parent = peak.pop(process.pid)
  return {
    "films": count,
    "parent_peak_mib": round(parent, 1),
    "largest_worker_peak_mib": round(max(peak.values()), 1),
  }


def _children(pid: int) -> list[int]:
  try:
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
  except OSError:
    return []


def _peak_mib(pid: int) -> float:
  try:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
      if line.startswith("VmHWM:"):
        return int(line.split()[1]) / 1024
  except OSError:
    pass
  return 0.0


def main(argv: list[str]) -> None:
  """Prints one JSON object a line."""
  del argv
  logging.set_verbosity(logging.WARNING)
  folder = pathlib.Path(_FOLDER.value)
  shutil.rmtree(folder, ignore_errors=True)
  for kind in _KINDS.value:
    print(json.dumps(compare(folder, kind)), flush=True)
  for count in _SMALL_FILMS.value:
    print(json.dumps(measure_memory(folder, int(count))), flush=True)


if __name__ == "__main__":
  app.run(main)
