"""Learners that are not ours, for the benchmark to drive."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np


class Counter:
    """Takes exactly its budget in random actions, and acts by how many steps it has taken."""

    def __init__(self, env: Any, seed: int = 0, scale: float = 1e-5) -> None:
        self.env, self.scale = env, scale
        self.rng = np.random.default_rng(seed)
        self.num_timesteps = 0
        self.tasks_met: list[list[int]] = []

    def learn(self, total_timesteps: int) -> None:
        """Take steps."""
        self.env.reset()
        while self.num_timesteps < total_timesteps:
            self.tasks_met.append(self.env.core.task_of_row.tolist())
            low, high = self.env.action_space.low, self.env.action_space.high
            self.env.step(self.rng.uniform(low, high, (self.env.num_envs, *low.shape)))
            self.num_timesteps += self.env.num_envs

    def predict(self, observations: Any) -> Any:
        """Actions."""
        return np.full((len(observations), *self.env.action_space.shape), self.num_timesteps * self.scale)


class Endless(Counter):
    """Doesn't stop when its budget is spent."""

    def learn(self, total_timesteps: int) -> None:
        """Take steps."""
        super().learn(100 * total_timesteps)


class Overshooting(Counter):
    """Stops late."""

    def learn(self, total_timesteps: int) -> None:
        """Take steps."""
        super().learn(total_timesteps * 9 // 5)


class Interrupted(Counter):
    """Stops in the middle of learning, once."""

    armed = True

    def learn(self, total_timesteps: int) -> None:
        """Take steps."""
        if Interrupted.armed:
            super().learn(total_timesteps * 2 // 3)
            raise KeyboardInterrupt
        super().learn(total_timesteps)


class Killed(Counter):
    """Its process dies while it learns, as when memory runs out."""

    def learn(self, total_timesteps: int) -> None:
        """Nothing any more."""
        os.kill(os.getpid(), signal.SIGKILL)


class Mute:
    """Cannot act."""

    def __init__(self, env: Any, seed: int = 0) -> None:
        del env, seed

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""


class Diverged(Counter):
    """Its actions are not numbers."""

    def predict(self, observations: Any) -> Any:
        """Actions."""
        return super().predict(observations) * np.nan


class Greedy(Counter):
    """Touches the global generators while it acts."""

    def predict(self, observations: Any) -> Any:
        """Actions."""
        np.random.random()
        return super().predict(observations)


class OneHot(Counter):
    """Wants to see the task's number, and does task i's number of steps to the right."""

    task_observation = "one_hot"

    def predict(self, observations: Any) -> Any:
        """Actions."""
        n_tasks = len(self.env.core.tasks)
        return 0.1 * observations[:, -n_tasks:].argmax(axis=1)[:, None].astype(np.float32)


def full(_: Path) -> None:
    """Writes to a disk that has no room."""
    raise OSError(errno.ENOSPC, "No space left on device")


class Hungry:
    """A learner whose model outgrows its disk."""

    folder: Path | None = None

    def __init__(self, env: Any, seed: int = 0) -> None:
        """No learner yet."""
        self.env, self.trained = env, False

    def learn(self, total_timesteps: int) -> None:
        """At once."""
        self.trained = True

    def predict(self, observations: Any) -> Any:
        """Any action."""
        return [self.env.action_space.sample() for _ in observations]

    def save(self, path: Path) -> None:
        """Little before training, too much after it."""
        if self.trained and Hungry.folder in path.parents:
            full(path)
        path.write_text("model", encoding="utf-8")


class Broken(Counter):
    """A learner whose message looks like markup."""

    def learn(self, total_timesteps: int) -> None:
        """Fail."""
        raise ValueError("[/wrong] :x:")


class Climber:
    """Random search for linear policies: one for all rows, or one for ``each``; tasks it never asks for."""

    def __init__(self, env: Any, seed: int = 0, each: bool = False, scale: float = 0.3) -> None:
        self.env, self.scale, self.rng = env, scale, np.random.default_rng(seed)
        size = (env.num_envs if each else 1, env.observation_space.shape[0], env.action_space.shape[0])
        self.policies, self.scores = np.zeros(size), np.full(size[0], -np.inf)

    def learn(self, total_timesteps: int) -> None:
        """Keep what earned more than anything before."""
        n, observations, taken = self.env.num_envs, self.env.reset(), 0
        policy, returns = np.arange(n) % len(self.policies), np.zeros(n)
        trials = self.policies[policy]
        while taken < total_timesteps:
            observations, rewards, done, infos = self.env.step(self._act(observations, trials))
            returns += rewards
            taken += sum(not info.get("idle", False) for info in infos)
            for row in np.flatnonzero(done):
                if returns[row] > self.scores[policy[row]]:
                    self.scores[policy[row]], self.policies[policy[row]] = returns[row], trials[row]
                change = self.rng.normal(0, self.scale, trials[row].shape)
                trials[row], returns[row] = self.policies[policy[row]] + change, 0.0

    def _act(self, observations: Any, policies: Any) -> Any:
        return np.clip(np.einsum("ro,roa->ra", observations, policies), -1, 1).astype(np.float32)

    def predict(self, observations: Any) -> Any:
        """Actions."""
        return self._act(observations, self.policies[np.arange(len(observations)) % len(self.policies)])
