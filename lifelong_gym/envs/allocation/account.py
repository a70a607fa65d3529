"""The account of a portfolio: what was chosen each day, what that earned, and what it would have at other costs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lifelong_gym.envs.allocation.trading import Cost, remaining
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.numpy_math import binder

DEAREST = 0.2  # cost up to which `remaining` is exact


@dataclass(frozen=True, eq=False)
class Account:
    """Days of a portfolio that begins with equal shares.

    Attributes:
        relatives: each day's prices over the day before's, positive, shape (n_days, m).
        shares: chosen on the evening before each day, at least 0 and summing to 1, shape (n_days, m).
        cost: of what is sold and of what is bought, in [0, 0.2].
        cost_model: what is left after trading, see `remaining`.

    Raises:
        ValueError: shapes that differ, no days, shares that are none, or such a cost.
    """

    relatives: FloatArray
    shares: FloatArray
    cost: float = 0.0
    cost_model: Cost = remaining

    def __post_init__(self) -> None:
        if self.shares.ndim != 2 or self.shares.shape != self.relatives.shape or not self.shares.size:
            raise ValueError(
                f"`shares` and `relatives` must both be of shape (n_days, m). Received {self.shares.shape} and "
                f"{self.relatives.shape}"
            )
        if not ((self.shares >= 0.0).all() and np.allclose(self.shares.sum(axis=1), 1.0, rtol=0.0, atol=1e-6)):
            raise ValueError("`shares` must be at least 0 and sum to 1 on every day")
        if not 0.0 <= self.cost <= DEAREST:
            raise ValueError(f"`cost` must be in [0, {DEAREST:g}]. Received {self.cost}")

    @property
    def held(self) -> FloatArray:
        """What there was to trade each evening: equal shares, and then what the day before made of those chosen."""
        drifted = self.shares[:-1] * self.relatives[:-1]
        m = self.shares.shape[1]
        first: FloatArray = np.full((1, m), 1.0 / m)
        return np.concatenate([first, drifted / drifted.sum(axis=1, keepdims=True)])

    @property
    def growth(self) -> FloatArray:
        """Each day's wealth over the day before's, costs paid, shape (n_days,)."""
        left = binder().bind(self.cost_model)(tuple(self.held.T), tuple(self.shares.T), self.cost)
        grown: FloatArray = left * (self.shares * self.relatives).sum(axis=1)
        return grown

    @property
    def returns(self) -> FloatArray:
        """Share of the wealth that each day adds, shape (n_days,)."""
        return self.growth - 1.0

    @property
    def market(self) -> Account:
        """The same days with equal shares, restored every evening (equal CRP), which pay as well."""
        return replace(self, shares=np.full_like(self.shares, 1.0 / self.shares.shape[1]))

    @property
    def turnover(self) -> float:
        """How often the wealth is exchanged in a year of 252 days: of what is traded, what is bought counts."""
        return float(252.0 * 0.5 * np.abs(self.held - self.shares).sum(axis=1).mean())

    @property
    def break_even_cost(self) -> float:
        """The cost at which it would have earned what equal shares do at that cost.

        0 where it earns no more even at no cost, infinite where it earns more at 20%.
        """
        from scipy.optimize import brentq

        def gain(cost: float) -> float:
            return float(np.log(replace(self, cost=cost).growth / replace(self.market, cost=cost).growth).sum())

        if gain(0.0) <= 0.0:
            return 0.0
        return np.inf if gain(DEAREST) > 0.0 else float(brentq(gain, 0.0, DEAREST, xtol=1e-12))
