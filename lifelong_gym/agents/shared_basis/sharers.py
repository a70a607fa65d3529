"""What learners with a shared basis keep, and how they fit it."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import count, flag, number, positive
from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sharers import Record, Sharer, Sweep
from lifelong_gym.agents.shared_basis.basis import SharedBasis
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class BasisSettings:
    """The basis, and what keeps it and the codes small.

    Attributes:
        n_basis: columns of L, at most a policy's parameters.
        sparsity: the papers' mu_1.
        ridge: the papers' mu_2.
        mean_basis: let ``theta_j = mean + L s_j``, the mean being one more column of L, which every task uses.
    """

    n_basis: int = 3
    sparsity: float = 1e-3
    ridge: float = 1e-4
    mean_basis: bool = False

    def __post_init__(self) -> None:
        check_fields(self, n_basis=count, sparsity=number, ridge=positive, mean_basis=flag)


class Fit(Protocol):
    """How codes and basis are fitted to new operating points of some tasks."""

    def __call__(
        self, knowledge: SharedBasis, tasks: IntArray, point: OperatingPoint, solve: Callable[[], None], record: Record
    ) -> None:
        """Fit them; ``solve`` finds the best basis for the codes as they are."""


@dataclass(frozen=True)
class InTurns:
    """Codes of the observed tasks and the basis take turns.

    Attributes:
        alternations: how often codes and L take turns in a sweep.
    """

    alternations: int = 5

    def __post_init__(self) -> None:
        check_fields(self, alternations=count)

    def __call__(
        self, knowledge: SharedBasis, tasks: IntArray, point: OperatingPoint, solve: Callable[[], None], record: Record
    ) -> None:
        """See `Fit`."""
        for _ in range(self.alternations):
            knowledge.encode(tasks, point)
            solve()
        knowledge.encode(tasks, point)


class BasisSharer(Sharer):
    """Policies ``theta_j = L s_j`` with a basis L that all tasks share.

    A base learner says where each task that comes up would like to go (the target) and how its objective curves there
    (H, scaled to trace d). Codes s_j, by LASSO, and L, by ridge regression, then minimise
    ``1/T sum_j [|target_j - L s_j|^2_{H_j} + sparsity |s_j|_1] + ridge |L|^2``. L starts as the leading left singular
    vectors of the first targets; columns that nothing uses are drawn anew. A task that hasn't been observed has the
    mean code of those that have.

    Args:
        settings: of the basis.
        fit: how codes and basis take turns.
    """

    knowledge: SharedBasis

    def __init__(self, settings: BasisSettings, fit: Fit) -> None:
        """See the class."""
        self._settings, self._fit = settings, fit

    def parts(self) -> dict[str, th.nn.Module]:
        """The `SharedBasis`."""
        return {"knowledge": self.knowledge}

    def set_up(self, policy: LinearGaussianPolicy, env: VecEnv | None, roster: Roster, from_file: bool) -> None:
        """An empty basis."""
        d, n_basis = policy.theta.shape[1], self._settings.n_basis
        if n_basis > d:
            raise ValueError(f"`n_basis` must be at most {d}, a policy's parameters. Received {n_basis}")
        self.knowledge = self._empty(roster.n_tasks, d)

    def _empty(self, n_tasks: int, d: int) -> SharedBasis:
        """With nothing observed, for policies of d parameters."""
        s = self._settings
        return SharedBasis(n_tasks, d, s.n_basis, s.sparsity, s.ridge, s.mean_basis)

    def grown(self, thetas: FloatArray, n_tasks: int) -> FloatArray:
        """The new tasks have the mean code."""
        n_known, more = len(thetas), super().grown(thetas, n_tasks)
        self.knowledge.grow(n_tasks)
        more[n_known:] = self._policies()[n_known:]
        return more

    def settled(self, thetas: FloatArray, given: Set[str]) -> FloatArray:
        """Policies and sums follow from codes and basis; where all are given, they are taken as they are."""
        own = {f"knowledge.{name}" for name in self.knowledge.state_dict()}
        if given >= {"policy.theta", *own} or not given:
            return thetas
        followers = {"policy.theta", *(f"knowledge.{name}" for name in self.knowledge.followers)}
        for name in sorted(given & followers):
            others = ", ".join(sorted(own - followers))
            raise CheckpointError(f"{name!r} follows from {others}: give these, or everything")
        self.knowledge.settle()
        return self.knowledge.policies(np.arange(len(thetas)))

    def learned(self, sweep: Sweep, point: OperatingPoint, rng: np.random.Generator, record: Record) -> FloatArray:
        """Fit codes and basis to the operating points; all policies follow."""
        self._learn(sweep.rows, point, rng, record)
        thetas = self._policies()
        missed = float(np.linalg.norm(point.target - thetas[sweep.rows]))
        record("train/target_missed", missed / max(float(np.linalg.norm(point.target)), 1e-300))
        record("train/codes_used", float(np.mean(self.knowledge.array("codes") != 0)))
        return thetas

    def _learn(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator, record: Record) -> None:
        self.knowledge.begin(point.target, rng)
        self._fit(self.knowledge, tasks, point, lambda: self.knowledge.solve(rng), record)

    def _policies(self) -> FloatArray:
        """Of all tasks as they follow from codes and basis, shape (n_tasks, d)."""
        return self.knowledge.policies(np.arange(len(self.knowledge.array("codes"))))
