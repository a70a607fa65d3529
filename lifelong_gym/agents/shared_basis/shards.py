"""Trajectories among the nodes of a channel: who runs which, and sums over all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from lifelong_gym.agents.contract.checks import finite
from lifelong_gym.agents.linear.operating_point import Pool, with_eigenvalues_of_at_least
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.wrappers import Channel


class Shards(Pool):
    """A task's trajectories split over nodes: trajectory j of the i-th task is run by worker ``(i + j) mod n_workers``.

    Args:
        channel: over which sums are taken, by `Channel.all_reduce`.
        workers: indices of the nodes that run trajectories; None: all. A server may only pass messages on.
    """

    sends: ClassVar[bool] = True

    def __init__(self, channel: Channel, workers: IntArray | None = None) -> None:
        """See the class."""
        self.channel = channel
        self.n_nodes = len(channel.nodes)
        self.workers = np.arange(self.n_nodes) if workers is None else workers

    def runs(self, tasks: IntArray, trajectory: int) -> IntArray:
        """Which node runs a trajectory of each task."""
        return self.workers[(tasks + trajectory) % len(self.workers)]

    def shares(self, n_tasks: int, n_trajectories: int) -> Iterator[FloatArray]:
        """Node by node, 1 for each trajectory it runs and 0 for the others, (n_tasks, n_trajectories)."""
        runs = np.column_stack([self.runs(np.arange(n_tasks), j) for j in range(n_trajectories)])
        return ((runs == node).astype(np.float64) for node in range(self.n_nodes))

    def parts(self, values: FloatArray) -> FloatArray:
        """Each node's sum over its own trajectories, (n_nodes, n_tasks, ...); values (n_tasks, n_trajectories, ...)."""
        parts = np.zeros((self.n_nodes, len(values), *values.shape[2:]))
        tasks = np.arange(len(values))
        for trajectory in range(values.shape[1]):
            parts[self.runs(tasks, trajectory), tasks] += values[:, trajectory]
        return parts

    def total(self, values: FloatArray) -> FloatArray:
        """Nodes add up what is theirs, and then each other's sums."""
        return self.reduced(self.parts(values))[:, None]

    def gathered(self, values: FloatArray) -> FloatArray:
        """Every node tells what it knows, in a table that is zero elsewhere."""
        tables = np.zeros((self.n_nodes, *values.shape))
        tasks = np.arange(len(values))
        for trajectory in range(values.shape[1]):
            tables[self.runs(tasks, trajectory), tasks, trajectory] = values[:, trajectory]
        return self.reduced(tables)

    def reduced(self, parts: FloatArray) -> FloatArray:
        """The sum over nodes, (...), of values (n_nodes, ...), as the first node knows it."""
        total: FloatArray = self.channel.all_reduce(finite("sums over nodes", parts))[0]
        return total

    @property
    def noise(self) -> float:
        """Standard deviation of what the channel adds to each number of a message."""
        return 0.0 if self.channel.faults is None else self.channel.faults.noise

    def reduced_symmetric(self, matrices: FloatArray, least: float = 0.0) -> FloatArray:
        """The sum over nodes of positive semidefinite matrices, (n_nodes, n, k, k), of which half is sent.

        Noise can make a sum indefinite. As a metric, that makes the problem of `Consensus` unbounded, and its iterates
        grow without bound; as a curvature, that of codes. So the sum is brought back to what is known of it.

        Args:
            matrices: of each node.
            least: no eigenvalue of the true sum is below.
        """
        k = matrices.shape[-1]
        i, j = np.triu_indices(k)
        packed = self.reduced(matrices[..., i, j])
        total = np.zeros((*packed.shape[:-1], k, k))
        total[..., i, j] = total[..., j, i] = packed
        return with_eigenvalues_of_at_least(least, total) if self.noise > 0 else total

    def told(self, owners: IntArray, values: FloatArray) -> FloatArray:
        """Values, (n, ...), of which each is known to one node, ``owners``, made known to all."""
        tables = np.zeros((self.n_nodes, *values.shape))
        tables[owners, np.arange(len(values))] = values
        return self.reduced(tables)


def counts(sums: FloatArray, least: float = 0.0) -> FloatArray:
    """Sums of counts as they are known to be, whatever noise there was: whole, and at least ``least``."""
    return np.maximum(np.rint(sums), least)
