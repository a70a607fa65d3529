"""What a sweep of the learners with a shared basis costs a task, from ten tasks to ten thousand: ``make bench``.

CPU time of one thread. Times grow with the number of tasks; read them against it: a task costs the same, or less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.sizes import sizes
from lifelong_gym.agents import GOMTL, PGELLA, REINFORCE, ScalablePGELLA
from lifelong_gym.agents.linear.operating_point import OperatingPoint, trace_normalised
from lifelong_gym.agents.shared_basis.basis import SharedBasis
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import as_vec_env

ENV = "LifelongCartPole-v0"
ROUNDS = 3
TASKS = sizes(10, 100, 1000, 10_000)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    set_num_threads(1)
    yield
    set_num_threads(1)


def measure(benchmark: Any, work: Callable[[], object]) -> None:
    """Median of a few rounds after a warm-up."""
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)


def points(n: int, d: int) -> OperatingPoint:
    """Random operating points."""
    rng = np.random.default_rng(0)
    root: FloatArray = rng.normal(size=(n, d, 2))
    curvature = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(d)
    return OperatingPoint(rng.normal(size=(n, d)), trace_normalised(curvature))


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("n_tasks", TASKS)
@pytest.mark.parametrize(
    ("d", "n_basis"),
    [(5, 3), (28, 4), (28, 16)],
    ids=["L 5x3: solved", "L 28x4: solved", "L 28x16: conjugate gradients"],
)
def test_codes_and_basis(benchmark: Any, d: int, n_basis: int, n_tasks: int) -> None:
    """Codes of all tasks, once, and the basis, once."""
    benchmark.group = f"codes and basis, d={d}, {n_basis} columns"
    rng = np.random.default_rng(0)
    knowledge, point, tasks = SharedBasis(n_tasks, d, n_basis, 1e-3, 1e-4), points(n_tasks, d), np.arange(n_tasks)
    knowledge.begin(point.target[:1000], rng)

    def work() -> None:
        knowledge.encode(tasks, point)
        knowledge.solve(rng)

    measure(benchmark, work)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("n_tasks", TASKS)
@pytest.mark.parametrize("kind", [REINFORCE, PGELLA, GOMTL, ScalablePGELLA])
def test_sweep(benchmark: Any, kind: Any, n_tasks: int) -> None:
    """Five trajectories a task, operating points, codes and basis; REINFORCE, which has no basis, for comparison."""
    benchmark.group = f"a sweep of {kind.__name__}"
    settings = {} if kind is REINFORCE else {"base": "reinforce"}
    model = kind("LinearGaussianPolicy", as_vec_env(ENV, n_tasks=n_tasks), seed=0, **settings)
    model.learn(1, log_interval=None)
    measure(benchmark, lambda: model.learn(1, log_interval=None))
