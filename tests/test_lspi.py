"""Least-squares policy iteration: value iteration where features are a table, and shares among entities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from typer.testing import CliRunner

from lifelong_gym.agents import LSPI
from lifelong_gym.agents.equivariant.action_features import ShareFeatures, features_of
from lifelong_gym.agents.equivariant.lspi import Samples, policy_iteration
from lifelong_gym.cli.main import app
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.optima import optimal_actions
from lifelong_gym.registry import family
from lifelong_gym.wrappers import as_vec_env

MARKET, CHAIN = "tests.market:Market", "tests.linear_mdp:LinearMDP"


def test_a_table_is_value_iteration() -> None:
    """Three states, two actions, a sample that has each transition as often as it happens: to 1e-8."""
    rng, gamma = np.random.default_rng(0), 0.9
    counts = rng.multinomial(10, [0.2, 0.5, 0.3], (3, 2))
    rewards = rng.standard_normal((3, 2, 3))
    each = [(s, a, k) for s in range(3) for a in range(2) for k in range(3) for _ in range(counts[s, a, k])]
    states, actions, following = np.array(each).T
    ended = following == 2
    samples = Samples(states, actions, rewards[states, actions, following], following, ended)
    features = features_of(spaces.Discrete(3), spaces.Discrete(2), 0, True)
    found = policy_iteration(features, samples, np.zeros(6), gamma).reshape(2, 3).T
    kernel, q = counts / 10.0, np.zeros((3, 2))
    for _ in range(2000):
        values = np.where(np.arange(3) == 2, 0.0, q.max(axis=1))
        q = (kernel * (rewards + gamma * values)).sum(axis=2)
    np.testing.assert_allclose(found, q, atol=1e-8)


def test_it_finds_good_actions_in_a_process() -> None:
    """Nine tenths of what the best policy has over chance, from random behaviour in episodes that are cut off."""
    env = as_vec_env(CHAIN, n_tasks=1)
    model = LSPI("GreedyPolicy", env, n_trajectories=400, ridge=1e-6, gamma=0.8, seed=0).learn(1)
    task = tabular_model(family(CHAIN), env.get_attr("tasks")[0][0])
    actions, _ = model.predict(np.arange(6), deterministic=True)
    learned, best = (task.values(np.eye(3)[chosen], 0.8) for chosen in (actions, optimal_actions(task, 0.8)))
    chance = task.values(np.full((6, 3), 1 / 3), 0.8)
    assert (learned - chance).mean() > 0.9 * (best - chance).mean()


SPACE = EntityBox(-9.0 * np.ones(4 * 3), 9.0 * np.ones(4 * 3), 4, 3)


@pytest.mark.parametrize("tied", [True, False])
def test_values_are_features_times_weights(tied: bool) -> None:
    """Of every action of the set, also where entities are absent; tied values don't know the entities' order."""
    features, rng = ShareFeatures(SPACE, 30, tied), np.random.default_rng(0)
    table = rng.standard_normal((6, 4, 3))
    table[..., 2] = 1.0
    table[1, 2], table[2, 1:], table[3, :] = 0.0, 0.0, 0.0
    seen, theta = table.reshape(6, -1), rng.standard_normal(features.size)
    values = features.values(seen, theta)
    one_by_one = [features.of(seen, np.full(6, k)) @ theta for k in range(30)]
    np.testing.assert_allclose(values, np.array(one_by_one).T, atol=1e-12)
    np.testing.assert_allclose(features.actions.sum(axis=1), 1.0, atol=1e-6)
    changed = table.copy()
    changed[1, 2, :2] = 99.0
    np.testing.assert_array_equal(features.values(changed.reshape(6, -1), theta), values)
    order = [2, 0, 3, 1]
    features.actions = features.actions[:, order]
    same = np.allclose(features.values(table[:, order].reshape(6, -1), theta), values)
    assert same == tied


class Allocation(gym.Env[Any, Any]):
    """One step: ``sum x a - b sum a log a``, with x drawn from [0, 1] for each of four entities; b is 1/2."""

    def __init__(self) -> None:
        """See the class."""
        self.observation_space: spaces.Space[Any] = EntityBox(np.zeros(8), np.ones(8), 4, 2)
        self.action_space: spaces.Space[Any] = spaces.Box(0.0, 1.0, (4,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Other entities."""
        super().reset(seed=seed)
        self.x = self.np_random.uniform(size=4)
        return np.stack([self.x, np.ones(4)], 1).ravel().astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """An episode is one action."""
        reward = worth(self.x, action) + 0.05 * self.np_random.standard_normal()
        return self.reset()[0], float(reward), True, False, {}


def worth(x: FloatArray, shares: FloatArray) -> float:
    """The reward without its noise."""
    return float(x @ shares - 0.5 * (shares * np.log(np.maximum(shares, 1e-12))).sum())


def gained(model: LSPI) -> float:
    """Of the way from equal shares to the best ones, which are a softmax of 2 x, in the mean over 500 draws."""
    draws = np.random.default_rng(5).uniform(size=(500, 4))
    seen = np.stack([draws, np.ones_like(draws)], 2).reshape(500, -1).astype(np.float32)
    chosen, _ = model.predict(seen, deterministic=True)
    best = np.exp(2.0 * draws) / np.exp(2.0 * draws).sum(axis=1, keepdims=True)
    of = [np.mean([worth(x, a) for x, a in zip(draws, shares, strict=True)]) for shares in (chosen, best)]
    equal = np.mean([worth(x, np.full(4, 0.25)) for x in draws])
    return float((of[0] - equal) / (of[1] - equal))


def test_tied_features_need_few_examples() -> None:
    """From ten allocations most of the way to the best ones; with weights for each entity the same takes many."""
    ways = {(tied, n): 0.0 for tied, n in [(True, 10), (False, 10), (False, 500)]}
    for tied, n in ways:
        for seed in range(4):
            model = LSPI(
                "GreedyPolicy", DummyVecEnv([Allocation]), tied=tied, n_trajectories=n, n_actions=300, seed=seed
            )
            ways[tied, n] += gained(model.learn(1)) / 4
    assert ways[True, 10] > 0.8
    assert ways[False, 10] < ways[True, 10] - 0.1
    assert ways[False, 500] > 0.8


@pytest.mark.parametrize(("id", "own"), [(MARKET, {"n_actions": 20, "tied": False}), (CHAIN, {"buffer_size": 70})])
def test_it_goes_on_to_the_bit(id: str, own: dict[str, Any], tmp_path: Path) -> None:
    """Interrupted, saved and loaded; the data that are kept are part of the file, and the oldest give way."""

    def fresh() -> LSPI:
        return LSPI("GreedyPolicy", as_vec_env(id, n_tasks=3), n_trajectories=1, epsilon=0.5, seed=3, **own)

    straight = fresh().learn(100)
    first = fresh().learn(40)
    first.save(tmp_path / "model")
    again = LSPI.load(tmp_path / "model", as_vec_env(id, n_tasks=3))
    again.learn(100 - first.num_timesteps, reset_num_timesteps=False)
    assert again.num_timesteps == straight.num_timesteps
    for name, tensor in straight.get_parameters()["kept"].items():
        assert tensor.equal(again.get_parameters()["kept"][name]), name
    assert straight.policy.theta.equal(again.policy.theta)
    assert straight.policy.theta.any()
    assert len(straight.kept.samples.rewards) == min(straight.num_timesteps, straight.buffer_size)
    seen: Any = again.get_env().reset()  # type: ignore[union-attr]
    alone = again.for_task(1)
    np.testing.assert_array_equal(
        alone.predict(seen, deterministic=True)[0], again.predict(seen, deterministic=True)[0]
    )


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    """Callbacks stop it, policies are evaluated, commands find it, and a benchmark's command trains it."""
    env = as_vec_env(MARKET, n_tasks=2)
    stop = StopTrainingOnMaxEpisodes(4)
    model = LSPI("GreedyPolicy", env, n_actions=10, n_trajectories=2, seed=0).learn(10_000, callback=stop)
    assert model.num_timesteps < 200
    mean, _ = evaluate_policy(model.for_task(0), env, 2)
    assert np.isfinite(mean)
    options = ["--n-tasks", "2", "--total-timesteps", "60", "-a", "n_actions=10", "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, ["train", "LSPI", MARKET, *options])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["agent"] == "LSPI"
    (tmp_path / "model.zip").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        LSPI.load(tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("id", "own", "message"),
    [
        ("LifelongSimpleMass-v0", {}, "actions must be Discrete, or shares"),
        (MARKET, {"n_actions": 3}, "`n_actions` must be an integer of at least 4"),
        (CHAIN, {"gamma": 1.5}, "`gamma` must be at most 1"),
        (CHAIN, {"epsilon": -0.5}, "`epsilon` must be at least 0"),
        (CHAIN, {"learning_rate": 2.0}, "`learning_rate` must be at most 1"),
        (CHAIN, {"tied": 1}, "`tied` must be True or False"),
        (CHAIN, {"ridge": np.nan}, "`ridge` must be a finite"),
        (CHAIN, {"buffer_size": 0}, "`buffer_size` must be"),
    ],
)
def test_bad_arguments(id: str, own: dict[str, Any], message: str) -> None:
    """Are named."""
    with pytest.raises(ValueError, match=message):
        LSPI("GreedyPolicy", as_vec_env(id, n_tasks=2), **own)
