"""PG-ELLA about policies to start from, which the published one lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.agents.linear.base_learners import BaseSettings
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Record
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, BasisSharer, InTurns
from lifelong_gym.numerics.arrays import FloatArray, IntArray


class StartedSharer(BasisSharer):
    """Policies ``theta_j = start_j + L s_j``.

    Args:
        warm: tasks that haven't been observed have the mean code of those that have, rather than 0.
        settings: of the basis.

    Attributes:
        start: shape (n_tasks, d); 0 unless it is set before learning.
    """

    start: FloatArray

    def __init__(self, warm: bool, settings: BasisSettings) -> None:
        """See the class."""
        super().__init__(settings, InTurns())
        self._warm = warm

    def set_up(self, policy: LinearGaussianPolicy, env: VecEnv | None, roster: Roster, from_file: bool) -> None:
        """Start at 0."""
        super().set_up(policy, env, roster, from_file)
        self.start = np.zeros_like(policy.thetas)

    def _learn(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator, record: Record) -> None:
        relative = point._replace(target=point.target - self.start[tasks])
        super()._learn(tasks, relative, rng, record)

    def _policies(self) -> FloatArray:
        moved = super()._policies()
        return self.start + (moved if self._warm else np.where(self.knowledge.observed[:, None], moved, 0.0))


class StartedPGELLA(PolicySearch):
    """`PGELLA` with a `StartedSharer`; see these for the arguments."""

    _sharer: StartedSharer

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = None,
        warm: bool = True,
        n_basis: int = 3,
        base: str = "reinforce",
        base_settings: Mapping[str, Any] | None = None,
        n_trajectories: int = 5,
        sigma: float = 0.6,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        """See the class."""
        basis, chosen = BasisSettings(n_basis), BaseSettings(base, base_settings)
        sampler, sharer = Sampler(n_trajectories, sigma, bias), StartedSharer(warm, basis)
        super().__init__(policy, env, learning_rate, chosen.learner, sharer, sampler, CommonSettings(seed=seed))

    def begin_at(self, start: FloatArray) -> None:
        """Give tasks their first policies, (n_tasks, d), about which the basis varies them."""
        self._sharer.start = start
