"""Feeds damaged files to every reader and counts what becomes of them.

  python -m benchmarks.fuzz --format=jpeg --files=10000 --folder=DIR

A file is a sound one with bytes flipped, cut, repeated, exchanged or set to
extremes. It is read in a child process, which is `data/bounded.py`'s own: what
crashes, takes over 10 s or grows by over 1 GB is counted against us, and so is
an exception other than ValueError and OSError, or one that says nothing. Such
inputs stay in DIR. Exit code 1: there were any.
"""

import collections
import contextlib
import io
import json
import pathlib
import random
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable

import numpy as np
from absl import app, flags
from PIL import Image

from scan42_jax.data import bounded

_ROOT = pathlib.Path(__file__).parents[1]
_TIMEOUT_S = 10
_MOST_BYTES = 2**30
_EXTREMES = (
  b"\x00",
  b"\xff",
  b"\x7f\xff\xff\xff",
  b"\xff" * 4,
  b"\x80" + b"\x00" * 7,
)


_PNG = b"\x89PNG\r\n\x1a\n"

# Readers: path of a file -> anything, or ValueError or OSError.


def _read_film(path: pathlib.Path) -> None:
  from scan42_jax.data import images

  images.read_film(path)


def _read_safetensors(path: pathlib.Path) -> None:
  from scan42_jax.weights.safetensors_file import (
    read_metadata,
    read_safetensors,
  )

  read_safetensors(path)
  read_metadata(path)


def _read_torch(path: pathlib.Path) -> None:
  from scan42_jax.weights.torch_file import read_torch_file

  read_torch_file(path)


def _read_table(path: pathlib.Path) -> None:
  from scan42_jax.datasets import folder, reading

  options = reading.Options(source=path.parent, labels_csv=path)
  dataset = folder.Folder(options=options, data_dir=path.parent)
  list(dataset.listed_rows())


def _read_encoder_config(path: pathlib.Path) -> None:
  from scan42_jax.weights import huggingface_config

  huggingface_config.read_config(path.parent)


def _read_preprocessing(path: pathlib.Path) -> None:
  from scan42_jax.weights import preprocessing

  preprocessing.read_preprocessing(path.parent)


def _read_run_config(path: pathlib.Path) -> None:
  from scan42_jax import settings

  settings.check(settings.from_json(json.loads(path.read_text())))


def _read_shard(path: pathlib.Path) -> None:
  from scan42_jax.data import images, sources

  data_dir = _shard_folder()
  shard = next(data_dir.glob("folder/*/folder-train.array_record*"))
  shard.write_bytes(path.read_bytes())
  for example in sources.open_films(data_dir, "folder", "train"):
    images.decode_film(example["image"])


def _shard_folder() -> pathlib.Path:
  """A prepared dataset of this process alone."""
  folder = pathlib.Path(tempfile.gettempdir()) / f"fuzz_shards_{_parent_id()}"
  if not folder.exists():
    _prepare(folder)
  return folder


def _parent_id() -> int:
  import os

  return os.getppid()


def _prepare(folder: pathlib.Path) -> None:
  from scan42_jax.data import assembly
  from scan42_jax.datasets.reading import Options

  raw = folder / "raw"
  raw.mkdir(parents=True)
  rows = ["file,patient_id,split,Nodule"]
  for i in range(8):
    (raw / f"{i}.png").write_bytes(_picture("PNG", "L", seed=i))
    rows.append(f"{i}.png,p{i},train,{i % 2}")
  table = raw / "labels.csv"
  table.write_text("\n".join(rows) + "\n")
  options = Options(source=raw, labels_csv=table)
  quiet = lambda line: None  # noqa: E731
  assembly.prepare("folder", options, data_dir=folder, num_workers=0, say=quiet)


# Sound files to start from.


def _picture(kind: str, mode: str, *, seed: int = 0, **options) -> bytes:
  rng = np.random.default_rng(seed)
  shape = (60, 64, 3) if mode == "RGB" else (60, 64)
  peak = 65536 if mode == "I;16" else 256
  values = rng.integers(0, peak, shape)
  pixels = values.astype(np.uint16 if mode == "I;16" else np.uint8)
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, kind, **options)
  return stream.getvalue()


def _jpegs() -> list[bytes]:
  return [
    _picture("JPEG", "L"),
    _picture("JPEG", "RGB"),
    _picture("JPEG", "L", progressive=True),
  ]


def _pngs() -> list[bytes]:
  palette = io.BytesIO()
  rng = np.random.default_rng(0)
  grey = Image.fromarray(rng.integers(0, 9, (60, 64)).astype(np.uint8))
  grey.convert("P").save(palette, "PNG")
  modes = ("L", "RGB", "I;16")
  return [*(_picture("PNG", mode) for mode in modes), palette.getvalue()]


_DICOM_FILES = (
  "MR_small.dcm",
  "MR_small_RLE.dcm",
  "MR_small_bigendian.dcm",
  "MR_small_jp2klossless.dcm",
  "MR_small_jpeg_ls_lossless.dcm",
  "JPEG-lossy.dcm",
  "SC_rgb_jpeg_gdcm.dcm",
  "image_dfl.dcm",
)


def _dicoms() -> list[bytes]:
  """Files of pydicom, small ones, that say they are chest films."""
  import pydicom
  from pydicom.data import get_testdata_file

  found = []
  for name in _DICOM_FILES:
    path = get_testdata_file(name, download=False)
    if path is None:
      continue
    dataset = pydicom.dcmread(path)
    dataset.Modality = "DX"
    stream = io.BytesIO()
    dataset.save_as(stream)
    found.append(stream.getvalue())
  return found


def _safetensors() -> list[bytes]:
  import safetensors.numpy

  rng = np.random.default_rng(0)
  arrays = {
    f"encoder.layer.{i}.weight": rng.normal(size=(8, 8)).astype(dtype)
    for i, dtype in enumerate((np.float32, np.float16, np.int64))
  }
  return [safetensors.numpy.save(arrays, {"format": "pt"})]


def _checkpoints() -> list[bytes]:
  folder = _ROOT / "tests" / "weights" / "data"
  return [path.read_bytes() for path in sorted(folder.glob("*.pth"))]


def _tables() -> list[bytes]:
  rows = ["file,patient_id,split,view,sex,age,report,Nodule,Edema"]
  for i in range(20):
    split = ("train", "val", "test")[i % 3]
    rows.append(f'{i}.png,p{i},{split},PA,F,{i + 20},"Clear, no change",1,')
  text = "\n".join(rows) + "\n"
  return [text.encode(), text.replace("\n", "\r\n").encode("utf-8-sig")]


def _encoder_configs() -> list[bytes]:
  config = {
    "model_type": "dinov2_with_registers",
    "hidden_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 12,
    "num_register_tokens": 4,
    "image_size": 518,
    "patch_size": 14,
    "mlp_ratio": 4,
    "layerscale_value": 1.0,
  }
  return [json.dumps(config).encode()]


def _preprocessings() -> list[bytes]:
  values = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 518},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 518, "width": 518},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "do_convert_rgb": True,
  }
  return [json.dumps(values).encode()]


def _run_configs() -> list[bytes]:
  from scan42_jax import settings

  return [json.dumps(settings.to_json(settings.Settings())).encode()]


def _shards() -> list[bytes]:
  with tempfile.TemporaryDirectory() as folder:
    _prepare(pathlib.Path(folder) / "d")
    (shard,) = pathlib.Path(folder).rglob("folder-train.array_record*")
    return [shard.read_bytes()]


Reader = Callable[[pathlib.Path], None]
FORMATS: dict[str, tuple[str, Reader, Callable[[], list[bytes]]]] = {
  "dicom": ("film.dcm", _read_film, _dicoms),
  "jpeg": ("film.jpg", _read_film, _jpegs),
  "png": ("film.png", _read_film, _pngs),
  "safetensors": ("model.safetensors", _read_safetensors, _safetensors),
  "pth": ("weights.pth", _read_torch, _checkpoints),
  "shard": ("shard", _read_shard, _shards),
  "csv": ("labels.csv", _read_table, _tables),
  "encoder_config": ("config.json", _read_encoder_config, _encoder_configs),
  "preprocessing": (
    "preprocessor_config.json",
    _read_preprocessing,
    _preprocessings,
  ),
  "run_config": ("config.json", _read_run_config, _run_configs),
}
"""By name: name of the file, reader, sound files."""


def mutate(sound: list[bytes], rng: random.Random, *, text: bool) -> bytes:
  """Damages one of some sound files in one to four ways."""
  data = bytearray(rng.choice(sound))
  if text and rng.random() < 0.7:  # Other damage leaves no JSON to look at.
    for _ in range(rng.randint(1, 3)):
      _mutate_words(data, rng)
    return bytes(data)
  for _ in range(rng.randint(1, 4)):
    if not data:
      break
    # Headers are short and matter most.
    end = rng.choice((min(len(data), 512), len(data)))
    place = rng.randrange(end)
    length = min(rng.choice((1, 2, 4, 16, 256)), len(data) - place)
    kind = rng.randrange(7)
    if kind == 0:
      data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
      data[place : place + length] = rng.randbytes(length)
    elif kind == 2:
      extreme = rng.choice(_EXTREMES)
      data[place : place + len(extreme)] = extreme
    elif kind == 3:
      del data[place:]
    elif kind == 4:
      del data[place : place + length]
    elif kind == 5:
      data[place:place] = data[place : place + length] * rng.choice((1, 50))
    else:
      other = rng.choice(sound)
      data[place : place + length] = other[place : place + length]
  if data.startswith(_PNG) and rng.random() < 0.8:
    _repair_sums(data)
  return bytes(data)


def _repair_sums(data: bytearray) -> None:
  """Makes a PNG's checksums right again, so that the decoder looks further."""
  place = len(_PNG)
  while place + 12 <= len(data):
    (length,) = struct.unpack_from(">I", data, place)
    end = place + 8 + length
    if end + 4 > len(data):
      return
    struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
    place = end + 4


_WORDS = (
  b"null",
  b"true",
  b"-1",
  b"0",
  b"1e999",
  b"NaN",
  b"[]",
  b"{}",
  b'""',
  b'"../../etc/passwd"',
  b"99999999999999999999",
  b"\xf0\x9f\x92\xa9",
)


def _mutate_words(data: bytearray, rng: random.Random) -> None:
  """Exchanges a value of JSON or CSV for another."""
  marks = [i for i, byte in enumerate(data) if byte in b":,\n"]
  if not marks:
    return
  start = rng.choice(marks) + 1
  after = [i for i in marks if i >= start] or [len(data)]
  data[start : after[0]] = rng.choice(_WORDS)


def serve(name: str) -> None:
  """Body of the child: reads what the parent sends, and says what came."""
  filename, reader, _ = FORMATS[name]
  path = pathlib.Path(tempfile.mkdtemp(prefix="fuzz_")) / filename

  def attempt(data: bytes) -> bytes:
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = "read"
    try:
      reader(path)
    except (ValueError, OSError) as error:
      outcome = "refused" if str(error).strip() else "refused without a word"
    except Exception as error:
      outcome = f"escaped: {type(error).__name__}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return json.dumps([outcome, grown * 1024]).encode()

  # Much address space, for libraries reserve what they do not use.
  bounded.serve(attempt, memory_bytes=2**36, timeout_s=_TIMEOUT_S)


def fuzz(
  name: str,
  count: int,
  *,
  seed: int,
  folder: pathlib.Path,
  program: str = "benchmarks.fuzz",
) -> dict[str, object]:
  """Reads damaged files of one format.

  Args:
    name: of the format.
    count: files.
    seed: of the damage.
    folder: gets the inputs that count against the reader.
    program: that calls `serve` in the child.

  Returns:
    How many were read, refused, and how many went wrong in which way.
  """
  _, _, make = FORMATS[name]
  sound, rng = make(), random.Random(seed)
  text = name in ("csv", "encoder_config", "preprocessing", "run_config")
  worker = bounded.Worker(program, calls=10**9, arguments=(name,))
  counts: collections.Counter[str] = collections.Counter()
  slowest = largest = 0.0
  with contextlib.suppress(bounded.WorkerError):
    worker(sound[0])  # Starts it, which takes longest.
  for i in range(count):
    data = mutate(sound, rng, text=text)
    begin = time.monotonic()
    try:
      outcome, grown = json.loads(worker(data))
    except bounded.WorkerError as error:
      took = time.monotonic() - begin
      outcome = "hung" if took > _TIMEOUT_S else f"crashed ({error})"
      grown = 0
    took = time.monotonic() - begin
    if grown > _MOST_BYTES:
      outcome = "over 1 GB"
    slowest, largest = max(slowest, took), max(largest, grown)
    counts[outcome] += 1
    if outcome not in ("read", "refused"):
      folder.mkdir(parents=True, exist_ok=True)
      (folder / f"{name}_{seed}_{i}").write_bytes(data)
  worker.close()
  return {
    "format": name,
    "files": count,
    "seed": seed,
    **dict(sorted(counts.items())),
    "slowest_s": round(slowest, 2),
    "largest_growth_mb": round(largest / 2**20, 1),
  }


def bad(result: dict[str, object]) -> int:
  """Counts the files that were neither read nor refused."""
  return result["files"] - result.get("read", 0) - result.get("refused", 0)


def main(argv: list[str]) -> None:
  """Fuzzes the formats that the flags name; prints a JSON object for each."""
  del argv
  folder = pathlib.Path(flags.FLAGS.folder).expanduser()
  total = 0
  for name in flags.FLAGS.format or FORMATS:
    result = fuzz(name, flags.FLAGS.files, seed=flags.FLAGS.seed, folder=folder)
    print(json.dumps(result), flush=True)
    total += bad(result)
  sys.exit(total > 0)


if __name__ == "__main__":
  if len(sys.argv) == 2 and sys.argv[1] in FORMATS:
    serve(sys.argv[1])
    sys.exit()
  flags.DEFINE_list("format", [], "Names of formats; default: all.")
  flags.DEFINE_integer("files", 1000, "Damaged files of each format.", 1)
  flags.DEFINE_integer("seed", 0, "Of the damage.")
  flags.DEFINE_string("folder", None, "For what went wrong.", required=True)
  app.run(main)
