"""The `.pth` reader: real files in, hostile and broken files out."""

import os
import pathlib
import pickle
import random
import subprocess
import sys
import zipfile

import checkpoint_writer as writer
import ml_dtypes
import numpy as np
import pytest

from scan42_jax.weights.torch_file import read_torch_file

DATA = pathlib.Path(__file__).parent / "data"
NUMBERS = np.arange(24.0)


def _refused(path, *words):
  """The one line with which a file is refused."""
  with pytest.raises(ValueError) as caught:
    read_torch_file(path)
  line = str(caught.value)
  assert line.startswith(f"{path}: ")
  assert "\n" not in line
  for word in words:
    assert word in line
  return line


def test_real_file_has_every_dtype_and_view():
  content = read_torch_file(DATA / "dtypes.pth")
  for dtype, expected in {
    "float64": NUMBERS,
    "float16": NUMBERS,
    "bfloat16": NUMBERS,
    "int64": np.arange(-2, 3),
    "int32": np.arange(-2, 3),
    "int16": np.arange(-2, 3),
    "int8": np.arange(-2, 3),
    "uint8": np.arange(5),
    "bool": np.array([True, False]),
  }.items():
    assert content[dtype].dtype == np.dtype(
      ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    )
    np.testing.assert_array_equal(
      content[dtype].astype(expected.dtype), expected
    )
  np.testing.assert_array_equal(content["transposed"], NUMBERS.reshape(4, 6).T)
  np.testing.assert_array_equal(content["strided"], NUMBERS[5::3])
  np.testing.assert_array_equal(content["expanded"], np.full((2, 3), 9))
  assert content["scalar"].shape == () and content["scalar"] == 3.5
  assert content["empty"].shape == (0, 4)


def test_real_file_keeps_numbers_strings_and_nesting():
  content = read_torch_file(DATA / "dtypes.pth")
  assert content["step"] == 7 and content["lr"] == 0.5
  assert content["name"] == "tiny" and content["size"] == (2, 3)
  assert content["list"] == [1, None, True, (2,)]
  nested = content["nested"]
  np.testing.assert_array_equal(
    nested["linear"]["weight"], NUMBERS[:6].reshape(2, 3)
  )
  np.testing.assert_array_equal(nested["linear"]["bias"], np.zeros(2))
  np.testing.assert_array_equal(nested["parameter"], np.ones(2))


def test_arrays_are_read_only():
  content = read_torch_file(DATA / "dtypes.pth")
  with pytest.raises(ValueError, match="read-only"):
    content["strided"][0] = 1


def test_big_endian_file(tmp_path):
  arrays = {
    "x": np.array([[1.5, -2.0]], np.float32),
    "n": np.array([1, 256], np.int64),
  }
  path = writer.write_checkpoint(tmp_path / "x.pth", arrays, byteorder="big")
  content = read_torch_file(path)
  for name, expected in arrays.items():
    assert content[name].dtype == expected.dtype
    np.testing.assert_array_equal(content[name], expected)


def test_big_endian_bfloat16(tmp_path):
  program = writer.tensor((2,), kind="BFloat16Storage", size=2)
  data = np.array([0x3FC0, 0xC000], ">u2").tobytes()
  path = writer.write_zip(
    tmp_path / "x.pth",
    b"\x80\x02}" + writer.integer_or_text("x") + program + b"s.",
    {"0": data},
    byteorder=b"big",
  )
  np.testing.assert_array_equal(
    read_torch_file(path)["x"].astype(np.float32), [1.5, -2.0]
  )


class _Calls:
  """Pickles into a call."""

  def __init__(self, function, *arguments):
    self._call = (function, arguments)

  def __reduce__(self):
    return self._call


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_pickle_is_executed(tmp_path, protocol):
  for function, argument, name in [
    (os.system, "touch {}", "posix.system"),
    (eval, "open('{}', 'w')", ".eval"),
    (exec, "open('{}', 'w')", ".exec"),
    (os.mkdir, "{}", "posix.mkdir"),
    (subprocess.getoutput, "touch {}", ".getoutput"),
  ]:
    victim = tmp_path / "victim"
    call = _Calls(function, argument.format(str(victim)))
    program = pickle.dumps({"x": call}, protocol)
    path = writer.write_zip(tmp_path / "x.pth", program)
    # Protocol 2 spells some modules as Python 2 did.
    _refused(path, "refused ", f"{name}: only dicts of plain tensors are read")
    assert not victim.exists()


@pytest.mark.parametrize(
  "module, attribute",
  [
    ("torch", "load"),
    ("torch", "FloatTensor"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.jit", "load"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ("collections", "OrderedDict.fromkeys"),
    ("numpy", "load"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("builtins", "getattr"),
    ("models", "Net"),
  ],
)
def test_other_names_are_refused(tmp_path, module, attribute):
  by_line = writer.name(module, attribute)
  texts = [writer.integer_or_text(text) for text in (module, attribute)]
  from_stack = b"".join(texts) + b"\x93"
  for look_up in (by_line, from_stack):
    path = writer.write_zip(tmp_path / "x.pth", b"\x80\x02" + look_up + b".")
    _refused(path, f"refused {module}.{attribute}:")


@pytest.mark.parametrize(
  "program, instruction",
  [
    (b"(ios\nsystem\n.", "INST"),
    (b"(cos\nsystem\no.", "GLOBAL"),
    (writer.name("collections", "OrderedDict") + b")\x81.", "NEWOBJ"),
    (b"\x82\x01.", "EXT1"),
    (b"]2.", "DUP"),
    (b"Pname\n.", "PERSID"),
    (b"\x96" + b"\xff" * 7 + b"\x7f.", "BYTEARRAY8"),
    (b"\x8f(.", "EMPTY_SET"),
  ],
)
def test_other_instructions_are_refused(tmp_path, program, instruction):
  path = writer.write_zip(tmp_path / "x.pth", b"\x80\x02" + program)
  line = _refused(path)
  if instruction == "GLOBAL":
    assert "refused os.system:" in line
  elif instruction == "BYTEARRAY8":
    assert "bytearray8" in line
  else:
    assert f"refused the pickle instruction {instruction}:" in line


REBUILD = writer.name("torch._utils", "_rebuild_tensor_v2")
ORDERED = writer.name("collections", "OrderedDict")
HARMFUL_STATE = b"}" + writer.integer_or_text("__call__") + b"Nsb"
SLOT_STATE = b"N}" + writer.integer_or_text("__defaults__") + b"Ns\x86b"


@pytest.mark.parametrize("state", [HARMFUL_STATE, SLOT_STATE])
@pytest.mark.parametrize("target", [REBUILD, ORDERED, ORDERED + b")R", b"}"])
def test_state_of_an_object_is_never_set(tmp_path, target, state):
  program = b"\x80\x02}" + writer.integer_or_text("x") + target + state + b"s."
  path = writer.write_zip(tmp_path / "x.pth", program)
  value = read_torch_file(path)["x"]
  assert value == {} or not (value.__defaults__ or "__call__" in vars(value))
  assert read_torch_file(DATA / "dtypes.pth")["step"] == 7


@pytest.mark.parametrize(
  "program, words",
  [
    (b"h\x05.", "KeyError: 5"),
    (b"j\xff\xff\xff\x7f.", "KeyError: 2147483647"),
    (b"q\x05.", "IndexError"),
    (b"t.", "IndexError"),
    (b"R.", "a value is missing"),
    (b"}K\x01R.", "a call without a function"),
    (b"}}R.", "a call without a function"),
    (REBUILD + b")R.", "TypeError"),
    (REBUILD + b"(K\x01K\x00))tR.", "a tensor has no storage"),
    (ORDERED + b"]\x85R.", "TypeError"),
    (b"}))s.", "keys other than strings"),
    (b"}(K\x01u.", "argument 2 is shorter"),
    (b"K\x01K\x01a.", "items without a list"),
    (b"K\x01Q.", "TypeError"),
    (b")Q.", "TypeError"),
    (b"}", "STOP"),
    (b"\xff.", "opcode"),
  ],
)
def test_broken_programs_are_refused(tmp_path, program, words):
  path = writer.write_zip(tmp_path / "x.pth", b"\x80\x02" + program)
  _refused(path, words)


def test_a_huge_memo_index_takes_no_memory(tmp_path):
  program = b"\x80\x02}r\xff\xff\xff\x7f."
  path = writer.write_zip(tmp_path / "x.pth", program)
  assert read_torch_file(path) == {}


def test_a_million_nested_tuples_as_key_are_refused(tmp_path):
  nested = b")" + b"\x85" * 10**6
  path = writer.write_zip(tmp_path / "x.pth", b"\x80\x02}" + nested + b"Ns.")
  _refused(path, "keys other than strings")


@pytest.mark.parametrize(
  "arguments, words",
  [
    ({"shape": (2, 3), "size": 6, "offset": 1}, "number 6 of a storage of 6"),
    ({"shape": (7,), "size": 6}, "number 6 of a storage of 6"),
    ({"shape": (2,), "size": 6, "strides": (6,)}, "number 6"),
    ({"shape": (2,), "size": 6, "strides": (-1,)}, "impossible shape"),
    ({"shape": (-2,), "size": 6}, "impossible shape"),
    ({"shape": (2,), "size": 6, "offset": -1}, "impossible shape"),
    ({"shape": (2, 3), "size": 6, "strides": (1,)}, "zip()"),
    ({"shape": (2**20,) * 3, "size": 6, "strides": (0,) * 3}, "over 4 GiB"),
    ({"shape": (7,), "size": 7}, "has 24 bytes, its tensors claim 28"),
    ({"shape": (5,), "size": 5}, "has 24 bytes, its tensors claim 20"),
    ({"shape": (1,), "size": -6}, "has 24 bytes, its tensors claim -24"),
    ({"shape": (6,), "size": 6, "key": "1"}, "archive/data/1 is missing"),
    ({"shape": (6,), "size": 6, "key": "../byteorder"}, "is missing"),
    ({"shape": (6,), "size": 6, "kind": "QInt8Storage"}, "torch.QInt8Storage"),
  ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, arguments, words):
  program = b"\x80\x02" + writer.tensor(**arguments) + b"."
  path = writer.write_zip(tmp_path / "x.pth", program, {"0": bytes(24)})
  _refused(path, words)


def test_truncated_files_are_refused(tmp_path):
  whole = (DATA / "dtypes.pth").read_bytes()
  path = tmp_path / "x.pth"
  for size in (0, 1, 13, 100, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:size])
    _refused(path)


def test_a_flipped_byte_of_a_storage_is_noticed(tmp_path):
  whole = bytearray((DATA / "dtypes.pth").read_bytes())
  with zipfile.ZipFile(DATA / "dtypes.pth") as archive:
    info = archive.getinfo("dtypes/data/0")
    data = archive.read(info)
  whole[whole.index(data, info.header_offset)] ^= 1
  path = tmp_path / "x.pth"
  path.write_bytes(whole)
  _refused(path, "damaged", "CRC")


def test_random_damage_ends_in_one_line_or_in_a_dict(tmp_path):
  with zipfile.ZipFile(DATA / "dtypes.pth") as archive:
    program = archive.read("dtypes/data.pkl")
    storages = {
      name.rsplit("/", 1)[1]: archive.read(name)
      for name in archive.namelist()
      if name.startswith("dtypes/data/")
    }
  generator = random.Random(0)
  for _ in range(400):
    damaged = bytearray(program)
    for _ in range(generator.randint(1, 4)):
      damaged[generator.randrange(len(damaged))] = generator.randrange(256)
    path = writer.write_zip(tmp_path / "x.pth", bytes(damaged), storages)
    try:
      assert isinstance(read_torch_file(path), dict)
    except ValueError as error:
      assert str(error).startswith(str(path)) and "\n" not in str(error)


def test_compressed_entries_are_refused(tmp_path):
  path = writer.write_zip(
    tmp_path / "bomb.pth",
    b"\x80\x02}.",
    {"0": bytes(2**24)},
    compression=zipfile.ZIP_DEFLATED,
  )
  _refused(path, "compressed entries")


def test_overlapping_entries_are_refused(tmp_path):
  path = tmp_path / "x.pth"
  writer.write_zip(path, b"\x80\x02}.", {str(i): bytes(512) for i in range(9)})
  whole = path.read_bytes()
  with zipfile.ZipFile(path) as archive:
    first = archive.getinfo("archive/data/0")
  # Every directory record points at the first storage and doubles its size.
  damaged = bytearray(whole)
  at = whole.index(b"PK\x01\x02")
  while at >= 0:
    damaged[at + 20 : at + 28] = (2048).to_bytes(4, "little") * 2
    damaged[at + 42 : at + 46] = first.header_offset.to_bytes(4, "little")
    at = whole.find(b"PK\x01\x02", at + 1)
  path.write_bytes(damaged)
  _refused(path, "claim more bytes than the file")


def test_a_huge_program_is_refused(tmp_path):
  path = writer.write_zip(tmp_path / "x.pth", b"\x80\x02" + b"}" * 2**23)
  _refused(path, "data.pkl has more than")


def test_other_files_are_refused(tmp_path):
  path = tmp_path / "legacy.pth"
  path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"rest")
  _refused(path, "before PyTorch 1.6")
  path = tmp_path / "text.pth"
  path.write_text("version https://git-lfs.github.com/spec/v1")
  _refused(path, "not a PyTorch checkpoint (no zip archive)")
  path = tmp_path / "other.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("readme.txt", "hello")
  _refused(path, "no data.pkl in the zip")
  path = writer.write_zip(tmp_path / "list.pth", b"\x80\x02].")
  _refused(path, "holds a list, not a dict")
  with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
    read_torch_file(tmp_path / "absent.pth")


def test_torch_is_not_imported():
  program = (
    "import sys; from scan42_jax.weights.torch_file import read_torch_file;"
    f" read_torch_file({str(DATA / 'dtypes.pth')!r});"
    " assert not {'torch', 'pickle'} & (set(sys.modules) - before)"
  )
  program = "import sys, ml_dtypes; before = set(sys.modules);" + program
  subprocess.run([sys.executable, "-c", program], check=True)
