"""Weights of clients' models by a policy that was learned in the simulator, for federated learning outside of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol, TypeVar, final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import as_float
from lifelong_gym.numerics.scalar import shares

Client = TypeVar("Client", bound=Hashable)


class SharesPolicy(Protocol):
    """What is asked of a policy: Stable-Baselines3's algorithms and ours have it."""

    observation_space: Any
    action_space: Any

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
        """Actions, and a state."""


@final
class LearnedWeights:
    """Whose models count how much, round by round, as the policy says that has seen their last accuracies.

    It sees what it saw in the simulator: a row a client, the accuracies of its models in the last rounds in which it
    took part, oldest first and 0 before its first. Clients that take part have the first rows, in the order in which
    they are given; all others are absent, whether they failed, weren't asked or don't exist. Where a client stands
    makes no difference to an `EquivariantPolicy`; others should be asked with the same clients in the same order.

    Args:
        policy: learned on ``LifelongFederatedMNIST-v0``, or on another env with an `EntityBox` whose blocks are
            accuracies and whether the client is there, and with shares as actions; ``policy.predict`` is asked.

    Raises:
        ValueError: a policy for other spaces.
    """

    def __init__(self, policy: SharesPolicy) -> None:
        """See the class."""
        seen, actions = policy.observation_space, policy.action_space
        if not isinstance(seen, EntityBox) or seen.m * seen.n_channels != seen.shape[0] or seen.n_channels < 2:
            raise ValueError(f"`policy` must observe clients' accuracies and nothing else. It observes {seen!r}")
        if not isinstance(actions, spaces.Box) or actions.shape != (seen.m,) or actions.low.any():
            raise ValueError(f"`policy` must act in Box(0, 1, ({seen.m},)), weights of clients. It acts in {actions!r}")
        self._policy, self._m, self._history = policy, seen.m, seen.n_channels - 1
        self._accuracies: dict[Hashable, npt.NDArray[np.float32]] = {}

    def weigh(self, accuracies: Mapping[Client, float]) -> dict[Client, float]:
        """Weights of the models of a round, at least 0 and with sum 1.

        Args:
            accuracies: of the models, in [0, 1], by whatever names the client.

        Raises:
            ValueError: nobody, more clients than the policy knows, or accuracies that are none; nothing has changed.
        """
        if not 1 <= len(accuracies) <= self._m:
            raise ValueError(f"`accuracies` must be of 1 to {self._m} clients. Received {len(accuracies)}")
        for client, accuracy in accuracies.items():
            if not 0.0 <= as_float(accuracy) <= 1.0:
                raise ValueError(f"accuracies must be in [0, 1]. Received {accuracy!r} of client {client!r}")
        for client, accuracy in accuracies.items():
            before = self._accuracies.get(client, np.zeros(self._history, np.float32))
            self._accuracies[client] = np.append(before[1:], np.float32(accuracy))
        action, _ = self._policy.predict(self._observation(accuracies), deterministic=True)
        asked = np.clip(np.asarray(action[: len(accuracies)], np.float64), 0.0, 1.0).tolist()
        return dict(zip(accuracies, shares(tuple(asked), (1.0,) * len(asked)), strict=True))

    def _observation(self, clients: Mapping[Client, float]) -> npt.NDArray[np.float32]:
        rows = np.zeros((self._m, self._history + 1), np.float32)
        rows[: len(clients), :-1] = [self._accuracies[client] for client in clients]
        rows[: len(clients), -1] = 1.0
        return rows.reshape(-1)
