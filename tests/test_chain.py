"""The chain of five states against hand computation."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.tabular.chain import Chain, chain_tasks

ID = "LifelongChain-v0"
L, R = 0, 1


def make(task: dict[str, float], **settings: Any) -> gym.Env[Any, Any]:
    """A single environment of one task, on plain Python."""
    return gym.make(ID, tasks=[task], backend="python", **settings)


@pytest.mark.parametrize(("actions", "places", "paid"), [([L, L], [1, 0], [0, 1]), ([R, R], [3, 4], [0, -1])])
def test_an_episode_by_hand(actions: list[int], places: list[int], paid: list[float]) -> None:
    """The nominal task: L to the prize, R to the fine, and the episode ends there."""
    env = make({})
    assert env.reset(seed=0)[0] == 2
    steps = [env.step(np.int64(action)) for action in actions]
    assert [step[0] for step in steps] == places
    assert [step[1] for step in steps] == paid
    assert [step[2] for step in steps] == [False, True]


def test_the_second_task_turns_moves_and_prizes_round() -> None:
    """In S2 and S4, not in S3; against its will, L oscillates between S3 and S2."""
    env = make(chain_tasks(1)[1])
    env.reset(seed=0)
    assert [env.step(np.int64(L))[0] for _ in range(4)] == [1, 2, 1, 2]
    assert env.step(np.int64(R))[:3] == (3, 0.0, False)
    assert env.step(np.int64(L))[:3] == (4, 1.0, True)


def test_ends_pay_for_arriving_only() -> None:
    """An episode that starts at an end stays there, gets nothing and ends with its first step."""
    env = make({})
    for place in (0, 4):
        assert env.reset(seed=0, options={"state": (place,)})[0] == place
        assert env.step(np.int64(L))[:3] == (place, 0.0, True)


def test_moves_that_are_chance() -> None:
    """Chain 2: in S2 and S4 either action moves left as often as the task says."""
    n, p = 4000, 0.8
    for task, left in zip(chain_tasks(2, p), (1 - p, p), strict=True):
        for start in (2, 4):
            for action in (L, R):
                envs = gym.make_vec(ID, num_envs=n, tasks=[{**task, "start": start}], backend="numpy")
                assert (envs.reset(seed=start)[0] == start - 1).all()
                after = envs.step(np.full(n, action))[0]
                assert (after == start - 2).mean() == pytest.approx(left, abs=4 * np.sqrt(0.25 / n))


def test_presets_are_the_papers_chains() -> None:
    """Two tasks are the two tasks, in some order; the default's ends always differ."""
    for which in (1, 2):
        tasks = lifelong_gym.sample_tasks(ID, 2, preset=f"chain_{which}")
        wanted = [Chain.parameters.tasks([task]).values[0].tolist() for task in chain_tasks(which)]
        assert sorted(tasks.values.tolist()) == sorted(wanted)
    drawn = lifelong_gym.sample_tasks(ID, 200, seed=1)
    np.testing.assert_array_equal(drawn.column("reward_s1"), -drawn.column("reward_s5"))
    assert np.ptp(drawn.values[:, :4], axis=0).min() > 0.9


def test_what_is_no_chain_is_refused() -> None:
    """By name and value; the environment stays usable."""
    with pytest.raises(ValueError, match="unknown chain '3'"):
        chain_tasks(3)
    with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\]. Received 1.5"):
        chain_tasks(2, 1.5)
    for task, message in (
        ({"s2_left_under_l": 1.5}, r"'s2_left_under_l' must be in \[0, 1\]"),
        ({"start": 1}, r"'start' must be in \[2, 4\]"),
        ({"start": 2.5}, "'start' must be an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            Chain.parameters.tasks([task])
    env = make({})
    for state, message in (((5,), "from 0 to 4. Received 5"), ((1.5,), "an integer"), ((0, 0), r"shape \(1,\)")):
        with pytest.raises(ValueError, match=message):
            env.reset(options={"state": state})
    assert env.reset(options={"state": (3,)})[0] == 3
