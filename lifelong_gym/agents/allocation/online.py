"""Online portfolio selection: shares that are updated by what each day brought, without any model of prices.

Survey: B. Li and S. C. H. Hoi, Online Portfolio Selection, ACM Computing Surveys 46(3), 2014. Costs play no part.
Defaults are those of the package universal-portfolios.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import numpy as np

from lifelong_gym.agents.allocation.rule import PriceRule, equal
from lifelong_gym.agents.contract.checks import number, positive, within
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import BoolArray, FloatArray

State = tuple[FloatArray, ...]
LARGEST_STEP = 1e5  # where prices hardly differ


class OnlineRule(PriceRule):
    """Equal shares on the first day, and then an update a day.

    What it goes on from are arrays with a row a row, of which the first are the shares.
    """

    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, State]:
        """See `SharesRule`."""
        seen = self._seen(observations)
        first = self.begin(seen.present)
        if state is None:
            return first[0], first
        later = self.update(state, seen.past, seen.present)
        state = tuple(_chosen(begins, new, old) for new, old in zip(first, later, strict=True))
        return state[0], state

    def begin(self, present: BoolArray) -> State:
        """Equal shares among those that are there, shape (n_rows, m)."""
        return (equal(present),)

    @abstractmethod
    def update(self, state: State, past: FloatArray, present: BoolArray) -> State:
        """After a day.

        Args:
            state: before it.
            past: prices up to it over its own, oldest first, shape (n_rows, m, window); only quotients count.
            present: which instruments are there, shape (n_rows, m).
        """


@final
class EG(OnlineRule):
    """Exponentiated gradient: shares grow by ``exp(eta * relative / growth)`` (Helmbold et al. 1998).

    Args:
        env: an SB3 `VecEnv` of portfolios.
        seed: nothing is drawn.
        eta: learning rate, at least 0; 0 is equal CRP.

    Raises:
        ValueError: another family, or no such rate.
    """

    def __init__(self, env: Any, seed: int = 0, eta: float = 0.05) -> None:
        """See the class."""
        super().__init__(env, seed)
        self._eta = number("eta", eta)

    def update(self, state: State, past: FloatArray, present: BoolArray) -> State:
        """See `OnlineRule`."""
        (shares,), y = state, relatives(past)
        grown = shares * np.exp(self._eta * (y / total(shares * y) - 1.0))
        return (grown / total(grown),)


@final
class ONS(OnlineRule):
    """Online Newton step on the logarithm of growth (Agarwal et al. 2006).

    Args:
        env: an SB3 `VecEnv` of portfolios.
        seed: nothing is drawn.
        delta: factor of the point that is projected, positive.
        beta: of the gradients' weight ``1 + 1 / beta``, positive.
        eta: share of equal shares that is mixed in, in [0, 1].

    Raises:
        ValueError: another family, or a number out of its range.
    """

    def __init__(self, env: Any, seed: int = 0, delta: float = 0.125, beta: float = 1.0, eta: float = 0.0) -> None:
        """See the class."""
        super().__init__(env, seed)
        self._delta, self._weight = positive("delta", delta), 1.0 + 1.0 / positive("beta", beta)
        self._eta = within("eta", eta, 0.0, 1.0)

    def begin(self, present: BoolArray) -> State:
        """Equal shares, the sum of squared gradients, from the identity on, and that of the gradients."""
        n_rows, m = present.shape
        return equal(present), np.tile(np.eye(m), (n_rows, 1, 1)), np.zeros((n_rows, m))

    def update(self, state: State, past: FloatArray, present: BoolArray) -> State:
        """See `OnlineRule`."""
        shares, squares, gradients = state
        y = relatives(past) * present
        gradient = y / total(shares * y)
        squares = squares + gradient[:, :, None] * gradient[:, None, :]
        gradients = gradients + self._weight * gradient
        points = self._delta * np.linalg.solve(squares, gradients[..., None])[..., 0]
        nearest = np.zeros_like(shares)
        for row, there in enumerate(present):
            nearest[row, there] = nearest_shares(points[row, there], squares[row][np.ix_(there, there)])
        return (1.0 - self._eta) * nearest + self._eta * equal(present), squares, gradients


@final
class OLMAR(OnlineRule):
    """Online moving average reversion: prices are expected to return to their mean (Li and Hoi 2012).

    Args:
        env: an SB3 `VecEnv` of portfolios.
        seed: nothing is drawn.
        window: days of that mean, at least 2 and at most as many as are seen.
        eps: growth that the shares should have if so, positive.

    Raises:
        ValueError: another family, or a number out of its range.
    """

    def __init__(self, env: Any, seed: int = 0, window: int = 5, eps: float = 10.0) -> None:
        """See the class."""
        super().__init__(env, seed)
        at_hand = self._seen(np.ones((1, self._observations.size))).past.shape[-1]
        self._window, self._eps = integer("window", window, 2, at_hand), positive("eps", eps)

    def update(self, state: State, past: FloatArray, present: BoolArray) -> State:
        """See `OnlineRule`."""
        return (self.towards(state[0], (past[..., -self._window :] / past[..., -1:]).mean(axis=-1), present),)

    def towards(self, shares: FloatArray, expected: FloatArray, present: BoolArray) -> FloatArray:
        """The nearest shares that would grow by ``eps`` if relatives were as expected; all of shape (n_rows, m)."""
        beyond = deviations(expected, present)
        missing = np.maximum(self._eps - total(shares * expected), 0.0)
        return on_simplex(shares + step(missing, beyond) * beyond, present)


@final
class PAMR(OnlineRule):
    """Passive-aggressive mean reversion: away from what grew by more than ``eps`` (Li et al. 2012, without slack).

    Args:
        env: an SB3 `VecEnv` of portfolios.
        seed: nothing is drawn.
        eps: growth of a day, at least 0, up to which nothing is done.

    Raises:
        ValueError: another family, or no such number.
    """

    def __init__(self, env: Any, seed: int = 0, eps: float = 0.5) -> None:
        """See the class."""
        super().__init__(env, seed)
        self._eps = number("eps", eps)

    def update(self, state: State, past: FloatArray, present: BoolArray) -> State:
        """See `OnlineRule`."""
        (shares,), y = state, relatives(past)
        beyond = deviations(y, present)
        excess = np.maximum(total(shares * y) - self._eps, 0.0)
        return (on_simplex(shares - step(excess, beyond) * beyond, present),)


def relatives(past: FloatArray) -> FloatArray:
    """The last day's price over the day before's, shape (n_rows, m)."""
    return past[..., -1] / past[..., -2]


def total(values: FloatArray) -> FloatArray:
    """Sums of rows, as a column."""
    sums: FloatArray = values.sum(axis=-1, keepdims=True)
    return sums


def deviations(values: FloatArray, present: BoolArray) -> FloatArray:
    """From the mean of those that are there; 0 of the others."""
    mean = total(values * present) / total(present.astype(np.float64))
    return (values - mean) * present


def step(missing: FloatArray, beyond: FloatArray) -> FloatArray:
    """How far along ``beyond`` the shares' growth changes by ``missing``; 0 where prices don't differ."""
    squared = total(beyond * beyond)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted: FloatArray = np.where(squared > 0.0, np.minimum(missing / squared, LARGEST_STEP), 0.0)
    return wanted


def on_simplex(points: FloatArray, present: BoolArray) -> FloatArray:
    """The nearest shares among those that are there, shape (n_rows, m) (Duchi et al. 2008)."""
    falling = -np.sort(-np.where(present, points, -np.inf), axis=1)
    counts = np.arange(1, points.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        levels = (np.cumsum(falling, axis=1) - 1.0) / counts
        n_positive = (falling > levels).sum(axis=1, keepdims=True)
    shares: FloatArray = np.maximum(points - np.take_along_axis(levels, n_positive - 1, axis=1), 0.0) * present
    return shares / total(shares)


def nearest_shares(point: FloatArray, metric: FloatArray) -> FloatArray:
    """The shares p that minimise ``(p - point)' metric (p - point)``, shape (m,).

    Among shares, p - point is ``(I - point 1') p``. The nearest of such points to 0 is found by non-negative least
    squares: of q >= 0 that minimise ``|G q|^2 + (1' q - 1)^2``, ``q / sum(q)`` minimises ``|G p|``.
    """
    from scipy.optimize import nnls

    m = len(point)
    moved = np.linalg.cholesky(metric).T @ (np.eye(m) - point[:, None])
    q: FloatArray = nnls(np.vstack([moved, np.ones(m)]), np.concatenate([np.zeros(m), [1.0]]))[0]
    return q / q.sum()


def _chosen(begins: BoolArray, new: FloatArray, old: FloatArray) -> FloatArray:
    """Rows of the one array where episodes begin, and of the other elsewhere."""
    return np.where(begins.reshape(-1, *[1] * (new.ndim - 1)), new, old)
