"""Families without a kernel: objects, one a row, through every interface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.errors import FamilyError
from lifelong_gym.references.lqr import Linearised
from tests.broken_cameras import Slow
from tests.camera import SIDE, View

CAMERA = "Camera-v0"


@pytest.fixture(autouse=True)
def _registered(register: Callable[..., str]) -> None:
    register("Camera", "camera")
    for name in ("Named", "Blind", "GreyCamera", "SlowCamera", "NoCamera"):
        register(name, "broken_cameras")


def test_images_come_as_they_are() -> None:
    """uint8 of shape (height, width, channels), of one row and of many."""
    env = gym.make(CAMERA)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (SIDE, SIDE, 1)
    assert observation.dtype == np.uint8
    assert (observation == 255).sum() == 64
    rows: Any = gym.make_vec(CAMERA, num_envs=3)
    assert rows.reset(seed=0)[0].shape == (3, SIDE, SIDE, 1)


def test_threads_share_rows_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the class says that they may: several take part, and rows see and earn what one thread brings about."""
    plain, workers = View.step, set[int]()

    def noted(view: View, action: int, rng: np.random.Generator) -> Any:
        workers.add(threading.get_ident())
        time.sleep(0.002)
        return plain(view, action, rng)

    def run(n_threads: int) -> list[Any]:
        set_num_threads(n_threads)
        workers.clear()
        env: Any = gym.make_vec(CAMERA, num_envs=6, n_tasks=3)
        seen = [env.reset(seed=0)[0]]
        for actions in np.random.default_rng(0).integers(0, 4, (10, 6)):
            seen += env.step(actions)[:4]
        return seen

    monkeypatch.setattr(View, "step", noted)
    monkeypatch.setattr(View, "threads", True, raising=False)
    try:
        one, three = run(1), run(3)
        assert len(workers) > 1
        monkeypatch.setattr(View, "threads", False)
        run(3)
        assert workers == {threading.get_ident()}
    finally:
        set_num_threads(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))


def test_simulators_know_their_familys_arguments() -> None:
    """Through every interface, and refused where the name is taken."""
    env = gym.make(CAMERA, brightness=250, tasks=[{"ground": "dusk"}])
    values, counts = np.unique(env.reset(seed=0)[0], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {60: SIDE**2 - 64, 250: 64}
    with pytest.raises(FamilyError, match="an argument can't be called 'simulator'"):
        lifelong_gym.family("Named-v0")


def needs() -> list[tuple[Callable[[], Any], type[Exception], str]]:
    """What a simulator family doesn't have, and what asking for it says."""

    def blind() -> Any:
        env: Any = gym.make("Blind-v0").unwrapped
        env.reset(seed=0)
        return env.state

    def linearise() -> Any:
        family = lifelong_gym.family(CAMERA)
        return Linearised.of(family, family.parameters.sample(2))

    def started() -> Any:
        return gym.make(CAMERA).reset(seed=0, options={"state": [1.0, 2.0]})

    return [
        (
            lambda: lifelong_gym.rollout(CAMERA, theta=[[0.0]], n_trajectories=1),
            FamilyError,
            "a rollout needs a kernel, and Camera has none: its tasks are simulators",
        ),
        (linearise, ValueError, "must have continuous actions"),
        (blind, FamilyError, "Blind has no physical state"),
        (started, ValueError, "`state` can't be set: Camera is simulated"),
        (lambda: gym.make(CAMERA, physics="mujoco"), ValueError, "physics"),
        (lambda: gym.make(CAMERA, backend="cobol"), ValueError, "backend"),
        (lambda: gym.make(CAMERA, task_observation="append"), ValueError, '"hide" where observations are Image'),
        (lambda: gym.make(CAMERA, constraints={"row": 1.0}), ValueError, "None where observations are Image"),
        (
            lambda: gym.make("NoCamera-v0"),
            FamilyError,
            "must have methods reset, step, snapshot, restore. Missing: reset",
        ),
    ]


@pytest.mark.parametrize("i", range(len(needs())))
def test_what_needs_a_kernel_says_so(i: int) -> None:
    """In one sentence."""
    ask, error, message = needs()[i]
    with pytest.raises(error, match=message):
        ask()


def test_a_wrong_first_observation_is_told() -> None:
    """Of which class and method it is, what it must be and what it was."""
    message = r"Grey: `reset`: an observation must be uint8 of shape \(40, 40, 1\). Received float64"
    with pytest.raises(FamilyError, match=message):
        gym.make("GreyCamera-v0").reset(seed=0)


GOOD = np.zeros((SIDE, SIDE, 1), np.uint8)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((GOOD[0], 0.0, False), r"Slow: `step`: an observation must be uint8 of shape \(40, 40, 1\)"),
        ((GOOD, "much", False), "the reward of `step` must be a finite number. Received 'much'"),
        ((GOOD, np.nan, False), "the reward of `step` must be a finite number. Received nan"),
        ((GOOD, 0.0, 1), "`terminated` of `step` must be a bool. Received 1"),
        (GOOD, "`step` must return observation, reward, terminated"),
    ],
)
def test_a_wrong_result_is_told(result: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The episode is where it was: the clock stands, the last observation stays."""
    monkeypatch.setattr(Slow, "wrong", result)
    env: Any = gym.make("SlowCamera-v0", disable_env_checker=True).unwrapped
    first, _ = env.reset(seed=0)
    with pytest.raises(FamilyError, match=message):
        env.step(0)
    assert env.core.clock.steps.tolist() == [0]
    again = env.core.empty_observations()
    env.core.observe(np.array([0]), again)
    assert np.array_equal(again[0], first.reshape(-1))


@pytest.mark.parametrize("action", [4, -1, 0.5, np.nan])
def test_an_action_off_its_space_reaches_no_simulator(action: Any) -> None:
    """It is refused before anything is stepped."""
    env: Any = gym.make(CAMERA, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=r"an action must be an integer in \[0, 3\]"):
        env.step(action)
    assert np.array_equal(env.state, before)
