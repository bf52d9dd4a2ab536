"""Reads films on Apache Beam, for releases that outgrow one machine.

Beam only reads: its workers write chunks of the same journal from which a run
without Beam builds its shards, so both give the same dataset. All workers need
the source and the data folder under the same paths. The only importer of Beam.
"""

import dataclasses
import functools
import hashlib
import pathlib
import pickle
import shutil
from collections.abc import Callable

from scan42_jax.data import records
from scan42_jax.datasets.reading import Reading, Row

_JOBS_A_CHUNK = 64  # What a killed worker has to read again, at most.

Job = tuple[Row, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSettings:
  """Where and how Beam runs.

  Attributes:
    runner: 'FnApiRunner' for this machine, 'FlinkRunner', 'SparkRunner', ...
    options: options of Beam and of the runner, 'name=value' each.
  """

  runner: str
  options: tuple[str, ...] = ()


def read_films(
  read: Callable[[Row, str], Reading],
  todo: list[Job],
  partial: pathlib.Path,
  *,
  settings: BeamSettings,
) -> dict[str, Reading]:
  """Reads films into the journal.

  Args:
    read: makes the Reading of a row; picklable.
    todo: rows with their fingerprints.
    partial: folder of the unfinished preparation, seen by all workers.
    settings: where to run.

  Returns:
    The broken ones by file; the next run tries them again.

  Raises:
    ValueError: Beam is not installed, or does not know the runner.
  """
  try:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions
  except ImportError:
    raise ValueError(
      "--beam_runner needs Apache Beam: pip install 'scan42-jax[beam]'"
    ) from None
  jobs, broken = partial / "jobs", partial / "broken"
  for folder in (jobs, broken):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
  names = _write_jobs(jobs, todo)
  options = PipelineOptions([f"--{option}" for option in settings.options])
  with apache_beam.Pipeline(settings.runner, options=options) as pipeline:
    _ = (
      pipeline
      | apache_beam.Create(names)
      | apache_beam.Reshuffle()
      | apache_beam.Map(functools.partial(_read_chunk, read, partial))
    )
  found = {
    reading.file: reading for reading, _ in records.Journal(broken).readings()
  }
  for folder in (jobs, broken):
    shutil.rmtree(folder)
  return found


def _write_jobs(folder: pathlib.Path, todo: list[Job]) -> list[str]:
  """Writes the jobs to files, as a pipeline may not be large."""
  names = []
  for start in range(0, len(todo), _JOBS_A_CHUNK):
    jobs = pickle.dumps(todo[start : start + _JOBS_A_CHUNK])
    names.append(hashlib.sha256(jobs).hexdigest()[:16])
    (folder / names[-1]).write_bytes(jobs)
  return names


def _read_chunk(read, partial: pathlib.Path, name: str) -> None:
  """Reads the films of one file of jobs.

  Beam may call it again, or twice at once, after a failure: the chunks have
  the name of the jobs, so that the last one replaces those before it.
  """
  jobs = pickle.loads((partial / "jobs" / name).read_bytes())
  found = [read(*job) for job in jobs]
  records.write_chunk(
    partial / "journal", f"beam-{name}", [r for r in found if not r.broken]
  )
  records.write_chunk(
    partial / "broken", f"beam-{name}", [r for r in found if r.broken]
  )
