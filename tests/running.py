"""Experiments carried out in this process, for tests: starting others takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lifelong_gym.benchmark.experiment import Experiment, levels_of, together
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.records import Run, read_run


def run_here(made: Experiment, folder: Path, outputs: Outputs | None = None) -> list[Run]:
    """All runs of an experiment, with references, read again from their files."""
    specs = {spec for family in made.families for spec in (family, *family.sets.values())}
    levels = {spec: levels_of(spec, made.protocol) for spec in specs}
    made_here = outputs or Outputs()
    paths = [
        replace(spec, references=together(family, levels), outputs=made_here).execute(folder, lambda share: None)
        for family, spec in made.runs()
    ]
    return [read_run(path) for path in paths]
