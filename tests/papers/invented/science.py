"""What an invented paper does that no file can say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lifelong_gym.agents import REINFORCE
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.sweeps import SweepRun, Watcher

from .coins import tossed


class Still(REINFORCE):
    """Observes, and stays where it is."""

    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(*args, **{**arguments, "learning_rate": 1e-300})


class Largest(Watcher):
    """The largest parameter ever."""

    def __init__(self, run: SweepRun) -> None:
        super().__init__(run)
        self.largest = 0.0

    def after(self, done: int) -> None:
        """Look."""
        self.largest = max(self.largest, float(np.abs(self.run.theta).max()))

    def figures(self) -> Mapping[str, Any]:
        """What was seen."""
        return {"largest": self.largest}


def toss(settings: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Twelve coins."""
    coins = tossed(settings["odds"], settings["seed"])
    progress(1.0)
    return {"heads": coins.mean(), "tosses": coins.tolist(), "twice": 0}


def doubled(figures: Mapping[str, Any]) -> float:
    """Twice the last cost of the first task."""
    return 2 * float(figures["values"][-1][0])


def odds(numbers: Numbers, study: str, systems: tuple[str, ...]) -> Mapping[str, Interval]:
    """Least and largest share of heads."""
    (system,) = systems
    heads = numbers.by_seed(study, system, "toss", "heads")
    return {system: Interval(float(np.mean(heads)), min(heads), max(heads))}


def drawn(numbers: Numbers, spec: FigureSpec) -> Figure:
    """All tosses."""
    figure = Figure()
    figure.subplots().imshow(numbers.by_seed(spec.study, spec.systems[0], "toss", "tosses"))
    return figure


def tabulated(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Heads by seed."""
    return ["seed", "heads"], [
        [str(seed), f"{share:.2f}"]
        for seed, share in enumerate(numbers.by_seed(spec.study, spec.systems[0], "toss", "heads"))
    ]
