"""Atari rows against ALE's vector env, MinAtar against Atari: ``make bench``. Read the ratios.

A step is one row's, of four frames where it is Atari's; CPU time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.sizes import QUICK
from lifelong_gym.envs.backends.threads import set_num_threads

ATARI, MINATAR = "LifelongAtari-v0", "LifelongMinAtar-v0"
N_ROWS = 8
N_STEPS, N_ROUNDS = (3, 1) if QUICK else (100, 9)
Stepper = Callable[[], object]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    set_num_threads(1)
    yield
    set_num_threads(2)


def stepper(env: Any, n_actions: int) -> Stepper:
    """Steps all rows under random actions; ended ones begin anew."""
    rng = np.random.default_rng(0)
    env.reset(seed=0)

    def work() -> None:
        for actions in rng.integers(0, n_actions, (N_STEPS, N_ROWS)):
            env.step(actions)

    return work


def rows(id: str, n_actions: int, **settings: Any) -> Stepper:
    """Ours."""
    return stepper(gym.make_vec(id, num_envs=N_ROWS, **settings), n_actions)


def atari(game: str) -> Stepper:
    """Rows of one game that always obey."""
    return rows(ATARI, 18, tasks=[{"game": game, "sticky": 0.0}])


def ales_own(game: str) -> Stepper:
    """The same by ALE's vector env, which has neither modes nor the memory."""
    from ale_py.vector_env import AtariVectorEnv

    return stepper(AtariVectorEnv(game, N_ROWS, num_threads=1, full_action_space=True, use_fire_reset=False), 18)


def ratio(one: Stepper, other: Stepper) -> float:
    """How many times longer ``one`` takes than ``other``: the median of calls that take turns."""

    def seconds(work: Stepper) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    one(), other()
    return statistics.median(seconds(one) / max(seconds(other), 1e-9) for _ in range(N_ROUNDS))


@pytest.mark.parametrize("game", ["breakout", "freeway", "space_invaders"])
def test_rows_against_ales_own(benchmark: Any, game: str) -> None:
    """CPU time of as many frames."""
    ours = atari(game)
    benchmark.extra_info["of ALE's own"] = found = ratio(ours, ales_own(game))
    benchmark.pedantic(ours, rounds=1)
    print(f"{game}: {found:.2f} of the CPU time of ALE's own vector env")


def test_minatar_against_atari(benchmark: Any) -> None:
    """Steps of a row beside Atari's: the five games side by side."""
    small = rows(MINATAR, 6, n_tasks=5)
    benchmark.extra_info["times as fast"] = found = ratio(atari("space_invaders"), small)
    benchmark.pedantic(small, rounds=1)
    print(f"MinAtar: {found:.1f} times as fast as Atari")
