"""Tasks that come up after others have been learned: what the basis gives without data, and with a few sweeps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong_gym import registry
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.jobs import Progress
from lifelong_gym.papers.zhan2017.learning import SweepHistory, environment, make_learner, mean_rewards, run_sweeps
from lifelong_gym.tasks.task_set import TaskSet


def split_tasks(settings: Mapping[str, Any]) -> tuple[TaskSet, TaskSet]:
    """The known tasks, and this seed's novel ones behind them in the same draw."""
    known, n, seed = settings["n_tasks"], settings["n_novel"], settings["seed"]
    drawn = registry.sample_tasks(settings["env"], known + n * (seed + 1), settings["task_seed"], settings["preset"])
    return drawn[np.arange(known)], drawn[known + n * seed + np.arange(n)]


def learn(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Learn the known tasks together, then each novel task by itself, always from the same state.

    A learner without shared structure (``scratch``) only learns the novel ones.

    Returns:
        ``values``: J in the novel tasks before their first sweep (zero-shot) and after each, (n_novel, n_sweeps + 1).
    """
    known, novel = split_tasks(settings)
    scratch = settings["scratch"]
    learner = make_learner(settings, novel if scratch else known)
    if not scratch:
        half = SweepHistory(lambda theta: theta[:1, 0], lambda done: progress(0.5 * done / settings["sweeps"]))
        run_sweeps(learner, settings["sweeps"], half, len(known))
        learner.add_tasks(novel)
    state = copy.deepcopy(learner.get_parameters())
    values = []
    for i in range(len(novel)):
        learner.set_parameters(state)
        values.append(_one(learner, settings, novel[[i]], i if scratch else len(known) + i))
        progress(0.5 + 0.5 * (i + 1) / len(novel))
    return {"values": rounded(np.array(values))}


def _one(learner: Any, settings: Mapping[str, Any], task: TaskSet, place: int) -> FloatArray:
    learner.set_env(environment(settings["env"], task))
    history = SweepHistory(
        lambda theta: mean_rewards(settings["env"], task, theta[[place]], learner.bias), lambda done: None
    )
    run_sweeps(learner, settings["novel_sweeps"], history, 1)
    return np.array(history.values)[:, 0]
