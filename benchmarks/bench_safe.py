"""What a round of the safe learner costs, from ten tasks to five hundred, beside others in one run: ``make bench``.

CPU time of one thread. The number in brackets is the ratio to the fastest of the group, which is the learner without
constraints. Safe sets bind: they end before the optimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.sizes import sizes
from lifelong_gym.agents import ENAC, PolicyConstraints, ProjectedPG, SafeLifelongPG
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.registry import family
from lifelong_gym.wrappers import as_vec_env

ROUNDS = 5
TASKS = sizes(10, 30, 100, 300, 500)
SYSTEMS = {"LifelongCartPole-v0": 2, "LifelongQuadrotor-v0": 6}  # columns of L; policies of 4 and 24 gains
LEARNERS: dict[str, Any] = {"ENAC": ENAC, "ProjectedPG": ProjectedPG, "SafeLifelongPG": SafeLifelongPG}
WORK = ["all tasks observed", "one task observed", "all tasks, without episodes"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    set_num_threads(1)
    yield
    set_num_threads(1)


def measure(benchmark: Any, work: Callable[[], object]) -> None:
    """Median of a few rounds after a warm-up."""
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)


@cache
def learner(kind: str, name: str, n_tasks: int) -> Any:
    """After three rounds from the anchors, within boxes from 0.4 to 0.9 of the optimal gains."""
    tasks = family(name).parameters.sample(n_tasks, seed=0, preset="safe2015")
    best = lqr_policies(family(name), tasks, bias=False)
    room = 0.05 * np.abs(best).max(axis=1, keepdims=True)
    low, high = np.minimum(0.4 * best, 0.9 * best) - room, np.maximum(0.4 * best, 0.9 * best) + room
    own: dict[str, Any] = {"n_basis": SYSTEMS[name]} if kind == "SafeLifelongPG" else {}
    if kind != "ENAC":
        own["constraints"] = [PolicyConstraints.gains(*ends) for ends in zip(low, high, strict=True)]
    env = as_vec_env(name, tasks=tasks)
    model = LEARNERS[kind]("LinearGaussianPolicy", env, bias=False, sigma=0.3, n_trajectories=50, seed=0, **own)
    if kind == "ENAC":
        model.policy.thetas = (low + high) / 2
    return model.learn(3 * n_tasks * 50 * family(name).horizon, log_interval=None)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("n_tasks", TASKS)
@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("work", WORK)
def test_round(benchmark: Any, work: str, name: str, n_tasks: int, kind: str) -> None:
    """Episodes (50 a task), the steps, losses, codes, basis and projection; all tasks stay safe in all rounds."""
    benchmark.group = f"{name}, {n_tasks} tasks: {work}"
    model = learner(kind, name, n_tasks)
    model.env.core.admit(range(n_tasks) if work.startswith("all") else [n_tasks // 2])
    model.learn(1, log_interval=None)
    measure(benchmark, model.train if "without" in work else lambda: model.learn(1, log_interval=None))
