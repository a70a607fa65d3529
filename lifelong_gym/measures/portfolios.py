"""Measures of portfolios, from what they returned each day, all costs paid.

``returns`` are shares of the wealth that a day adds, above -1, shape (..., n_days); a year has 252 days, and the
riskless rate is 0. Conventions are those of the package empyrical. What is undefined, such as a ratio to no risk, is
NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray

DAYS_A_YEAR = 252


def wealth(returns: npt.ArrayLike) -> FloatArray:
    """From 1 on, before the first day and after each, shape (..., n_days + 1).

    Raises:
        ValueError: no days, or a return that isn't finite and above -1.
    """
    r = _given(returns)
    start: FloatArray = np.ones((*r.shape[:-1], 1))
    return np.concatenate([start, np.cumprod(1.0 + r, axis=-1)], axis=-1)


def annual_return(returns: npt.ArrayLike) -> FloatArray:
    """The yearly growth, compounded, that comes to the same in the end."""
    grown = wealth(returns)
    yearly: FloatArray = grown[..., -1] ** (DAYS_A_YEAR / (grown.shape[-1] - 1)) - 1.0
    return yearly


def volatility(returns: npt.ArrayLike) -> FloatArray:
    """Standard deviation of the returns, a year; NaN of a single day."""
    r = _given(returns)
    if r.shape[-1] == 1:
        return np.full(r.shape[:-1], np.nan)
    spread: FloatArray = r.std(axis=-1, ddof=1) * DAYS_A_YEAR**0.5
    return spread


def sharpe_ratio(returns: npt.ArrayLike) -> FloatArray:
    """Mean return a year over `volatility`."""
    return _ratio(DAYS_A_YEAR * _given(returns).mean(axis=-1), volatility(returns))


def sortino_ratio(returns: npt.ArrayLike) -> FloatArray:
    """Mean return a year over the root mean square of losses, a year."""
    r = _given(returns)
    losses = np.sqrt(DAYS_A_YEAR * (np.minimum(r, 0.0) ** 2).mean(axis=-1))
    return _ratio(DAYS_A_YEAR * r.mean(axis=-1), losses)


def drawdowns(returns: npt.ArrayLike) -> FloatArray:
    """How far the wealth is below its highest so far, as a share of that, shape (..., n_days + 1)."""
    grown = wealth(returns)
    lost: FloatArray = 1.0 - grown / np.maximum.accumulate(grown, axis=-1)
    return lost


def max_drawdown(returns: npt.ArrayLike) -> FloatArray:
    """The largest of the `drawdowns`, in [0, 1]."""
    return np.asarray(drawdowns(returns).max(axis=-1))


def calmar_ratio(returns: npt.ArrayLike) -> FloatArray:
    """`annual_return` over `max_drawdown`."""
    return _ratio(annual_return(returns), max_drawdown(returns))


def portfolio_measures(returns: npt.ArrayLike) -> dict[str, FloatArray]:
    """All of them by name, in the order in which tables have them; each of shape (...,)."""
    measures = annual_return, volatility, sharpe_ratio, sortino_ratio, max_drawdown, calmar_ratio
    return {measure.__name__: measure(returns) for measure in measures}


def _given(returns: npt.ArrayLike) -> FloatArray:
    r = np.asarray(returns, np.float64)
    if r.ndim == 0 or r.size == 0:
        raise ValueError(f"`returns` must be of at least one day, shape (..., n_days). Received shape {r.shape}")
    wrong = ~(np.isfinite(r) & (r > -1.0))
    if wrong.any():
        raise ValueError(f"`returns` must be finite and above -1. Received {r[wrong][0]}")
    return r


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) > 0.0)
