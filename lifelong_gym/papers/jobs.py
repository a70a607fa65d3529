"""Measurements as jobs of the runner: settings, a function of them, and a result file that says both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong_gym.benchmark.results import native, read_result, write_result
from lifelong_gym.benchmark.run import Progress
from lifelong_gym.imports import load

SUFFIX = ".json"

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        study: that it belongs to.
        variant: what is compared within a study.
        seed: of the measurement.
        function: ``module:function`` that takes settings and a progress callback and returns figures.
        settings: JSON-native; with ``seed`` they decide the figures, times aside.
    """

    study: str
    variant: str
    seed: int
    function: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        parts = (self.study, self.variant, f"seed{self.seed}")
        return "--".join("".join(c if c.isalnum() or c in "-+_." else "_" for c in part) for part in parts)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.study}: {self.variant}, seed {self.seed}"

    @property
    def kind(self) -> tuple[str, str]:
        """Jobs that take about as long."""
        return self.study, self.variant

    @property
    def all_settings(self) -> dict[str, Any]:
        """As they stand in the file."""
        own = {"study": self.study, "variant": self.variant, "seed": self.seed, "function": self.function}
        settings: dict[str, Any] = json.loads(json.dumps({**own, **self.settings}, default=native))
        return settings

    def execute(self, folder: Path, progress: Progress) -> Path:
        """Measure and write the file."""
        path = folder / f"{self.name}{SUFFIX}"
        settings = self.all_settings
        write_result(path, settings, load(self.function)(settings, progress))
        return path

    def figures(self, folder: Path) -> Figures | None:
        """What an earlier call wrote; None where there is none, or another one's.

        Raises:
            ValueError: the file was edited.
        """
        path = folder / f"{self.name}{SUFFIX}"
        if not path.exists():
            return None
        content = read_result(path)
        return content["figures"] if content["settings"] == self.all_settings else None


def missing(jobs: Sequence[Measurement], folder: Path) -> list[Measurement]:
    """Those that have no file yet, or one with other settings."""
    return [job for job in jobs if job.figures(folder) is None]


Collected = Mapping[str, Mapping[str, Sequence[tuple[Measurement, Figures]]]]


def collected(jobs: Sequence[Measurement], folder: Path) -> Collected:
    """Jobs and their figures by study and variant, in the order of seeds.

    Raises:
        ValueError: a job without a result.
    """
    found: dict[str, dict[str, list[tuple[Measurement, Figures]]]] = {}
    for job in jobs:
        figures = job.figures(folder)
        if figures is None:
            raise ValueError(f"{folder} has no result of {job.title}")
        found.setdefault(job.study, {}).setdefault(job.variant, []).append((job, figures))
    return found
