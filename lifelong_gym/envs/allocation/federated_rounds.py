"""One federated experiment, round by round, as the simulation of a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lifelong_gym.envs.allocation.federated import FederatedMNIST
from lifelong_gym.envs.allocation.federated_data import ABSENT, KINDS, client_rows
from lifelong_gym.envs.allocation.federated_training import (
    Float32Array,
    Network,
    average,
    initial_network,
    n_positions,
    trained,
)
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.scalar import Vector


class Federation:
    """A `Simulation`: in a round clients train the aggregate on images of their own, and are then averaged anew."""

    def __init__(self, family: FederatedMNIST, task: Mapping[str, Any], reward: str) -> None:
        """Take the clients' images; data and what follows from them are the family's."""
        self._setting, self._train, self._test = family.prepared()
        clients = list(task.values())
        self._there = np.flatnonzero([client != ABSENT for client in clients])
        self._held = np.stack([self._rows(family, clients[i]) for i in self._there])
        self._m, self._history, self._final = len(clients), family.history, reward == "test_accuracy"
        self._begin()

    def _rows(self, family: FederatedMNIST, client: str) -> IntArray:
        kind, _, number = client.rpartition("_")
        assert kind in KINDS
        return client_rows(self._train.labels, kind, int(number), self._setting.images_per_client, family.alpha)

    def _begin(self) -> None:
        self._round = 0
        self._weights = np.zeros(self._m)
        self._seen = np.zeros((self._m, self._history))  # clients' accuracies, the last column the last round's
        self._earned = np.zeros(self._setting.rounds)  # the aggregate's, likewise
        self._models: Network | None = None

    @property
    def state(self) -> FloatArray:
        """The round, the last weights, the clients' last accuracies and the aggregate's in the last rounds."""
        return np.concatenate([[float(self._round)], self._weights, self._seen[:, -1], self._earned])

    def present(self) -> Vector:
        """1 for each client of the task, 0 for one that is absent."""
        return tuple(np.isin(np.arange(self._m), self._there).astype(float).tolist())

    def reset(self, rng: np.random.Generator) -> Float32Array:
        """A new model, which the clients train for the first time."""
        self._begin()
        s = self._setting
        self._train_clients(initial_network(rng, n_positions(s.side, s.stride), s.filters), rng)
        return self._observation()

    def step(self, action: Vector, rng: np.random.Generator) -> tuple[Float32Array, float, bool]:
        """Average the clients' models by these weights; they go on from there."""
        assert self._models is not None
        self._weights = np.array(action)
        aggregate = average(self._models, self._weights[self._there])
        accuracy = self._accuracy(aggregate)
        self._round += 1
        self._earned = np.append(self._earned[1:], accuracy)
        self._train_clients(aggregate, rng)
        return self._observation(), accuracy, False

    def _accuracy(self, aggregate: Network) -> float:
        n = self._setting.evaluation_images
        start, stop = (n, len(self._test.labels)) if self._final else (0, n)
        return float(self._test.accuracies(Network(*(part[None] for part in aggregate)), start, stop)[0])

    def _train_clients(self, aggregate: Network, rng: np.random.Generator) -> None:
        self._models = trained(aggregate, self._batches(rng), self._setting.client_learning_rate)
        found = np.zeros(self._m)
        found[self._there] = self._test.accuracies(self._models, 0, self._setting.observed_images)
        self._seen = np.concatenate([self._seen[:, 1:], found[:, None]], axis=1)

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[Float32Array, IntArray]]:
        """Each client goes through its images in random order, and through them again where they don't suffice."""
        s, n = self._setting, self._held.shape[1]
        per_pass = n // s.batch_size
        for i in range(s.local_steps):
            if i % per_pass == 0:
                order = rng.permuted(self._held, axis=1)
            start = i % per_pass * s.batch_size
            rows = order[:, start : start + s.batch_size]
            yield self._train.patches(rows), self._train.labels[rows]

    def _observation(self) -> Float32Array:
        there = np.array(self.present())
        return np.concatenate([self._seen, there[:, None]], axis=1).astype(np.float32).reshape(-1)

    def _shapes(self) -> list[tuple[int, ...]]:
        s, n = self._setting, len(self._there)
        model = initial_network(np.random.default_rng(0), n_positions(s.side, s.stride), s.filters)
        return [(n, *part.shape) for part in model]

    def snapshot(self) -> dict[str, Any]:
        """Arrays and numbers; what clients hold follows from the task."""
        return {
            "round": self._round,
            "weights": self._weights,
            "seen": self._seen,
            "earned": self._earned,
            "models": None if self._models is None else tuple(self._models),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from there; raises `ValueError` where arrays have other shapes than here."""
        models, own = snapshot["models"], self.snapshot()
        for name in ("weights", "seen", "earned"):
            if np.shape(snapshot[name]) != np.shape(own[name]):
                raise ValueError(f"`{name}` must have shape {np.shape(own[name])}. Received {np.shape(snapshot[name])}")
        shapes = self._shapes()
        if models is not None and [np.shape(part) for part in models] != shapes:
            raise ValueError(f"`models` must have shapes {shapes}. Received {[np.shape(part) for part in models]}")
        self._round, self._weights = snapshot["round"], snapshot["weights"]
        self._seen, self._earned = snapshot["seen"], snapshot["earned"]
        self._models = None if models is None else Network(*models)
