"""Evaluation: what a learner earns in every task, in an environment of its own that no training ever sees."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch as th

from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.tasks.task_set import TaskSet


class Measured(NamedTuple):
    """What the evaluation episodes gave.

    Attributes:
        returns: undiscounted sums of raw rewards, shape (n_tasks, n_episodes).
        failed: share of each task's episodes in which the state left the family's limits, shape (n_tasks,).
    """

    returns: FloatArray
    failed: FloatArray


@dataclass(frozen=True)
class Evaluation:
    """The same episodes every time: the same starts and noise for all learners and at all times.

    Attributes:
        env_id: of the family.
        tasks: which are evaluated.
        seeds: row seeds of the episodes, shape (n_episodes, n_tasks).
        task_observation: what a learner sees of the task; see `Settings`.
        arguments: of the family itself.
    """

    env_id: str
    tasks: TaskSet
    seeds: IntArray
    task_observation: str = "hide"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        env_id: str,
        tasks: TaskSet,
        n_episodes: int,
        seed: int,
        task_observation: str,
        arguments: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """Of all tasks, with consecutive seeds."""
        seeds = seed + np.arange(n_episodes * len(tasks)).reshape(n_episodes, -1)
        return cls(env_id, tasks, seeds, task_observation, arguments or {})

    def only(self, task: int) -> Evaluation:
        """The same episodes of one task alone."""
        return replace(self, tasks=self.tasks[[task]], seeds=self.seeds[:, [task]])

    def measure(self, learner: Any) -> Measured:
        """Run the episodes with a learner's deterministic actions.

        ``learner.predict`` gets a batch of observations, of which row i is from task ``i mod n_tasks``. Generators
        that the learner trains with are left as they were.

        Raises:
            ValueError: actions that don't fit the action space.
        """
        with untouched_generators():
            return self._measure(learner)

    def _measure(self, learner: Any) -> Measured:
        n_rows = self.seeds.size
        settings = {"tasks": self.tasks, "task_observation": self.task_observation, **self.arguments}
        env = LifelongVectorEnv(self.env_id, n_rows, **settings)
        observations, _ = env.reset(seed=self.seeds.reshape(-1).tolist())
        act = Acting(learner)
        totals, running, failed = np.zeros(n_rows), np.ones(n_rows, bool), np.zeros(n_rows, bool)
        while running.any():
            observations, rewards, terminated, truncated, infos = env.step(act(observations))
            totals += np.where(running, rewards, 0.0)
            failed |= running & infos["failed"]
            running &= ~(terminated | truncated)
        env.close()
        return Measured(totals.reshape(self.seeds.shape).T, failed.reshape(self.seeds.shape).mean(axis=0))


class Acting:
    """Calls ``learner.predict`` with as much of SB3's signature as it takes, from the beginning of episodes on."""

    def __init__(self, learner: Any) -> None:
        """Look at the signature."""
        parameters = inspect.signature(learner.predict).parameters
        any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        self._takes = {name for name in ("state", "episode_start", "deterministic") if any_name or name in parameters}
        self._predict = learner.predict
        self._state: Any = None
        self._is_first = True

    def __call__(self, observations: Any) -> Any:
        """Actions of all rows."""
        given = {
            "state": self._state,
            "episode_start": np.full(len(observations), self._is_first),
            "deterministic": True,
        }
        answer = self._predict(observations, **{name: given[name] for name in self._takes})
        self._is_first = False
        if not isinstance(answer, tuple):
            return answer
        actions, self._state = answer
        return actions


class InTask:
    """A learner's policy in one of its tasks, for learners that have no ``for_task``.

    ``predict`` gets a batch of a row a task, as in an evaluation, of which one row counts.
    """

    def __init__(self, learner: Any, task: int, n_tasks: int) -> None:
        """Nothing is asked yet."""
        self._act, self._task, self._n_tasks = Acting(learner), task, n_tasks

    def predict(self, observation: Any, deterministic: bool = True) -> tuple[Any, None]:
        """The deterministic action for one observation."""
        return self._act(np.stack([observation] * self._n_tasks))[self._task], None


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch afterwards."""
    states = random.getstate(), np.random.get_state(), th.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        th.set_rng_state(states[2])
