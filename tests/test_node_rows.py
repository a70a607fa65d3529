"""The rows of one node as a VecEnv: stepped alone, they are what they would have been beside the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pettingzoo
import pytest
from gymnasium.error import ResetNeeded
from stable_baselines3.common.vec_env import VecFrameStack

from lifelong_gym.errors import UnknownNameError
from lifelong_gym.wrappers import Budget, CoreVecEnv, ParameterSharing, Stage, as_vec_env, rows_of, rows_of_nodes

ID = "LifelongCartPole-v0"
NODES = {"a": ["task_2", "task_0"], "b": ["task_1"], "server": []}


def shared(id: str = ID, nodes: Any = NODES, **settings: Any) -> CoreVecEnv:
    """Three tasks among nodes."""
    env = pettingzoo.make("parallel", id, n_tasks=3, horizon=5, backend="numpy", **settings)
    venv = as_vec_env(ParameterSharing(env, nodes=nodes, topology="complete"))
    assert isinstance(venv, CoreVecEnv)
    return venv


def test_nodes_have_the_rows_of_their_agents() -> None:
    """Each agent its own, groups, and servers without any; without sharing, every row is a node."""
    assert {node: rows.tolist() for node, rows in rows_of_nodes(shared()).items()} == {"a": [2, 0], "b": [1]}
    assert list(rows_of_nodes(shared(nodes=None))) == ["task_0", "task_1", "task_2"]
    assert list(rows_of_nodes(as_vec_env(ID, n_tasks=2))) == ["row_0", "row_1"]


@pytest.mark.parametrize("kind", ["kernel", "camera"])
def test_rows_stepped_in_turns_equal_rows_stepped_together(kind: str, register: Callable[..., str]) -> None:
    """Observations, rewards, ends, infos and statistics, over ends of episodes, to the bit."""
    id = ID if kind == "kernel" else register("Camera", module="camera")
    together, apart = shared(id), shared(id)
    nodes = [rows_of(apart, node) for node in ("a", "b")]
    for seed, node in zip((3, 30), nodes, strict=True):
        node.seed(seed)
    together._seeds = [4, 30, 3]
    begun: Any = together.reset()
    for node in nodes:
        assert np.array_equal(node.reset(), begun[node.rows])
    together.action_space.seed(0)
    for _ in range(12):
        actions = np.stack([together.action_space.sample() for _ in range(3)])
        results: Any = together.step(actions)
        for node in nodes:
            stepped: Any = node.step(actions[node.rows])
            *arrays, infos = stepped
            assert all(np.array_equal(own, every[node.rows]) for own, every in zip(arrays, results, strict=False))
            for info, row in zip(infos, node.rows.tolist(), strict=True):
                expected = results[3][row]
                assert info.keys() == expected.keys()
                assert info["task_id"] == row
                if "episode" in info:
                    assert info["episode"]["r"] == expected["episode"]["r"]
                    assert np.array_equal(info["terminal_observation"], expected["terminal_observation"])
            assert node.reset_infos == [together.reset_infos[row] for row in node.rows.tolist()]


def test_stepping_alone_leaves_the_others_as_they_are() -> None:
    """States, statistics and clocks; the steps are announced by their number."""
    env, announced = shared(), list[int]()
    env.reset()
    env.step(np.zeros((3, 1), np.float32))
    before, returns = env.state, env._returns.copy()
    env.before_steps = announced.append
    rows = rows_of(env, "b")
    for _ in range(3):
        rows.step(np.ones((1, 1), np.float32))
    assert np.array_equal(env.state[[0, 2]], before[[0, 2]])
    assert not np.array_equal(env.state[1], before[1])
    assert np.array_equal(env._returns[[0, 2]], returns[[0, 2]])
    assert announced == [1, 1, 1]
    assert rows.get_attr("state")[0].tolist() == env.state[1].tolist()


def test_budgets_are_exact_for_rows_in_turns() -> None:
    """Each task gets its steps, whoever steps when; a row whose task has none left idles."""
    env = shared()
    env.budget = Budget(env.core, [Stage((0, 1, 2), 7)])
    nodes = [rows_of(env, node) for node in ("b", "a")]
    for node in nodes:
        node.reset()
    taken = []
    for node in nodes:
        infos = [node.step(np.zeros((node.num_envs, 1), np.float32))[3] for _ in range(9)]
        taken.append(sum("idle" not in info for step in infos for info in step))
        assert node.idle.all()
    assert taken == [7, 14]
    assert env.budget.taken.tolist() == [7, 7, 7]
    assert env.budget.is_over


def test_a_stage_that_ends_while_others_step_ends_episodes() -> None:
    """Whose steps it was learns of it by an end, truncated, before the next stage's first episode."""
    env = shared(nodes=None)
    env.budget = Budget(env.core, [Stage((0, 1), 4), Stage((2,), 9)])
    one, *others = (rows_of(env, f"task_{i}") for i in range(3))
    for rows in (one, *others):
        rows.reset()
    still = np.zeros((1, 1), np.float32)
    last: Any = one.step(still)[0]
    env.budget.take(np.array([3, 4, 0]))  # as if others had taken them
    stepped: Any = one.step(still)
    seen, reward, done, infos = stepped
    assert (done.tolist(), reward.tolist(), infos[0]["TimeLimit.truncated"], infos[0]["idle"]) == (
        [True],
        [0.0],
        True,
        True,
    )
    assert np.array_equal(infos[0]["terminal_observation"], last[0])
    assert infos[0]["episode"]["l"] == 1
    assert not np.array_equal(seen, last)
    assert one.reset_infos[0]["task_id"] == 2
    assert not one.step(still)[2].any()


def test_exploration_is_each_ones_own() -> None:
    """Samples of one node's action space don't move another's."""
    env = shared()
    one, other = rows_of(env, "a"), rows_of(env, "b")
    for rows in (one, other):
        rows.action_space.seed(0)
    first = one.action_space.sample()
    assert np.array_equal(other.action_space.sample(), first)


def test_bad_input() -> None:
    """Nodes that aren't there or have no agents, rows that can't be stepped apart, steps before a reset."""
    env = shared()
    with pytest.raises(UnknownNameError, match="node 'server'"):
        rows_of(env, "server")
    with pytest.raises(TypeError, match=r"can be stepped apart.*VecFrameStack"):
        rows_of(VecFrameStack(env, 2), "a")
    with pytest.raises(ResetNeeded):
        rows_of(env, "a").step(np.zeros((2, 1), np.float32))
    rows = rows_of(env, "a")
    rows.reset()
    with pytest.raises(ValueError, match="shape"):
        rows.step(np.zeros((3, 1), np.float32))
    rows.close()
    with pytest.raises(ValueError, match="no environment"):
        rows.step(np.zeros((2, 1), np.float32))
