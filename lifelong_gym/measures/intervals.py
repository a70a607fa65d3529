"""95% intervals that cover what they say where runs are few.

========================================  ==============================================================================
quantity                                  interval
========================================  ==============================================================================
mean of a few runs                        Student's t
ratio of two methods' positive numbers    Student's t on the logarithms of the same runs' ratios
difference of two methods                 Student's t on the same runs' differences
count that may never come                 Kaplan and Meier's median
========================================  ==============================================================================

Of normal and log-normal runs, percentile bootstrap intervals hold the mean in 75% of studies of 3 runs and in 84% of
those of 5; Student's t in 95%. Where there is one run, an interval is everything.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from lifelong_gym.errors import floats
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray

CONFIDENCE = 0.95


def mean_band(values: npt.ArrayLike) -> FloatArray:
    """Mean over runs and its limits by Student's t, of each of many quantities on its own.

    Args:
        values: shape (n_runs, ...); they must be finite.

    Returns:
        Shape (3, ...): mean, low and high; with one run the limits are infinite.

    Raises:
        ValueError: no run, or a number that isn't finite.
    """
    runs = floats("values", values)
    if runs.ndim < 1 or not len(runs) or not np.isfinite(runs).all():
        raise ValueError(f"`values` must be finite numbers of at least one run. Received {runs}")
    mean, n = runs.mean(axis=0), len(runs)
    if n == 1:
        return np.stack([mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf)])
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * runs.std(axis=0, ddof=1) / np.sqrt(n)
    return np.stack([mean, mean - half, mean + half])


def mean_interval(values: npt.ArrayLike) -> Interval:
    """Mean of one number a run, by Student's t.

    >>> mean_interval([1.0, 2.0, 3.0])
    Interval(estimate=2.0, low=-0.484..., high=4.484...)
    """
    return Interval(*mean_band(_flat("values", values)).tolist())


def difference_interval(a: npt.ArrayLike, b: npt.ArrayLike) -> Interval:
    """Mean of a less b.

    Args:
        a: one number a run, shape (n_runs,).
        b: the same; run i of both has the same tasks and seed.

    Raises:
        ValueError: numbers that aren't finite, or not as many runs of one as of the other.
    """
    first, second = _flat("a", a), _flat("b", b)
    if first.shape != second.shape:
        raise ValueError(f"`a` and `b` must be of the same runs. Received {len(first)} and {len(second)} runs")
    return mean_interval(first - second)


def ratio_interval(a: npt.ArrayLike, b: npt.ArrayLike) -> Interval:
    """Typical ratio of a to b: geometric mean, and limits by Student's t on the logarithms.

    Args:
        a: one positive number a run, shape (n_runs,).
        b: the same; run i of both has the same tasks and seed.

    Raises:
        ValueError: numbers that aren't positive, for which a difference has meaning and a ratio hasn't.

    >>> ratio_interval([1.0, 2.0], [2.0, 4.0])
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    runs = {name: _flat(name, values) for name, values in (("a", a), ("b", b))}
    for name, numbers in runs.items():
        if (numbers <= 0).any():
            raise ValueError(f"`{name}` must be positive for a ratio; take a difference instead. Received {numbers}")
    return Interval(*np.exp(difference_interval(np.log(runs["a"]), np.log(runs["b"]))).tolist())


def median_time(times: npt.ArrayLike, lasted: npt.ArrayLike) -> Interval:
    """Median of times, or counts, until something came that may not have come while it was waited for.

    By Kaplan and Meier, with limits from the log-log transform of the survival curve, which can be infinite, as the
    median itself.

    Args:
        times: one a run, shape (n_runs,); infinite where it hasn't come.
        lasted: for how long it was waited, one number or one a run.

    Raises:
        ValueError: no run, a time that is NaN or negative, or a time after the end of the wait.
    """
    came_at = floats("times", times)
    waited = np.broadcast_to(floats("lasted", lasted), came_at.shape)
    if came_at.ndim != 1 or not len(came_at) or np.isnan(came_at).any() or (came_at < 0).any():
        raise ValueError(f"`times` must be one number a run, at least 0, or inf for never. Received {came_at}")
    came = np.isfinite(came_at)
    if not np.isfinite(waited).all() or (came_at[came] > waited[came]).any():
        raise ValueError(f"`lasted` must be finite and not before any of `times`. Received {waited}")
    # Fewer runs may all lie on one side of the median: nothing is known of it.
    is_known = 0.5 ** len(came) <= 1 - CONFIDENCE
    if not came.any():
        return Interval(np.inf, float(waited.max()) if is_known else 0.0, np.inf)
    survival = stats.ecdf(stats.CensoredData(came_at[came], right=waited[~came])).sf
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.filterwarnings("ignore", "The confidence interval is undefined")  # where the curve is 0 or 1
        limits: Any = survival.confidence_interval(CONFIDENCE, method="log-log")
    at, share = survival.quantiles, survival.probabilities
    low = np.where(share == 0, 0.0, limits.low.probabilities)
    # Where all have come, so many would have with a share still waiting (Clopper and Pearson's limit).
    waiting = stats.binomtest(0, int(came.sum())).proportion_ci(CONFIDENCE).high
    high = np.where(share == 0, waiting, limits.high.probabilities)
    return Interval(_halved(at, share), _halved(at, low) if is_known else 0.0, _halved(at, high))


def _halved(at: FloatArray, curve: FloatArray) -> float:
    """When a falling curve is at one half first; inf: never. What is undefined doesn't count."""
    below = np.nan_to_num(curve, nan=1.0) <= 0.5
    return float(at[below.argmax()]) if below.any() else float(np.inf)


def _flat(name: str, values: npt.ArrayLike) -> FloatArray:
    runs = floats(name, values)
    if runs.ndim != 1:
        raise ValueError(f"`{name}` must hold one number a run. Received shape {runs.shape}")
    return runs
