"""What tasks are recognised by: reports of a few hundred steps, and how far apart two of them are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger

from lifelong_gym.agents.deep.replay.packing import Transitions
from lifelong_gym.agents.deep.sharing.features import Features, features_of
from lifelong_gym.numerics.arrays import FloatArray, IntArray

Report = npt.NDArray[np.float32]
N_BLOCKS = 16
LEAST_EPISODES = 4  # of one script


class Signature(ABC):
    """A way to recognise tasks.

    A report has a row for each of several stretches of steps, whose differences are an agent's own spread. A distance
    compares two reports with that: 0: the same, 1: as far as can be.

    Args:
        observation_space: of the transitions.
        action_space: of the transitions.

    Attributes:
        threshold: largest distance of reports that are held to be of one task, unless another is asked for.
        scripted: whether all agents play the same actions, from the beginning of each episode.
    """

    threshold: ClassVar[float] = 0.1
    scripted: ClassVar[bool] = False

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Discrete) -> None:
        """See the class."""
        self.features: Features = features_of(observation_space)
        self.action_space = action_space

    @abstractmethod
    def report(self, steps: Transitions) -> Report:
        """Of steps one after another, shape (n_stretches, n_numbers)."""

    @abstractmethod
    def distance(self, one: Report, other: Report) -> float:
        """Of two reports, in [0, 1]."""


class Observation(Signature):
    """Means and deviations of observations, rewards by where they were given, under actions at random.

    The distance is the share of the variance of stretches that lies between the two reports, the mean over numbers,
    the largest of what is seen, how it varies, and what is rewarded.
    """

    def report(self, steps: Transitions) -> Report:
        """See `Signature.report`."""
        seen, then = self.features(steps.observations), self.features(steps.next_observations)
        rows = []
        for at in np.array_split(np.arange(len(steps)), N_BLOCKS):
            rewards = steps.rewards[at].astype(np.float64)
            found = [seen[at].mean(axis=0), seen[at].std(axis=0), (rewards[:, None] * then[at]).mean(axis=0)]
            ends = float((steps.dones[at] * (1 - steps.timeouts[at])).mean())
            rows.append(np.concatenate([*found, [rewards.mean(), rewards.std(), ends]]))
        return np.array(rows, np.float32)

    def distance(self, one: Report, other: Report) -> float:
        """See `Signature.distance`."""
        n = (one.shape[1] - 3) // 3
        parts = np.split(np.arange(one.shape[1]), [n, 2 * n, 3 * n])
        return max(share_between(one[:, part], other[:, part]) for part in parts)


class Probe(Signature):
    """What is seen and earned at each time of an episode in which all agents play the same script.

    So modes are told apart that look alike under actions at random. The distance is as for observations.
    """

    scripted = True
    bins: ClassVar[int] = 16

    def report(self, steps: Transitions) -> Report:
        """See `Signature.report`.

        Raises:
            ValueError: too few episodes.
        """
        starts = np.concatenate([[0], np.flatnonzero(steps.dones[:-1]) + 1])
        episodes = np.split(np.arange(len(steps)), starts[1:])
        episodes = episodes[:-1] if len(episodes) > LEAST_EPISODES and not steps.dones[-1] else episodes  # cut short
        if len(episodes) < LEAST_EPISODES:
            raise ValueError(
                f"`meeting_steps` must hold at least {LEAST_EPISODES} episodes with `signature='probe'`. "
                f"Received {len(steps)} steps, in which {len(episodes)} began"
            )
        width = max(1, -(-max(map(len, episodes)) // self.bins))
        rows = [np.mean([self._by_time(steps, e, width) for e in some], axis=0) for some in _shared_out(episodes)]
        return np.array(rows, np.float32)

    def _by_time(self, steps: Transitions, episode: IntArray, width: int) -> FloatArray:
        seen = self.features(steps.next_observations[episode])
        found = np.zeros((self.bins, seen.shape[1] + 2))
        for k in range(self.bins):
            at = slice(k * width, (k + 1) * width)
            if len(seen[at]):
                found[k] = [*seen[at].mean(axis=0), steps.rewards[episode][at].mean(), 1.0]
        return found.reshape(-1)

    def distance(self, one: Report, other: Report) -> float:
        """See `Signature.distance`."""
        n = one.shape[1] // self.bins
        numbers = np.arange(one.shape[1])
        parts = [numbers[numbers % n < n - 2], numbers[numbers % n >= n - 2]]
        return max(share_between(one[:, part], other[:, part]) for part in parts)


class Weights(Signature):
    """Parameters of a small network after some updates from one start: SB3's DQN, one hidden layer.

    A report has a row for each half of the steps. The distance is ``d / (d + s)``: d of the means, s the larger of both
    agents' distances of their halves.
    """

    threshold = 0.5
    width: ClassVar[int] = 32
    updates: ClassVar[int] = 200

    def report(self, steps: Transitions) -> Report:
        """See `Signature.report`; draws from the global generators."""
        return np.array([self._trained(steps[at]) for at in np.array_split(np.arange(len(steps)), 2)], np.float32)

    def distance(self, one: Report, other: Report) -> float:
        """See `Signature.distance`."""
        a, b = one.astype(np.float64), other.astype(np.float64)
        apart = self.apart(a.mean(axis=0), b.mean(axis=0))
        spread = max(self.apart(*a), self.apart(*b))
        return 0.0 if apart == 0 else apart / (apart + spread)

    @abstractmethod
    def apart(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
        """The distance of two networks, given by how far they came from the start."""

    def _trained(self, steps: Transitions) -> npt.NDArray[Any]:
        seen, then = (
            self.features(array).astype(np.float32) for array in (steps.observations, steps.next_observations)
        )
        space = spaces.Box(-np.inf, np.inf, seen.shape[1:], np.float32)
        state = th.random.get_rng_state(), np.random.get_state(legacy=False)
        learner = _unattached(space, self.action_space, self.width, len(steps))
        th.random.set_rng_state(state[0])
        np.random.set_state(state[1])
        buffer: Any = learner.replay_buffer
        columns = (seen, then, steps.actions, steps.rewards, steps.dones, steps.timeouts)
        for values in zip(*columns, strict=True):
            buffer.add(*values[:-1], [{"TimeLimit.truncated": bool(values[-1])}])
        start = _flat(learner)
        learner.train(self.updates, 32)
        return _flat(learner) - start


class Cosine(Weights):
    """By the angle between the ways that two networks have gone."""

    def apart(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
        """See `Weights.apart`."""
        size = float(np.linalg.norm(one) * np.linalg.norm(other))
        return 0.0 if size == 0 else max(0.0, 1.0 - float(one @ other) / size)


class Euclidean(Weights):
    """By how far two networks are apart, as Amani et al. (2023) do; it fails where tasks differ less than runs."""

    def apart(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
        """See `Weights.apart`."""
        return float(np.linalg.norm(one - other))


SIGNATURES: dict[str, type[Signature]] = {
    "observation": Observation,
    "probe": Probe,
    "cosine": Cosine,
    "euclidean": Euclidean,
}


def share_between(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """The share of rows' variance that lies between two groups of them, the mean over columns that vary at all.

    Less what chance gives, so that it is about 0 for groups alike, however few rows there are.
    """
    if one.shape[1] != other.shape[1]:
        return 1.0
    a, b = one.astype(np.float64), other.astype(np.float64)
    both = np.concatenate([a, b])
    total = ((both - both.mean(axis=0)) ** 2).sum(axis=0)
    within = ((a - a.mean(axis=0)) ** 2).sum(axis=0) + ((b - b.mean(axis=0)) ** 2).sum(axis=0)
    varies = total > 1e-12 * (1.0 + (both**2).sum(axis=0))
    if not varies.any():
        return 0.0
    n = len(both)
    return max(0.0, float(1.0 - (within[varies] / total[varies]).mean() * (n - 1) / (n - 2)))


def _shared_out(episodes: list[IntArray]) -> list[list[IntArray]]:
    """Episodes in at most so many groups, in order."""
    groups = np.array_split(np.arange(len(episodes)), min(N_BLOCKS, len(episodes)))
    return [[episodes[i] for i in group] for group in groups]


def _unattached(space: spaces.Box, action_space: spaces.Discrete, width: int, n_steps: int) -> DQN:
    """A DQN with one hidden layer, the same every time, and room for so many steps, but no environment."""
    nowhere: Any = None
    learner = DQN(
        "MlpPolicy", nowhere, 1e-3, n_steps, replay_buffer_class=ReplayBuffer, policy_kwargs={"net_arch": [width]},
        seed=0, device="cpu", _init_setup_model=False,
    )  # fmt: skip
    learner.observation_space, learner.action_space, learner.n_envs = space, spaces.Discrete(int(action_space.n)), 1
    learner._setup_model()
    learner.set_logger(Logger(folder=None, output_formats=[]))
    return learner


def _flat(learner: DQN) -> npt.NDArray[Any]:
    parameters = [parameter.detach().numpy().ravel() for parameter in learner.q_net.parameters()]
    return np.concatenate(parameters).astype(np.float64)
