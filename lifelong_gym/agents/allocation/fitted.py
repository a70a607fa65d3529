"""Shares by skfolio's estimators, which are fitted again and again to what has been seen (extra ``portfolio``)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple, final

import numpy as np

from lifelong_gym.agents.allocation.rule import PriceRule
from lifelong_gym.errors import MissingExtraError, integer
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


class FittedRow(NamedTuple):
    """What is known of one row.

    Attributes:
        shares: as fitted last, shape (m,).
        returns: of the days that have been seen, shape (n_days, m).
        age: days since the last fit.
    """

    shares: FloatArray
    returns: FloatArray
    age: int


class FittedRule(PriceRule):
    """Shares by an estimator of skfolio, fitted anew every ``refit`` days to the days before, and restored daily.

    An episode begins with the days of the observation's window; what has come since is added, so no fit sees what
    hadn't been seen. An env with a longer ``window`` lets it know more at the start.

    Args:
        env: an SB3 `VecEnv` of portfolios.
        seed: nothing is drawn.
        lookback: returns that a fit sees at most, at least 2.
        refit: days between fits, at least 1.

    Raises:
        ValueError: another family, or sizes out of their range.
        MissingExtraError: skfolio isn't installed.
    """

    def __init__(self, env: Any, seed: int = 0, lookback: int = 250, refit: int = 20) -> None:
        """See the class."""
        super().__init__(env, seed)
        self._lookback, self._refit = integer("lookback", lookback, 2), integer("refit", refit)
        try:
            self._estimator = self.estimator()
        except ImportError as error:
            raise MissingExtraError("skfolio", "portfolio") from error

    @abstractmethod
    def estimator(self) -> Any:
        """What is fitted: after ``fit(returns)``, shape (n_days, n_instruments), it has ``weights_``."""

    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, list[FittedRow]]:
        """See `SharesRule`."""
        past, _, present = self._seen(observations)
        returns = np.swapaxes(past[..., 1:] / past[..., :-1] - 1.0, 1, 2)
        rows = [
            self._fitted(returns[i], there) if begins[i] else self._later(state[i], returns[i, -1:], there)
            for i, there in enumerate(present)
        ]
        return np.stack([row.shares for row in rows]), rows

    def _later(self, row: FittedRow, last: FloatArray, there: BoolArray) -> FittedRow:
        returns = np.concatenate([row.returns, last])[-self._lookback :]
        if row.age + 1 == self._refit:
            return self._fitted(returns, there)
        return FittedRow(row.shares, returns, row.age + 1)

    def _fitted(self, returns: FloatArray, there: BoolArray) -> FittedRow:
        shares = np.zeros(len(there))
        shares[there] = np.maximum(self._estimator.fit(returns[-self._lookback :, there]).weights_, 0.0)
        return FittedRow(shares / shares.sum(), returns, 0)


def shrunk() -> Any:
    """A prior whose covariances (Ledoit and Wolf's) are regular, however few days there are."""
    from skfolio.moments import LedoitWolf
    from skfolio.prior import EmpiricalPrior

    return EmpiricalPrior(covariance_estimator=LedoitWolf())


@final
class MinimumVariance(FittedRule):
    """The shares of least variance: skfolio's `MeanRisk`, covariances by Ledoit and Wolf."""

    def estimator(self) -> Any:
        """See `FittedRule`."""
        from skfolio.optimization import MeanRisk

        return MeanRisk(prior_estimator=shrunk())


@final
class RiskParity(FittedRule):
    """Shares that contribute equally to the variance: skfolio's `RiskBudgeting`, covariances by Ledoit and Wolf."""

    def estimator(self) -> Any:
        """See `FittedRule`."""
        from skfolio.optimization import RiskBudgeting

        return RiskBudgeting(prior_estimator=shrunk())
