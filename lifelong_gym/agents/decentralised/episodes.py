"""Whole episodes of the rows of an agent, step by step, flat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.wrappers import NodeRows


@dataclass(frozen=True)
class FlatEpisodes:
    """What happened in whole episodes, a row a step, one episode after the other.

    Attributes:
        observations: before each step, (n_steps, ...).
        actions: as the policy gave them, (n_steps, ...).
        returns: discounted, from each step on, (n_steps,).
        times: of each step in its episode, from 0, (n_steps,).
        number: of episodes.
    """

    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    returns: FloatArray
    times: IntArray
    number: int


def discounted(rewards: FloatArray, gamma: float) -> FloatArray:
    """Returns from each step on; time is the last axis."""
    returns, following = np.zeros(rewards.shape), np.zeros(rewards.shape[:-1])
    for t in reversed(range(rewards.shape[-1])):
        following = rewards[..., t] + gamma * following
        returns[..., t] = following
    return returns


def of_arrays(
    observations: npt.NDArray[Any], actions: npt.NDArray[Any], rewards: FloatArray, alive: BoolArray, gamma: float
) -> FlatEpisodes:
    """Of episodes side by side, (n_episodes, horizon, ...), of which only living steps count."""
    times = np.broadcast_to(np.arange(alive.shape[1]), alive.shape)
    returns = discounted(rewards, gamma)
    return FlatEpisodes(observations[alive], actions[alive], returns[alive], times[alive], len(alive))


def most_steps(env: VecEnv | None, n_episodes: int) -> int:
    """That so many whole episodes a row may take; 0 where nobody knows."""
    rows = None if env is None else env.unwrapped
    return n_episodes * rows.num_envs * rows.horizon if isinstance(rows, NodeRows) and rows.is_attached else 0


class Steps:
    """One row's steps since its episode began, and its whole episodes."""

    def __init__(self, n_wanted: int) -> None:
        self._n_wanted, self._open = n_wanted, list[tuple[Any, Any, float]]()
        self.episodes: list[list[tuple[Any, Any, float]]] = []
        self.idles = False

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to come."""
        return self.idles or len(self.episodes) == self._n_wanted

    def add(self, seen: Any, action: Any, reward: float, done: bool, info: dict[str, Any]) -> None:
        """A step, unless the row idles or is done."""
        self.idles |= "idle" in info
        if self.is_done:
            return
        self._open.append((seen, action, reward))
        if done:
            self.episodes.append(self._open)
            self._open = []


def stepped(
    algorithm: OnPolicyAlgorithm, env: VecEnv, callback: BaseCallback, n_episodes: int, gamma: float
) -> FlatEpisodes | None:
    """Begin all rows' episodes, and step them until each has ended as many.

    Rows that are done go on until all are, without any use. Where a budget ends a row, what it had begun is left out.

    Returns:
        What happened; None: no episode ended.
    """
    rows = [Steps(n_episodes) for _ in range(env.num_envs)]
    seen: Any = env.reset()
    while not all(row.is_done for row in rows):
        with th.no_grad():
            chosen, _, _ = algorithm.policy(obs_as_tensor(seen, algorithm.device))
        actions = chosen.cpu().numpy()
        space = algorithm.action_space
        done = np.clip(actions, space.low, space.high) if isinstance(space, spaces.Box) else actions
        following, rewards, dones, infos = env.step(done)
        algorithm.num_timesteps += sum("idle" not in info for info in infos)
        callback.update_locals(locals())
        callback.on_step()
        for i, row in enumerate(rows):
            row.add(seen[i], actions[i], float(rewards[i]), bool(dones[i]), infos[i])
        seen = following
    algorithm._last_obs = seen  # which says that episodes have begun
    return _flat([episode for row in rows for episode in row.episodes], gamma)


def _flat(episodes: list[list[tuple[Any, Any, float]]], gamma: float) -> FlatEpisodes | None:
    if not episodes:
        return None
    seen, actions, _ = zip(*(step for episode in episodes for step in episode), strict=True)
    rewards = [np.array([reward for _, _, reward in episode]) for episode in episodes]
    returns = np.concatenate([discounted(each, gamma) for each in rewards])
    times = np.concatenate([np.arange(len(each)) for each in rewards])
    return FlatEpisodes(np.stack(seen), np.stack(actions), returns, times, len(episodes))
