"""Steps of the engines, side by side in one run: ``make bench``: CPU time.

Gymnasium's InvertedPendulum and InvertedDoublePendulum are MuJoCo too: two steps of RK4 an action, and five.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym  # noqa: F401 (registers the families)

STEPS = 1000
ROWS = 16


def make_single(id: str, physics: str | None) -> Any:
    """Without wrappers, ready to be stepped."""
    settings: dict[str, Any] = {} if physics is None else {"physics": physics, "n_tasks": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's robots have newer versions
        env = gym.make(id, **settings).unwrapped
    env.reset(seed=0)
    return env


@pytest.mark.benchmark(group="1000 steps of a single env", timer=time.process_time)
@pytest.mark.parametrize(
    ("id", "physics"),
    [
        ("LifelongCartPole-v0", "kernel"),
        ("LifelongCartPole-v0", "mujoco"),
        ("LifelongCartPole-v0", "pybullet"),
        ("InvertedPendulum-v5", None),
        ("LifelongDoubleInvertedPendulum-v0", "mujoco"),
        ("LifelongDoubleInvertedPendulum-v0", "pybullet"),
        ("InvertedDoublePendulum-v5", None),
        ("LifelongQuadrotor-v0", "mujoco"),
        ("LifelongQuadrotor-v0", "pybullet"),
        ("LifelongSimpleMass-v0", "mujoco"),
        ("LifelongDoubleMass-v0", "mujoco"),
    ],
)
def test_single(benchmark: Any, id: str, physics: str | None) -> None:
    """Episodes begin anew where they end."""
    if physics is not None and physics != "kernel":
        pytest.importorskip(physics)
    env = make_single(id, physics)
    action = np.zeros(env.action_space.shape, env.action_space.dtype)

    def work() -> None:
        for _ in range(STEPS):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    benchmark.pedantic(work, rounds=5, warmup_rounds=1)
    env.close()


@pytest.mark.benchmark(group=f"100 steps of {ROWS} rows", timer=time.process_time)
@pytest.mark.parametrize("physics", ["kernel", "mujoco", "pybullet"])
@pytest.mark.parametrize("id", ["LifelongCartPole-v0", "LifelongQuadrotor-v0"])
def test_rows(benchmark: Any, id: str, physics: str) -> None:
    """A task a row."""
    if physics != "kernel":
        pytest.importorskip(physics)
    env: Any = gym.make_vec(id, num_envs=ROWS, n_tasks=ROWS, physics=physics)
    env.reset(seed=0)
    actions = np.zeros(env.action_space.shape, np.float32)
    benchmark.pedantic(lambda: [env.step(actions) for _ in range(100)], rounds=5, warmup_rounds=1)
    env.close()
