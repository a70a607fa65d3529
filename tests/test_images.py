"""Kernel families that see pictures, and numbers that reward and termination read: one text, the same bytes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import env_checker
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common import env_checker as sb3_checker

import lifelong_gym
from lifelong_gym.envs.backends import numba_rows
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.errors import FamilyError
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import as_vec_env
from tests.lantern import LENGTH, Lantern

LANTERN = "Lantern-v0"


@pytest.fixture(autouse=True)
def _registered(register: Callable[..., str]) -> None:
    register("Lantern", "lantern")


def watched(backend: str, n_rows: int, n_steps: int = 30) -> list[npt.NDArray[Any]]:
    """All that rows of four tasks go through."""
    env: Any = gym.make_vec(LANTERN, num_envs=n_rows, n_tasks=4, backend=backend)
    rng = np.random.default_rng(0)
    log = [env.reset(seed=3)[0]]
    for _ in range(n_steps):
        log += [*env.step(rng.integers(0, 3, n_rows))[:4], env.unwrapped.state]
    return log


def test_every_promise_is_kept() -> None:
    """Spaces, seeds, copies, parameters, and parity over interfaces and backends."""
    check_family(LANTERN)


def test_backends_give_the_same_bytes() -> None:
    """Plain Python, NumPy rows and numba, by one thread or two; episodes end, and end differently."""
    expected = watched("python", 9)
    assert expected[0].dtype == np.uint8
    assert any(terminated.any() for terminated in expected[3::5])
    for backend in ("numpy", "numba"):
        for found, wanted in zip(watched(backend, 9), expected, strict=True):
            assert found.dtype == wanted.dtype
            assert np.array_equal(found, wanted)
    set_num_threads(2)
    try:
        assert all(np.array_equal(a, b) for a, b in zip(watched("numba", 9), expected, strict=True))
    finally:
        set_num_threads(1)


def test_measures_are_what_the_place_says() -> None:
    """Reward and end, against a search in the table of pillars."""
    env: Any = gym.make(LANTERN, n_tasks=1).unwrapped
    env.reset(seed=0)
    pillars = Program.of(env.family, env.tasks).tables.arrays[0]
    ends = set()
    for place in range(1, LENGTH - 1):
        if pillars[place]:
            continue
        env.reset(seed=place, options={"state": [place + 0.5]})
        _, reward, terminated, *_ = env.step(1)
        cell = int(env.state[0])
        left = cell - np.flatnonzero(pillars[: cell + 1])[-1]
        right = np.flatnonzero(pillars[cell:])[0]
        assert reward == left + right
        assert terminated == (left == right == 1)
        ends.add(terminated)
    assert ends == {False, True}


def test_pictures_take_one_row_at_a_time() -> None:
    """Blocks of one row hold nothing that is computed for nobody."""
    env: Any = gym.make_vec(LANTERN, num_envs=3, n_tasks=2).unwrapped
    rows = env.core._rows
    assert isinstance(rows, numba_rows.NumbaRows)
    assert rows._blocks.shape[0] == 3


def test_an_env_is_made_anew_from_its_spec() -> None:
    """With the picture's size, through JSON and pickle."""
    env = gym.make(LANTERN, size=9, n_tasks=2)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert json.loads(env.spec.to_json())["kwargs"]["size"] == 9
    assert again.observation_space == env.observation_space == gym.spaces.Box(0, 255, (9, 9, 1), np.uint8)
    first, _ = env.reset(seed=5)
    assert np.array_equal(again.reset(seed=5)[0], first)
    copy = pickle.loads(pickle.dumps(env.unwrapped))
    assert np.array_equal(copy.step(2)[0], env.step(2)[0])


def test_gymnasiums_own_rows_agree() -> None:
    """`SyncVectorEnv` of single envs against ours, row by row."""
    ours: Any = gym.make_vec(LANTERN, num_envs=2, n_tasks=2)
    theirs = SyncVectorEnv([lambda: gym.make(LANTERN, n_tasks=2)] * 2)
    observations, _ = ours.reset(seed=7, options={"task": 0})
    expected, _ = theirs.reset(seed=7, options={"task": 0})
    assert np.array_equal(observations, expected)
    for _ in range(5):
        found, wanted = ours.step(np.array([2, 0])), theirs.step(np.array([2, 0]))
        assert all(np.array_equal(a, b) for a, b in zip(found[:4], wanted[:4], strict=True))


def test_other_peoples_checkers() -> None:
    """Gymnasium's and Stable-Baselines3's find nothing."""
    env_checker.check_env(gym.make(LANTERN, backend="python", size=40).unwrapped, skip_render_check=True)
    sb3_checker.check_env(gym.make(LANTERN, backend="python", size=40))


def test_a_stock_network_trains_on_it() -> None:
    """PPO with ``CnnPolicy``."""
    from stable_baselines3 import PPO

    env = as_vec_env(LANTERN, n_tasks=2, size=36)
    model = PPO("CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0).learn(16)
    observations: Any = env.reset()
    assert observations.dtype == np.uint8
    assert env.action_space.contains(model.predict(observations)[0][0])


def test_what_pictures_dont_have_is_refused() -> None:
    """Task features, constraints and linear policies; a claim to measure without measuring, and the other way round."""
    for kind in ("append", "one_hot"):
        with pytest.raises(ValueError, match=f'"hide" where observations are Image. Received {kind!r}'):
            gym.make(LANTERN, task_observation=kind)
    with pytest.raises(ValueError, match="None where observations are Image"):
        gym.make(LANTERN, constraints={"place": 1.0})
    with pytest.raises(ValueError, match="continuous actions and no images, or discrete observations and actions"):
        lifelong_gym.rollout(LANTERN, theta=[[0.0]], n_trajectories=1)


def test_a_family_without_measures_cant_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the role and what there is to ask for; the checker names the number."""
    monkeypatch.setattr(Lantern, "measure", None)
    with pytest.raises(FamilyError, match="`n_measures` must be what `measure` writes, 0 where there is none"):
        check_family(LANTERN)
    with pytest.raises(FamilyError, match="asks for `measured`; there are"):
        gym.make(LANTERN, backend="python")
