"""The mathematics of the base learners and of the shared basis."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong_gym.agents.basis import SharedBasis, lasso
from lifelong_gym.agents.operating_point import (
    NaturalActorCritic,
    OperatingPoint,
    Reinforce,
    advantage_to_go,
    pooled,
    trace_normalised,
)
from lifelong_gym.envs.rollout import RolloutStatistics


def statistics(n_tasks: int, n_trajectories: int, d: int, seed: int = 0) -> RolloutStatistics:
    """Random ones, of one action."""
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n_tasks, n_trajectories, 6, d))
    i, j = np.triu_indices(d)
    return RolloutStatistics(
        returns=rng.normal(size=(n_tasks, n_trajectories)),
        steps=np.full((n_tasks, n_trajectories), 6),
        noise_features=np.einsum("ijt,ijtd->ijd", rng.normal(size=phi.shape[:3]), phi),
        features_squared=np.einsum("ijtk,ijtl->ijkl", phi, phi)[..., i, j],
        sigma=0.5,
    )


def test_advantage_to_go() -> None:
    """What is still to come less the mean over trajectories, for living steps only."""
    rewards = np.array([[[-1.0, -2.0, -3.0], [-5.0, -5.0, -5.0]]])
    alive = np.array([[[True, True, True], [True, False, False]]])
    to_go = np.array([[-6.0, -5.0, -3.0], [-15.0, -10.0, -5.0]])
    expected = (to_go - to_go.mean(axis=0)) * alive[0]
    np.testing.assert_array_equal(advantage_to_go(rewards, alive)[0], expected)


def test_reinforce_steps_along_the_gradient() -> None:
    """The step has the length of the learning rate, the curvature is the identity; without a gradient it stays."""
    data = statistics(4, 5, 3)
    theta = np.random.default_rng(1).normal(size=(4, 3))
    point = Reinforce().point(theta, data, 0.1)
    gradient = data.score.mean(axis=1)
    np.testing.assert_allclose(np.linalg.norm(point.target - theta, axis=1), 0.1)
    cosine = np.sum((point.target - theta) * gradient, axis=1) / (0.1 * np.linalg.norm(gradient, axis=1))
    np.testing.assert_allclose(cosine, 1.0)
    np.testing.assert_array_equal(point.curvature, np.broadcast_to(np.eye(3), (4, 3, 3)))
    zero = RolloutStatistics(data.returns, data.steps, 0 * data.noise_features, data.features_squared, data.sigma)
    np.testing.assert_array_equal(Reinforce().point(theta, zero, 0.1).target, theta)


def test_enac_recovers_linear_returns_and_respects_its_cap() -> None:
    """Returns that are linear in psi give those coefficients; a long step is cut to ``max_kl`` per living step."""
    data = statistics(4, 9, 3)
    weights = np.random.default_rng(2).normal(size=(4, 3))
    linear = np.einsum("ijd,id->ij", data.score, weights) + 7.0
    data = RolloutStatistics(linear, data.steps, data.noise_features, data.features_squared, data.sigma)
    theta = np.zeros((4, 3))
    small = NaturalActorCritic(max_kl=1e6).point(theta, data, 1e-3)
    np.testing.assert_allclose(small.target, 1e-3 * weights / linear.std(axis=1, keepdims=True), rtol=1e-9)
    cut = NaturalActorCritic(max_kl=0.03).point(theta, data, 1e3).target
    fisher = data.fisher_matrix().sum(axis=1) / data.steps.sum(axis=1)[:, None, None]
    np.testing.assert_allclose(0.5 * np.einsum("ni,nij,nj->n", cut, fisher, cut), 0.03)
    np.testing.assert_allclose(np.trace(small.curvature, axis1=1, axis2=2), 3.0)


def test_a_flat_task_stays_where_it_is() -> None:
    """Equal returns, or no information at all, are no reason to divide by zero."""
    data = statistics(1, 9, 3)
    flat = RolloutStatistics(np.ones((1, 9)), data.steps, data.noise_features, 0 * data.features_squared, data.sigma)
    point = NaturalActorCritic().point(np.ones((1, 3)), flat, 5.0)
    np.testing.assert_array_equal(point.target, np.ones((1, 3)))
    np.testing.assert_array_equal(trace_normalised(np.zeros((1, 3, 3))), np.eye(3)[None])


def test_pooling_compares_returns_within_their_task() -> None:
    """A constant added to one task's returns changes nothing for the shared policy."""
    data = statistics(3, 4, 2)
    moved = RolloutStatistics(
        data.returns + np.array([[0.0], [5.0], [-9.0]]),
        data.steps,
        data.noise_features,
        data.features_squared,
        data.sigma,
    )
    np.testing.assert_allclose(pooled(moved).returns, pooled(data).returns, atol=1e-12)
    assert pooled(data).score.shape == (1, 12, 2)


def random_point(n: int, d: int, seed: int) -> OperatingPoint:
    """Random targets and positive definite curvatures of trace d."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, d, d + 2))
    return OperatingPoint(rng.normal(size=(n, d)), trace_normalised(root @ root.transpose(0, 2, 1)))


@pytest.mark.parametrize("penalty", [0.0, 0.3, 2.0, 100.0])
def test_lasso_meets_its_optimality_conditions(penalty: float) -> None:
    """The subgradient of every task's objective contains 0: the sparser, the higher the penalty."""
    point = random_point(20, 6, seed=0)
    basis = np.random.default_rng(1).normal(size=(6, 4))
    codes = lasso(basis, point, penalty, np.zeros((20, 4)))
    residual = point.target - codes @ basis.T
    slope = 2.0 * np.einsum("dk,nde,ne->nk", basis, point.curvature, residual)
    used = codes != 0
    np.testing.assert_allclose(slope[used], penalty * np.sign(codes[used]), atol=1e-9)
    assert np.all(np.abs(slope[~used]) <= penalty + 1e-9)
    assert {0.0: used.all(), 100.0: not used.any()}.get(penalty, True)


def test_sums_survive_many_visits() -> None:
    """After sixty visits by changing groups of tasks, A and b are those computed at once, to rounding."""
    n, d, p = 12, 4, 3
    rng = np.random.default_rng(0)
    shared = SharedBasis(n, d, p, sparsity=1e-3, ridge=1e-4)
    for visit in range(60):
        tasks = np.sort(rng.choice(n, size=rng.integers(1, n), replace=False))
        shared.observe(tasks, random_point(len(tasks), d, seed=visit), 2, rng)
    codes, curvatures, targets = (shared.array(name) for name in ("codes", "curvatures", "targets"))
    assert curvatures.any(axis=(1, 2)).all()
    gram = sum(np.kron(np.outer(s, s), h) for s, h in zip(codes, curvatures, strict=True))
    moment = sum(np.kron(s, h @ t) for s, h, t in zip(codes, curvatures, targets, strict=True))
    np.testing.assert_allclose(shared.array("gram"), gram, atol=1e-14 * np.abs(gram).max())
    np.testing.assert_allclose(shared.array("moment"), moment, atol=1e-14 * np.abs(moment).max())


def test_basis_minimises_its_objective() -> None:
    """With codes held fixed, the gradient of the ridge regression is zero at the solution."""
    n, d, p, ridge = 9, 4, 2, 0.01
    point, rng = random_point(n, d, seed=3), np.random.default_rng(3)
    shared = SharedBasis(n, d, p, sparsity=1e-3, ridge=ridge)
    shared.observe(np.arange(n), point, 1, rng)
    shared._solve(rng)
    basis, codes = shared.array("basis"), shared.array("codes")
    residual = point.target - codes @ basis.T
    slope = -2.0 / n * np.einsum("nij,nj,nk->ik", point.curvature, residual, codes) + 2.0 * ridge * basis
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_targets_of_low_rank_are_fitted() -> None:
    """Targets that lie in a plane are reached by two columns, up to the small penalties."""
    rng = np.random.default_rng(0)
    point = random_point(15, 5, seed=0)
    plane = OperatingPoint(rng.normal(size=(15, 2)) @ rng.normal(size=(2, 5)), point.curvature)
    shared = SharedBasis(15, 5, 2, sparsity=1e-8, ridge=1e-10)
    shared.observe(np.arange(15), plane, 5, rng)
    np.testing.assert_allclose(shared.policies(np.arange(15)), plane.target, atol=1e-6)


def test_columns_that_nothing_uses_are_drawn_anew() -> None:
    """With fewer tasks than columns, or a penalty that empties all codes, no column stays zero."""
    for n, sparsity in ((1, 1e-3), (4, 1e6)):
        shared = SharedBasis(n, 5, 3, sparsity=sparsity, ridge=1e-4)
        shared.observe(np.arange(n), random_point(n, 5, seed=0), 2, np.random.default_rng(0))
        assert shared.array("basis").any(axis=0).all()
