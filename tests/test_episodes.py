"""Tasks, start states, horizons and failure, seen through every interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import lifelong_gym
from tests.making import CART_POLE, aec, parallel, rows_for_sb3, same

HARD_PUSH = [1.0]  # under it every cart-pole fails in less than a second
BACKENDS: list[dict[str, Any]] = [{"backend": backend} for backend in ("numba", "numpy", "python")]


# ------------------------------------------------------------------------------------------------------ tasks, states


def task_ids(env: Any, n: int, **first: Any) -> list[Any]:
    """Tasks of the first episodes; rows of a vector env give lists."""
    ids = [env.reset(**(first if k == 0 else {}))[1]["task_id"] for k in range(n)]
    return [np.asarray(one).tolist() for one in ids]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, [0, 1, 2, 0, 1, 2]),
        ("sequential", [0, 1, 2, 0, 1, 2]),
        ({"blocked": 2}, [0, 0, 1, 1, 2, 2]),
        ([2, 0], [2, 0, 2, 0, 2, 0]),
        ([1], [1, 1, 1, 1, 1, 1]),
    ],
)
def test_schedules_of_a_single_env(schedule: Any, expected: list[int]) -> None:
    """In episodes, and from the beginning after a seed."""
    env = gym.make(CART_POLE, n_tasks=3, schedule=schedule, backend="numpy")
    assert task_ids(env, 6, seed=0) == expected
    assert task_ids(env, 3, seed=0) == expected[:3]


@pytest.mark.parametrize(
    ("schedule", "expected"), [(None, [[0, 1], [2, 0], [1, 2]]), ("sequential", [[0, 0], [1, 1], [2, 2]])]
)
def test_schedules_of_rows(schedule: Any, expected: list[list[int]]) -> None:
    """Two rows cover three tasks in turns."""
    env = gym.make_vec(CART_POLE, num_envs=2, n_tasks=3, schedule=schedule, backend="numpy")
    assert task_ids(env, 3, seed=0) == expected


def test_seeds_of_some_rows() -> None:
    """A row without one goes on, as among Gymnasium's single envs; in a new env it gets one of its own."""
    native: Any = gym.make_vec(CART_POLE, num_envs=2, n_tasks=2, backend="numpy")
    makers = [partial(gym.make, CART_POLE, n_tasks=2, schedule=[i], backend="numpy") for i in range(2)]
    sync: Any = SyncVectorEnv(makers)
    for seed in (3, [None, 4], None, [8, None], [1, 2]):
        assert same(native.reset(seed=seed), sync.reset(seed=seed))
    new: list[Any] = [gym.make_vec(CART_POLE, num_envs=2, n_tasks=2, backend="numpy") for _ in range(2)]
    (one, one_drawn), (other, other_drawn) = (env.reset(seed=[5, None])[0] for env in new)
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one_drawn, other_drawn)


@pytest.mark.parametrize("make", [gym.make, partial(gym.make_vec, num_envs=2), parallel, rows_for_sb3])
def test_without_a_seed_every_env_differs(make: Callable[..., Any]) -> None:
    """And none of them is the env of seed 0."""
    starts = []
    for _ in range(3):
        start = make(CART_POLE, backend="numpy").reset()
        observations = start[0] if isinstance(start, tuple) else start
        starts.append(str(observations))
    assert starts[0] != starts[1] != starts[2] != starts[0]


def test_an_explicit_task_leaves_the_schedule_where_it_is() -> None:
    """And counts as a visit to that task."""
    env = gym.make(CART_POLE, n_tasks=3, backend="numpy")
    plain = [env.reset(seed=0), env.reset(), env.reset(), env.reset()]  # tasks 0, 1, 2, 0
    env.reset(seed=0)
    explicit, _ = env.reset(options={"task": 0})
    np.testing.assert_array_equal(explicit, plain[3][0])
    assert env.reset()[1]["task_id"] == 1


def test_tasks_and_states_by_option() -> None:
    """One for all rows or one per row; the physical state reads back."""
    env: Any = gym.make_vec(CART_POLE, num_envs=2, n_tasks=5)
    states = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, -1.0, 0.1, 2.0]])
    _, infos = env.reset(seed=0, options={"task": np.array([4, 2]), "state": states})
    assert infos["task_id"].tolist() == [4, 2]
    np.testing.assert_array_equal(env.state, states)
    _, infos = env.reset(options={"task": 3, "state": states[1]})
    assert infos["task_id"].tolist() == [3, 3]
    np.testing.assert_array_equal(env.state, states[[1, 1]])
    single: Any = gym.make(CART_POLE).unwrapped
    observation, _ = single.reset(seed=0, options={"state": states[0], "unknown": 1})
    np.testing.assert_array_equal(observation, states[0].astype(np.float32))
    par = parallel(CART_POLE)
    observations, _ = par.reset(options={"state": {f"task_{i}": states[i % 2] for i in range(3)}, "options": 1})
    np.testing.assert_array_equal(observations["task_1"], states[1].astype(np.float32))


@pytest.mark.parametrize("settings", [*BACKENDS, {"physics": "mujoco"}], ids=str)
def test_the_state_can_be_set_within_an_episode(settings: dict[str, Any]) -> None:
    """It goes on from there, at the same time of the episode, and a failure is over."""
    env: Any = gym.make(CART_POLE, horizon=60, **settings).unwrapped
    env.reset(seed=0)
    while not env.step(np.array(HARD_PUSH))[4]["failed"]:
        pass
    before = int(env.core.clock.steps[0])
    env.state = np.zeros(4)
    np.testing.assert_array_equal(env.state, np.zeros(4))
    observation, _, _, _, info = env.step(np.zeros(1))
    assert not info["failed"]
    np.testing.assert_array_equal(observation, np.zeros(4))
    assert env.core.clock.steps[0] == before + 1


def test_features_of_the_task() -> None:
    """``append`` scales by the bounds, ``one_hot`` says which; after the sensors', in every interface."""
    tasks = lifelong_gym.sample_tasks(CART_POLE, 3)
    low, high = tasks.space.bounds
    env = gym.make(CART_POLE, tasks=tasks, task_observation="append")
    plain, _ = gym.make(CART_POLE, tasks=tasks).reset(seed=0, options={"task": 2})
    observation, _ = env.reset(seed=0, options={"task": 2})
    np.testing.assert_array_equal(observation[:4], plain)
    np.testing.assert_array_equal(observation[4:], ((tasks.values[2] - low) / (high - low)).astype(np.float32))
    assert env.observation_space.shape == (4 + len(tasks.space),)
    rows, _ = gym.make_vec(CART_POLE, num_envs=3, tasks=tasks, task_observation="one_hot").reset(seed=0)
    np.testing.assert_array_equal(rows[:, 4:], np.eye(3))
    par = parallel(CART_POLE, task_observation="one_hot")
    assert par.reset(seed=0)[0]["task_1"][4:].tolist() == [0, 1, 0]
    assert rows_for_sb3(par).reset()[:, 4:].tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(("settings", "expected"), [({}, 150), ({"horizon": 7}, 7), ({"max_episode_steps": 9}, 9)])
def test_the_horizon_truncates(settings: dict[str, Any], expected: int) -> None:
    """By whatever name an interface calls it."""
    for env in (gym.make(CART_POLE, **settings), gym.make_vec(CART_POLE, num_envs=2, **settings)):
        env.reset(seed=0)
        flags = [np.all(env.step(0 * env.action_space.sample())[3]) for _ in range(expected)]
        assert np.flatnonzero(flags).tolist() == [expected - 1]
    cycles = {"max_cycles": settings["max_episode_steps"]} if "max_episode_steps" in settings else settings
    par = parallel(CART_POLE, **cycles)
    assert par.max_cycles == expected
    par.max_cycles = 5
    assert rows_for_sb3(par).core.horizon == 5


# ------------------------------------------------------------------------------------- failure, agents that end early


def test_a_failure_is_absorbing() -> None:
    """The state freezes within twice its limits, each step costs the same, and only the horizon ends the episode."""
    env: Any = gym.make(CART_POLE).unwrapped
    env.reset(seed=0)
    log = [env.step(np.array(HARD_PUSH)) for _ in range(150)]
    failed = [info["failed"] for *_, info in log]
    first = failed.index(True)
    assert all(failed[first:])
    assert {reward for _, reward, *_ in log[first:]} == {-env.core.family.failure_cost}
    assert all(np.array_equal(observation, log[first][0]) for observation, *_ in log[first:])
    assert not any(terminated for _, _, terminated, _, _ in log)
    assert [truncated for *_, truncated, _ in log].index(True) == 149


def ends_of_agents(env: Any) -> dict[str, int]:
    """When each agent of a parallel env terminates under a hard push."""
    ends: dict[str, int] = {}
    for step in range(150):
        pushes = {agent: np.array(HARD_PUSH, np.float32) for agent in env.agents}
        _, _, terminations, truncations, infos = env.step(pushes)
        assert list(terminations) == list(pushes)
        assert not any(truncations.values())
        assert all(infos[agent]["failed"] == terminations[agent] for agent in pushes)
        ends.update({agent: step for agent in pushes if terminations[agent]})
        assert env.agents == [agent for agent in pushes if not terminations[agent]]
        if not env.agents:
            break
    return ends


def test_parallel_agents_end_at_different_times() -> None:
    """And leave; afterwards an empty step returns empty dicts."""
    env = parallel(CART_POLE, terminate_on_failure=True, preset="hetero", n_tasks=5, backend="numpy")
    env.reset(seed=0)
    ends = ends_of_agents(env)
    assert len(set(ends.values())) > 1
    assert env.step({}) == ({}, {}, {}, {}, {})
    env.reset()
    assert env.agents == env.possible_agents


def test_agents_of_an_aec_env_end_at_different_times() -> None:
    """At the same ones as in the parallel env, with the same rewards."""
    settings = {"terminate_on_failure": True, "preset": "hetero", "n_tasks": 5, "backend": "numpy"}
    par, env = (make(CART_POLE, **settings) for make in (parallel, aec))
    par.reset(seed=0)
    env.reset(seed=0)
    expected = ends_of_agents(par)
    turns = dict.fromkeys(env.possible_agents, 0)
    for agent in env.agent_iter(1000):
        _, _, terminated, truncated, _ = env.last()
        if not (terminated or truncated):
            turns[agent] += 1
        env.step(None if terminated or truncated else np.array(HARD_PUSH, np.float32))
    assert turns == {agent: step + 1 for agent, step in expected.items()}


def test_spaces_of_agents_are_always_the_same_objects() -> None:
    """So that seeding them works; an unknown agent has none."""
    env = parallel(CART_POLE)
    for agent in env.possible_agents:
        assert env.action_space(agent) is env.action_space(agent)
        assert env.observation_space(agent) is env.observation_space(agent)
    assert len({id(env.action_space(agent)) for agent in env.possible_agents}) == 3
