"""Shares that are chosen once."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.allocation.rule import PriceRule, SharesRule
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
