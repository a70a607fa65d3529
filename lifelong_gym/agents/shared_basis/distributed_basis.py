"""A shared basis in many places: every node has its own tasks and its own copy of L (Zhan et al. 2017, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch as th

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, count, positive
from lifelong_gym.agents.linear.operating_point import OperatingPoint, Silence, regularised
from lifelong_gym.agents.shared_basis.admm import Consensus, agreement_error, distance
from lifelong_gym.agents.shared_basis.basis import (
    MOST_DIRECT,
    SharedBasis,
    columns,
    conjugate_gradients,
    drawn,
    sums,
    used,
)
from lifelong_gym.agents.shared_basis.shards import Shards, counts
from lifelong_gym.numerics.arrays import FloatArray, IntArray

CONSENSUS = ("admm", "all_reduce")
METRICS = ("whitened", "identity")
SAFETY = 1e-6  # added to P relative to its mean diagonal, as it must be positive definite


@dataclass(frozen=True)
class ConsensusSettings:
    """How nodes come to a common solution: by ADMM with neighbours, or by sums over a spanning tree.

    Attributes:
        consensus: ``"admm"``, or ``"all_reduce"``, which is exact and, for small policies and bases, takes fewer bytes
            and rounds.
        admm_iterations: K.
        penalty: rho, in units of the nodes' mean matrix.
        metric: P of the ADMM: ``"whitened"``, the nodes' mean matrix, or ``"identity"``, the paper's, scaled to the
            same trace: with it, badly scaled problems take thousands of iterations.
    """

    consensus: str = "admm"
    admm_iterations: int = 30
    penalty: float = 0.3
    metric: str = "whitened"

    def __post_init__(self) -> None:
        consensus, metric = partial(choice, among=CONSENSUS), partial(choice, among=METRICS)
        check_fields(self, consensus=consensus, admm_iterations=count, penalty=positive, metric=metric)

    def solve(
        self,
        shards: Shards,
        matrix: FloatArray,
        vector: FloatArray,
        total: FloatArray,
        start: FloatArray | None = None,
    ) -> FloatArray:
        """Each node's solution of ``sum_i A_i x = sum_i b_i``, (n_nodes, n, k).

        Args:
            shards: the nodes.
            matrix: A_i, (n_nodes, n, k, k).
            vector: b_i, (n_nodes, n, k).
            total: the sum of A_i, known to all, (n, k, k).
            start: each node's first guess.
        """
        if self.consensus == "all_reduce":
            right = shards.reduced(vector)
            solution = np.linalg.solve(regularised(total), right[..., None])[..., 0]
            return np.broadcast_to(solution, (shards.n_nodes, *solution.shape))
        metric = self.metric_of(total, shards.n_nodes)
        return Consensus(shards.channel, matrix, vector, metric, self.penalty, start).iterate(self.admm_iterations)

    def metric_of(self, total: FloatArray, n_nodes: int) -> FloatArray:
        """P, (n, k, k), from the sum of all nodes' matrices."""
        mean = regularised(Silence.of(total).filled(total) / n_nodes, SAFETY)
        if self.metric == "whitened":
            return mean
        k = mean.shape[-1]
        identity: FloatArray = np.trace(mean, axis1=1, axis2=2)[:, None, None] / k * np.eye(k)
        return identity


class DistributedBasis(SharedBasis):
    """A `SharedBasis` whose nodes agree on L by messages alone.

    A node keeps codes, targets and curvatures of its own tasks and has its own L. Buffers hold all nodes' parts, for
    they are saved together; ``bases`` are the nodes' L, shape (n_nodes, d, n_columns), and ``basis`` is their mean.

    Args:
        n_nodes: number of nodes.
        n_tasks: see `SharedBasis`.
        d: see `SharedBasis`.
        n_basis: see `SharedBasis`.
        sparsity: see `SharedBasis`.
        ridge: see `SharedBasis`.
        mean_basis: see `SharedBasis`.

    Attributes:
        errors: of the last solution: the nodes' disagreement, and their distance to the solution of all together where
            that is found directly.
    """

    followers: ClassVar[tuple[str, ...]] = ("gram", "moment", "basis")

    def __init__(
        self, n_nodes: int, n_tasks: int, d: int, n_basis: int, sparsity: float, ridge: float, mean_basis: bool = False
    ) -> None:
        """Nothing has been observed yet."""
        super().__init__(n_tasks, d, n_basis, sparsity, ridge, mean_basis, keeps_sums=False)
        shape = n_nodes, *self.array("basis").shape
        self.register_buffer("bases", th.zeros(shape, dtype=th.float64))
        self.register_buffer("owner", th.arange(n_tasks) % n_nodes)
        self.errors: dict[str, float] = {}

    @property
    def owners(self) -> IntArray:
        """The node that keeps each task's code, shape (n_tasks,), to be written to."""
        owners: IntArray = self.get_buffer("owner").numpy()
        return owners

    def grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all; new ones go to the nodes in turns."""
        super().grow(n_tasks)
        old, n_nodes = self.get_buffer("owner"), len(self.get_buffer("bases"))
        self.register_buffer("owner", th.cat([old, th.arange(len(old), n_tasks) % n_nodes]))

    def settle(self) -> None:
        """The mean follows from the nodes' own L."""
        super().settle()
        self.array("basis")[:] = self.array("bases").mean(axis=0)

    def owned(self) -> list[IntArray]:
        """The tasks observed so far, by node."""
        tasks = np.flatnonzero(self.observed)
        return [tasks[self.owners[tasks] == node] for node in range(len(self.array("bases")))]

    def agree_on_first(self, shards: Shards, tasks: IntArray, targets: FloatArray, rng: np.random.Generator) -> None:
        """Unless there is a basis: from the first targets, which nodes tell each other."""
        if self.is_empty:
            self.begin(shards.told(self.owners[tasks], targets), rng)
            self.array("bases")[:] = self.array("basis")

    def encode(self, tasks: IntArray, point: OperatingPoint) -> None:
        """New codes for these tasks, each by its owner with the owner's L."""
        owners = self.owners[tasks]
        for node in np.unique(owners):
            own = owners == node
            part = OperatingPoint(point.target[own], point.curvature[own])
            codes = self.codes_in(self.array("bases")[node], tasks[own], part)
            self.store(tasks[own], codes, part)

    def policies(self, tasks: IntArray) -> FloatArray:
        """``L_i s_j`` of the given tasks with their owner i, as whoever sees all nodes knows them."""
        policies: FloatArray = np.einsum("ndk,nk->nd", self.array("bases")[self.owners[tasks]], self.codes_of(tasks))
        return policies

    def told_policies(self, shards: Shards) -> FloatArray:
        """``L_i s_j`` of all tasks with their owner i, known to all; not observed yet: with the mean code."""
        observed = self.observed
        own = self.owners
        codes = self.array("codes").copy()
        known = np.zeros((shards.n_nodes, codes.shape[1] + 1))
        np.add.at(known, own[observed], np.column_stack([codes, np.ones(len(codes))])[observed])
        *total, n = shards.reduced(known)
        if counts(n) > 0:
            codes[~observed] = np.array(total) / counts(n)
        return shards.told(own, np.einsum("ndk,nk->nd", self.array("bases")[own], codes))

    def agree(self, shards: Shards, settings: ConsensusSettings, rng: np.random.Generator) -> None:
        """The best basis for all nodes' codes as they are; columns that nobody uses are drawn anew."""
        owned = self.owned()
        if self.array("basis").size > MOST_DIRECT:
            n_users = self._by_conjugate_gradients(shards, owned)
        else:
            n_users = self._by_systems(shards, settings, owned)
        unused = n_users == 0.0
        self.array("bases")[:, :, unused] = drawn(len(self.array("basis")), int(unused.sum()), rng)
        self.array("basis")[:] = self.array("bases").mean(axis=0)

    def _known(self, shards: Shards, owned: list[IntArray]) -> tuple[float, FloatArray]:
        """Number of tasks observed so far, and how many of them use each column."""
        codes = self.array("codes")
        parts = [np.append(np.count_nonzero(used(codes[tasks]), axis=0), len(tasks)) for tasks in owned]
        *n_users, n = shards.reduced(np.array(parts, np.float64))
        return float(counts(n, least=1.0)), counts(np.array(n_users))

    def _by_systems(self, shards: Shards, settings: ConsensusSettings, owned: list[IntArray]) -> FloatArray:
        """Each node forms its own part of the system."""
        bases = self.array("bases")
        n, n_users = self._known(shards, owned)
        parts = [sums(self.array("codes")[tasks], self.points(tasks)) for tasks in owned]
        matrix, vector = np.array([part[0] for part in parts])[:, None] / n, np.array([part[1] for part in parts]) / n
        matrix += self._ridge / shards.n_nodes * np.eye(matrix.shape[-1])
        total = shards.reduced_symmetric(matrix, least=self._ridge)
        start = bases.transpose(0, 2, 1).reshape(len(bases), 1, -1)
        x = settings.solve(shards, matrix, vector[:, None], total, start)
        right = vector.sum(axis=0)
        self.errors = {
            "agreement_error": agreement_error(x),
            "distance_to_central": distance(x, np.linalg.solve(total[0], right)),
        }
        bases[:] = [columns(row[0], bases.shape[1:]) for row in x]
        return n_users

    def _by_conjugate_gradients(self, shards: Shards, owned: list[IntArray]) -> FloatArray:
        """Nodes add up what an iteration needs; nobody forms the system."""
        n, n_users = self._known(shards, owned)
        codes, curvatures = self.array("codes"), self.array("curvatures")

        def product(basis: FloatArray) -> FloatArray:
            return shards.reduced(pulled(codes @ basis.T)) / n + self._ridge * basis

        def pulled(policies: FloatArray) -> FloatArray:
            own = [(curvatures[tasks] @ policies[tasks, :, None])[:, :, 0].T @ codes[tasks] for tasks in owned]
            return np.array(own)

        right = shards.reduced(pulled(self.array("targets"))) / n
        noise = shards.noise * np.sqrt(2 * shards.n_nodes * right.size) / n  # a sum's, one message an edge and way
        self.array("bases")[:] = conjugate_gradients(product, right, self.array("basis"), noise)
        self.errors = {"agreement_error": 0.0}
        return n_users
