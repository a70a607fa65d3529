"""Shares that are chosen once."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.allocation.rule import PriceRule, SharesRule
from lifelong_gym.agents.contract.environment import tasks_of
from lifelong_gym.errors import floats
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


@final
class CRP(SharesRule):
    """The same shares at every step (constant rebalanced portfolio); equal ones by default, as the action 0 has them.

    Args:
        env: an SB3 `VecEnv` of a family whose actions are shares.
        seed: nothing is drawn.
        shares: shape (m,), at least 0 and not all 0; they are divided by the sum of those who are there.

    Raises:
        ValueError: another family, or shares that are none.
    """

    def __init__(self, env: Any, seed: int = 0, shares: npt.ArrayLike | None = None) -> None:
        """See the class."""
        super().__init__(env, seed)
        m = self._actions.m
        given = np.ones(m) if shares is None else floats("shares", shares)
        if given.shape != (m,) or (given < 0.0).any() or not given.any():
            raise ValueError(f"`shares` must be {m} numbers of at least 0, not all 0. Received {shares!r}")
        self._shares = given

    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, None]:
        """See `SharesRule`; where nobody is there who gets a share, shares are equal."""
        there = self._observations.present(observations)
        wanted = self._shares * there
        some = wanted.any(axis=1, keepdims=True)
        return np.where(some, wanted, there) / np.where(some, wanted, there).sum(axis=1, keepdims=True), None


@final
class BAH(PriceRule):
    """What an episode begins with is held: equal shares, bought once (buy and hold)."""

    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, None]:
        """See `SharesRule`."""
        return self._seen(observations).held, None


@final
class BCRP(PriceRule):
    """In each task the constant shares that are best over its whole period in hindsight, at no cost (best CRP).

    No rule that anybody could follow: it knows the future. With ``days=0`` it is the family's reference.

    Args:
        env: an SB3 `VecEnv` of portfolios, which tells its tasks.
        seed: nothing is drawn.

    Raises:
        ValueError: another family, or tasks that are hidden.
    """

    def __init__(self, env: Any, seed: int = 0) -> None:
        """See the class."""
        super().__init__(env, seed)
        tasks = tasks_of(env)
        if tasks is None:
            raise ValueError("`env` must tell its tasks: what is best in hindsight is so in a task")
        self._env = env
        self._shares = env.family.constant_shares(env.family.parameters.columns(tasks.values))[:, -1]

    def for_task(self, task: int) -> CRP:
        """The rule in one of the tasks."""
        return CRP(self._env, shares=self._shares[task])

    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, None]:
        """See `SharesRule`; row i is in task ``i mod n_tasks``."""
        return self._shares[np.arange(len(observations)) % len(self._shares)], None
