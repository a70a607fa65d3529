"""Safe learners on the paper's tasks, and what looks whether they are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from lifelong_gym import rollout
from lifelong_gym.agents import PolicyConstraints, ProjectedPG, SafeLifelongPG, SafeSearch
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.registry import family
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import CoreVecEnv, as_vec_env

POLICY = "LinearGaussianPolicy"
MASS, POLE, QUADROTOR = "LifelongSimpleMass-v0", "LifelongCartPole-v0", "LifelongQuadrotor-v0"
N_TASKS, HORIZON, N_TRAJECTORIES = 4, 100, 30
SHARES = {MASS: (0.0, 0.5), POLE: (0.4, 0.9)}  # of the optimal gains: the optimum lies outside
KINDS: dict[str, tuple[type[SafeSearch], dict[str, Any]]] = {
    "A": (SafeLifelongPG, {"variant": "A"}),
    "B": (SafeLifelongPG, {"variant": "B"}),
    "C": (SafeLifelongPG, {}),
    "C-keeps-all": (SafeLifelongPG, {"forget": 1.0, "warm_start": False}),
    "regret": (SafeLifelongPG, {"regret_mode": True, "n_rounds": 20}),
    "projected": (ProjectedPG, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def tasks_of(name: str, n: int = N_TASKS, seed: int = 0) -> TaskSet:
    """The paper's."""
    return family(name).parameters.sample(n, seed=seed, preset="safe2015")


def boxes(name: str, tasks: TaskSet, shares: tuple[float, ...] = ()) -> list[PolicyConstraints]:
    """Gains between two shares of the optimal ones, and a little room."""
    optimal = lqr_policies(family(name), tasks)
    room = 0.05 * np.abs(optimal).max(axis=1, keepdims=True)
    ends = np.stack([share * optimal for share in shares or SHARES[name]])
    return [
        PolicyConstraints.gains(a, b) for a, b in zip(ends.min(axis=0) - room, ends.max(axis=0) + room, strict=True)
    ]


def make(name: str, kind: str = "C", **more: Any) -> Any:
    """A learner that has learned nothing, about anchors that are not the best."""
    learner, own = KINDS[kind]
    arguments = {"seed": 0, "sigma": 0.5, "n_trajectories": N_TRAJECTORIES, "nominal": None, **own, **more}
    tasks, horizon = arguments.pop("tasks", None) or tasks_of(name), arguments.pop("horizon", HORIZON)
    if "constraints" not in arguments:
        arguments["constraints"] = boxes(name, tasks)
    return learner(POLICY, as_vec_env(name, tasks=tasks, horizon=horizon), **arguments)


def admit(model: SafeSearch, tasks: list[int]) -> None:
    """Only these come up from now on."""
    assert isinstance(model.env, CoreVecEnv)
    model.env.core.admit(tasks)


def costs(thetas: FloatArray, name: str, tasks: TaskSet, n_starts: int = 20) -> FloatArray:
    """Of mean policies, per step, all from the same start states."""
    ran = rollout(name, tasks=tasks, theta=thetas, n_trajectories=n_starts, seed=99, sigma=0.0)
    return np.asarray(-ran.returns.mean(axis=1) / family(name).horizon, np.float64)


def exactly_safe(matrix: FloatArray, policy: FloatArray, bound: FloatArray) -> bool:
    """``A theta <= b`` in rational arithmetic, where it isn't clear anyway."""
    close = matrix @ policy > bound - 1e-9 * (np.abs(matrix) @ np.abs(policy))
    theta = [Fraction(x) for x in policy.tolist()]
    rows = zip(matrix[close].tolist(), bound[close].tolist(), strict=True)
    return all(sum(Fraction(a) * x for a, x in zip(row, theta, strict=True)) <= Fraction(b) for row, b in rows)


class Watch(BaseCallback):
    """Computes ``A theta <= b`` of all tasks' policies before and after each round, in as many ways as there are."""

    def __init__(self, constraints: list[PolicyConstraints]) -> None:
        """For these tasks."""
        super().__init__()
        self.constraints, self.n_checks = constraints, 0

    def check(self, model: Any) -> None:
        """Every task's policy, as deployed and from its parts."""
        anchors = model.safe_sets.anchors.copy()
        for one, theta, anchor in zip(self.constraints, model.policy.thetas, anchors, strict=True):
            assert np.all(one.matrix @ theta <= one.bound)
            assert one.holds_strictly(anchor)
            self.n_checks += 1
        if isinstance(model, SafeLifelongPG):
            basis, codes = model.knowledge.array("basis"), model.knowledge.array("codes")
            size = np.linalg.svd(basis, compute_uv=False)
            assert np.sqrt(model.p) * (1 - 1e-12) <= size.min() <= size.max() <= np.sqrt(model.q) * (1 + 1e-12)
            for one, anchor, code in zip(self.constraints, anchors, codes, strict=True):
                assert np.all(one.matrix @ (anchor + basis @ code) <= one.bound)

    def _on_rollout_start(self) -> None:
        self.check(self.model)

    def _on_step(self) -> bool:
        self.check(self.model)
        return True
