"""What the learners have in common whose policies share a basis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Set
from typing import Any, Unpack

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import count, flag, number
from lifelong_gym.agents.linear.base_learners import BaseLearner, base_learner, checked_settings
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.policy_search import PolicySearch, SearchArguments
from lifelong_gym.agents.shared_basis.basis import SharedBasis
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray, IntArray


class BasisArguments(SearchArguments, total=False):
    """Arguments of all learners with a shared basis; see `BasisSearch` for what they mean."""

    n_basis: int
    base: str
    base_settings: Mapping[str, Any] | None
    sparsity: float
    ridge: float
    mean_basis: bool


class BasisSearch(PolicySearch):
    """Policies ``theta_j = L s_j`` with a basis L that all tasks share.

    Each sweep runs every task that comes up with its theta_j; a base learner says where each task would like to go
    (the target) and how the objective curves there (H, scaled to trace d). Codes s_j, by LASSO, and L, by ridge
    regression, then minimise ``1/T sum_j [|target_j - L s_j|^2_{H_j} + sparsity |s_j|_1] + ridge |L|^2``. L starts as
    the leading left singular vectors of the first targets; columns that nothing uses are drawn anew. A task that hasn't
    been observed has the mean code of those that have.

    Args:
        learning_rate: step size of the base learner, or a function of the remaining progress; None: the one that suits
            it, 0.1 for ``"reinforce"``, 5 for ``"enac"``, 1 for ``"rwr"``.
        n_basis: columns of L, at most a policy's parameters.
        base: ``"reinforce"``, ``"enac"`` or ``"rwr"``; see `REINFORCE`, `ENAC` and `RWR`.
        base_settings: the base learner's own arguments, such as ``{"beta": 1.0}``.
        sparsity: the papers' mu_1.
        ridge: the papers' mu_2.
        mean_basis: let ``theta_j = mean + L s_j``, the mean being one more column of L, which every task uses.
        **search: see `PolicySearch`.

    Attributes:
        knowledge: the `SharedBasis`.
    """

    knowledge: SharedBasis

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        n_basis: int = 3,
        base: str = "reinforce",
        base_settings: Mapping[str, Any] | None = None,
        sparsity: float = 1e-3,
        ridge: float = 1e-4,
        mean_basis: bool = False,
        **search: Unpack[SearchArguments],
    ) -> None:
        """See the class."""
        self.n_basis = count("n_basis", n_basis)
        self.base, self.base_settings = base, checked_settings(base, base_settings)
        self.sparsity = number("sparsity", sparsity)
        self.ridge = number("ridge", ridge, open_at_low=True)
        self.mean_basis = flag("mean_basis", mean_basis)
        super().__init__(policy, env, learning_rate, **search)

    @abstractmethod
    def _fit(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        """Fit codes and basis to new operating points of some tasks."""

    def _begin(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        """Before the first fit: a basis to begin with."""
        self.knowledge.begin(point.target, rng)

    def _policies(self) -> FloatArray:
        """Of all tasks as they follow from codes and basis, shape (n_tasks, d)."""
        return self.knowledge.policies(np.arange(len(self.policy.thetas)))

    def _base_learner(self) -> BaseLearner:
        return base_learner(self.base, self.base_settings)

    def _new_basis(self, d: int) -> SharedBasis:
        """With nothing observed, for policies of d parameters."""
        return SharedBasis(self.n_tasks, d, self.n_basis, self.sparsity, self.ridge, self.mean_basis)

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        super()._setup_model(policy_arguments)
        d = self.policy.theta.shape[1]
        if self.n_basis > d:
            raise ValueError(f"`n_basis` must be at most {d}, a policy's parameters. Received {self.n_basis}")
        self.knowledge = self._new_basis(d)

    def _module_names(self) -> tuple[str, ...]:
        return ("policy", "knowledge")

    def _settle(self, given: Set[str]) -> None:
        """Policies and sums follow from codes and basis; where all are given, they are taken as they are."""
        super()._settle(given)
        own = {f"knowledge.{name}" for name in self.knowledge.state_dict()}
        if given >= {"policy.theta", *own} or not given:
            return
        followers = {"policy.theta", *(f"knowledge.{name}" for name in self.knowledge.followers)}
        for name in sorted(given & followers):
            others = ", ".join(sorted(own - followers))
            raise CheckpointError(f"{name!r} follows from {others}: give these, or everything")
        self.knowledge.settle()
        self.policy.thetas = self.knowledge.policies(np.arange(len(self.policy.thetas)))

    def _grow(self, n_tasks: int) -> None:
        n_known = self.n_tasks
        super()._grow(n_tasks)
        self.knowledge.grow(n_tasks)
        thetas = self.policy.thetas
        thetas[n_known:] = self._policies()[n_known:]
        self.policy.thetas = thetas

    def train(self) -> None:
        """Fit codes and basis to the operating points, and move the policies there."""
        point = self._operating_point()
        rng = np.random.default_rng([self.noise_seed, self._n_updates])
        self._begin(self._observed, point, rng)
        self._fit(self._observed, point, rng)
        self.policy.thetas = self._policies()
        missed = float(np.linalg.norm(point.target - self.policy.thetas[self._observed]))
        self.logger.record("train/target_missed", missed / max(float(np.linalg.norm(point.target)), 1e-300))
        self.logger.record("train/codes_used", float(np.mean(self.knowledge.array("codes") != 0)))
