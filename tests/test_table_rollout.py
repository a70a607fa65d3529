"""Fused rollouts of tables of logits: against envs that are stepped, exact values and gradients, and each other."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

import lifelong_gym
from lifelong_gym import rollout
from lifelong_gym.envs.backends.rollout_plan import theta_shape
from lifelong_gym.envs.tabular.maps import grid_world_map
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics import philox
from tests.linear_mdp import A, LinearMDP, S
from tests.space_families import Lock

GRID = "LifelongGridWorld-v0"
TASKS = lifelong_gym.sample_tasks(GRID, 3, seed=1, preset="slippery")
LOGITS = np.random.default_rng(0).normal(size=(3, 100, 4))
COMMON: dict[str, Any] = {"tasks": TASKS, "theta": LOGITS, "n_trajectories": 5, "seed": 6, "horizon": 40}
WEIGHTS = np.random.default_rng(1).normal(size=(3, 5, 40))
BACKENDS = ("numba", "numpy", "python")
H, START = 5, 0  # of linear MDPs: steps, and the state they begin in


def run(family: Any = GRID, **changes: Any) -> Any:
    """A rollout with some arguments changed."""
    return rollout(family, **{**COMMON, **changes})


def equal(a: Any, b: Any) -> bool:
    """All arrays of two results, to the bit."""
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """NumPy's own exponentials, normalised."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


# ----------------------------------------------------------------------------------------------- against the truth


def test_a_trajectory_is_an_episode_of_the_env() -> None:
    """Stepped with the actions that were sampled: trajectory j is visit j."""
    episodes = run(trajectories=True, n_trajectories=2)
    assert (episodes.observations.shape, episodes.observations.dtype) == ((3, 2, 41), np.int64)
    assert (episodes.actions.shape, episodes.actions.dtype) == ((3, 2, 40), np.int64)
    env = gym.make(GRID, tasks=TASKS, horizon=40, backend="python")
    for i, j in np.ndindex(3, 2):
        observation, _ = env.reset(seed=6 if j == 0 else None, options={"task": i})
        ended, t = False, 0
        while not ended:
            assert episodes.alive[i, j, t]
            assert observation == episodes.observations[i, j, t]
            observation, reward, terminated, truncated, _ = env.step(episodes.actions[i, j, t])
            assert reward == episodes.rewards[i, j, t]
            ended, t = terminated or truncated, t + 1
        assert observation == episodes.observations[i, j, t]
        assert not episodes.alive[i, j, t:].any()
        assert not episodes.rewards[i, j, t:].any()


def test_actions_come_from_the_counted_stream() -> None:
    """Draw t of an episode is number ``t % 2`` of pair ``t // 2``, as the noise of linear policies is."""
    episodes = run(trajectories=True, first_visit=3)
    cumulative, key = softmax(LOGITS).cumsum(-1), philox.row_key(6)
    for i, j, t in [(0, 0, 0), (0, 0, 1), (1, 4, 7), (2, 2, 38)]:
        pair = philox.uniform_pair(t // 2, int(TASKS.uids[i]), 3 + j, philox.POLICY, *key)
        seen = episodes.observations[i, j, t]
        assert episodes.actions[i, j, t] == np.searchsorted(cumulative[i, seen], pair[t % 2], side="right")


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_statistics_are_sums_over_trajectories(weights: Any) -> None:
    """Return, steps, visits and score, step by step; the score's formula is that of the log-likelihood's gradient."""
    stats, episodes, pi = run(weights=weights), run(trajectories=True), softmax(LOGITS)
    for i, j in np.ndindex(3, 5):
        visits, score = np.zeros((100, 4)), np.zeros((100, 4))
        for t in np.flatnonzero(episodes.alive[i, j]):
            seen, action = episodes.observations[i, j, t], episodes.actions[i, j, t]
            visits[seen, action] += 1
            w = 1.0 if weights is None else weights[i, j, t]
            score[seen] += w * (np.eye(4)[action] - pi[i, seen])
        assert stats.returns[i, j] == episodes.rewards[i, j].sum()
        assert stats.steps[i, j] == episodes.alive[i, j].sum() == visits.sum()
        np.testing.assert_array_equal(stats.visits[i, j], visits)
        np.testing.assert_allclose(stats.score[i, j], score, atol=1e-12)
    if weights is None:
        np.testing.assert_array_equal(stats.weighted_visits, stats.visits)
    np.testing.assert_allclose(stats.probabilities, pi, rtol=1e-14)
    assert repr(stats).startswith("TableStatistics(n_tasks=3, n_trajectories=5, mean return ")


def test_the_score_is_the_gradient_of_the_likelihood() -> None:
    """By finite differences of the log-probability of the actions that were taken."""
    stats, rng = run(), np.random.default_rng(2)
    for direction in rng.normal(size=(3, 100, 4)):
        high, low = (np.log(softmax(LOGITS[0] + h * direction)) for h in (1e-6, -1e-6))
        slope = ((high - low) * stats.visits[0, 0]).sum() / 2e-6
        assert (stats.score[0, 0] * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-6)


def values(task: dict[str, float], pi: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Expected returns of a `LinearMDP` by the state it begins in, by induction from its end."""
    (kernel, worth), result = LinearMDP().process(task), np.zeros(S)
    for _ in range(H):
        result = (pi * (kernel @ (worth + result))).sum(axis=1)
    return result


def test_returns_and_gradients_are_those_of_the_model() -> None:
    """Means over 40,000 episodes against exact values, and finite differences of these."""
    family, n = LinearMDP(), 40_000
    tasks = family.parameters.sample(2, 1)
    theta = np.random.default_rng(3).normal(size=(2, S, A))
    stats = rollout(family, tasks=tasks, theta=theta, n_trajectories=n, horizon=H)
    assert (stats.steps == H).all()
    for i, task in enumerate(dict(task) for task in tasks):
        value = values(task, softmax(theta[i]))[START]
        assert stats.returns[i].mean() == pytest.approx(value, abs=4.5 * stats.returns[i].std() / np.sqrt(n))
        gradients = stats.score[i] * (stats.returns[i] - value)[:, None, None]
        error = 4.5 * gradients.std(axis=0) / np.sqrt(n)
        for s, a in np.ndindex(S, A):
            high, low = theta[i].copy(), theta[i].copy()
            high[s, a], low[s, a] = theta[i, s, a] + 1e-5, theta[i, s, a] - 1e-5
            slope = (values(task, softmax(high)) - values(task, softmax(low)))[START] / 2e-5
            assert gradients[:, s, a].mean() == pytest.approx(slope, abs=error[s, a])


def test_the_best_table_follows_the_shortest_path() -> None:
    """Map A's goals lie 7 to 12 moves from the start, and logits this large leave nothing to chance."""
    tasks = grid_world_map("A")
    rows, columns = np.divmod(np.arange(100), 10)
    theta = np.full((4, 100, 4), -1e308)
    for i, task in enumerate(tasks):
        goal = task["goal_row"], task["goal_column"]
        down, right = rows < goal[0], columns < goal[1]
        theta[i, np.arange(100), np.where(down, 1, np.where(right, 3, np.where(rows > goal[0], 0, 2)))] = 1e308
    stats = run(tasks=tasks, theta=theta, backend="numpy")
    assert stats.steps.tolist() == [[task["goal_row"] + task["goal_column"]] * 5 for task in tasks]
    assert (stats.returns == 1.0).all()


# ------------------------------------------------------------------------------------ what the results depend on


@pytest.mark.parametrize(
    "changes",
    [{}, {"weights": WEIGHTS}, {"trajectories": True, "first_visit": 2}],
    ids=["plain", "weighted", "trajectories"],
)
def test_backends_give_the_same_bits(changes: dict[str, Any]) -> None:
    """On a slippery grid."""
    first, *others = (run(**changes, backend=backend) for backend in BACKENDS)
    assert all(equal(first, other) for other in others)


def test_backends_give_the_same_bits_with_tables() -> None:
    """Of the family's own, from given states."""
    tasks, weights = LinearMDP().parameters.sample(3, 1), WEIGHTS[..., :20]
    given: dict[str, Any] = {"tasks": tasks, "theta": LOGITS[:, :S, :A], "horizon": 20}
    for changes in ({}, {"weights": weights}, {"initial_states": [2.0]}):
        first, *others = (run(LinearMDP(), **given, **changes, backend=backend) for backend in BACKENDS)
        assert all(equal(first, other) for other in others)
    assert (first.visits[:, :, 2].sum(axis=-1) >= 1).all()


def test_neither_the_batch_nor_its_size_matters() -> None:
    """A few of the tasks, a few of the trajectories; one table for all; later visits."""
    many = run(n_trajectories=90)
    few = run(tasks=TASKS[[2, 0]], theta=LOGITS[[2, 0]], n_trajectories=7)
    np.testing.assert_array_equal(few.visits, many.visits[[2, 0], :7])
    later = run(n_trajectories=4, first_visit=50)
    np.testing.assert_array_equal(later.visits, many.visits[:, 50:54])
    assert equal(run(theta=LOGITS[0]), run(theta=np.tile(LOGITS[:1], (3, 1, 1))))
    assert not np.array_equal(run(seed=7).visits, run().visits)


def test_logits_are_known_but_for_a_constant() -> None:
    """Only differences within a row matter; those beyond 700 are as good as certain."""
    shifted, plain = run(theta=np.round(8 * LOGITS) + 64.0), run(theta=np.round(8 * LOGITS))
    assert equal(shifted, plain)
    certain = run(theta=np.where(np.arange(4) == 3, 800.0, np.zeros((100, 1))))
    assert certain.visits[..., 3].sum() == certain.steps.sum()


# ---------------------------------------------------------------------------------------------------------- errors

BAD: list[tuple[dict[str, Any], str]] = [
    ({"theta": np.zeros((3, 400))}, r"`theta` must have shape \(3, 100, 4\) or \(100, 4\). Received \(3, 400\)"),
    ({"theta": np.zeros((4, 100))}, r"`theta` must have shape \(3, 100, 4\) or \(100, 4\). Received \(4, 100\)"),
    ({"theta": np.zeros((2, 100, 4))}, r"`theta` must have shape \(3, 100, 4\) or \(100, 4\). Received \(2, 100, 4\)"),
    ({"theta": 0.0}, r"`theta` must have shape \(3, 100, 4\) or \(100, 4\). Received \(\)"),
    ({"theta": np.full((100, 4), np.nan)}, "`theta` must be finite. Received nan"),
    ({"theta": np.full((100, 4), -np.inf)}, "`theta` must be finite. Received -inf"),
    ({"sigma": 0.3}, "`sigma` is for linear policies: tables of logits have none. Received 0.3"),
    ({"bias": False}, "`bias` is for linear policies: tables of logits have none. Received False"),
    ({"weights": np.ones((3, 5, 39))}, r"`weights` must have shape \(3, 5, 40\). Received \(3, 5, 39\)"),
    ({"backend": "jax"}, "unknown backend 'jax'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    """The error names the argument, what it must be, and what was given."""
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_families_and_their_policies() -> None:
    """Tables are for discrete spaces, gains for continuous actions, and some spaces have neither."""
    assert theta_shape(lifelong_gym.family(GRID)) == (100, 4)
    assert theta_shape(lifelong_gym.family("LifelongCartPole-v0")) == (5,)
    assert theta_shape(Lock()) is None
    with pytest.raises(ValueError, match=r"`theta` must have shape \(3, 5\). Received \(3, 100, 4\)"):
        rollout("LifelongCartPole-v0", tasks=[{}] * 3, theta=LOGITS, n_trajectories=1)
    with pytest.raises(ValueError, match="Received Lock of Bounded observations and MultiDiscrete actions"):
        rollout(Lock(), theta=LOGITS, n_trajectories=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_observation_without_a_row_is_refused(backend: str) -> None:
    """Compiled code would write where no table is."""
    given: dict[str, Any] = {"tasks": LinearMDP().parameters.sample(3, 1), "theta": np.zeros((S, A)), "horizon": 20}
    with pytest.raises(FamilyError, match=r"LinearMDP: an observation isn't in Discrete\(6\)"):
        run(LinearMDP(), **given, initial_states=[float(S)], backend=backend)
