"""Comparisons of methods over seeds, and the rules by which a claim holds, holds in part, or doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lifelong_gym.benchmark.results import short
from lifelong_gym.measures.statistics import N_RESAMPLES, Interval, bootstrap
from lifelong_gym.numerics.arrays import FloatArray

HOLDS, PARTLY, FAILS = "holds", "partly", "doesn't hold"
MET, UNSURE, MISSED = "met", "met, but not surely", "not met"
FEWER = 999  # resamples for bands, of which there is one an evaluation
RULES = (
    "A method *beats* another where the 95% interval of the ratio of their costs (bootstrap over seeds) lies below "
    "1. A claim **holds** if it is seen in every domain it is about, holds **partly** if in some, and "
    "**doesn't hold** if in none. An expected figure is **met** if the whole interval is on the right side of the "
    "bound, **met, but not surely** if only the estimate is, and otherwise **not met**; of several parts the worst "
    "counts."
)


def mean_of(values: Sequence[float] | FloatArray, n_resamples: int = N_RESAMPLES) -> Interval:
    """Mean over seeds with its 95% interval."""
    array = np.asarray(values, np.float64)
    return bootstrap(array, n_resamples=n_resamples) if len(array) > 1 else Interval(float(array[0]), -np.inf, np.inf)


def median_of(values: Sequence[float | None]) -> Interval:
    """Median over seeds; None is never."""
    array = np.array([np.inf if value is None else value for value in values])
    return bootstrap(array, np.median) if len(array) > 1 else Interval(float(array[0]), -np.inf, np.inf)


def ratio_of(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Mean of a over mean of b, both by seed, resampled together."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def ratio(drawn: FloatArray, axis: int) -> Any:
        index = drawn.astype(np.int64)
        return first[index].mean(axis=axis) / second[index].mean(axis=axis)

    if len(first) < 2:
        return Interval(float(first[0] / second[0]), -np.inf, np.inf)
    return bootstrap(np.arange(len(first)), ratio)


def bands(curves: FloatArray) -> dict[str, list[float]]:
    """Mean and 95% interval over seeds at each evaluation, from (n_seeds, n_evaluations)."""
    intervals = np.array([mean_of(column, FEWER) for column in curves.T])
    if len(curves) == 1:
        intervals[:, 1:] = intervals[:, :1]
    return {name: short(column) for name, column in zip(("mean", "low", "high"), intervals.T, strict=True)}


def shown(interval: Interval) -> str:
    """As in a table; without an interval where there is one seed alone.

    >>> shown(Interval(0.5, 0.4, 0.6))
    '0.5 [0.4, 0.6]'
    >>> shown(Interval(np.inf, np.inf, np.inf))
    'never'
    """
    if interval.low == interval.high:
        return f"{interval.estimate:.3g}".replace("inf", "never")
    return str(interval) if interval.low > -np.inf else f"{interval.estimate:.3g}"


def judged(intervals: Iterable[tuple[str, Interval]], bound: float = 1.0) -> str:
    """`HOLDS`, `PARTLY` or `FAILS`: a claim that ratios lie below a bound, each with the name of its domain."""
    seen = [interval.high < bound for _, interval in intervals]
    return share_word(sum(seen), len(seen))


def share_word(n_seen: int, n: int) -> str:
    """In all, some or none."""
    return HOLDS if n_seen == n else PARTLY if n_seen else FAILS


def met(interval: Interval, most: float) -> str:
    """Whether a number is at most so large."""
    if interval.high <= most:
        return MET
    return UNSURE if interval.estimate <= most else MISSED


def worst(words: Iterable[str]) -> str:
    """Of several acceptance words."""
    order = (MET, UNSURE, MISSED)
    return order[max(order.index(word) for word in words)]
