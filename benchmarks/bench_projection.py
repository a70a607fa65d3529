"""What safety costs a round, from ten tasks to five hundred, and a quadratic program against cvxpy's: ``make bench``.

Every task's policy is outside its safe set before the projection, which is the worst case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.sizes import sizes
from lifelong_gym.agents.safety.constraints import PolicyConstraints, corners
from lifelong_gym.agents.safety.nearest import nearest
from lifelong_gym.agents.safety.projection import SafeSets, SpectralBounds
from lifelong_gym.agents.safety.steps import Losses, SafeStep
from lifelong_gym.numerics.arrays import FloatArray

ROUNDS = 10
TASKS = sizes(10, 30, 100, 300, 500)
SIZES = [(4, 2), (24, 6)]


def measure(benchmark: Any, work: Callable[[], object]) -> None:
    """Median of a few rounds after a warm-up."""
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)


def box_sets(n: int, d: int) -> SafeSets:
    """Boxes around random policies."""
    rng, sets = np.random.default_rng(0), SafeSets(n, d)
    for t in range(n):
        middle, width = rng.normal(size=d), rng.uniform(0.3, 1.0, d)
        sets.register(t, PolicyConstraints.gains(middle - width, middle + width), middle)
    return sets


def metrics(n: int, k: int) -> FloatArray:
    """Random positive definite matrices."""
    root = np.random.default_rng(1).normal(size=(n, k, k))
    return np.asarray(root @ root.transpose(0, 2, 1) + 0.01 * np.eye(k))


@pytest.mark.parametrize("n_tasks", TASKS)
@pytest.mark.parametrize(("d", "k"), SIZES)
def test_projection(benchmark: Any, d: int, k: int, n_tasks: int) -> None:
    """Clipping, screening, a program for every task, and the check in floating point."""
    benchmark.group = f"projection, d={d}, k={k}"
    rng, sets, bounds, metric = np.random.default_rng(2), box_sets(n_tasks, d), SpectralBounds(), metrics(n_tasks, k)
    basis, codes = rng.normal(size=(d, k)), rng.normal(size=(n_tasks, k)) * 5
    assert sets.project(basis, codes, bounds, metric).solved.mean() > 0.95
    measure(benchmark, lambda: sets.project(basis, codes, bounds, metric))


@pytest.mark.parametrize("n_tasks", TASKS)
@pytest.mark.parametrize(("d", "k"), SIZES)
@pytest.mark.parametrize("variant", ["A", "C"])
def test_round(benchmark: Any, variant: str, d: int, k: int, n_tasks: int) -> None:
    """All that happens after a round's trajectories, with ten inner iterations (A) or the default's three (C)."""
    benchmark.group = f"round of variant {variant}, d={d}, k={k}"
    rng, sets = np.random.default_rng(3), box_sets(n_tasks, d)
    targets = sets.anchors + rng.normal(size=(n_tasks, d)) * 3
    losses = Losses.none(n_tasks, d).observed(np.arange(n_tasks), targets, metrics(n_tasks, d))
    step = SafeStep(variant, n_inner=10 if variant == "A" else 3)
    basis = SpectralBounds().clip(rng.normal(size=(d, k)))
    measure(benchmark, lambda: step(sets, losses, basis))


@pytest.mark.parametrize("kind", ["box of 28 gains", "and 4 actions at 64 corners"])
def test_registration(benchmark: Any, kind: str) -> None:
    """Of one task: its Chebyshev centre, and whether anything is wrong with its constraints."""
    benchmark.group = "registration of a task"
    box = PolicyConstraints.gains(-np.ones(28), np.ones(28))
    actions = PolicyConstraints.actions([8.0] * 4, corners(-np.ones(6), np.ones(6)))
    sets = SafeSets(1, 28)
    measure(benchmark, lambda: sets.register(0, box if kind.startswith("box") else box & actions))


@pytest.mark.parametrize("solver", ["ours", "cvxpy"])
def test_one_program(benchmark: Any, solver: str) -> None:
    """The nearest of 6 code numbers under 48 constraints; cvxpy compiles its program once, beforehand."""
    benchmark.group = "one quadratic program"
    rng = np.random.default_rng(4)
    rows, room, target = rng.normal(size=(48, 6)), rng.uniform(0, 1, 48), rng.normal(size=6) * 3
    if solver == "ours":
        measure(benchmark, lambda: nearest(target[None], rows[None], room[None]))
        return
    import cvxpy as cp

    s, wanted, a, b = cp.Variable(6), cp.Parameter(6), cp.Parameter((48, 6)), cp.Parameter(48)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(s - wanted)), [a @ s <= b])
    wanted.value, a.value, b.value = target, rows, room
    measure(benchmark, lambda: problem.solve(solver=cp.CLARABEL))
