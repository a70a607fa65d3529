"""Regret of the safe lifelong learner: exact comparators, the game's rules, and growth where it is known."""

from __future__ import annotations

import json
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from lifelong_gym.agents.safety.steps import Losses
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.bouammar2015.regret import (
    BASES,
    HALF_WIDTH,
    ORDERS,
    VARIANTS,
    Game,
    Played,
    batches,
    best_policies,
    curve,
    exponent,
    first_of,
    improved,
    losses_of,
    measure,
    outcome,
    play,
    schedule,
    starts,
    upper_exponent,
    value_of_basis,
)


def setup(variant: str = "C", order: str = "adaptive", basis: str = "fixed", **others: Any) -> dict[str, Any]:
    """Settings of a job, small ones."""
    sizes = {"n_tasks": 4, "d": 4, "k": 2, "n_inner": 1, "n_rounds": [40, 160], "seed": 0}
    return {"variant": variant, "turns": order, "basis": basis, "n_searches": 10, **sizes, **others}


def a_game(seed: int = 0, n_tasks: int = 4, d: int = 4) -> tuple[Game, Played, Losses]:
    """One that was played, and its losses."""
    game = Game.drawn(n_tasks, d, 2, seed)
    played = play(game, setup(order="iid", seed=seed), 100)
    return game, played, game.hindsight(played.tasks, played.which)


def by_cvxpy(game: Game, losses: Losses, basis: FloatArray) -> float:
    """What the best safe codes for a basis lose, but for a constant: one program of all tasks."""
    codes = cp.Variable((len(game.targets), basis.shape[1]))
    lost, constraints = [], []
    for task, (curvature, pull) in enumerate(zip(losses.curvature, losses.pull, strict=True)):
        theta = game.sets.anchors[task] + basis @ codes[task]
        lost.append(0.5 * cp.quad_form(theta, cp.psd_wrap(curvature)) - pull @ theta)
        constraints.append(game.sets.matrix[task] @ theta <= game.sets.bound[task])
    tolerances = {name: 1e-11 for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas")}
    return float(cp.Problem(cp.Minimize(cp.sum(lost)), constraints).solve(solver=cp.CLARABEL, **tolerances))


@pytest.mark.parametrize("basis", ["identity", "fixed", "random"])
def test_the_best_safe_codes_are_the_reference_solvers(basis: str) -> None:
    """For any L; they are safe without tolerance, and constraints bind."""
    for seed in range(4):
        game, _, losses = a_game(seed)
        at = np.random.default_rng(seed).normal(size=(4, 2)) if basis == "random" else first_of(game, basis)
        best = by_cvxpy(game, losses, at)
        assert value_of_basis(game.sets, losses, at)[0] == pytest.approx(best, rel=1e-7)
        if basis != "random":  # whose size the spectral bounds may change; its span, and so its value, they don't
            policies = best_policies(game.sets, losses, at)
            assert float(losses.values(policies).sum()) == pytest.approx(best, rel=1e-7)
            assert game.sets.holds(policies).all()
            assert np.abs(np.abs(policies - game.sets.anchors) - HALF_WIDTH).min(axis=1).max() < 1e-6


def test_the_gradient_by_the_basis_is_that_of_the_value() -> None:
    """By central differences; none along the columns' own span, on which alone the value depends."""
    game, _, losses = a_game(1)
    basis = np.random.default_rng(1).normal(size=(4, 2))
    gradient = value_of_basis(game.sets, losses, basis)[1]
    moves = 1e-6 * np.eye(8).reshape(8, 4, 2)
    values = [[value_of_basis(game.sets, losses, basis + sign * move)[0] for sign in (1, -1)] for move in moves]
    differences = np.array([(above - below) / 2e-6 for above, below in values]).reshape(4, 2)
    assert np.allclose(gradient, differences, atol=1e-5 * np.abs(gradient).max())
    assert np.abs(basis.T @ gradient).max() < 1e-8 * np.abs(gradient).max()


def test_searches_find_the_best_of_all_planes() -> None:
    """Of three dimensions, by trying their normals on a fine grid."""
    game, played, losses = a_game(2, d=3)
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    planes = [np.linalg.svd(normal[None])[2][1:].T for normal in normals]
    tried = min(value_of_basis(game.sets, losses, plane)[0] for plane in planes)
    ends = [improved(game.sets, losses, start) for start in starts(game, losses, played.basis, 8, seed=0)]
    found = min(value_of_basis(game.sets, losses, end)[0] for end in ends)
    assert tried - 0.01 * abs(tried) < found <= tried
    assert all(np.allclose(end.T @ end, np.eye(2)) for end in ends)


@pytest.mark.parametrize("basis", BASES)
def test_whoever_plays_the_comparator_has_no_regret(basis: str) -> None:
    """And whoever plays otherwise has the difference."""
    game, played, losses = a_game(3)
    bases = [first_of(game, basis)]
    if basis == "joint":
        bases = [improved(game.sets, losses, start) for start in starts(game, losses, played.basis, 1, seed=0)]
    fixed = [losses_of(game, played, best_policies(game.sets, losses, at)) for at in bases]
    best = min(fixed, key=np.sum)
    regret, figures = outcome(game, played._replace(losses=best), basis, 1, seed=0)
    assert np.abs(regret).max() < 1e-9
    assert (figures["regret_per_task_optimum"] < 1e-6) == (basis == "identity")
    difference = pytest.approx(played.losses.sum() - best.sum())
    assert outcome(game, played, basis, 1, seed=0)[1]["regret"] == difference


def test_hindsight_is_the_sum_of_what_was_told() -> None:
    """But for a constant, whatever the policies."""
    game, played, summed = a_game(4)
    told = Losses.none(4, 4)
    for task, which in zip(played.tasks, played.which, strict=True):
        told = told.observed(np.array([task]), game.targets[task, which][None], game.curvature[task][None])
    assert all(np.allclose(a, b) for a, b in zip(summed, told, strict=True))
    first, second = np.random.default_rng(0).normal(size=(2, 4, 4))
    charged = losses_of(game, played, first).sum() - losses_of(game, played, second).sum()
    assert charged == pytest.approx(float((summed.values(first) - summed.values(second)).sum()))


def test_both_targets_are_equally_bad_at_the_anchor_and_far_outside() -> None:
    """Within the span of the hidden basis."""
    game = Game.drawn(10, 4, 2, 0)
    both = game.losses(np.arange(10), game.sets.anchors)
    assert np.allclose(both[:, 0], both[:, 1])
    away = game.targets - game.sets.anchors[:, None]
    assert np.allclose(away @ game.basis @ game.basis.T, away)
    assert np.abs(away).max(axis=2).min() > 2 * HALF_WIDTH


def test_orders() -> None:
    """By chance, one task after the other, or in turn with an adversary who takes the larger loss."""
    tasks, which = schedule("iid", 5, 2000, seed=0)
    assert which is not None
    assert np.allclose(np.bincount(tasks) / 2000, 0.2, atol=0.05)
    assert np.mean(which) == pytest.approx(0.5, abs=0.05)
    tasks, which = schedule("blocked", 5, 2000, seed=0)
    assert np.array_equal(tasks, np.repeat(np.arange(5), 400))
    assert which is not None
    tasks, which = schedule("adaptive", 5, 2000, seed=0)
    assert np.array_equal(tasks[:7], [0, 1, 2, 3, 4, 0, 1])
    assert which is None


def test_an_adversary_takes_the_larger_loss() -> None:
    """So it hurts more than its own other side, and changes sides as the learner follows."""
    game = Game.drawn(10, 4, 2, 0)
    played = play(game, setup("C", "adaptive", "fixed"), 800)
    assert np.allclose(played.losses[:10], game.losses(np.arange(10), game.sets.anchors).max(axis=1))
    turns = [np.diff(played.which[task::10]) != 0 for task in range(10)]
    assert 0.3 < np.mean(turns) < 0.7
    by_chance = play(game, setup("C", "iid", "fixed"), 800)
    assert played.losses.mean() > by_chance.losses.mean()


def test_rounds_are_charged_before_they_are_told() -> None:
    """So the first round of every task costs what its anchor does, in whatever order."""
    game = Game.drawn(4, 4, 2, 0)
    for order in ORDERS:
        played = play(game, setup("C", order, "fixed"), 80)
        at_anchor = losses_of(game, played, game.sets.anchors)
        firsts = [int(np.flatnonzero(played.tasks == task)[0]) for task in range(4)]
        assert np.allclose(played.losses[firsts], at_anchor[firsts])
        assert played.losses.sum() < at_anchor.sum()


def test_batches_hold_each_task_once_and_keep_its_order() -> None:
    """All rounds, each once."""
    tasks = np.array([2, 0, 2, 2, 1, 0])
    found = [sorted(part.tolist()) for part in batches(tasks, one_by_one=False)]
    assert found == [[0, 1, 4], [2, 5], [3]]
    assert [part.tolist() for part in batches(tasks, one_by_one=True)] == [[0], [1], [2], [3], [4], [5]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("order", ORDERS)
def test_with_a_fixed_basis_rounds_of_different_tasks_commute(variant: str, order: str) -> None:
    """Played at once they are what they are one by one; only B's sums are taken in another order."""
    game = Game.drawn(4, 4, 2, 0)
    for basis in ("identity", "fixed"):
        at_once, one_by_one = (play(game, setup(variant, order, basis), 80, each) for each in (False, True))
        assert np.array_equal(at_once.which, one_by_one.which)
        assert np.allclose(at_once.losses, one_by_one.losses, rtol=1e-9)


def test_exponents_of_roots_and_lines() -> None:
    """To rounding, against either comparator; what isn't above 0 doesn't grow."""
    rounds = np.array([100, 400, 1600])
    figures = {"rounds": rounds.tolist(), "regret": 3 * rounds**0.5, "regret_per_task_optimum": 0.2 * rounds}
    assert exponent(figures) == pytest.approx(0.5)
    assert upper_exponent(figures) == pytest.approx(1.0)
    assert exponent({**figures, "regret": [10.0, 20.0, 80.0]}) == pytest.approx(0.75)
    assert exponent({**figures, "regret": [10.0, -1.0, 40.0]}) == 0.0


def test_curves_are_logarithmic_and_end_with_the_regret() -> None:
    """With few points."""
    found = curve(np.arange(1.0, 5001.0))
    assert found["at"][0] == 1
    assert found["at"][-1] == 5000
    assert found["values"] == found["at"]
    assert 30 <= len(found["at"]) <= 40


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_measurements(variant: str, basis: str) -> None:
    """JSON-native, the same again, never unsafe; the regret that is a lower bound is below the upper one."""
    shares: list[float] = []
    settings = setup(variant, "blocked", basis, n_tasks=3, d=3, n_rounds=[20, 60], n_searches=1)
    found = measure(settings, shares.append)
    again = measure(settings, lambda share: None)
    assert json.loads(json.dumps(found)) == found == again
    assert shares == [0.25, 1.0]
    assert found["violations"] == 0
    assert found["checks"] >= 80
    assert found["curve"]["values"][-1] == found["regret"][-1]
    assert all(a <= b + 1e-9 for a, b in zip(found["regret"], found["regret_per_task_optimum"], strict=True))
    assert all(0 < share <= 1 for share in found["agreement"])


@pytest.mark.parametrize("name", ["variant", "turns", "basis"])
def test_unknown_settings_are_refused(name: str) -> None:
    """By name."""
    with pytest.raises(ValueError, match=f"nonsense.*{name}|{name}.*nonsense"):
        measure(setup() | {name: "nonsense"}, lambda share: None)


@pytest.mark.parametrize(("variant", "low", "high"), [("A", 0.6, 1.1), ("B", 0.2, 0.55), ("C", 0.2, 0.55)])
def test_regret_grows_like_the_root_where_it_can(variant: str, low: float, high: float) -> None:
    """Against an adaptive adversary, L fixed: A's projection is in the wrong metric, and its regret isn't sublinear."""
    rounds = [400, 1600, 4800]
    measured = [measure(setup(variant, n_tasks=10, n_rounds=rounds, seed=seed), lambda share: None) for seed in (0, 1)]
    for figures in measured:
        late = {"rounds": rounds[1:], "regret": figures["regret"][1:]}
        assert low < exponent(figures) < high
        assert low < exponent(late) < high
    assert sum(figures["violations"] for figures in measured) == 0
