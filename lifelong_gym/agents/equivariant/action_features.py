"""Finite sets of actions, and what a linear action value sees of an observation and one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray

AT_ONCE = 2**21  # numbers of shares that are held in memory together


class ActionFeatures(ABC):
    """Features of observations and actions; an action is an index into ``actions``.

    Attributes:
        actions: what the env gets, a row an action.
        size: d, the number of features.
    """

    actions: npt.NDArray[Any]
    size: int

    @abstractmethod
    def of(self, observations: npt.NDArray[Any], chosen: IntArray) -> FloatArray:
        """Shape (n, d), of n observations and an action each."""

    @abstractmethod
    def values(self, observations: npt.NDArray[Any], theta: FloatArray) -> FloatArray:
        """Shape (n, n_actions): features times ``theta``, of every action."""


class ChoiceFeatures(ActionFeatures):
    """Of a ``Discrete`` action space: the observation, for each action apart.

    A table where observations are ``Discrete``, else their numbers and a constant.
    """

    def __init__(self, observations: spaces.Space[Any], actions: spaces.Discrete) -> None:
        """See the class."""
        self._n_states = int(observations.n) if isinstance(observations, spaces.Discrete) else None
        self._start = int(observations.start) if isinstance(observations, spaces.Discrete) else 0
        if self._n_states is None and (not isinstance(observations, spaces.Box) or len(observations.shape) != 1):
            raise ValueError(f"observations must be Discrete or in a one-dimensional Box. Received {observations}")
        self.actions = np.arange(actions.start, actions.start + actions.n)
        width = self._n_states if self._n_states is not None else (observations.shape or (0,))[0] + 1
        self.size = len(self.actions) * width

    def of(self, observations: npt.NDArray[Any], chosen: IntArray) -> FloatArray:
        """See `ActionFeatures`."""
        seen = self._seen(observations)
        features = np.zeros((len(seen), len(self.actions), seen.shape[1]))
        features[np.arange(len(seen)), chosen] = seen
        return features.reshape(len(seen), -1)

    def values(self, observations: npt.NDArray[Any], theta: FloatArray) -> FloatArray:
        """See `ActionFeatures`."""
        values: FloatArray = self._seen(observations) @ theta.reshape(len(self.actions), -1).T
        return values

    def _seen(self, observations: npt.NDArray[Any]) -> FloatArray:
        if self._n_states is not None:
            return np.eye(self._n_states)[observations.reshape(-1).astype(np.int64) - self._start]
        return np.column_stack([observations.astype(np.float64), np.ones(len(observations))])


class ShareFeatures(ActionFeatures):
    """Of shares among entities: for each, its channels times its share a, and ``-a log a``; and a constant.

    The set of actions are the vertices, equal shares, and points that are uniform on the simplex. Where an entity is
    absent, the others share the whole, as in the env, and its features are 0.

    Args:
        space: of observations.
        n_actions: size of the set, above the number of entities.
        tied: whether the features are summed over the entities, so that values don't depend on their order.
        seed: of the points.
    """

    def __init__(self, space: EntityBox, n_actions: int, tied: bool, seed: int = 0) -> None:
        """See the class."""
        self._m, self._n_channels, self._tied = space.m, space.n_channels, tied
        n_random = integer("n_actions", n_actions, least=space.m + 1) - space.m - 1
        points = np.random.default_rng(seed).dirichlet(np.ones(space.m), n_random)
        corners = np.eye(space.m), np.full((1, space.m), 1.0 / space.m)
        self.actions = np.concatenate([*corners, points]).astype(np.float32)
        self.size = (1 if tied else space.m) * space.n_channels + 1

    def of(self, observations: npt.NDArray[Any], chosen: IntArray) -> FloatArray:
        """See `ActionFeatures`."""
        own, present = self._split(observations)
        shares = _shared(self.actions[chosen].astype(np.float64), present)
        each = np.concatenate([own * shares[..., None], _entropies(shares)[..., None]], axis=2)
        of_entities = each.sum(axis=1) if self._tied else each.reshape(len(each), -1)
        return np.column_stack([of_entities, np.ones(len(each))])

    def values(self, observations: npt.NDArray[Any], theta: FloatArray) -> FloatArray:
        """See `ActionFeatures`."""
        step = max(1, AT_ONCE // self.actions.size)
        parts = [self._values(observations[i : i + step], theta) for i in range(0, len(observations), step)]
        return np.concatenate(parts)

    def _values(self, observations: npt.NDArray[Any], theta: FloatArray) -> FloatArray:
        own, present = self._split(observations)
        weights = np.broadcast_to(theta[:-1].reshape(-1, self._n_channels), (self._m, self._n_channels))
        shares = _shared(self.actions[None].astype(np.float64), present[:, None])
        worth = (own * weights[:, :-1]).sum(axis=2)
        values: FloatArray = (shares @ worth[..., None])[..., 0] + _entropies(shares) @ weights[:, -1] + theta[-1]
        return values

    def _split(self, observations: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """Channels (n, m, n_channels - 1), 0 where absent, and who is there (n, m)."""
        table = observations[:, : self._m * self._n_channels].astype(np.float64)
        table = table.reshape(-1, self._m, self._n_channels)
        present = (table[..., -1] > 0).astype(np.float64)
        return table[..., :-1] * present[..., None], present


def features_of(
    observations: spaces.Space[Any], actions: spaces.Space[Any], n_actions: int, tied: bool, seed: int = 0
) -> ActionFeatures:
    """What suits the spaces.

    Raises:
        ValueError: neither discrete actions nor shares among the entities of an `EntityBox`.
    """
    if isinstance(actions, spaces.Discrete):
        return ChoiceFeatures(observations, actions)
    shares = isinstance(actions, spaces.Box) and isinstance(observations, EntityBox) and (actions.low == 0.0).all()
    if not isinstance(observations, EntityBox) or not shares or actions.shape != (observations.m,):
        raise ValueError(
            "actions must be Discrete, or shares, Box(0, 1, (m,)), where observations are an EntityBox of m entities. "
            f"Received {actions} and {observations}"
        )
    return ShareFeatures(observations, n_actions, tied, seed)


def _shared(weights: FloatArray, present: FloatArray) -> FloatArray:
    """Shares among those that are there; equal ones where they have none."""
    there = weights * present
    there = np.where(there.sum(axis=-1, keepdims=True) > 0, there, present)
    return there / np.maximum(there.sum(axis=-1, keepdims=True), 1e-300)


def _entropies(shares: FloatArray) -> FloatArray:
    """``-a log a``, 0 at 0."""
    return -shares * np.log(np.where(shares > 0, shares, 1.0))
