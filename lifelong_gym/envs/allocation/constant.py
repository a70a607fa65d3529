"""Portfolios that are chosen once: what they earn, and which would have been best."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray


def constant_rebalanced(relatives: npt.ArrayLike, shares: npt.ArrayLike | None = None) -> FloatArray:
    """The wealth after each day of shares that are restored every day at no cost (CRP), from 1.

    Args:
        relatives: each day's prices over the day before's, shape (n_days, m).
        shares: shape (m,), summing to 1; None: equal.

    Returns:
        Shape (n_days,).
    """
    y, a = _given(relatives, shares)
    wealth: FloatArray = np.asarray(np.cumprod(y @ a), np.float64)
    return wealth


def bought_and_held(relatives: npt.ArrayLike, shares: npt.ArrayLike | None = None) -> FloatArray:
    """The wealth after each day of shares that are bought once, from 1; arguments as `constant_rebalanced`."""
    y, a = _given(relatives, shares)
    wealth: FloatArray = np.cumprod(y, axis=0) @ a
    return wealth


def _given(relatives: npt.ArrayLike, shares: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    y: FloatArray = np.asarray(relatives, np.float64)
    equal: FloatArray = np.full(y.shape[1], 1.0 / y.shape[1])
    return y, equal if shares is None else np.asarray(shares, np.float64)


def best_constant_shares(relatives: npt.ArrayLike) -> FloatArray:
    """The shares that would have grown most if restored every day at no cost: best CRP in hindsight.

    The mean logarithm of growth is concave in the shares. SLSQP finds its maximum from two starts, equal shares and the
    best instrument alone, and the better result counts.

    Args:
        relatives: positive, shape (n_days, m).

    Returns:
        Shape (m,), at least 0 and summing to 1.
    """
    from scipy.optimize import minimize

    y = np.asarray(relatives, np.float64)
    m = y.shape[1]
    best_alone = np.eye(m)[np.log(y).sum(axis=0).argmax()]

    def loss(a: FloatArray) -> tuple[float, FloatArray]:
        growth = y @ a
        return -float(np.log(growth).mean()), -(y / growth[:, None]).mean(axis=0)

    whole: Any = {"type": "eq", "fun": lambda a: a.sum() - 1.0, "jac": lambda a: np.ones(m)}
    candidates = [best_alone]
    for start in (np.full(m, 1.0 / m), best_alone):
        options: Any = {"ftol": 1e-15, "maxiter": 200}
        result = minimize(
            loss, start, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * m, constraints=whole, options=options
        )
        shares = np.maximum(result.x, 0.0)
        candidates.append(shares / shares.sum())
    best: FloatArray = min(candidates, key=lambda a: loss(a)[0])
    return best
