"""Anchors: strictly safe, stable in simulation where that is possible, and honest where it isn't."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg

from lifelong_gym import rollout
from lifelong_gym.agents.safety.anchors import RolloutTrial, Verdict, choose_anchors
from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.errors import InfeasibleConstraintsError, UnknownNameError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references import lqr
from lifelong_gym.references.lqr import Linearised, lqr_policies, scale_of
from lifelong_gym.registry import family
from lifelong_gym.tasks.task_set import TaskSet

CART_POLE = family("LifelongCartPole-v0")
N = 5


def tasks_of(name: str, seed: int = 0, n: int = N) -> TaskSet:
    """The paper's."""
    return family(name).parameters.sample(n, seed=seed, preset="safe2015")


def tolerances(rng: np.random.Generator, optimal: FloatArray) -> list[PolicyConstraints]:
    """Boxes around and beside optimal gains, no narrower than a tenth of the largest."""
    width = np.maximum(0.6 * np.abs(optimal), 0.1 * np.abs(optimal).max())
    middle = optimal + rng.uniform(-0.9, 0.9, optimal.shape) * width
    return [PolicyConstraints.gains(m - w, m + w) for m, w in zip(middle, width, strict=True)]


@pytest.mark.parametrize("seed", range(6))
def test_anchors_of_cart_poles_are_stable_and_nearly_optimal(seed: int) -> None:
    """On six sets of tasks: strictly inside, contracting, and cheaper than the centres of the safe sets."""
    tasks = tasks_of("LifelongCartPole-v0", seed)
    optimal = lqr_policies(CART_POLE, tasks)
    constraints = tolerances(np.random.default_rng(seed), optimal)
    nominal = lqr_policies(CART_POLE, CART_POLE.parameters.tasks([{}]))[0]
    trial = RolloutTrial(CART_POLE, tasks)
    anchors = choose_anchors(constraints, trial, 0.3 * nominal, nominal)
    assert anchors.stable.all()
    assert all(c.holds_strictly(theta) for c, theta in zip(constraints, anchors.thetas, strict=True))
    loops = Linearised.of(CART_POLE, tasks).closed_loop(anchors.thetas, scale_of(CART_POLE))
    assert np.abs(np.linalg.eigvals(loops)).max() < 1.0
    centres = trial(np.stack([c.centre()[0] for c in constraints])[:, None])
    best = trial(optimal[:, None])
    assert (anchors.costs <= centres.costs[:, 0]).all()
    assert anchors.costs.mean() < 0.5 * (centres.costs.mean() + best.costs.mean())


@pytest.mark.parametrize("name", ["LifelongSimpleMass-v0", "LifelongCartPole-v0", "LifelongQuadrotor-v0"])
def test_verdicts_on_good_and_bad_policies(name: str) -> None:
    """Regulators hold every system of the paper, and their opposites none."""
    kind, tasks = family(name), tasks_of(name)
    optimal = lqr_policies(kind, tasks)
    verdict = RolloutTrial(kind, tasks)(np.stack([optimal, -optimal], axis=1))
    assert verdict.stable[:, 0].all()
    assert not verdict.stable[:, 1].any()
    assert (verdict.costs[:, 0] < verdict.costs[:, 1]).all()


def test_costs_are_those_of_rollouts() -> None:
    """Per step of one horizon, from the same starts for all candidates."""
    tasks = tasks_of("LifelongCartPole-v0")
    thetas = lqr_policies(CART_POLE, tasks)
    verdict = RolloutTrial(CART_POLE, tasks, seed=3, n_starts=4)(np.stack([thetas, 0.5 * thetas], axis=1))
    for j, policy in enumerate((thetas, 0.5 * thetas)):
        ran = rollout(CART_POLE, tasks=tasks, theta=policy, n_trajectories=4, seed=3, sigma=0.0)
        assert np.array_equal(verdict.costs[:, j], -ran.returns.mean(axis=1) / CART_POLE.horizon)


def test_a_set_of_unstable_policies_is_reported() -> None:
    """The constraints can be met, the pole can't be held: the learner says so and names the tasks."""
    tasks = tasks_of("LifelongCartPole-v0", n=3)
    optimal = lqr_policies(CART_POLE, tasks)
    signs = np.array([1.0, -1.0, 1.0])[:, None]
    constraints = tolerances(np.random.default_rng(0), signs * optimal)
    with pytest.warns(UserWarning, match="no stable policy was found in the safe sets of tasks 1:"):
        anchors = choose_anchors(constraints, RolloutTrial(CART_POLE, tasks), optimal, optimal)
    assert np.array_equal(anchors.stable, [True, False, True])
    assert all(c.holds_strictly(theta) for c, theta in zip(constraints, anchors.thetas, strict=True))


def box(n: int = 2) -> list[PolicyConstraints]:
    """Unit squares."""
    return [PolicyConstraints.gains([0.0, 0.0], [1.0, 1.0]) for _ in range(n)]


def test_stability_comes_before_cost() -> None:
    """Of a stable policy and cheaper ones that aren't, the stable one; of stable ones, the cheapest."""

    def trial(thetas: FloatArray) -> Verdict:
        cheapest = np.array([[0.7, 0.3], [0.3, 0.3]])[:, None]
        return Verdict(np.square(thetas - cheapest).sum(axis=2), thetas[:, :, 0] > 0.45)

    anchors = choose_anchors(box(), trial, np.array([[1.0, 0.0], [-5.0, -5.0]]))
    assert anchors.sources == ("start, 0.6 of the centre", "centre")
    assert np.allclose(anchors.thetas, [[0.7, 0.3], [0.5, 0.5]])


def test_candidates_are_mixtures_with_the_nearest_safe_policies() -> None:
    """Those of a start outside lie between the centre and the start's projection."""
    seen: list[FloatArray] = []

    def trial(thetas: FloatArray) -> Verdict:
        seen.append(thetas)
        return Verdict(np.zeros(thetas.shape[:2]), np.ones(thetas.shape[:2], bool))

    choose_anchors(box(1), trial, np.array([3.0, 0.5]), np.array([0.25, -7.0]), mixes=(0.1, 0.4))
    assert np.allclose(seen[0][0], [[0.5, 0.5], [0.95, 0.5], [0.8, 0.5], [0.275, 0.05], [0.35, 0.2]])


def test_costs_that_are_not_numbers_come_last() -> None:
    """A simulation that explodes is no reason to choose its policy."""

    def trial(thetas: FloatArray) -> Verdict:
        costs = np.where(thetas[:, :, 0] == 0.5, 3.0, np.nan)
        return Verdict(costs, np.zeros(thetas.shape[:2], bool))

    with pytest.warns(UserWarning, match="tasks 0, 1"):
        anchors = choose_anchors(box(), trial, np.array([1.0, 1.0]))
    assert anchors.sources == ("centre", "centre")


def test_bad_arguments_are_refused() -> None:
    """Before anything is simulated."""

    def trial(thetas: FloatArray) -> Verdict:
        raise AssertionError("simulated")

    with pytest.raises(ValueError, match=r"`start` must be finite, of shape \(2, 2\) or \(2,\)\. Received \[1\.\]"):
        choose_anchors(box(), trial, np.array([1.0]))
    with pytest.raises(ValueError, match="`nominal` must be finite"):
        choose_anchors(box(), trial, np.zeros(2), np.array([np.nan, 0.0]))
    with pytest.raises(ValueError, match="`mixes` must be numbers between 0 and 1"):
        choose_anchors(box(), trial, np.zeros(2), mixes=(0.0,))
    empty = PolicyConstraints.polytope([[1.0, 0.0], [-1.0, 0.0]], [0.0, -1.0])
    with pytest.raises(InfeasibleConstraintsError, match="of task 1 is empty"):
        choose_anchors([box()[0], box()[0] & empty], trial, np.zeros(2))


def test_the_continuous_regulator_of_a_double_integrator_is_known() -> None:
    """``x'' = u + w``: gains sqrt(10) and sqrt(10 + 2 sqrt(10)), and a bias that cancels w; from its exact step."""
    rate, step = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.2], [0.0] * 4, [0.0] * 4]), 0.05
    held = scipy.linalg.expm(rate * step)
    gain, bias = lqr._continuous(held[:2, :2], held[:2, [2]], held[:2, 3], np.eye(2))
    assert np.allclose(gain, [[np.sqrt(10), np.sqrt(10 + 2 * np.sqrt(10))]], rtol=1e-9)
    # Holding x = e costs e^2 + 0.2^2 / 10 whatever e is, for u must be -w = -0.2 there: e = 0 is best.
    equilibrium = np.linalg.solve(rate[:2, :2] - rate[:2, [2]] @ gain, -rate[:2, 3] - rate[:2, 2] * bias)
    assert np.allclose(equilibrium, 0.0, atol=1e-9)


def test_regulators_in_continuous_and_discrete_time_agree_for_short_steps() -> None:
    """The discrete one converges to the continuous one as the step shrinks."""
    rate = np.array([[0.0, 1.0, 0.0, 0.0], [2.0, -0.3, 1.0, 0.1], [0.0] * 4, [0.0] * 4])
    gaps = []
    for step in (1e-1, 1e-2, 1e-3):
        held = scipy.linalg.expm(rate * step)
        parts = held[:2, :2], held[:2, [2]], held[:2, 3], np.eye(2)
        (k1, b1), (k2, b2) = lqr._continuous(*parts), lqr._discrete(*parts)
        gaps.append(max(np.abs(k1 - k2).max(), np.abs(b1 - b2).max()))
    assert gaps[2] < 0.2 * gaps[1] < 0.04 * gaps[0]


def test_quadrotors_start_from_either_regulator() -> None:
    """Both hold all tasks, at about the same cost."""
    kind, tasks = family("LifelongQuadrotor-v0"), tasks_of("LifelongQuadrotor-v0")
    both = [lqr_policies(kind, tasks, time=time, bias=False) for time in ("discrete", "continuous")]
    verdict = RolloutTrial(kind, tasks, bias=False)(np.stack(both, axis=1))
    assert both[0].shape == (N, 24)
    assert verdict.stable.all()
    assert np.allclose(verdict.costs[:, 0], verdict.costs[:, 1], rtol=0.05)
    with pytest.raises(UnknownNameError, match=r"unknown time 'continous'\. Did you mean 'continuous'"):
        lqr_policies(kind, tasks, time="continous")


def test_only_unstable_sets_warn() -> None:
    """No warning where all is well."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_anchors(box(), lambda t: Verdict(t.sum(axis=2), np.ones(t.shape[:2], bool)), np.zeros(2))
