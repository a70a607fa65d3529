"""Large results are made in memory that earlier ones had, and in none that somebody still holds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lifelong_gym.envs.backends.result_memory import LEAST, MOST, ResultMemory

N_ROWS = LEAST  # so that flags are large enough, too


def place(array: Any) -> int:
    """The address of its first byte."""
    address: int = array.__array_interface__["data"][0]
    return address


def test_results_that_are_held_stay_what_they_were() -> None:
    """Views and all, however many steps follow."""
    env = gym.make_vec("LifelongSimpleMass-v0", num_envs=N_ROWS, n_tasks=3, task_observation="append")
    observations, infos = env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    held: list[tuple[Any, ...]] = [(observations[::2], infos["task_id"][5:])]  # views alone
    for _ in range(4):
        observations, rewards, terminated, truncated, infos = env.step(actions)
        held.append((observations[:, 1], rewards[::3], terminated, truncated[1:], infos["task_id"], infos["failed"]))
    copies = copy.deepcopy(held)
    for _ in range(3):
        env.step(actions)
    for then, now in zip(copies, held, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(then, now, strict=True))
    assert not np.array_equal(held[1][0], held[2][0])


def test_memory_that_nobody_holds_is_used_again() -> None:
    """A view is somebody, too."""
    memory = ResultMemory()
    first = memory.empty((N_ROWS, 2), np.float32)
    where, view = place(first), first[3:]
    del first
    assert place(memory.empty((N_ROWS, 2), np.float32)) != where
    del view
    again = memory.copy(np.ones((N_ROWS, 2), np.float32))
    assert place(again) == where
    assert np.require(again, requirements=["C", "A", "W"]) is again
    assert again.dtype == np.float32
    assert (again == 1.0).all()


def test_spare_memory_is_bounded() -> None:
    """Whoever held many results at once doesn't keep their memory for ever."""
    memory = ResultMemory()
    arrays = [memory.empty((LEAST,), np.uint8) for _ in range(2 * MOST)]
    assert len({place(array) for array in arrays}) == 2 * MOST
    del arrays
    assert [len(pieces) for pieces in memory.spare.values()] == [MOST]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_have_memory_of_their_own(again: Callable[[Any], Any]) -> None:
    """Of the env that made an array, and of the array."""
    memory = ResultMemory()
    memory.empty((LEAST,))
    array = memory.empty((2 * LEAST,))
    array[:] = 3.0
    other = again({"memory": memory, "array": array})
    array[:] = 4.0
    assert (other["array"] == 3.0).all()
    assert not other["memory"].spare
