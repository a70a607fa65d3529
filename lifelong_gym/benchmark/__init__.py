"""Evidence: protocols, metrics, statistics, figures, and the command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifelong_gym.benchmark.experiment import Experiment
    from lifelong_gym.benchmark.models import evaluate
    from lifelong_gym.benchmark.outputs import Outputs
    from lifelong_gym.benchmark.records import Run, load, read_run, read_runs
    from lifelong_gym.benchmark.runner import run_experiment
    from lifelong_gym.reports.report import write_report

__all__ = [
    "Experiment",
    "Outputs",
    "Run",
    "evaluate",
    "load",
    "read_run",
    "read_runs",
    "run_experiment",
    "write_report",
]

_MODULES = {
    "experiment": ["Experiment"],
    "models": ["evaluate"],
    "outputs": ["Outputs"],
    "records": ["Run", "load", "read_run", "read_runs"],
    "reports.report": ["write_report"],
    "runner": ["run_experiment"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
