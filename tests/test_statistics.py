"""Statistics against published formulas, naive loops, SciPy and rliable, and how often the intervals are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lifelong_gym.measures import statistics
from lifelong_gym.measures.statistics import Interval, bootstrap, stratified_bootstrap
from lifelong_gym.numerics.arrays import FloatArray

SCORES = [[0.0, 1.0], [0.2, 1.2], [0.4, 0.4], [0.6, 2.0]]  # four runs, two tasks


def two_methods() -> tuple[FloatArray, FloatArray]:
    """Nine runs of one and six of another in eleven tasks, rounded, so that some are equal."""
    rng = np.random.default_rng(7)
    return np.round(rng.normal(0.75, 0.3, (9, 11)), 2), np.round(rng.normal(0.65, 0.35, (6, 11)), 2)


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    """For many runs the percentile bootstrap of the mean is the t interval."""
    runs = np.random.default_rng(0).normal(3.0, 2.0, 400)
    interval = bootstrap(runs)
    low, high = stats.t.interval(0.95, 399, runs.mean(), stats.sem(runs))
    assert interval.estimate == runs.mean()
    assert interval.low == pytest.approx(low, abs=0.02)
    assert interval.high == pytest.approx(high, abs=0.02)
    assert bootstrap(runs) == interval


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_bootstrap_is_scipys(statistic: Callable[..., Any]) -> None:
    """The same resamples from the same seed give the same interval."""
    runs = np.random.default_rng(1).exponential(size=12)
    rng = np.random.default_rng(3)
    expected = stats.bootstrap((runs,), statistic, n_resamples=999, method="percentile", rng=rng).confidence_interval
    interval = bootstrap(runs, statistic, seed=3, n_resamples=999)
    assert interval == pytest.approx((statistic(runs), expected.low, expected.high))


def test_bootstrap_of_censored_times_is_a_median() -> None:
    """Two of five runs never reach the threshold: the median is a number, the interval is open above."""
    interval = bootstrap([3.0, 4.0, 5.0, np.inf, np.inf], np.median)
    assert interval.estimate == 5.0
    assert interval.high == np.inf
    assert str(interval) == f"5 [{interval.low:.3g}, never]"
    assert bootstrap([np.inf, np.inf], np.median) == Interval(np.inf, np.inf, np.inf)


def test_bootstrap_of_equal_runs_has_no_width() -> None:
    """Large numbers are numbers: 20 GB sent are not "never"."""
    assert bootstrap([2.0, 2.0]) == Interval(2.0, 2.0, 2.0)
    assert str(bootstrap([2e10, 2e10])) == "2e+10 [2e+10, 2e+10]"


def test_aggregates_by_hand() -> None:
    """Sorted: 0, .2, .4, .4, .6, 1, 1.2, 2; the middle four; the shortfalls 1, .8, .6, .6, .4; task means .3, 1.15."""
    assert statistics.interquartile_mean(SCORES) == pytest.approx((0.4 + 0.4 + 0.6 + 1.0) / 4)
    assert statistics.optimality_gap(SCORES) == pytest.approx(3.4 / 8)
    assert statistics.optimality_gap(SCORES, target=0.5) == pytest.approx((0.5 + 0.3 + 0.1 + 0.1) / 8)
    assert statistics.median(SCORES) == pytest.approx((0.3 + 1.15) / 2)
    assert statistics.mean(SCORES) == pytest.approx(5.8 / 8)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 5), (4, 4), (7, 9)])
def test_interquartile_mean_is_scipys_trimmed_mean(shape: tuple[int, int]) -> None:
    """Whether a quarter of the scores is a whole number or not; stacks are reduced one by one."""
    stack = np.random.default_rng(0).normal(size=(6, *shape))
    expected = [stats.trim_mean(scores, 0.25, axis=None) for scores in stack]
    np.testing.assert_allclose(statistics.interquartile_mean(stack), expected)


def test_interquartile_mean_ignores_outliers() -> None:
    """A run that explodes doesn't move it, as it does the mean."""
    scores, _ = two_methods()
    broken = scores.copy()
    broken[scores.argmax() // 11, scores.argmax() % 11] = 1e6
    assert statistics.interquartile_mean(broken) == statistics.interquartile_mean(scores)
    assert statistics.mean(broken) > 1e4


def test_probability_of_improvement_by_hand() -> None:
    """Task 0: 3 of 4 pairs won; task 1: one won, two equal, one lost."""
    assert statistics.probability_of_improvement([[1, 1], [3, 2]], [[0, 1], [2, 2]]) == pytest.approx((0.75 + 0.5) / 2)


def test_probability_of_improvement_is_mann_whitneys() -> None:
    """SciPy's U over the number of pairs, averaged over tasks; both directions add up to one."""
    a, b = two_methods()
    expected = [stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(a.T, b.T, strict=True)]
    assert statistics.probability_of_improvement(a, b) == pytest.approx(np.mean(expected))
    assert statistics.probability_of_improvement(b, a) == pytest.approx(1 - np.mean(expected))
    assert statistics.probability_of_improvement(a, a) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (statistics.interquartile_mean, (0.7072549, 0.6600, 0.7582)),
        (statistics.mean, (0.7037374, 0.6549, 0.7534)),
        (statistics.median, (0.7122222, 0.6422, 0.7667)),
        (statistics.optimality_gap, (0.3120202, 0.2687, 0.3565)),
    ],
)
def test_intervals_agree_with_rliable(aggregate: statistics.Aggregate, expected: tuple[float, float, float]) -> None:
    """Version 1.2.0 with 20,000 resamples, on the same scores: the estimate exactly, the limits up to chance."""
    interval = stratified_bootstrap(two_methods()[0], aggregate)
    assert interval.estimate == pytest.approx(expected[0], abs=1e-7)
    assert interval[1:] == pytest.approx(expected[1:], abs=0.004)


def test_improvement_interval_agrees_with_rliable() -> None:
    """Version 1.2.0 with 4,000 resamples, on the same scores."""
    interval = statistics.improvement_interval(*two_methods())
    assert interval.estimate == pytest.approx(0.6397306, abs=1e-7)
    assert interval[1:] == pytest.approx((0.5606, 0.7189), abs=0.008)


def loops(scores: FloatArray, whole_runs: bool, rng: np.random.Generator) -> FloatArray:
    """One resample, run by run and task by task."""
    n_runs, n_tasks = scores.shape
    result = np.empty_like(scores)
    for i in range(n_runs):
        row = rng.integers(n_runs)
        for j in range(n_tasks):
            result[i, j] = scores[row if whole_runs else rng.integers(n_runs), j]
    return result


@pytest.mark.parametrize("whole_runs", [False, True])
def test_intervals_agree_with_naive_loops(whole_runs: bool) -> None:
    """Both ways of resampling, for aggregates, for improvement and for profiles."""
    a, b = (scores[:, :4] for scores in two_methods())
    rng = np.random.default_rng(1)
    firsts = [loops(a, whole_runs, rng) for _ in range(2000)]
    seconds = [loops(b, whole_runs, rng) for _ in range(2000)]
    improvements = [statistics.probability_of_improvement(x, y) for x, y in zip(firsts, seconds, strict=True)]
    limits = np.quantile([np.mean(x) for x in firsts], [0.025, 0.975])
    np.testing.assert_allclose(stratified_bootstrap(a, statistics.mean, whole_runs=whole_runs)[1:], limits, atol=0.01)
    interval = statistics.improvement_interval(a, b, whole_runs=whole_runs)
    np.testing.assert_allclose(interval[1:], np.quantile(improvements, [0.025, 0.975]), atol=0.02)
    profile = statistics.performance_profile(a, [0.7], whole_runs=whole_runs)
    limits = np.quantile([np.mean(x > 0.7) for x in firsts], [0.025, 0.975])
    np.testing.assert_allclose([profile.low[0], profile.high[0]], limits, atol=1 / 36 + 1e-9)


def coverage(correlation: float, whole_runs: bool, aggregate: statistics.Aggregate = statistics.mean) -> float:
    """Of the true value (tasks are symmetric around 0 to 4, so all aggregates are 2) by nominal 95% intervals."""
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        luck, own = rng.normal(size=(15, 1)), rng.normal(size=(15, 5))
        scores = np.arange(5) + np.sqrt(correlation) * luck + np.sqrt(1 - correlation) * own
        interval = stratified_bootstrap(scores, aggregate, seed=seed, n_resamples=300, whole_runs=whole_runs)
        hits += interval.low <= 2.0 <= interval.high
    return hits / 300


@pytest.mark.parametrize("aggregate", [statistics.mean, statistics.interquartile_mean])
def test_stratified_intervals_cover_where_tasks_are_independent(aggregate: statistics.Aggregate) -> None:
    """About 93% of the time with 15 runs: percentile intervals are a little narrow for few runs."""
    assert 0.88 <= coverage(0.0, whole_runs=False, aggregate=aggregate) <= 0.98


def test_intervals_by_whole_runs_cover_where_tasks_share_luck() -> None:
    """Which intervals stratified by task don't, by far."""
    assert 0.88 <= coverage(0.8, whole_runs=True) <= 0.98
    assert coverage(0.8, whole_runs=False) < 0.75


def test_profile_is_the_share_above() -> None:
    """By hand at five thresholds, strictly above; with a band that holds the estimate and falls with it."""
    profile = statistics.performance_profile(SCORES, [-1.0, 0.4, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(profile.estimate, [1.0, 0.5, 0.5, 0.25, 0.0])
    for curve in profile[1:]:
        assert (np.diff(curve) <= 0).all()
    assert (profile.low <= profile.estimate).all()
    assert (profile.high >= profile.estimate).all()
    assert profile.low[2] < 0.5 < profile.high[2]
    np.testing.assert_array_equal([profile.low[0], profile.high[-1]], [1.0, 0.0])


def test_profile_of_one_task_is_binomial() -> None:
    """40 of 100 runs above: the band is that of the binomial distribution."""
    scores = np.repeat([0.0, 1.0], [60, 40])[:, None]
    profile = statistics.performance_profile(scores, [0.5])
    limits = stats.binom(100, 0.4).ppf([0.025, 0.975]) / 100
    np.testing.assert_allclose([profile.low[0], profile.high[0]], limits, atol=0.01 + 1e-9)


def test_the_seed_decides() -> None:
    """The same again, another interval for another seed."""
    a, b = two_methods()
    assert stratified_bootstrap(a) == stratified_bootstrap(a)
    assert stratified_bootstrap(a, seed=1) != stratified_bootstrap(a)
    assert statistics.improvement_interval(a, b) == statistics.improvement_interval(a, b)
    np.testing.assert_equal(statistics.performance_profile(a, [0.5]), statistics.performance_profile(a, [0.5]))


def test_many_tasks_are_resampled_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same resamples as at once."""
    a, b = two_methods()
    whole = stratified_bootstrap(a, n_resamples=100), statistics.improvement_interval(a, b, n_resamples=100)
    monkeypatch.setattr(statistics, "CHUNK", 70 * a.size)
    assert stratified_bootstrap(a, n_resamples=100) == whole[0]
    pieces = statistics.improvement_interval(a, b, n_resamples=5000)
    assert pieces[1:] == pytest.approx(statistics.improvement_interval(a, b)[1:], abs=0.01)


def test_wider_for_more_confidence() -> None:
    """And a clearly better method lies above one half altogether."""
    a, _ = two_methods()
    narrow, wide = (stratified_bootstrap(a, confidence_level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    assert statistics.improvement_interval(a + 0.5, a).low > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap([1.0]), "at least two runs"),
        (lambda: bootstrap([[1.0, 2.0]]), "at least two runs"),
        (lambda: bootstrap([1.0, np.nan]), "must be numbers"),
        (lambda: bootstrap([1.0, -np.inf]), "must be numbers"),
        (
            lambda: bootstrap([1.0, 2.0], confidence_level=95),
            "`confidence_level` must lie between 0 and 1. Received 95",
        ),
        (lambda: bootstrap([1.0, 2.0], n_resamples=0), "`n_resamples` must be at least 1. Received 0"),
        (lambda: stratified_bootstrap([1.0, 2.0]), "`scores` must have shape"),
        (lambda: stratified_bootstrap([[1.0, 2.0]]), "at least 2 runs. Received"),
        (lambda: stratified_bootstrap(np.ones((2, 3, 4))), r"Received shape \(2, 3, 4\)"),
        (lambda: stratified_bootstrap([[1.0], [np.nan]]), "`scores` must be finite"),
        (lambda: stratified_bootstrap(SCORES, n_resamples=0), "`n_resamples` must be at least 1. Received 0"),
        (lambda: statistics.interquartile_mean([]), "at least 1 run. Received"),
        (
            lambda: statistics.probability_of_improvement(SCORES, [[1.0]]),
            "`a` and `b` must be scores of the same tasks",
        ),
        (lambda: statistics.improvement_interval(SCORES, [[1.0], [2.0]]), "of the same tasks"),
        (lambda: statistics.performance_profile(SCORES, []), "`thresholds` must be finite"),
        (lambda: statistics.performance_profile(SCORES, [np.nan]), "`thresholds` must be finite"),
    ],
)
def test_bad_input_is_named(call: Callable[[], Any], message: str) -> None:
    """The argument, the constraint, what was received."""
    with pytest.raises(ValueError, match=message):
        call()
