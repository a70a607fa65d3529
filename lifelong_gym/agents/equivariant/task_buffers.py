"""A replay buffer for each task, of which a sampler chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from lifelong_gym.errors import flag, floats, integer
from lifelong_gym.numerics.arrays import FloatArray


class TaskReplayBuffer(ReplayBuffer):
    """A buffer for each task, all of one size; a batch comes from one of them, or each of its transitions from any.

    Given to SAC, TD3 or DQN as ``replay_buffer_class``, with ``replay_buffer_kwargs={"n_tasks": ...}``. Infos must name
    the task (``task_id``), as those of our envs do. Until `set_probabilities` is called, all tasks are alike.

    Args:
        buffer_size: transitions of all tasks together.
        observation_space: of the env.
        action_space: of the env.
        device: where samples go.
        n_envs: rows of the env.
        optimize_memory_usage: must be False.
        handle_timeout_termination: as in SB3.
        n_tasks: how many tasks there are.
        mixed: whether each transition of a batch draws its own task.

    Raises:
        ValueError: no room for a transition of each task, or a memory optimisation that needs whole episodes.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        n_tasks: int,
        mixed: bool = False,
    ) -> None:
        """See the class."""
        self.n_tasks, self.mixed = integer("n_tasks", n_tasks), flag("mixed", mixed)
        self.n_rows, self.task_size = n_envs, buffer_size // self.n_tasks
        if self.task_size < 1:
            raise ValueError(f"`buffer_size` must be at least `n_tasks`, {n_tasks}. Received {buffer_size}")
        if optimize_memory_usage:
            raise ValueError("`optimize_memory_usage` must be False: a task's transitions aren't consecutive")
        size = self.task_size * self.n_tasks
        super().__init__(size, observation_space, action_space, device, 1, False, handle_timeout_termination)
        self.probabilities = np.full(self.n_tasks, 1.0 / self.n_tasks)
        self.reset()

    def reset(self) -> None:
        """Forget all transitions."""
        super().reset()
        self.counts = np.zeros(self.n_tasks, np.int64)  # how many each task has been given

    def size(self) -> int:
        """How many transitions it holds."""
        return int(self.filled.sum())

    @property
    def filled(self) -> npt.NDArray[np.int64]:
        """How many transitions of each task it holds, shape (n_tasks,)."""
        return np.minimum(self.counts, self.task_size)

    def set_probabilities(self, probabilities: npt.ArrayLike) -> None:
        """With which tasks are drawn from now on, shape (n_tasks,); those without transitions are left out.

        Raises:
            ValueError: not one a task, or one that is negative or not finite, or all are 0.
        """
        given = floats("probabilities", probabilities)
        if given.shape != (self.n_tasks,) or not np.isfinite(given).all() or given.min() < 0 or not given.any():
            raise ValueError(
                f"`probabilities` must be {self.n_tasks} finite numbers of at least 0, not all of them 0. "
                f"Received {probabilities!r}"
            )
        self.probabilities = given / given.sum()

    def add(
        self,
        obs: npt.NDArray[Any],
        next_obs: npt.NDArray[Any],
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        done: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """A transition of each row, to the buffer of the row's task; rows that idle give none.

        Raises:
            ValueError: infos that don't name the task.
        """
        for info in infos:
            if not 0 <= info.get("task_id", -1) < self.n_tasks:
                raise ValueError(f"infos must name the task by `task_id`, below {self.n_tasks}. Received {info}")
        for row, info in enumerate(infos):
            task = info["task_id"]
            if info.get("idle", False):
                continue
            self.pos = int(task * self.task_size + self.counts[task] % self.task_size)
            self.full = False
            one = slice(row, row + 1)
            super().add(obs[one], next_obs[one], action[one], reward[one], done[one], [info])
            self.counts[task] += 1
        self.pos, self.full = self.size() % self.buffer_size, self.size() == self.buffer_size

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """A batch of the transitions of a task that is drawn."""
        tasks = np.random.choice(self.n_tasks, batch_size if self.mixed else 1, p=self._among_filled())
        tasks = np.broadcast_to(tasks, batch_size)
        return self._get_samples(tasks * self.task_size + np.random.randint(0, self.filled[tasks]), env=env)

    def _among_filled(self) -> FloatArray:
        there = np.where(self.counts > 0, self.probabilities, 0.0)
        if not there.any():
            there = (self.counts > 0).astype(float)
        return np.asarray(there / there.sum())
