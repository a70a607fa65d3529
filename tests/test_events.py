"""Boundaries between tasks as events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EveryNTimesteps

from lifelong_gym import sample_tasks
from lifelong_gym.agents import REINFORCE
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.referee import Mark, Plan, Referee
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.wrappers import CoreVecEnv
from tests.toy_learners import Counter

ID, POLICY = "LifelongSimpleMass-v0", "LinearGaussianPolicy"
N_TASKS, HORIZON, EPISODES = 3, 4, 4
LIFELONG = [("start", 0), ("end", 0), ("start", 1), ("end", 1), ("start", 2), ("end", 2)]


def env(n_rows: int = 2) -> CoreVecEnv:
    """For training."""
    return CoreVecEnv.of(LifelongVectorEnv(ID, n_rows, tasks=sample_tasks(ID, N_TASKS), horizon=HORIZON))


def plan(name: str = "lifelong") -> Plan:
    """Tasks in their order, with one evaluation a stage."""
    return Protocol(name=name, episodes_per_task=EPISODES, n_evaluations=1, shuffle=False).plan(N_TASKS, HORIZON, 0)


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.lines: list[Any] = []

    def on_task_start(self, info: dict[str, Any]) -> None:
        """Note it."""
        self.lines.append(("start", info.get("task")))

    def on_task_end(self, info: dict[str, Any]) -> None:
        """Note it."""
        self.lines.append(("end", info.get("task")))

    def mark(self, mark: Mark) -> None:
        """Note an evaluation."""
        self.lines.append(("mark", mark.num_timesteps))


class Attentive(Log, Counter):
    """A learner that steps by hand."""

    def __init__(self, venv: CoreVecEnv) -> None:
        """Nothing has happened."""
        Log.__init__(self)
        Counter.__init__(self, venv)


class Listening(Log, BaseCallback):
    """A callback that listens."""

    def __init__(self) -> None:
        """Nothing has happened."""
        Log.__init__(self)
        BaseCallback.__init__(self)
        self.told: list[int] = []

    def on_task_start(self, info: dict[str, Any]) -> None:
        """Note also after how many steps of the model."""
        super().on_task_start(info)
        self.told.append(self.model.num_timesteps)

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("protocol", "told"),
    [
        ("lifelong", LIFELONG),
        ("transfer", [("start", None), ("end", None), ("start", 2), ("end", 2)]),
        ("multi_task", [("start", None), ("end", None)]),
    ],
)
def test_learners_hear_of_stages(protocol: str, told: list[Any]) -> None:
    """With the task where there is one; evaluations at a stage's end come between its end and the next start."""
    venv = env()
    referee = Referee(venv, plan(protocol), lambda mark: learner.mark(mark))
    learner = Attentive(venv)
    with referee.hearing(learner):
        learner.learn(plan(protocol).total_timesteps)
        referee.finish()
    assert [line for line in learner.lines if line[0] != "mark"] == told
    if protocol == "lifelong":
        size = EPISODES * HORIZON
        assert learner.lines == [
            ("mark", 0),
            *[line for i in range(3) for line in (("start", i), ("end", i), ("mark", (i + 1) * size))],
        ]


def test_between_two_events_lie_the_steps_of_the_task() -> None:
    """Each step is taken after its task's start and before its end, by hand and in sweeps."""

    class Steps(Attentive):
        """Notes the tasks of steps among the events."""

        def learn(self, total_timesteps: int) -> None:
            self.env.reset()
            for _ in range(total_timesteps // self.env.num_envs):
                tasks = set(self.env.core.task_of_row.tolist())
                self.env.step(np.zeros((self.env.num_envs, 1)))
                self.lines.append(("step", *tasks))

    class Sweeps(Log, REINFORCE):
        """Notes the tasks of sweeps, and when they are learned from."""

        def __init__(self, *arguments: Any, **more: Any) -> None:
            Log.__init__(self)
            REINFORCE.__init__(self, *arguments, **more)

        def train(self) -> None:
            super().train()
            self.lines.append(("step", *self._observed.tolist()))

    for n_each, make in (
        (EPISODES * HORIZON // 2, Steps),
        (2, lambda venv: Sweeps(POLICY, venv, n_trajectories=2, seed=0)),
    ):
        venv = env()
        referee = Referee(venv, plan(), lambda mark: None)
        learner: Any = make(venv)
        with referee.hearing(learner):
            learner.learn(plan().total_timesteps)
            referee.finish()
        assert learner.lines == [
            line for i in range(N_TASKS) for line in (("start", i), *[("step", i)] * n_each, ("end", i))
        ]


@pytest.mark.parametrize("learner", [PPO, REINFORCE])
def test_callbacks_hear_of_stages(learner: type[BaseAlgorithm]) -> None:
    """In lists, and as what another one calls; whichever `learn` is given, in which a learner goes on."""
    venv, callbacks = env(), [Listening() for _ in range(3)]
    referee = Referee(venv, plan(), lambda mark: None)
    arguments: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1} if learner is PPO else {}
    model = learner(POLICY if learner is REINFORCE else "MlpPolicy", venv, seed=0, **arguments)
    size = EPISODES * HORIZON
    with referee.hearing(model):
        for i, wrapped in enumerate(
            [callbacks[0], CallbackList([CallbackList([callbacks[1]])]), EveryNTimesteps(1, callbacks[2])]
        ):
            model.learn(size, callback=wrapped, reset_num_timesteps=False)
            heard = [("end", i - 1), ("start", i)] if i else [("start", 0)]
            assert [one.lines for one in callbacks] == [[("start", 0)], LIFELONG[1:3], LIFELONG[3:5]][: i + 1] + [
                []
            ] * (2 - i)
            assert callbacks[i].lines == heard
            assert set(callbacks[i].told) == {i * size}
        referee.finish()
    assert callbacks[2].lines == LIFELONG[3:]
    assert BaseAlgorithm._init_callback.__module__ == BaseAlgorithm.__module__  # nothing is left behind


@pytest.mark.parametrize(("taken", "told"), [([16, 0, 0], LIFELONG[2:]), ([16, 8, 0], LIFELONG[3:])])
def test_a_run_that_goes_on_hears_the_rest(taken: list[int], told: list[Any]) -> None:
    """What came before the last evaluation isn't told again."""
    venv = env()
    referee = Referee(venv, plan(), lambda mark: None, n_done=2, taken=taken)
    learner = Attentive(venv)
    with referee.hearing(learner):
        learner.learn(plan().total_timesteps - sum(taken))
        referee.finish()
    assert learner.lines == told
