"""Evidence: protocols, experiments, and runs that resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifelong_gym.imports import lazy

if TYPE_CHECKING:
    from lifelong_gym.benchmark.experiment import Experiment
    from lifelong_gym.benchmark.models import evaluate
    from lifelong_gym.benchmark.outputs import Outputs
    from lifelong_gym.benchmark.records import Run, load, read_run, read_runs
    from lifelong_gym.benchmark.runner import run_experiment

__all__ = [
    "Experiment",
    "Outputs",
    "Run",
    "evaluate",
    "load",
    "read_run",
    "read_runs",
    "run_experiment",
]

__getattr__ = lazy(
    __name__,
    {
        "experiment": ["Experiment"],
        "models": ["evaluate"],
        "outputs": ["Outputs"],
        "records": ["Run", "load", "read_run", "read_runs"],
        "runner": ["run_experiment"],
    },
)
