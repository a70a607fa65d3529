"""Rounding decides nothing: inputs that differ in their last digits give the same bases, codes, choices, learners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pettingzoo
import pytest

from lifelong_gym.agents import (
    ENAC,
    GOMTL,
    PGELLA,
    REINFORCE,
    RWR,
    ProjectedPG,
    SafeLifelongPG,
    Sampler,
    ScalablePGELLA,
)
from lifelong_gym.agents.linear.base_learners import advantage_to_go
from lifelong_gym.agents.linear.operating_point import OperatingPoint, Silence, solved
from lifelong_gym.agents.linear.sampling import Sample
from lifelong_gym.agents.safety.anchors import RolloutTrial, Verdict, choose_anchors
from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projection import SafeSets, SpectralBounds
from lifelong_gym.agents.safety.steps import first_basis
from lifelong_gym.agents.shared_basis.basis import SharedBasis, lasso, used
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.directions import completed, first_best, leading_directions
from lifelong_gym.numerics.optima import optimal_actions, optimal_values
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.papers.bouammar2015 import regret
from lifelong_gym.references.headroom import _main_directions
from lifelong_gym.registry import family
from lifelong_gym.wrappers import CoreVecEnv, ParameterSharing, as_vec_env

D, K = 6, 4
BOUNDS = SpectralBounds()
RNG = np.random.default_rng(7)
ONE = RNG.normal(size=(1, D))
TWO_ALIKE = np.array([[3.0, 0, 4, 0, 0, 0], [0, 5.0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]) / 10  # the first two as long
VECTORS = {
    "one": ONE,
    "repeated": np.repeat(ONE, 5, axis=0),
    "parallel": np.array([[1.0], [-2.0], [0.3]]) @ ONE,
    "equally long": TWO_ALIKE,
    "opposite": np.concatenate([TWO_ALIKE, -TWO_ALIKE]),
    "all axes": np.eye(D),
    "none": np.zeros((2, D)),
    "many": RNG.normal(size=(9, D)),
}


def shaken(values: FloatArray, seed: int) -> FloatArray:
    """The same but for the last digits."""
    return np.asarray(values * (1 + 1e-15 * np.random.default_rng(seed).normal(size=values.shape)), np.float64)


def first_columns(vectors: FloatArray, mean: bool) -> FloatArray:
    """A shared basis's, of these targets."""
    knowledge = SharedBasis(len(vectors), D, K, 1e-3, 1e-4, mean_basis=mean)
    knowledge.begin(vectors, np.random.default_rng(0))
    return knowledge.array("basis").copy()


def projected(vectors: FloatArray) -> FloatArray:
    """The policies nearest to these, in boxes, where the basis is of whatever rank they have."""
    sets = SafeSets(3, D)
    for task in range(3):
        sets.register(task, PolicyConstraints.gains(-np.full(D, 0.5), np.full(D, 0.7)), np.zeros(D))
    return sets.project(np.resize(vectors, (K, D)).T, np.ones((3, K)), BOUNDS).policies


COMPLETIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "leading": lambda vectors: completed(leading_directions(vectors.T, K), D),
    "first basis": lambda vectors: first_basis(D, K, BOUNDS, vectors),
    "clipped": lambda vectors: BOUNDS.clip(np.resize(vectors, (K, D)).T),
    "projected": projected,
    "shared": lambda vectors: first_columns(vectors, mean=False),
    "shared, mean": lambda vectors: first_columns(vectors, mean=True),
    "headroom": lambda vectors: _main_directions(vectors, np.diag(np.arange(1.0, D + 1)), 3, vectors[:1].T),
}


@pytest.mark.parametrize("kind", COMPLETIONS)
@pytest.mark.parametrize("name", VECTORS)
def test_no_completion_is_rounding(kind: str, name: str) -> None:
    """Whatever directions are equal, or missing."""
    make, vectors = COMPLETIONS[kind], VECTORS[name]
    first = make(vectors)
    assert np.isfinite(first).all()
    for seed in range(5):
        np.testing.assert_allclose(make(shaken(vectors, seed)), first, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in VECTORS if name != "none"])
def test_completions_are_what_they_should_be(name: str) -> None:
    """Orthonormal, spanning what there is; clipped bases are as near as the singular values say."""
    vectors = VECTORS[name]
    rank = int(np.linalg.matrix_rank(vectors))
    found = leading_directions(vectors.T, D)
    assert found.shape == (D, rank)
    whole = completed(found, D)
    np.testing.assert_allclose(whole.T @ whole, np.eye(D), atol=1e-12)
    np.testing.assert_allclose(found @ (found.T @ vectors.T), vectors.T, atol=1e-12)
    squares = np.linalg.norm(found.T @ vectors.T, axis=1)
    np.testing.assert_allclose(squares, np.linalg.svd(vectors, compute_uv=False)[:rank], atol=1e-12)
    basis = np.resize(vectors, (K, D)).T
    size = np.linalg.svd(basis, compute_uv=False)
    wanted = np.clip(size, np.sqrt(BOUNDS.p), np.sqrt(BOUNDS.q))
    clipped = BOUNDS.clip(basis)
    np.testing.assert_allclose(np.linalg.svd(clipped, compute_uv=False), wanted, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(clipped - basis), np.linalg.norm(wanted - size), atol=1e-9)


def test_axes_follow_in_order() -> None:
    """But for those that the basis has nearly; and signs are those of the first component that counts."""
    basis = np.array([[0.6, 0.0, 0.8, 0.0]]).T
    expected = np.array([[0.8, 0, -0.6, 0], [0, 1, 0, 0]]).T
    np.testing.assert_allclose(completed(basis, 3)[:, 1:], expected, atol=1e-15)
    np.testing.assert_array_equal(completed(np.eye(4)[:, :1], 3), np.eye(4)[:, :3])
    np.testing.assert_allclose(leading_directions(-2 * basis, 1), basis, atol=1e-15)
    assert leading_directions(basis, 1, size=1e6).shape == (4, 0)


def test_the_first_of_equal_values_is_best() -> None:
    """Also where one of them is the largest by its last digit."""
    assert first_best(np.array([[0.3, 0.1 + 0.2, 0.0], [-1.0, -1.0 + 1e-13, -2.0]])).tolist() == [0, 0]
    assert first_best(np.array([1.0, 1.0 + 1e-6])) == 1


def test_anchors_of_equal_cost_are_the_first() -> None:
    """Whatever the last digits of their costs say."""
    boxes = [PolicyConstraints.gains([-1.0, -2.0], [1.0, 2.0])]

    def trial(seed: int) -> Callable[[FloatArray], Verdict]:
        return lambda thetas: Verdict(shaken(np.full(thetas.shape[:2], 3.0), seed), np.ones(thetas.shape[:2], bool))

    chosen = [choose_anchors(boxes, trial(seed), np.array([0.5, 0.5])) for seed in range(5)]
    assert {anchors.sources for anchors in chosen} == {("centre",)}


def test_equal_trajectories_have_no_advantage() -> None:
    """Rounding of their mean isn't one: a step of fixed length would follow it."""
    rewards = np.full((1, 3, 7), -0.1)
    assert (np.cumsum(rewards, axis=2).mean(axis=1) != np.cumsum(rewards, axis=2)[:, 0]).any()
    assert not advantage_to_go(rewards, np.ones(rewards.shape, bool)).any()


def test_what_a_system_says_nothing_about_stays() -> None:
    """Features that are always the same are told from the constant one by nothing; small ones are told."""
    rng = np.random.default_rng(1)
    features = np.column_stack([rng.normal(size=30), 1e-2 * rng.normal(size=30), np.full(30, 0.3), np.ones(30)])
    for seed in range(3):
        rows = shaken(features, seed)
        x = solved((rows.T @ rows)[None], (rows.T @ rows[:, 0] + rows.T @ rows[:, 1])[None])[0]
        np.testing.assert_allclose(x, [1.0, 1.0, 0.0, 0.0], atol=1e-7)
    silence = Silence.of((features.T @ features)[None])
    assert len(silence.at) == 1
    assert np.trace(silence.heard[0]) == pytest.approx(3.0)
    assert np.linalg.cond(silence.filled((features.T @ features)[None])[0]) < 1e10


def test_codes_that_are_as_good_are_the_shortest() -> None:
    """Of columns that say the same, when no penalty is there; with one, the first takes it all."""
    basis = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    point = OperatingPoint(np.array([[1.0, 2.0, 3.0]]), np.eye(3)[None])
    for seed in range(3):
        codes = lasso(shaken(basis, seed), point, 0.0, np.zeros((1, 3)))
        np.testing.assert_allclose(codes, [[0.5, 0.5, 3.0]], atol=1e-9)
        codes = lasso(shaken(basis, seed), point, 0.1, np.zeros((1, 3)))
        np.testing.assert_allclose(codes, [[0.99, 0.0, 2.95]], atol=1e-9)


def test_columns_that_no_code_uses_are_drawn_anew() -> None:
    """Even where terms that were taken away have left rounding in the sums."""
    knowledge, rng = SharedBasis(2, 3, 2, sparsity=0.1, ridge=1e-4), np.random.default_rng(0)
    curvature = np.eye(3)[None] * [[[1.1]]]
    targets = np.array([[1.0, 0.3, 0.0], [0.7, -1.0, 0.1]])
    knowledge.begin(targets, rng)
    for shrink in (1.0, 1 / 3, 1e-3):
        for task in range(2):
            knowledge.encode(np.array([task]), OperatingPoint(shrink * targets[[task]], curvature))
    assert not knowledge.array("codes").any()
    assert knowledge.array("moment").any()
    knowledge.solve(rng)
    np.testing.assert_allclose(np.linalg.norm(knowledge.array("basis"), axis=0), 1.0)
    assert used(np.array([[1.0, 1e-17, 0.0]])).tolist() == [[True, False, False]]


def test_of_equally_good_actions_the_first_is_taken() -> None:
    """Though another is better by a last digit."""
    stay = np.ones((1, 2, 1))
    fork = TabularModel(stay, np.array([[0.3, 0.1 + 0.2]]), np.ones(1), np.zeros(1, bool))
    one, other = fork.action_values(optimal_values(fork, 0.0), 0.0)[0]
    assert other > one
    assert optimal_actions(fork, 0.0).tolist() == [0]


def test_an_adversary_without_a_choice_takes_the_first() -> None:
    """Both losses are equally bad at the anchors, where all games begin."""
    settings = {"variant": "C", "turns": "adaptive", "basis": "fixed", "n_inner": 1, "seed": 0}
    for seed in range(3):
        drawn = regret.Game.drawn(5, 4, 2, seed)
        assert not regret.play(drawn, settings, 5).which.any()


def test_modes_that_stay_as_they_are_don_t_contract() -> None:
    """A quadrotor that no gain holds drifts: eigenvalues of 1, give or take rounding."""
    drone = family("LifelongQuadrotor-v0")
    d = drone.actions.size * (drone.observations.size + 1)
    trial = RolloutTrial(drone, drone.parameters.sample(6, seed=0))
    assert not trial._contracts(np.zeros((6, 1, d))).any()


# ------------------------------------------------------------------------------------------------------------ learners


@dataclass(frozen=True)
class Shaken(Sampler):
    """Samples whose statistics differ in their last digits."""

    seed: int = 0

    def run(self, *given: Any, **named: Any) -> Sample:
        """As a sampler does."""
        found = super().run(*given, **named)
        names = ("returns", "noise_features", "features_squared")
        other: dict[str, Any] = {name: shaken(getattr(found.statistics, name), self.seed) for name in names}
        return replace(found, statistics=replace(found.statistics, **other))


MASS, POLE = "LifelongSimpleMass-v0", "LifelongCartPole-v0"
LEARNERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "REINFORCE": (REINFORCE, {}),
    "ENAC": (ENAC, {}),
    "RWR": (RWR, {}),
    "PGELLA": (PGELLA, {}),
    "PGELLA, mean": (PGELLA, {"base": "enac", "mean_basis": True}),
    "GOMTL": (GOMTL, {"base": "rwr"}),
    "ScalablePGELLA": (ScalablePGELLA, {"base": "rwr"}),
    "ScalablePGELLA, sums": (ScalablePGELLA, {"base": "enac", "consensus": "all_reduce"}),
    "A": (SafeLifelongPG, {"variant": "A"}),
    "B": (SafeLifelongPG, {"variant": "B"}),
    "C": (SafeLifelongPG, {"variant": "C"}),
    "projected": (ProjectedPG, {}),
}


def after_a_sweep(name: str, seed: int | None, tasks: list[int], id: str, **settings: Any) -> dict[str, FloatArray]:
    """All that a learner knows, when these tasks came up."""
    kind, arguments = LEARNERS[name]
    settings = {"n_tasks": 4, "horizon": 20, **settings}
    env = ParameterSharing(pettingzoo.make("parallel", id, **settings)) if kind is ScalablePGELLA else id
    venv = as_vec_env(env) if kind is ScalablePGELLA else as_vec_env(id, **settings)
    assert isinstance(venv, CoreVecEnv)
    venv.core.admit(tasks)
    model = kind("LinearGaussianPolicy", venv, seed=0, n_trajectories=24, **arguments)
    if seed is not None:
        model._sampler = Shaken(model._sampler.n_trajectories, model._sampler.sigma, model._sampler.bias, seed)
        model.policy.thetas = shaken(model.policy.thetas, seed) * (1 - 1e-14)
    model._rollouts, _ = model.collect_rollouts()
    before = model.policy.thetas.copy()
    model._setup_learn(1)
    model.train()
    assert (model.policy.thetas[tasks] != before[tasks]).any()
    knowledge = dict(model.knowledge.named_buffers()) if hasattr(model, "knowledge") else {}
    return {"theta": model.policy.thetas, **{key: value.numpy().copy() for key, value in knowledge.items()}}


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    ("id", "tasks", "settings"),
    [(POLE, [0, 1, 2, 3], {}), (POLE, [1], {}), (MASS, [0, 2], {"task_observation": "append"})],
    ids=["all", "one", "with constants"],
)
def test_no_learner_is_decided_by_rounding(name: str, id: str, tasks: list[int], settings: dict[str, Any]) -> None:
    """With fewer tasks than columns, and features that no trajectory tells apart."""
    first, second = (after_a_sweep(name, seed, tasks, id, **settings) for seed in (None, 1))
    assert first.keys() == second.keys()
    for key, values in first.items():
        scale = max(1.0, float(np.abs(values).max(initial=0.0)))
        np.testing.assert_allclose(second[key], values, rtol=0, atol=1e-9 * scale, err_msg=key)
