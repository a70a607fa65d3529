"""Which tasks a learner knows, in which order, and where those of an environment are among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.environment import n_tasks_of, tasks_of
from lifelong_gym.errors import unknown
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.tasks.parameters import Columns, Value
from lifelong_gym.tasks.task_set import Task, TaskSet

NewTasks = TaskSet | Mapping[str, Any] | Iterable[Mapping[str, Value]]


@dataclass(frozen=True)
class Roster:
    """A learner's tasks.

    Attributes:
        n_tasks: how many.
        tasks: which; None where each row of a VecEnv is a task of its own, or while only a model file knows them.
        saved: what a model file says of them, while nothing has said which parameters they have.
    """

    n_tasks: int = 0
    tasks: TaskSet | None = None
    saved: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, env: VecEnv) -> Roster:
        """All tasks of an environment."""
        return cls(n_tasks_of(env), tasks_of(env))

    def to_dict(self) -> dict[str, Any] | None:
        """JSON-native."""
        if self.tasks is not None:
            return self.tasks.to_dict()
        return None if self.saved is None else dict(self.saved)

    def known_in(self, space: Columns) -> Roster:
        """The same roster, its tasks having these parameters."""
        if self.saved is None:
            return self
        tasks = TaskSet.from_dict(self.saved, space)
        if len(tasks) != self.n_tasks:
            raise ValueError(f"there must be {self.n_tasks} tasks. The model file names {len(tasks)}")
        return Roster(self.n_tasks, tasks)

    def joined(self, env: VecEnv) -> tuple[Roster, IntArray]:
        """The same roster as an environment describes it, and the indices of the environment's tasks in it.

        Raises:
            ValueError: the environment has tasks that are not in it.
        """
        tasks, n = tasks_of(env), n_tasks_of(env)
        roster = self if tasks is None else self.known_in(tasks.space)
        if tasks is None or roster.tasks is None:
            if n != self.n_tasks:
                raise ValueError(f"`env` must have {self.n_tasks} tasks. Received {n}")
            return roster, np.arange(n)
        if n > self.n_tasks:
            raise ValueError(f"`env` must have {self.n_tasks} tasks. Received {n} (new ones: see `add_tasks`)")
        places = roster._places(tasks)
        if (places < 0).any() or not np.array_equal(roster.tasks.values[places], tasks.values):
            raise ValueError(f"`env` must have the tasks with hash {roster.tasks.hash}. Received {tasks.hash}")
        return roster, places

    def _places(self, tasks: TaskSet) -> IntArray:
        """Index of each task among ours by its uid, -1 where there is none."""
        assert self.tasks is not None
        index = {uid: i for i, uid in enumerate(self.tasks.uids.tolist())}
        return np.array([index.get(uid, -1) for uid in tasks.uids.tolist()], np.int64)

    def index(self, task: Any) -> int:
        """Of a task given by its index or as a `Task`.

        Raises:
            UnknownNameError: no such task.
        """
        if isinstance(task, Task):
            return self._index_of(task)
        if isinstance(task, bool) or not isinstance(task, (int, np.integer)) or not 0 <= task < self.n_tasks:
            raise unknown("task", task, [f"0 ... {self.n_tasks - 1}"])
        return int(task)

    def _index_of(self, task: Task) -> int:
        uids = (self.to_dict() or {"uids": []})["uids"]
        index = uids.index(task.uid) if task.uid in uids else -1
        if index < 0 or (self.tasks is not None and self.tasks[index] != task):
            raise unknown("task", task, ["those of `tasks` and what `add_tasks` was given"])
        return int(index)

    def extended(self, tasks: NewTasks) -> Roster:
        """This roster and, behind, those of the given tasks that are new.

        Raises:
            ValueError: tasks of another family, or one with the uid of a task that it doesn't equal.
        """
        roster = self.known_in(tasks.space) if isinstance(tasks, TaskSet) else self
        if roster.tasks is None:
            raise ValueError(
                "tasks can only be added where they have parameters: each row of the VecEnv is a task of its own, or "
                "the model was loaded without an environment (then give a TaskSet)"
            )
        own = roster.tasks
        given = _with_uids(tasks, own)
        places = roster._places(given)
        known = places >= 0
        same = np.all(own.values[places[known]] == given.values[known], axis=1)
        if not same.all():
            uids = given.uids[known][~same].tolist()
            raise ValueError(f"`tasks` must not change a known task: uids {uids} are taken by tasks with other values")
        if known.all():
            return roster
        values: FloatArray = np.concatenate([own.values, given.values[~known]])
        uids = np.concatenate([own.uids, given.uids[~known]])
        return Roster(len(values), TaskSet(own.space, values, uids, preset=own.preset))


def _with_uids(tasks: NewTasks, own: TaskSet) -> TaskSet:
    """The tasks with the uids they have, or with new ones where they come as mere parameters."""
    if isinstance(tasks, (TaskSet, Mapping)) or not isinstance(tasks, Iterable):
        return TaskSet.of(own.space, tasks)
    rows = list(tasks)
    fresh = int(own.uids.max()) + 1
    uids = [row.uid if isinstance(row, Task) else fresh + i for i, row in enumerate(rows)]
    return TaskSet(own.space, TaskSet.of(own.space, rows).values, uids)
