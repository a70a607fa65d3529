"""Steps of the safe lifelong learner: gradients, descent, safety in every round, and regret."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projection import Projection, SafeSets, SpectralBounds
from lifelong_gym.agents.safety.steps import (
    LinearisedStep,
    Losses,
    Regulariser,
    SafeStep,
    basis_system,
    best_basis,
    best_codes,
    code_system,
    compensation,
    first_basis,
    warm_started,
)
from lifelong_gym.numerics.arrays import FloatArray

BOUNDS = SpectralBounds()
T, D, K = 6, 4, 2


def fisher(rng: np.random.Generator, n: int) -> FloatArray:
    """Random curvatures of trace d."""
    root = rng.normal(size=(n, D, D))
    product = root @ root.transpose(0, 2, 1)
    return np.asarray(product * D / np.trace(product, axis1=1, axis2=2)[:, None, None])


def some_losses(rng: np.random.Generator, n: int = T) -> Losses:
    """Of one round in which every task was observed."""
    return Losses.none(n, D).observed(np.arange(n), rng.normal(size=(n, D)) * 2, fisher(rng, n))


def objective(losses: Losses, anchors: FloatArray, basis: FloatArray, codes: FloatArray, mu: Regulariser) -> float:
    """All losses and the regulariser."""
    regular = mu.mu2 * np.sum(basis**2) + mu.mu1 * np.sum(codes**2)
    return float(losses.values(anchors + codes @ basis.T).sum() + regular)


def slope(function: Any, at: FloatArray) -> FloatArray:
    """Central differences, exact for quadratics but for rounding."""
    moves = 1e-3 * np.eye(at.size).reshape(at.size, *at.shape)
    return np.array([(function(at + move) - function(at - move)) / 2e-3 for move in moves]).reshape(at.shape)


def test_the_systems_are_the_objectives_gradients() -> None:
    """``Z vec(L) - v`` and ``Z s - v``, by differences; so solutions are stationary."""
    rng, mu = np.random.default_rng(0), Regulariser(0.3, 0.2)
    losses, anchors = some_losses(rng), rng.normal(size=(T, D))
    basis, codes = rng.normal(size=(D, K)), rng.normal(size=(T, K))
    matrix, vector = basis_system(codes, anchors, losses, mu)
    by_basis = slope(lambda at: objective(losses, anchors, at, codes, mu), basis)
    assert np.allclose(matrix @ basis.T.ravel() - vector, by_basis.T.ravel(), atol=1e-8)
    squares, vectors = code_system(basis, anchors, losses, mu)
    by_code = slope(lambda at: objective(losses, anchors, basis, at, mu), codes)
    assert np.allclose((squares @ codes[:, :, None])[:, :, 0] - vectors, by_code, atol=1e-8)
    best = best_basis(codes, anchors, losses, mu)
    assert np.allclose(slope(lambda at: objective(losses, anchors, at, codes, mu), best), 0.0, atol=1e-8)
    solved = best_codes(basis, anchors, losses, mu)
    assert np.allclose(slope(lambda at: objective(losses, anchors, basis, at, mu), solved), 0.0, atol=1e-8)


def test_the_basis_first_would_collapse() -> None:
    """From codes of 0, as the paper orders it, the basis becomes 0 and so do all codes ever after."""
    rng, mu = np.random.default_rng(1), Regulariser()
    losses, anchors = some_losses(rng), np.zeros((T, D))
    assert not best_basis(np.zeros((T, K)), anchors, losses, mu).any()
    assert not best_codes(np.zeros((D, K)), anchors, losses, mu).any()
    assert best_codes(first_basis(D, K, BOUNDS), anchors, losses, mu).all()


def test_a_heavy_regulariser_collapses_to_the_anchors() -> None:
    """It equals ``2 sqrt(mu1 mu2) |L S|_*``, under which 0 is optimal; the default is far from that."""
    rng = np.random.default_rng(2)
    losses, sizes = some_losses(rng), []
    for mu in (Regulariser(20.0, 20.0), Regulariser()):
        basis = first_basis(D, K, BOUNDS)
        for _ in range(300):
            codes = best_codes(basis, np.zeros((T, D)), losses, mu)
            basis = best_basis(codes, np.zeros((T, D)), losses, mu)
        sizes.append(np.abs(codes @ basis.T).max())
    assert sizes[0] < 1e-6 < 1e-1 < sizes[1]


def box_sets(rng: np.random.Generator, n: int, width: float) -> SafeSets:
    """Boxes around random anchors."""
    sets, middles = SafeSets(n, D), rng.normal(size=(n, D))
    for t, middle in enumerate(middles):
        sets.register(t, PolicyConstraints.gains(middle - width, middle + width), middle)
    return sets


@pytest.mark.parametrize("variant", ["A", "C"])
@pytest.mark.parametrize("fixed_basis", [False, True])
def test_every_round_is_safe(variant: str, fixed_basis: bool) -> None:
    """And tasks that come up for the first time start from what the others know."""
    rng = np.random.default_rng(3)
    sets, losses, basis = box_sets(rng, T, 0.3), Losses.none(T, D), first_basis(D, K, BOUNDS)
    step = SafeStep(variant, fixed_basis=fixed_basis)
    for j in range(60):
        task = np.array([j % (T - 1)])
        losses = losses.observed(task, rng.normal(size=(1, D)) * 3, fisher(rng, 1), forget=0.7)
        found = step(sets, losses, basis)
        assert sets.holds(found.policies).all()
        assert np.array_equal(found.basis, basis) == fixed_basis
        assert found.codes[-1].any()
        basis = found.basis
    size = np.linalg.svd(basis, compute_uv=False)
    assert np.all((size >= np.sqrt(0.1) * (1 - 1e-12)) & (size <= np.sqrt(10) * (1 + 1e-12)))


def test_constrained_descent_loses_less_than_projecting_the_minimiser() -> None:
    """For a fixed basis C minimises the losses over the safe set; A projects in another metric and can't be better."""
    rng, mu = np.random.default_rng(4), Regulariser()
    gains = []
    for _ in range(20):
        sets, losses, basis = box_sets(rng, T, 0.3), some_losses(rng), first_basis(D, K, BOUNDS)
        a, c = (SafeStep(v, fixed_basis=True)(sets, losses, basis) for v in "AC")
        values = [objective(losses, sets.anchors, basis, found.codes, mu) for found in (a, c)]
        gains.append(values[0] - values[1])
    assert min(gains) >= -1e-9
    assert max(gains) > 0.1


def test_without_constraints_that_bind_both_are_the_minimiser() -> None:
    """Then A's and C's codes solve the same system."""
    rng = np.random.default_rng(5)
    sets, losses, basis = box_sets(rng, T, 1e3), some_losses(rng), first_basis(D, K, BOUNDS)
    a, c = (SafeStep(v, fixed_basis=True)(sets, losses, basis) for v in "AC")
    assert np.allclose(a.codes, best_codes(basis, sets.anchors, losses, Regulariser()))
    assert np.array_equal(a.codes, c.codes)


def test_linearised_steps_are_gradient_steps() -> None:
    """``L_1 - sum eta grad_L / (2 mu2)`` and ``-sum eta grad_S / (2 mu1)``, the gradients by differences."""
    rng, mu, eta = np.random.default_rng(6), Regulariser(5.0, 4.0), 0.1
    sets, losses, start = box_sets(rng, T, 1e3), some_losses(rng), first_basis(D, K, BOUNDS)
    codes = rng.normal(size=(T, K))

    def loss(basis: FloatArray, s: FloatArray) -> float:
        return float(losses.values(sets.policies(basis, s)).sum())

    policies = sets.policies(start, codes)
    gradients = (losses.curvature @ policies[:, :, None])[:, :, 0] - losses.pull
    state = LinearisedStep.begin(start, T).observed(np.arange(T), gradients, start, codes, eta)
    found = state(sets, BOUNDS, mu)
    assert np.allclose(found.codes, -eta * slope(lambda s: loss(start, s), codes) / (2 * mu.mu1), atol=1e-8)
    moved = start - eta * slope(lambda at: loss(at, codes), start) / (2 * mu.mu2)
    assert np.allclose(found.basis, BOUNDS.clip(moved), atol=1e-8)
    assert np.array_equal(state(sets, BOUNDS, mu, fixed_basis=True).basis, start)


def test_steps_are_compensated_for_what_has_accumulated() -> None:
    """The sum of the weights of all rounds so far, up to a cap."""
    rounds = np.array([1, 2, 5, 1000])
    assert np.allclose(compensation(rounds, 0.7), [1, 1.7, sum(0.7**i for i in range(5)), 1 / 0.3])
    assert np.array_equal(compensation(rounds, 1.0), [1, 2, 5, 50])


def test_forgetting_weighs_only_the_tasks_observed() -> None:
    """The others' losses are as they were, and so is what was passed in."""
    rng = np.random.default_rng(7)
    first = some_losses(rng)
    before = [part.copy() for part in first]
    target, f = rng.normal(size=(1, D)), fisher(rng, 1)
    second = first.observed(np.array([2]), target, f, eta=0.5, forget=0.8)
    assert all(np.array_equal(a, b) for a, b in zip(first, before, strict=True))
    assert np.allclose(second.pull[2], 0.8 * first.pull[2] + 0.5 * f[0] @ target[0])
    others = np.arange(T) != 2
    assert np.array_equal(second.curvature[others], first.curvature[others])
    assert np.array_equal(second.rounds, [1, 1, 2, 1, 1, 1])


def test_unobserved_tasks_begin_with_the_mean_code() -> None:
    """Or 0 while there is none."""
    codes = np.array([[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]])
    assert np.array_equal(warm_started(codes, np.array([True, True, False]))[2], [2.0, 4.0])
    assert np.array_equal(warm_started(codes, np.zeros(3, bool)), codes)


def test_the_first_basis_spans_what_it_is_given() -> None:
    """Leading directions first, axes where they end; singular values within the bounds."""
    directions = np.array([[0.0, 2.0, 0.0, 0.0], [0.0, -3.0, 0.0, 0.0]])
    basis = first_basis(D, 3, BOUNDS, directions)
    assert np.allclose(np.abs(basis[:, 0]), [0, 1, 0, 0])
    assert np.allclose(basis.T @ basis, np.eye(3))
    assert np.array_equal(first_basis(D, K, BOUNDS), np.eye(D, K))
    with pytest.raises(ValueError, match="`n_basis` must be an integer of at least 1 and at most 4"):
        first_basis(D, 5, BOUNDS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SafeStep("B"), "`variant` must be 'A' or 'C'. Received 'B'"),
        (lambda: SafeStep(n_inner=0), "`n_inner` must be an integer of at least 1"),
        (lambda: Regulariser(0.0), "`mu1` must be above 0"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    """When they are made."""
    with pytest.raises(ValueError, match=message):
        make()


class Game(NamedTuple):
    """Tasks against an adversary who pulls a policy to whichever of two targets is worse for it."""

    sets: SafeSets
    targets: FloatArray  # (T, 2, d)
    curvature: FloatArray  # (T, d, d)
    basis: FloatArray

    @classmethod
    def begin(cls, seed: int) -> Game:
        """Narrow boxes, targets well beyond them on either side."""
        rng = np.random.default_rng(seed)
        sets, pull = box_sets(rng, 10, 0.3), rng.normal(size=(10, D))
        pull *= 2.0 / np.linalg.norm(pull, axis=1)[:, None]
        targets = np.stack([sets.anchors + 1.5 * pull, sets.anchors - 0.5 * pull], axis=1)
        return cls(sets, targets, fisher(rng, 10), BOUNDS.clip(rng.normal(size=(D, K))))

    def loss(self, task: int, policy: FloatArray) -> FloatArray:
        """Of either target, (2,)."""
        away = policy - self.targets[task]
        return np.asarray(0.5 * np.einsum("md,de,me->m", away, self.curvature[task], away))

    def regret(self, variant: str, n_rounds: int) -> float:
        """Against the best safe codes in hindsight; the basis is fixed."""
        mu, eta = Regulariser(0.5, 0.5), 1 / np.sqrt(n_rounds)
        losses, hindsight = Losses.none(10, D), Losses.none(10, D)
        linear, total, constant = LinearisedStep.begin(self.basis, 10), 0.0, 0.0
        step = SafeStep("C" if variant == "C" else "A", BOUNDS, mu, fixed_basis=True, warm_start=False)
        now = self.sets.project(self.basis, np.zeros((10, K)), BOUNDS)
        for j in range(n_rounds):
            t = np.array([j % 10])
            loss = self.loss(t[0], now.policies[t[0]])
            target, f = self.targets[t, loss.argmax()], self.curvature[t]
            total, constant = total + loss.max(), constant + 0.5 * float(target[0] @ f[0] @ target[0])
            hindsight = hindsight.observed(t, target, f)
            if variant == "B":
                gradient = (now.policies[t] - target) @ f[0]
                linear = linear.observed(t, gradient, now.basis, now.codes, eta)
                now = linear(self.sets, BOUNDS, mu, fixed_basis=True)
            else:
                losses = losses.observed(t, target, f, eta)
                now = step(self.sets, losses, now.basis)
            assert self.sets.holds(now.policies).all()
        return float(total - hindsight.values(self.best(hindsight).policies).sum() - constant)

    def best(self, losses: Losses) -> Projection:
        """The safe codes that lose least."""
        matrix, vector = code_system(self.basis, self.sets.anchors, losses, Regulariser(1e-12, 1e-12))
        codes = np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64)
        return self.sets.project(self.basis, codes, BOUNDS, metric=matrix)


@pytest.mark.parametrize(("variant", "low", "high"), [("A", 0.6, 1.2), ("B", 0.0, 0.55), ("C", 0.0, 0.55)])
def test_regret_grows_like_the_root_of_rounds_where_it_can(variant: str, low: float, high: float) -> None:
    """Against an adaptive adversary; A, which projects quadratic losses in the wrong metric, doesn't achieve it."""
    rounds = np.array([100, 300, 900])
    mean = [np.mean([Game.begin(seed).regret(variant, n) for seed in range(2)]) for n in rounds]
    growth = np.polyfit(np.log(rounds), np.log(mean), 1)[0]
    assert low < growth < high
