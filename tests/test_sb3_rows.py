"""Our rows, and those of foreign parallel envs, as Stable-Baselines3 sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy

from lifelong_gym.registry import FAMILIES
from lifelong_gym.wrappers import CoreVecEnv, ParallelVecEnv, as_vec_env
from tests.making import CART_POLE, GRID_WORLD, parallel, rows_for_sb3, sizes, within

# The other way round than in `test_promises`: two workers that start together don't compile the same families.
each_id = pytest.mark.parametrize("id", sorted(FAMILIES, reverse=True))
some_ids = pytest.mark.parametrize("id", [CART_POLE, GRID_WORLD])


def small(algorithm: Any, env: Any) -> Any:
    """A learner that takes a moment."""
    rollouts = {PPO: {"n_steps": 64, "n_epochs": 2}, A2C: {"n_steps": 16}, SAC: {"learning_starts": 50}}
    return algorithm("MlpPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [8]}, **rollouts[algorithm])


@each_id
@pytest.mark.parametrize("kind", ["single", "vector", "parallel", "id"])
def test_ppo_runs(kind: str, id: str) -> None:
    """On the single env as it is, on the others through `as_vec_env`."""
    makers: dict[str, Callable[[], Any]] = {
        "single": lambda: gym.make(id, **sizes(id)),
        "vector": lambda: rows_for_sb3(gym.make_vec(id, num_envs=3, **sizes(id))),
        "parallel": lambda: rows_for_sb3(parallel(id)),
        "id": lambda: rows_for_sb3(id, n_tasks=3),
    }
    model = small(PPO, makers[kind]()).learn(200)
    assert model.num_timesteps >= 200
    assert np.isfinite(model.policy.parameters_to_vector()).all()


@pytest.mark.parametrize("kind", ["single", "vector"])
@pytest.mark.parametrize("algorithm", [A2C, SAC])
def test_a2c_and_sac_run(algorithm: Any, kind: str) -> None:
    """SAC trains within the steps given."""
    env = gym.make(CART_POLE) if kind == "single" else rows_for_sb3(gym.make_vec(CART_POLE, num_envs=4))
    model = small(algorithm, env)
    before = model.policy.parameters_to_vector()
    model.learn(200)
    assert not np.array_equal(before, model.policy.parameters_to_vector())


def test_learning_repeats_itself_by_seed() -> None:
    """Through our VecEnv, which nothing but the learner's seed moves."""
    one, other = (small(PPO, rows_for_sb3(CART_POLE, n_tasks=3)).learn(300) for _ in range(2))
    assert np.array_equal(one.policy.parameters_to_vector(), other.policy.parameters_to_vector())


@each_id
def test_evaluation_needs_no_monitor(id: str) -> None:
    """The rows' infos carry the statistics that SB3 looks for; a Monitor around rows would warn."""
    env = rows_for_sb3(id, n_tasks=2, horizon=within(id, 10))
    results: Any = evaluate_policy(small(PPO, env), env, n_eval_episodes=4, return_episode_rewards=True)
    returns, lengths = results
    assert len(returns) == 4
    assert max(lengths) <= 10


def test_infos_at_an_episodes_end() -> None:
    """SB3's: the last observation, whether only time ran out, return and length."""
    env = rows_for_sb3(CART_POLE, n_tasks=2, horizon=3)
    single: Any = gym.make(CART_POLE, n_tasks=2, horizon=3)
    env.seed(0)
    env.reset()
    rewards = np.zeros(2)
    for _ in range(3):
        assert rewards.dtype == np.float64
        observations, step_rewards, done, infos = env.step(np.full((2, 1), 0.5))
        assert step_rewards.dtype == np.float32
        rewards += step_rewards
    assert done.all()
    single.reset(seed=1, options={"task": 1})
    log = [single.step(np.array([0.5])) for _ in range(3)]
    np.testing.assert_array_equal(infos[1]["terminal_observation"], log[-1][0])
    np.testing.assert_array_equal(observations[1], single.reset(options={"task": 1})[0])
    assert infos[1]["TimeLimit.truncated"] is True
    assert infos[1]["episode"]["l"] == 3
    assert infos[1]["episode"]["r"] == pytest.approx(sum(reward for _, reward, *_ in log))


def test_options_for_the_rows_of_a_vec_env() -> None:
    """Set once, used by the next reset only."""
    env: Any = rows_for_sb3(gym.make_vec(CART_POLE, num_envs=2, n_tasks=5))
    env.set_options([{"task": 3, "state": np.full(4, 0.1)}, {"task": 1, "state": np.full(4, 0.2)}])
    np.testing.assert_array_equal(env.reset(), np.array([[0.1] * 4, [0.2] * 4], np.float32))
    assert [info["task_id"] for info in env.reset_infos] == [3, 1]
    env.reset()
    assert [info["task_id"] for info in env.reset_infos] == [0, 1]


@pytest.mark.parametrize(
    "make",
    [lambda: CART_POLE, lambda: parallel(CART_POLE), lambda: gym.make_vec(CART_POLE, num_envs=3)],
    ids=["id", "parallel", "vector"],
)
def test_whatever_as_vec_env_takes_is_stepped_natively(make: Callable[[], Any]) -> None:
    """And leaves the given env alone; a VecEnv stays what it is."""
    given = make()
    env = rows_for_sb3(given)
    assert isinstance(env, CoreVecEnv)
    assert rows_for_sb3(env) is env
    env.reset()
    if not isinstance(given, str):
        assert not given.unwrapped.core.begun


class Foreign(pettingzoo.ParallelEnv[str, Any, Any]):
    """Another's parallel env: agent ``i`` ends after ``ends[i]`` steps."""

    metadata = {"name": "foreign", "render_modes": ["rgb_array"]}  # noqa: RUF012 (PettingZoo's own form)
    render_mode = "rgb_array"

    def __init__(self, ends: list[int], sizes: tuple[int, int] = (2, 2)) -> None:
        """See the class."""
        self.possible_agents = [f"agent_{i}" for i in range(len(ends))]
        self.ends = dict(zip(self.possible_agents, ends, strict=True))
        self.spaces = {
            agent: gym.spaces.Box(-100.0, 100.0, (sizes[i],)) for i, agent in enumerate(self.possible_agents)
        }
        self.time = 0

    def observation_space(self, agent: str) -> Any:
        """Two numbers, or as many as asked for."""
        return self.spaces[agent]

    def action_space(self, agent: str) -> Any:
        """One of two."""
        return gym.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        """Time starts at the seed."""
        self.agents, self.time = self.possible_agents[:], 0
        observations = {agent: np.full(2, seed or 0, np.float32) for agent in self.agents}
        return observations, {agent: {"seed": seed} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        """The reward is the action."""
        self.time += 1
        ended = {agent: self.time >= self.ends[agent] for agent in self.agents}
        results: Any = (
            {agent: np.full(2, self.time, np.float32) for agent in self.agents},
            {agent: float(actions[agent]) for agent in self.agents},
            dict.fromkeys(self.agents, False),
            ended,
            {agent: {} for agent in self.agents},
        )
        self.agents = [agent for agent in self.agents if not ended[agent]]
        return results

    def render(self) -> Any:
        """A black picture."""
        return np.zeros((4, 4, 3), np.uint8)


def test_a_foreign_parallel_env() -> None:
    """Agents that all end together make a VecEnv; the first row's seed and options are the env's."""
    assert isinstance(as_vec_env(Foreign([2, 2])), ParallelVecEnv)
    env = rows_for_sb3(Foreign([2, 2]))
    env.seed(5)
    assert env.reset().tolist() == [[5, 5], [5, 5]]
    env.step(np.array([0, 1]))
    observations, rewards, done, infos = env.step(np.array([1, 1]))
    assert (rewards.tolist(), done.tolist()) == ([1, 1], [True, True])
    assert observations.tolist() == [[0, 0], [0, 0]]
    assert infos[1]["terminal_observation"].tolist() == [2, 2]
    assert (infos[0]["episode"]["r"], infos[1]["episode"]["r"], infos[1]["episode"]["l"]) == (1, 2, 2)
    assert infos[0]["TimeLimit.truncated"] is True
    assert env.render().shape == (4, 4, 3)
    small(PPO, rows_for_sb3(Foreign([10, 10]))).learn(64)
