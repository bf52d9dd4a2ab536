"""From what is known of runs to a page."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scan42_jax.pages.page import Figure, Section, Table, render_sections
from scan42_jax.run_report.differences import ABSENT, differences, flat
from scan42_jax.run_report.environment import now
from scan42_jax.run_report.figures import chart_sections
from scan42_jax.run_report.story import Story
from scan42_jax.settings import Settings, to_json

_RELOAD_S = 60
_MOST_MAPS = 8  # Steps whose components are shown: first, last, some between.
_NOT_STORED = "not stored by this run"


def render_run(story: Story) -> str:
  """Returns the page of one run."""
  going = story.step < story.total_steps
  return render_sections(
    f"Pretraining {story.name}",
    [
      Section("", tables=[_summary([story])]),
      *chart_sections(
        {story.name: story.history},
        {story.name: story.schedules},
        total_steps=story.total_steps,
      ),
      *_pictures(story),
      _changes(story),
      _everything(story),
    ],
    facts=_facts(story),
    notes=[
      f"Written {now()} at step {story.step:,} of {story.total_steps:,}.",
      "A falling loss is no evidence of learning: look at the monitors.",
    ],
    reload_s=_RELOAD_S if going else None,
  )


def render_comparison(stories: Sequence[Story]) -> str:
  """Returns the page of several runs."""
  return render_sections(
    "Pretraining runs compared",
    [
      Section("", tables=[_summary(stories)]),
      Section("", tables=[_config_table(stories)]),
      *chart_sections(
        {story.name: story.history for story in stories},
        {story.name: story.schedules for story in stories},
        total_steps=max(story.total_steps for story in stories),
      ),
      Section("", tables=[_environment_table(stories)]),
    ],
    facts={"runs": ", ".join(story.name for story in stories)},
    notes=[
      f"Written {now()}. Lines that differ by less than seeds do are alike:"
      " compare several seeds."
    ],
  )


def _summary(stories: Sequence[Story]) -> Table:
  probes = [story.probe for story in stories]
  columns: dict[str, list[str]] = {
    "run": [story.name for story in stories],
    "steps": [f"{s.step:,} of {s.total_steps:,}" for s in stories],
    "batch": [str(story.config["batch_size"]) for story in stories],
    "loss": [_number(story.last("loss")) for story in stories],
    "k-NN AUROC": [_number(s.last("held_out/knn_auroc")) for s in stories],
    "directions": [_number(s.last("held_out/effective_rank")) for s in stories],
    "images/s": [_number(s.last("images_per_second")) for s in stories],
  }
  if any(probes):
    columns["linear probe before"] = [
      _number(p.get("untrained")) for p in probes
    ]
    columns["after"] = [_number(p.get("trained")) for p in probes]
    columns["gain, 95 % interval"] = [_gain(probe) for probe in probes]
  rows = list(zip(*columns.values(), strict=True))
  note = "Linear probe: macro AUROC on test films." if any(probes) else ""
  return Table("", list(columns), rows, note)


def _gain(probe: Mapping[str, Any]) -> str:
  if not probe:
    return "—"
  return "{gain:.3f}, {gain_low:.3f} to {gain_high:.3f}".format(**probe)


def _pictures(story: Story) -> Iterator[Section]:
  if story.crops:
    yield Section(
      "What the student is shown",
      figures=[
        Figure(
          "crops",
          "A film of the training stream a row: two global crops, masked"
          " patches tinted, and the local crops.",
          png=story.crops.read_bytes(),
          wide=True,
        )
      ],
    )
  if story.components:
    yield Section(
      "Patches over time",
      note="The first three principal components of the teacher's patches as"
      " red, green and blue, over the same held-out films, fitted anew at each"
      " step: look at shapes, not at colours.",
      figures=[
        Figure(f"components_{step}", f"Step {step:,}", png=path.read_bytes())
        for step, path in _thinned(story.components)
      ],
    )


def _thinned(
  components: Mapping[int, pathlib.Path],
) -> list[tuple[int, pathlib.Path]]:
  steps = sorted(components)
  if len(steps) > _MOST_MAPS:
    ends = len(steps) - 1
    steps = [
      steps[round(i * ends / (_MOST_MAPS - 1))] for i in range(_MOST_MAPS)
    ]
  return [(step, components[step]) for step in steps]


def _changes(story: Story) -> Section:
  """The config against its base: the config file, before any flag."""
  base = story.run.get("base")
  name = story.run.get("base_name") or "the defaults"
  against = base if base is not None else to_json(Settings())
  rows = [
    (field, _value(old), _value(new))
    for field, (old, new) in differences(against, story.config).items()
    # Follows from the size of the crops.
    if field != "model.image_size"
  ]
  title = f"Settings that differ from {name}"
  if not rows:
    return Section(title, note="None.")
  return Section(title, tables=[Table("", ("field", "there", "here"), rows)])


def _everything(story: Story) -> Section:
  default = flat(to_json(Settings()))
  rows = [
    (field, _value(value), "" if default.get(field, ABSENT) == value else "yes")
    for field, value in flat(story.config).items()
  ]
  columns = ("field", "value", "not the default")
  return Section("All settings", tables=[Table("", columns, rows)], folded=True)


def _config_table(stories: Sequence[Story]) -> Table:
  configs = [flat(story.config) for story in stories]
  names = dict.fromkeys(name for config in configs for name in config)
  rows = []
  for name in names:
    values = [config.get(name, ABSENT) for config in configs]
    if any(value != values[0] for value in values):
      rows.append((name, *map(_value, values)))
  columns = ("field", *(story.name for story in stories))
  return Table(
    "Settings that differ", columns, rows, "" if rows else "None differs."
  )


def _environment_table(stories: Sequence[Story]) -> Table:
  facts = [story.run.get("environment", {}) for story in stories]
  names = dict.fromkeys(name for fact in facts for name in fact)
  rows = [
    (name, *(fact.get(name, _NOT_STORED) for fact in facts)) for name in names
  ]
  columns = ("", *(story.name for story in stories))
  note = "" if rows else "These runs stored none."
  return Table("Environment", columns, rows, note)


def _facts(story: Story) -> dict[str, str]:
  facts = {
    "command": story.run.get("command", _NOT_STORED),
    "started": story.run.get("started", _NOT_STORED),
  }
  for source in story.data:
    facts[f"data {source.get('dataset')}"] = ", ".join(
      f"{name} {value}"
      for name, value in source.items()
      if name != "dataset" and isinstance(value, int | str) and value != ""
    )
  return facts | dict(story.run.get("environment", {}))


def _number(value: float | None) -> str:
  return "—" if value is None else f"{value:.4g}"


def _value(value: Any) -> str:
  return value if isinstance(value, str) else json.dumps(value)
