"""The mathematics of the base learners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lifelong_gym import rollout
from lifelong_gym.agents import RWR, LinearGaussianPolicy, PolicySearch
from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import (
    BASES,
    BaseLearner,
    NaturalActorCritic,
    Reinforce,
    RewardWeighted,
    advantage_to_go,
    base_learner,
    exponential_weights,
)
from lifelong_gym.agents.linear.operating_point import ONE_PLACE, Pool, pooled, solved, trace_normalised
from lifelong_gym.agents.linear.sampling import Credit, Sampler, sample
from lifelong_gym.agents.linear.sharers import Taskwise
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.wrappers import as_vec_env


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
    np.testing.assert_allclose(advantage_to_go(rewards, alive)[0], expected, rtol=1e-15)


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


# Reward-weighted regression.


def test_exponential_weights() -> None:
    """As written down with the maximum, over the living at each step, with mean 1; shift and scale don't matter."""
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(3, 6, 1)) * np.ones(8) - 50.0
    alive = np.arange(8) < rng.integers(1, 9, size=(3, 6, 1))
    alive[:, 0] = True
    weights = exponential_weights(returns, alive, 3.0)
    for task in range(3):
        for t in range(8):
            living = returns[task, alive[task, :, t], t]
            spread = living.std() if len(living) > 1 else 1.0
            expected = np.exp(3.0 * (living - living.max()) / spread)
            expected *= len(living) / expected.sum()
            np.testing.assert_allclose(weights[task, alive[task, :, t], t], expected, rtol=1e-12)
    assert not weights[~alive].any()
    np.testing.assert_allclose(exponential_weights(0.01 * returns + 7.0, alive, 3.0), weights, rtol=1e-8)


def test_weights_of_equal_returns_are_equal() -> None:
    """Rounding is no reason to prefer one; many trajectories of which one stands out don't overflow."""
    alive = np.ones((1, 7, 4), bool)
    np.testing.assert_array_equal(exponential_weights(np.full((1, 7, 4), -0.1 / 3), alive, 3.0), 1.0)
    many = np.ones((1, 100_000, 1), bool)
    one = np.zeros(many.shape)
    one[0, 7] = 1e-9
    weights = exponential_weights(one, many, 3.0)
    assert weights[0, 7, 0] == pytest.approx(100_000)


def weighted(data: RolloutStatistics, weights: FloatArray) -> RolloutStatistics:
    """Statistics whose steps in trajectory i all count ``weights[:, i]`` times."""
    w = weights[:, :, None]
    return replace(data, noise_features=w * data.noise_features, features_squared=w * data.features_squared)


def test_the_step_maximises_the_weighted_likelihood() -> None:
    """Gradient and Hessian of the weighted negative log-likelihood by differences; the model is exactly quadratic."""
    rng = np.random.default_rng(0)
    n, steps, features, n_actions, sigma = 7, 5, 3, 2, 0.4
    phi = rng.normal(size=(n, steps, features))
    theta = rng.normal(size=n_actions * features)
    noise = rng.normal(size=(n, steps, n_actions))
    actions = np.einsum("af,itf->ita", theta.reshape(n_actions, features), phi) + sigma * noise
    weights = rng.uniform(0.1, 2.0, size=n)

    def cost(x: FloatArray) -> float:
        missed = actions - np.einsum("af,itf->ita", x.reshape(n_actions, features), phi)
        return float(np.einsum("i,ita->", weights, missed**2) / (2.0 * sigma**2))

    i, j = np.triu_indices(features)
    data = RolloutStatistics(
        returns=np.zeros((1, n)),
        steps=np.full((1, n), steps),
        noise_features=np.einsum("ita,itf->iaf", noise, phi).reshape(1, n, -1),
        features_squared=np.einsum("itf,itg->ifg", phi, phi)[None, ..., i, j],
        sigma=sigma,
    )
    matrix, vector, curvature, _ = (part[0] for part in RewardWeighted().equations(weighted(data, weights[None])))
    unit = np.eye(len(theta))
    slope = np.array([(cost(theta + 1e-6 * e) - cost(theta - 1e-6 * e)) / 2e-6 for e in unit])
    np.testing.assert_allclose(-vector, slope, rtol=1e-6, atol=1e-6)
    second = [[cost(theta + a + b) - cost(theta + a) - cost(theta + b) + cost(theta) for b in unit] for a in unit]
    np.testing.assert_allclose(curvature, second, rtol=1e-9, atol=1e-9)  # exact, the cost being quadratic
    best = theta + solved(matrix[None], vector[None])[0]
    for _ in range(5):
        x = rng.normal(size=len(theta))
        gap = 0.5 * (x - best) @ curvature @ (x - best)
        assert cost(x) - cost(best) == pytest.approx(gap, rel=1e-9)
    raw = -rng.uniform(1.0, 2.0, size=n)  # rewards as weights, as printed
    printed = RewardWeighted().equations(weighted(data, raw[None])).matrix[0]
    assert np.linalg.eigvalsh(printed).max() < 0


def test_the_step_respects_its_cap() -> None:
    """A long step is cut to ``max_kl`` per living step, and keeps its direction."""
    data = statistics(4, 9, 3)
    free, cut = (RewardWeighted(max_kl=m).point(np.zeros((4, 3)), data, 1e3) for m in (1e9, 0.03))
    fisher = data.fisher_matrix().sum(axis=1) / data.steps.sum(axis=1)[:, None, None]
    np.testing.assert_allclose(0.5 * np.einsum("ni,nij,nj->n", cut.target, fisher, cut.target), 0.03)
    ratio = cut.target / free.target
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(3), rtol=1e-12)
    np.testing.assert_allclose(np.trace(cut.curvature, axis1=1, axis2=2), 3.0)


class Shards(Pool):
    """Trajectories in three places, whose partial sums are added."""

    def total(self, values: FloatArray) -> FloatArray:
        """Place by place."""
        parts = [values[:, place::3].sum(axis=1, keepdims=True) for place in range(3)]
        return np.sum(parts, axis=0)


@pytest.mark.parametrize("base", [*[kind() for kind in BASES.values()], RewardWeighted(reward_to_go=True)])
def test_trajectories_may_lie_in_different_places(base: BaseLearner) -> None:
    """Weights and equations are the same as in one place."""
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(2, 7, 5))
    alive = np.arange(5) < rng.integers(1, 6, size=(2, 7, 1))
    for place in (ONE_PLACE, Shards()):
        assert (base.credit(place) is None) == isinstance(base, NaturalActorCritic)
    credits = [base.credit(pool) for pool in (ONE_PLACE, Shards())]
    if credits[0] is not None and credits[1] is not None:
        np.testing.assert_allclose(credits[1](rewards, alive), credits[0](rewards, alive), atol=1e-13)
    data = statistics(2, 7, 3)
    np.testing.assert_allclose(
        base.compared(data, Shards()).returns, base.compared(data, ONE_PLACE).returns, atol=1e-13
    )
    shares = [(np.arange(7) % 3 == place) * np.ones((2, 1)) for place in range(3)]
    parts = [base.equations(data, share) for share in shares]
    for whole, *pieces in zip(base.equations(data), *parts, strict=True):
        np.testing.assert_allclose(np.sum(pieces, axis=0), whole, atol=1e-11)
    fisher = data.fisher_matrix().sum(axis=1)
    if not isinstance(base, Reinforce):
        np.testing.assert_allclose(base.equations(data).curvature, fisher, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rwr", {"beta": 0.0}, "`beta` must be above 0. Received 0.0"),
        ("rwr", {"reward_to_go": 1}, "`reward_to_go` must be True or False. Received 1"),
        ("rwr", {"bta": 1.0}, "unknown setting of 'rwr' 'bta'. Did you mean 'beta'"),
        ("enac", {"max_kl": float("nan")}, "`max_kl` must be a finite number. Received nan"),
        ("reinforce", {"beta": 1.0}, "unknown setting of 'reinforce' 'beta'"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    """The error names the setting."""
    with pytest.raises(ValueError, match=message):
        base_learner(name, settings)


class PrintedSign(RewardWeighted):
    """The paper's weights: the reward itself. Where it is negative, minus both sides are weighted by the cost."""

    def credit(self, pool: Pool) -> Credit:
        """Minus the mean reward."""

        def costs(rewards: FloatArray, alive: BoolArray) -> FloatArray:
            return np.broadcast_to(-rewards.mean(axis=2, keepdims=True), alive.shape)

        return costs


class PrintedRWR(PolicySearch):
    """The paper's update as printed."""

    def __init__(self, policy: Any, env: Any, n_trajectories: int, sigma: float, bias: bool, seed: int) -> None:
        sampler, common = Sampler(n_trajectories, sigma, bias), CommonSettings(seed=seed)
        super().__init__(policy, env, None, PrintedSign(), Taskwise(), sampler, common)


@pytest.mark.parametrize(
    ("family", "sigma", "most"),
    [("SimpleMass", 0.1, 0.4), ("DoubleMass", 0.1, 0.6), ("CH47", 0.3, 0.15)],
)
def test_printed_weights_fail_and_exponential_ones_learn(family: str, sigma: float, most: float) -> None:
    """After twenty sweeps the cost is higher than at the start, or a fraction of it."""
    id = f"Lifelong{family}-v0"
    costs = {}
    for kind in (PrintedRWR, RWR):
        model = kind(
            "LinearGaussianPolicy", as_vec_env(id, n_tasks=10), seed=0, n_trajectories=50, sigma=sigma, bias=False
        )
        for when, steps in (("start", 0), ("end", 20 * 10 * 50 * 150)):
            model.learn(steps, log_interval=None)
            run = rollout(
                id, tasks=model.tasks, theta=model.policy.thetas, n_trajectories=8, seed=999, sigma=0.0, bias=False
            )
            costs[kind, when] = -run.returns.mean()
    assert costs[PrintedRWR, "end"] > costs[PrintedRWR, "start"]
    assert costs[RWR, "end"] <= most * costs[RWR, "start"]


def test_weights_of_returns_need_no_trajectories() -> None:
    """From returns and lengths of a first pass, or from rewards kept: the same statistics."""
    env = as_vec_env("LifelongCartPole-v0", n_tasks=3, preset="hetero")
    policy = LinearGaussianPolicy(env.observation_space, env.action_space, n_policies=3, sigma=2.0)
    credit = RewardWeighted().credit(ONE_PLACE)
    brief, kept = (
        sample(env, policy, 6, seed=1, first_visit=0, credit=c).statistics
        for c in (credit, lambda rewards, alive: credit(rewards, alive))
    )
    assert np.ptp(brief.steps) > 0
    np.testing.assert_allclose(brief.noise_features, kept.noise_features, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(brief.features_squared, kept.features_squared, rtol=1e-7, atol=1e-9)
