"""Text to tokens and back: made of the training reports, or from a folder.

The only importer of `tokenizers`, an optional dependency.
"""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

PAD, START, PROMPTED, END = "<pad>", "<start>", "<findings>", "<end>"
_SPECIAL = (PAD, START, PROMPTED, END)


class Tokenizer:
  """Byte-level tokens, so that no text is unknown.

  Args:
    inner: of the library.
  """

  def __init__(self, inner: Any):
    self._inner = inner

  @property
  def vocab_size(self) -> int:
    """Tokens, special ones included."""
    return self._inner.get_vocab_size()

  def encode(self, text: str) -> list[int]:
    """Tokens of a text, without any special one around it."""
    return self._inner.encode(text, add_special_tokens=False).ids

  def decode(self, tokens: Sequence[int]) -> str:
    """The text of tokens; special ones leave no trace."""
    text = self._inner.decode([int(t) for t in tokens])
    return " ".join(text.split())

  def special(self, name: str) -> int:
    """The number of a special token.

    Raises:
      ValueError: the tokenizer does not have it.
    """
    number = self._inner.token_to_id(name)
    if number is None:
      raise ValueError(f"the tokenizer has no token {name!r}")
    return number

  def pieces(self, tokens: Sequence[int]) -> list[str]:
    """The text that each token adds."""
    return [self._inner.decode([int(t)]) for t in tokens]

  def save(self, path: pathlib.Path) -> None:
    """Writes the library's JSON file, whole or not at all."""
    beside = path.with_suffix(".tmp")
    self._inner.save(str(beside))
    beside.replace(path)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
  """Makes byte-level byte-pair tokens of texts.

  Args:
    texts: training reports.
    vocab_size: most tokens; few texts give fewer.
  """
  library = require_library()
  byte_level = library.pre_tokenizers.ByteLevel
  inner = library.Tokenizer(library.models.BPE())
  inner.pre_tokenizer = byte_level(add_prefix_space=False)
  inner.decoder = library.decoders.ByteLevel()
  inner.train_from_iterator(
    texts,
    library.trainers.BpeTrainer(
      vocab_size=vocab_size,
      special_tokens=list(_SPECIAL),
      initial_alphabet=byte_level.alphabet(),
      show_progress=False,
    ),
  )
  return Tokenizer(inner)


def read_tokenizer(path: pathlib.Path) -> Tokenizer:
  """Reads tokenizer.json of a work folder or of a language model.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it is damaged.
  """
  if not path.is_file():
    fix = ""
    if (path.parent / "tokenizer.model").is_file():
      fix = (
        "; the folder has SentencePiece's tokenizer.model: convert it once with"
        " transformers, AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
      )
    raise FileNotFoundError(f"{path}: no such file{fix}")
  try:
    return Tokenizer(require_library().Tokenizer.from_file(str(path)))
  except Exception as error:  # The library raises bare Exceptions.
    raise ValueError(f"{path}: {error}") from None


def require_library() -> ModuleType:
  """Returns the package that tokenizers are made with.

  Raises:
    ValueError: it is not installed; says how to.
  """
  try:
    return importlib.import_module("tokenizers")
  except ImportError:
    raise ValueError(
      "report generation needs the package tokenizers: pip install"
      " 'scan42-jax[reports]'"
    ) from None
