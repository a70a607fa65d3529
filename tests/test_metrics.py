"""Metrics on hand-computed cases, against other people's definitions, and on bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lifelong_gym.measures import metrics
from lifelong_gym.measures.metrics import Communication

CURVE = [0.0, 0.5, 0.5, 1.0, 1.0]
# Two tasks, two evaluations for each after the one before training.
HISTORY = [[0.0, 0.1], [0.4, 0.1], [0.8, 0.3], [0.6, 0.5], [0.4, 0.9]]
SCRATCH = [[0.0, 0.1], [0.2, 0.3], [0.6, 0.7]]


def test_jump_start_is_the_difference_at_the_beginning() -> None:
    """0.5 - 0.2 after the first evaluation; over runs, one each."""
    assert metrics.jump_start(CURVE, [0.1, 0.2, 0.3, 0.4, 0.5], at=1) == pytest.approx(0.3)
    np.testing.assert_allclose(metrics.jump_start([CURVE, CURVE], [[0.1] * 5]), [-0.1, -0.1])


def test_area_is_the_mean_by_trapezoids() -> None:
    """(0.25 + 0.5 + 0.75 + 1) / 4, over the first two evaluations alone, and where the second lasts three times."""
    assert metrics.area_under_curve(CURVE) == pytest.approx(0.625)
    assert metrics.area_under_curve(CURVE, first=2) == pytest.approx(0.25)
    assert metrics.area_under_curve([0.7]) == pytest.approx(0.7)
    assert metrics.area_under_curve([0.0, 1.0, 1.0], times=[0, 1, 4]) == pytest.approx(3.5 / 4)
    assert metrics.area_under_curve([0.0, 1.0, 1.0], first=2, times=[0, 1, 4]) == pytest.approx(0.5)


def test_area_does_not_depend_on_the_unit_of_time() -> None:
    """Nor, for a straight line, on where it was evaluated."""
    times = np.sort(np.random.default_rng(0).uniform(0, 10, 30))
    assert metrics.area_under_curve(2 + 3 * times, times=times) == pytest.approx(2 + 1.5 * (times[0] + times[-1]))
    assert metrics.area_under_curve(CURVE, times=[0, 60, 120, 180, 240]) == metrics.area_under_curve(CURVE)


def test_asymptote_is_the_mean_of_the_last() -> None:
    """(0.5 + 1 + 1) / 3; of a shorter curve everything; its gain is over the baseline's."""
    assert metrics.asymptote(CURVE, last=3) == pytest.approx(2.5 / 3)
    assert metrics.asymptote(CURVE, last=99) == pytest.approx(0.6)
    np.testing.assert_allclose(metrics.asymptotic_gain([CURVE, CURVE], [0.4, 0.4, 0.6], last=2), [0.5, 0.5])


def test_time_to_threshold_is_censored_when_never_reached() -> None:
    """First reached at evaluation 3, at 300 steps; 1.1 never."""
    assert metrics.time_to_threshold(CURVE, 0.9) == 3
    assert metrics.time_to_threshold(CURVE, 0.9, times=[0, 50, 100, 300, 400]) == 300
    assert metrics.time_to_threshold(CURVE, 1.1) == np.inf
    np.testing.assert_array_equal(metrics.time_to_threshold([CURVE, [0.0] * 5], 0.5), [1, np.inf])


def test_transfer_ratio_is_relative_to_the_baseline() -> None:
    """0.625 against 0.5, twice as much as nothing is not defined, nor is anything against a loss."""
    assert metrics.transfer_ratio(CURVE, [0.5] * 5) == pytest.approx(0.25)
    assert np.isnan(metrics.transfer_ratio([0.02] * 2, [0.01] * 2))
    assert np.isnan(metrics.transfer_ratio([0.5] * 2, [-0.5] * 2))
    assert metrics.transfer_ratio([0.02] * 2, [0.01] * 2, headroom=0.001) == pytest.approx(1.0)


def test_normalised_maps_zero_and_reference() -> None:
    """Doing nothing is 0, the reference 1, beyond it more than 1."""
    np.testing.assert_allclose(metrics.normalised([-4.0, -1.0, 0.0], -4.0, -1.0), [0.0, 1.0, 4.0 / 3.0])


def test_average_performance_is_that_at_the_end() -> None:
    """(0.4 + 0.9) / 2, or with two evaluations each (0.5 + 0.7) / 2; one figure a run."""
    assert metrics.average_performance(HISTORY, last=1) == pytest.approx(0.65)
    np.testing.assert_allclose(metrics.average_performance([HISTORY] * 3, last=2), [0.6] * 3)


def test_evaluation_matrix_holds_the_ends_of_the_windows() -> None:
    """Row 0 before training; then the last evaluation, or the mean of a task's own two and never of more."""
    np.testing.assert_allclose(metrics.evaluation_matrix(HISTORY, last=1), [[0, 0.1], [0.8, 0.3], [0.4, 0.9]])
    two = [[0, 0.1], [0.6, 0.2], [0.5, 0.7]]
    np.testing.assert_allclose(metrics.evaluation_matrix([HISTORY, HISTORY], last=2), [two, two])
    np.testing.assert_allclose(metrics.evaluation_matrix(HISTORY, last=5), two)


def test_forgetting_and_transfer_from_the_matrix() -> None:
    """Task 0 falls from 0.8 to 0.4; task 1 rises from 0.1 to 0.3 before it is trained."""
    matrix = metrics.evaluation_matrix(HISTORY, last=1)
    np.testing.assert_allclose(metrics.forgetting(matrix), [0.4, 0.0])
    assert metrics.gem_bwt(matrix) == pytest.approx(-0.4)
    assert metrics.gem_fwt(matrix) == pytest.approx(0.2)


def test_gem_metrics_are_the_published_sums() -> None:
    """Loops over the formulas of the paper, with tasks numbered from 1, for random runs."""
    matrix = np.random.default_rng(0).normal(size=(3, 6, 5))
    n = 5
    for run, backward, forward in zip(matrix, metrics.gem_bwt(matrix), metrics.gem_fwt(matrix), strict=True):
        assert backward == pytest.approx(sum(run[n, i - 1] - run[i, i - 1] for i in range(1, n)) / (n - 1))
        assert forward == pytest.approx(sum(run[i - 1, i - 1] - run[0, i - 1] for i in range(2, n + 1)) / (n - 1))
    np.testing.assert_allclose(metrics.gem_bwt(matrix), -metrics.forgetting(matrix).mean(axis=-1) * n / (n - 1))


def test_forward_transfer_by_hand() -> None:
    """A = (0.6, 0.7), A_b = (0.4, 0.5): ratios 0.2/0.6 and 0.2/0.5."""
    transfer = metrics.forward_transfer(HISTORY, SCRATCH)
    np.testing.assert_allclose(transfer.ratio, [1 / 3, 0.4])
    np.testing.assert_allclose(transfer.difference, [0.2, 0.2])
    assert transfer.mean_ratio() == pytest.approx((1 / 3 + 0.4) / 2)


def test_forward_transfer_is_continual_worlds() -> None:
    """Which averages both areas over runs, not the same number of them, before it takes the ratio, then over tasks."""
    rng = np.random.default_rng(0)
    history, scratch = rng.uniform(0, 1, (6, 4 * 7 + 1, 4)), rng.uniform(0, 0.8, (3, 8, 4))
    ratios = []
    for i in range(4):
        own, alone = history[:, 1 + 7 * i : 8 + 7 * i, i].mean(), scratch[:, 1:, i].mean()
        ratios.append((own - alone) / (1 - alone))
    transfer = metrics.forward_transfer(history, scratch)
    np.testing.assert_allclose(transfer.ratio.mean(axis=0), ratios)
    assert transfer.mean_ratio().mean() == pytest.approx(np.mean(ratios))


def test_forward_transfer_without_headroom_is_a_difference() -> None:
    """A baseline at 0.95 or 1.2 leaves nothing to divide by; the other task still counts."""
    scratch = np.array(SCRATCH)
    for level in (0.95, 1.0, 1.2):
        scratch[:, 0] = level
        transfer = metrics.forward_transfer(HISTORY, scratch)
        np.testing.assert_allclose(transfer.ratio, [np.nan, 0.4])
        np.testing.assert_allclose(transfer.difference, [0.6 - level, 0.2])
        assert transfer.mean_ratio() == pytest.approx(0.4)
    none = metrics.forward_transfer([HISTORY] * 2, np.ones((3, 2)))
    np.testing.assert_array_equal(none.mean_ratio(), [np.nan, np.nan])


def test_tasks_come_into_learned_order() -> None:
    """One order for all runs, or each its own."""
    history = np.arange(2 * 4 * 3, dtype=float).reshape(2, 4, 3)
    np.testing.assert_array_equal(metrics.in_learned_order(history, [2, 0, 1]), history[..., [2, 0, 1]])
    each = metrics.in_learned_order(history, [[2, 0, 1], [1, 2, 0]])
    np.testing.assert_array_equal(each, [history[0][:, [2, 0, 1]], history[1][:, [1, 2, 0]]])


def test_agent_time_is_a_mean_over_agents() -> None:
    """One reaches a mean of 0.9 at frame 100, the other at 300; with a third that never does, it is infinite."""
    fast = np.array([[0, 0], [0.8, 1.0], [1, 1]])
    slow = np.array([[0, 0], [1.0, 0.7], [1, 0.9]])
    never = np.array([[0, 0], [0, 1], [0, 1]])
    times = [0, 100, 300]
    assert metrics.agent_time(np.array([fast, slow]), times) == 200
    assert metrics.agent_time(np.array([fast, slow])) == 1.5
    assert metrics.agent_time(np.array([fast, slow]), times, threshold=0.85) == 100
    np.testing.assert_array_equal(metrics.agent_time(np.array([[fast, fast], [fast, never]]), times), [100, np.inf])


def test_agent_reward_is_relative_to_the_isolated_agent() -> None:
    """Random is 0, isolated 1, twice as good 2, in tasks of any scale."""
    random, isolated = np.array([-100.0, 0.0]), np.array([100.0, 0.5])
    assert metrics.agent_reward([random, random], random, isolated) == 0
    assert metrics.agent_reward([isolated], random, isolated) == 1
    assert metrics.agent_reward([[300.0, 0.5], [100.0, 1.0]], random, isolated) == pytest.approx(1.5)


def test_mean_safe_flight_in_metres() -> None:
    """(2 + 4 + 9) / 3, a figure a run."""
    np.testing.assert_allclose(metrics.mean_safe_flight([[2, 4, 9], [0, 0, 3]]), [5, 1])


def test_consensus_error_by_hand() -> None:
    """Agents at (0, 0) and (2, 4) are 1 + 4 from their mean; (20) / 2 is their mean square."""
    agents = np.array([[0.0, 0.0], [2.0, 4.0]])
    assert metrics.consensus_error(agents) == pytest.approx(5.0)
    assert metrics.consensus_error(agents, relative=True) == pytest.approx(0.5)
    assert metrics.consensus_error(np.ones((4, 3))) == 0
    assert metrics.consensus_error(np.zeros((4, 3)), relative=True) == 0


def test_relative_consensus_error_has_no_unit() -> None:
    """It stays when parameters are scaled, is 1 when agents cancel out, and falls as agents mix (at rate 1/4)."""
    theta = np.random.default_rng(0).normal(size=(5, 6, 7))
    relative = metrics.consensus_error(theta, relative=True)
    np.testing.assert_allclose(metrics.consensus_error(1000 * theta, relative=True), relative)
    assert relative.shape == (5,)
    assert metrics.consensus_error([[1.0], [-1.0]], relative=True) == 1
    mixed = (theta + theta.mean(axis=-2, keepdims=True)) / 2
    np.testing.assert_allclose(metrics.consensus_error(mixed), metrics.consensus_error(theta) / 4)


def test_communication_adds_up() -> None:
    """Over rounds and agents; nothing is the neutral element."""
    one, two = Communication(rounds=1, messages=4, bytes=320), Communication(rounds=2, messages=1, bytes=8)
    assert one + two == Communication(3, 5, 328)
    assert sum([one, one, two], Communication()) == Communication(4, 9, 648)
    with pytest.raises(ValueError, match="must not be negative"):
        Communication(messages=-1)


def test_the_table_names_every_metric() -> None:
    """Each once, with a unit, a direction, and a docstring to look it up in."""
    functions = [metric.function for metric in metrics.METRICS.values()]
    assert len(set(functions)) == len(functions) == 16
    for name, metric in metrics.METRICS.items():
        assert metric.unit, name
        assert metric.function.__doc__, name
    lower = {name for name, metric in metrics.METRICS.items() if not metric.higher_is_better}
    assert lower == {"forgetting", "generalisation gap", "time to threshold", "agent time", "consensus error"}


@pytest.mark.parametrize("curve", [[], [np.nan, 1.0], [np.inf, 1.0], 3.0])
@pytest.mark.parametrize(
    "metric",
    [
        metrics.asymptote,
        metrics.area_under_curve,
        lambda curve: metrics.time_to_threshold(curve, 0.5),
        lambda curve: metrics.jump_start(curve, [0.0]),
        lambda curve: metrics.transfer_ratio(curve, [1.0]),
    ],
)
def test_curves_must_be_curves(metric: Callable[[Any], Any], curve: Any) -> None:
    """Empty, not finite, a number."""
    with pytest.raises(ValueError, match="`curve` must"):
        metric(curve)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.normalised([1.0], 2.0, 2.0), "`reference` must differ"),
        (lambda: metrics.normalised([1.0], np.nan, 2.0), "`zero` must be finite"),
        (lambda: metrics.jump_start(CURVE, CURVE, at=5), "`at` must be one of 5 evaluations. Received 5"),
        (lambda: metrics.jump_start(CURVE, CURVE, at=-1), "Received -1"),
        (lambda: metrics.jump_start(CURVE, []), "`baseline` must"),
        (lambda: metrics.asymptote(CURVE, last=0), "`last` must be at least 1. Received 0"),
        (lambda: metrics.area_under_curve(CURVE, first=0), "`first` must be at least 1. Received 0"),
        (lambda: metrics.area_under_curve(CURVE, times=[0, 1, 2]), "`times` must be 5 increasing"),
        (lambda: metrics.time_to_threshold(CURVE, 1, times=[0, 1, 1, 2, 3]), "`times` must be 5 increasing"),
        (lambda: metrics.time_to_threshold(CURVE, np.nan), "`threshold` must be finite"),
        (lambda: metrics.transfer_ratio(CURVE, CURVE, headroom=0), "`headroom` must be above 0"),
        (lambda: metrics.average_performance(CURVE), r"`history` must have axes \(..., n_evaluations, n_tasks\)"),
        (lambda: metrics.evaluation_matrix(HISTORY[:4]), "equally many for each of 2 tasks. Received 4"),
        (lambda: metrics.evaluation_matrix(HISTORY[:1]), "Received 1 evaluations"),
        (lambda: metrics.forgetting(HISTORY), r"n_tasks >= 1. Received shape \(5, 2\)"),
        (lambda: metrics.gem_bwt([[0.0], [1.0]]), r"n_tasks >= 2. Received shape \(2, 1\)"),
        (lambda: metrics.gem_fwt([[0.0], [1.0]]), r"n_tasks >= 2. Received shape \(2, 1\)"),
        (lambda: metrics.forward_transfer(HISTORY, HISTORY), r"`scratch` must have shape \(..., 3, 2\)"),
        (lambda: metrics.in_learned_order(HISTORY, [0, 0]), "`order` must be permutations of 2 tasks"),
        (lambda: metrics.in_learned_order(HISTORY, [0, 1, 2]), "`order` must be permutations of 2 tasks"),
        (lambda: metrics.agent_time(HISTORY), "n_agents, n_evaluations, n_tasks"),
        (lambda: metrics.mean_safe_flight([1.0, -2.0]), "`distances` must not be negative. Received -2.0"),
        (lambda: metrics.consensus_error([1.0, 2.0]), "n_agents, n_parameters"),
    ],
)
def test_bad_input_is_named(call: Callable[[], Any], message: str) -> None:
    """The argument, the constraint, what was received."""
    with pytest.raises(ValueError, match=message):
        call()
