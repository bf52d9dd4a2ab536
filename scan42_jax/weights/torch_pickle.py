"""Runs the part of pickle that describes plain tensors, and refuses the rest.

A pickle is a program for a stack machine. Python's own machine calls whatever
the program names; this one has only the instructions and names that PyTorch
writes for dicts of tensors, so no file can make it run anything.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

LoadStorage = Callable[[str, np.dtype, int], np.ndarray]
"""(key, dtype, length) -> all numbers of a storage, one axis."""

_MAX_TENSOR_BYTES = 2**32  # A stride of 0 makes any size out of one number.

_STORAGES = {
  "torch.DoubleStorage": np.dtype(np.float64),
  "torch.FloatStorage": np.dtype(np.float32),
  "torch.HalfStorage": np.dtype(np.float16),
  "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "torch.LongStorage": np.dtype(np.int64),
  "torch.IntStorage": np.dtype(np.int32),
  "torch.ShortStorage": np.dtype(np.int16),
  "torch.CharStorage": np.dtype(np.int8),
  "torch.ByteStorage": np.dtype(np.uint8),
  "torch.BoolStorage": np.dtype(np.bool_),
}


def run_pickle(program: bytes, load_storage: LoadStorage) -> Any:
  """Returns what a pickle describes.

  Args:
    program: the pickle.
    load_storage: finds the numbers that a tensor points at.

  Returns:
    Nested dicts, lists and tuples of numbers, strings and read-only arrays.

  Raises:
    ValueError: refused, with the instruction or the name that caused it. A
      damaged program may raise TypeError and LookupError, too.
  """
  machine = _Machine(load_storage)
  for opcode, argument, _ in pickletools.genops(program):
    machine.step(opcode.name, argument)
  return machine.result()


def _tensor(
  storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> np.ndarray:
  """A view of a storage; offset and strides count numbers, not bytes.

  Nothing is known of the arguments, which come from the file. Those that follow
  (gradient flag, hooks) say nothing about the weights.
  """
  if not isinstance(storage, np.ndarray) or storage.ndim != 1:
    raise ValueError("a tensor has no storage")
  numbers = (offset, *shape, *strides)
  if any(type(n) is not int or n < 0 for n in numbers):
    raise ValueError(f"a tensor has impossible shape or strides {numbers}")
  steps = list(zip(shape, strides, strict=True))
  size = math.prod(shape)
  if size * storage.itemsize > _MAX_TENSOR_BYTES:
    raise ValueError(f"a tensor claims shape {shape}, over 4 GiB")
  if size == 0:
    return np.empty(shape, storage.dtype)
  last = offset + sum((n - 1) * stride for n, stride in steps)
  if last >= len(storage):
    raise ValueError(
      f"a tensor reaches number {last} of a storage of {len(storage)}"
    )
  byte_strides = [stride * storage.itemsize for stride in strides]
  return np.lib.stride_tricks.as_strided(
    storage[offset:], shape, byte_strides, writeable=False
  )


def _parameter(data: Any, *_: Any) -> Any:
  return data


def _empty_dict() -> dict:
  return {}


def _size(numbers: Any) -> Any:
  return numbers


_FUNCTIONS: dict[str, Callable] = {
  "collections.OrderedDict": _empty_dict,
  "torch.Size": _size,
  "torch._utils._rebuild_tensor_v2": _tensor,
  "torch._utils._rebuild_parameter": _parameter,
}

_MARK = object()
_CONSTANTS = {
  "NONE": None,
  "NEWTRUE": True,
  "NEWFALSE": False,
  "EMPTY_TUPLE": (),
  "MARK": _MARK,
}
_NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"})
_STRINGS = frozenset({"BINUNICODE", "SHORT_BINUNICODE"})


class _Machine:
  """A stack and a memo; instructions are named as in `pickletools`."""

  def __init__(self, load_storage: LoadStorage):
    self._load_storage = load_storage
    self._stack: list[Any] = []
    self._memo: dict[int, Any] = {}

  def result(self) -> Any:
    return self._pop(1)[0]

  def step(self, instruction: str, argument: Any) -> None:
    """Executes one instruction."""
    match instruction:
      case "PROTO" | "FRAME" | "STOP":
        pass
      case _ if instruction in _NUMBERS | _STRINGS:
        self._push(argument)
      case _ if instruction in _CONSTANTS:
        self._push(_CONSTANTS[instruction])
      case "EMPTY_DICT":
        self._push({})
      case "EMPTY_LIST":
        self._push([])
      case "TUPLE1" | "TUPLE2" | "TUPLE3":
        self._push(tuple(self._pop(int(instruction[-1]))))
      case "TUPLE":
        self._push(tuple(self._pop_to_mark()))
      case "BINPUT" | "LONG_BINPUT":
        self._memo[argument] = self._stack[-1]
      case "MEMOIZE":
        self._memo[len(self._memo)] = self._stack[-1]
      case "BINGET" | "LONG_BINGET":
        self._push(self._memo[argument])
      case "SETITEM":
        self._set_items(self._pop(2))
      case "SETITEMS":
        self._set_items(self._pop_to_mark())
      case "APPEND":
        self._extend(self._pop(1))
      case "APPENDS":
        self._extend(self._pop_to_mark())
      case "GLOBAL":
        self._push_named(argument.replace(" ", "."))
      case "STACK_GLOBAL":
        self._push_named(".".join(self._pop(2)))
      case "REDUCE":
        self._call(*self._pop(2))
      case "BUILD":
        self._pop(1)  # Attributes (module versions) are no weights.
      case "BINPERSID":
        self._push_storage(*self._pop(1)[0])
      case _:
        raise ValueError(_refusal(f"the pickle instruction {instruction}"))

  def _push(self, value: Any) -> None:
    self._stack.append(value)

  def _pop(self, count: int) -> list[Any]:
    if len(self._stack) < count:
      raise ValueError("the pickle is damaged: a value is missing")
    values = self._stack[-count:]
    del self._stack[-count:]
    return values

  def _pop_to_mark(self) -> list[Any]:
    values = []
    while (value := self._stack.pop()) is not _MARK:
      values.append(value)
    return values[::-1]

  def _set_items(self, items: list[Any]) -> None:
    target, keys = self._stack[-1], items[::2]
    # Hashing a deeply nested tuple would crash the process.
    if type(target) is not dict or any(type(k) not in (str, int) for k in keys):
      raise ValueError("a dict has keys other than strings and integers")
    target.update(zip(keys, items[1::2], strict=True))

  def _extend(self, items: list[Any]) -> None:
    if type(self._stack[-1]) is not list:
      raise ValueError("the pickle is damaged: items without a list")
    self._stack[-1].extend(items)

  def _push_named(self, name: str) -> None:
    if name in _STORAGES:
      self._push(_STORAGES[name])
    elif name in _FUNCTIONS:
      self._push(_FUNCTIONS[name])
    else:
      raise ValueError(_refusal(name))

  def _call(self, function: Any, arguments: Any) -> None:
    # Whatever on the stack is callable came from _FUNCTIONS.
    if not callable(function) or type(arguments) is not tuple:
      raise ValueError("the pickle is damaged: a call without a function")
    self._push(function(*arguments))

  def _push_storage(
    self, tag: Any, dtype: Any, key: Any, _: Any, size: Any
  ) -> None:
    valid = tag == "storage" and isinstance(dtype, np.dtype)
    if not valid or type(key) is not str or type(size) is not int:
      raise ValueError("a storage has no type, key or length")
    self._push(self._load_storage(key, dtype, size))


def _refusal(what: str) -> str:
  return (
    f"refused {what[:100]}: only dicts of plain tensors are read; save"
    " model.state_dict() alone"
  )
