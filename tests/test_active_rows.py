"""Rows that aren't active: on every backend, and with simulators, they stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lifelong_gym.envs.core import Core
from lifelong_gym.envs.settings import Settings
from lifelong_gym.registry import family
from tests.making import CART_POLE, GRID_WORLD

N_ROWS, N_STEPS, HORIZON = 4, 14, 9
CASES: list[tuple[str, dict[str, Any]]] = [
    *((CART_POLE, {"backend": backend, "constraints": {"angle": 0.05}}) for backend in ("numba", "numpy", "python")),
    (CART_POLE, {"physics": "mujoco", "task_observation": "append"}),
    (GRID_WORLD, {"backend": "numpy"}),
    ("Camera-v0", {}),
]


@pytest.mark.parametrize(("id", "settings"), CASES, ids=str)
def test_rows_that_idle_stay_as_they_are(id: str, settings: dict[str, Any], register: Callable[..., str]) -> None:
    """They show their last observation, reward 0 and no end; each row lives the life of a single env."""
    register("Camera", "camera")
    kind = family(id)
    given: dict[str, Any] = {"n_tasks": N_ROWS, "horizon": HORIZON, **settings}
    core, everybody = Core(kind, N_ROWS, Settings(**given)), np.arange(N_ROWS)
    core.seed(everybody, range(3, 3 + N_ROWS))
    shown = core.empty_observations()
    core.begin(everybody, shown)
    singles: list[Any] = [gym.make(id, disable_env_checker=True, **given).unwrapped for _ in everybody]
    for i, env in enumerate(singles):
        assert np.array_equal(env.reset(seed=3 + i, options={"task": i})[0].reshape(-1), shown[i].reshape(-1))
    rng, running = np.random.default_rng(0), np.ones(N_ROWS, bool)
    for step in range(N_STEPS):
        actions = kind.actions.try_out(np.random.default_rng(step), (N_ROWS,))
        active = running & (rng.random(N_ROWS) < 0.6)
        results, n_ended = core.step(core.check_actions(actions, N_ROWS), active)
        assert n_ended == np.count_nonzero(results.terminated | results.truncated)
        for i, env in enumerate(singles):
            observation, *expected = results.observations[i], *(float(values[i]) for values in results[1:])
            if active[i]:
                alone, reward, terminated, truncated, info = env.step(actions[i])
                assert np.array_equal(observation, np.reshape(alone, -1))
                assert expected == [reward, terminated, truncated, info["failed"]]
            else:
                assert np.array_equal(observation, shown[i])
                assert expected == [0.0, 0.0, 0.0, 0.0]
        shown = results.observations.copy()
        again = core.empty_observations()
        core.observe(everybody, again)
        assert np.array_equal(again, shown)
        running &= ~(results.terminated | results.truncated)
    assert core.clock.steps.max() <= HORIZON
    assert not running.all()
    if core.safety is not None:
        np.testing.assert_array_equal(core.safety.n_steps, core.clock.steps)
