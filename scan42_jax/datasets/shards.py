"""Writes the ArrayRecord shards of one split, one film in memory at a time.

TFDS's own writer sorts the films of a split in memory, and beyond 1 GB with the
help of TensorFlow. Here only the ids are sorted, and films are fetched in their
final order.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

Example = dict[str, Any]
Film = tuple[str, Callable[[], Example]]
"""Unique id, and a function that fetches the example."""

MAX_SHARD_BYTES = 2**28
"""A shard is closed once its films have this size."""


def write_split(
  films: Sequence[Film],
  *,
  features: tfds.features.FeaturesDict,
  template: tfds.core.ShardedFileTemplate,
) -> tfds.core.SplitInfo:
  """Writes the films of a split in the order of a hash of their ids.

  The shards depend on nothing but the split's name and the examples.

  Args:
    films: of the split, in any order.
    features: of an example.
    template: TFDS's template of file names; names split and folder.

  Returns:
    TFDS's description of the split.
  """
  serializer = example_serializer.ExampleSerializer(
    features.get_serialized_info()
  )
  shards: list[pathlib.Path] = []
  lengths: list[int] = []
  sizes: list[int] = []
  writer = None
  for _, fetch in sorted(films, key=lambda film: _place(template.split, film)):
    if writer is None:
      shards.append(_unnamed_shard(template, len(shards)))
      lengths.append(0)
      sizes.append(0)
      # One record a group: films are read one by one.
      writer = array_record_module.ArrayRecordWriter(
        os.fspath(shards[-1]), "group_size:1"
      )
    example = serializer.get_tf_example(features.encode_example(fetch()))
    # Else the order of the fields changes from one process to the next.
    record = example.SerializeToString(deterministic=True)
    writer.write(record)
    lengths[-1] += 1
    sizes[-1] += len(record)
    if sizes[-1] >= MAX_SHARD_BYTES:
      writer.close()
      writer = None
  if writer is not None:
    writer.close()
  for shard, named in zip(
    shards, template.sharded_filepaths(len(shards)), strict=True
  ):
    shard.rename(named)
  return tfds.core.SplitInfo(
    name=template.split,
    shard_lengths=lengths,
    num_bytes=sum(sizes),
    filename_template=template,
  )


def _place(split: str, film: Film) -> bytes:
  return hashlib.sha256(f"{split}/{film[0]}".encode()).digest()


def _unnamed_shard(template, number: int) -> pathlib.Path:
  # Its name holds the number of shards, which only the end will tell.
  return pathlib.Path(template.data_dir) / f"{template.split}-{number}.tmp"
