"""Intervals of few runs against SciPy and by how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lifelong_gym.measures.intervals import difference_interval, mean_band, mean_interval, median_time, ratio_interval
from lifelong_gym.measures.statistics import Interval

RUNS = (3, 5, 10, 20)
A, B = np.array([2.0, 3.0, 5.0, 4.0]), np.array([4.0, 5.0, 11.0, 9.0])


def test_means_are_students() -> None:
    """As SciPy's interval of one sample; a band is that of each quantity on its own."""
    found = stats.ttest_1samp(A, 0.0).confidence_interval()
    assert mean_interval(A) == pytest.approx((3.5, found.low, found.high))
    np.testing.assert_array_equal(mean_band(np.stack([A, B], axis=1))[:, 1], mean_interval(B))
    assert mean_interval([2.0]) == Interval(2.0, -np.inf, np.inf)


def test_ratios_are_students_on_logarithms() -> None:
    """Run by run; A over B is one over B over A."""
    found = stats.ttest_rel(np.log(A), np.log(B)).confidence_interval()
    assert ratio_interval(A, B) == pytest.approx((stats.gmean(A / B), np.exp(found.low), np.exp(found.high)))
    turned = ratio_interval(B, A)
    assert ratio_interval(A, B) == pytest.approx((1 / turned.estimate, 1 / turned.high, 1 / turned.low))
    assert ratio_interval(2 * B, B) == pytest.approx((2.0, 2.0, 2.0))
    assert difference_interval([1.0, 1.0], [3.0, 3.0]) == (-2.0, -2.0, -2.0)
    assert ratio_interval([1.0], [2.0]) == (0.5, 0.0, np.inf)


def test_bad_numbers_are_refused() -> None:
    """By the name of the argument."""
    with pytest.raises(ValueError, match=r"`b` must be positive for a ratio; take a difference"):
        ratio_interval([1.0, 2.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="4 and 3 runs"):
        difference_interval(A, B[:3])
    with pytest.raises(ValueError, match="`values` must be finite"):
        mean_interval([1.0, np.inf])
    with pytest.raises(ValueError, match="`lasted` must be finite and not before"):
        median_time([3.0, 5.0], 4)


@pytest.mark.parametrize("n", RUNS)
def test_students_intervals_hold_the_truth(n: int) -> None:
    """Means of normal and ratios of log-normal numbers, in 95% of 20,000 studies of any size."""
    draws = np.random.default_rng(n).normal(1.0, 0.5, (n, 20_000))
    _, low, high = mean_band(draws)
    assert np.mean((low <= 1.0) & (high >= 1.0)) == pytest.approx(0.95, abs=0.006)
    draws = draws[:, :4_000]
    percentile = np.percentile(draws[np.random.default_rng(0).integers(0, n, (500, n))].mean(axis=1), [2.5, 97.5], 0)
    assert n > 10 or np.mean((percentile[0] <= 1.0) & (percentile[1] >= 1.0)) < 0.92


@pytest.mark.parametrize("n", RUNS)
def test_times_that_may_never_come_hold_the_truth(n: int) -> None:
    """Of exponential times, all waited for or 40% of them not."""
    rng = np.random.default_rng(n)
    for wait in (1e9, 0.9):
        draws = rng.exponential(size=(150, n))
        found = [median_time(np.where(row <= wait, row, np.inf), wait) for row in draws]
        assert np.mean([each.low <= np.log(2) <= each.high for each in found]) >= 0.9


def test_a_median_time_by_hand() -> None:
    """Half have come at the third of five; of few runs nothing is known, of many that never came a lower limit."""
    found = median_time([1.0, 2.0, 3.0, np.inf, np.inf], 10)
    assert found == Interval(3.0, 1.0, np.inf)
    assert median_time([np.inf] * 6, [10.0] * 6) == Interval(np.inf, 10.0, np.inf)
    assert median_time([0.0] * 6, 10) == Interval(0.0, 0.0, 0.0)
    assert median_time([0.0] * 5, 10) == Interval(0.0, 0.0, np.inf)
    assert median_time([4.0], 10) == Interval(4.0, 0.0, np.inf)
    # Two were given up early: Kaplan and Meier's curve falls to 2/3, 1/3 and 0.
    assert median_time([np.inf, np.inf, 3.0, 4.0, 5.0], [1, 2, 9, 9, 9]).estimate == 4.0
