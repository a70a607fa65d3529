"""Where a task's policy should go, and how sure that is: linear systems to which every trajectory adds its part.

Multi-task methods such as PG-ELLA fit shared structure to operating points. Everything is batched over tasks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np

from lifelong_gym.agents.linear.sampling import STATISTICS
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import SAME

RIDGE = 1e-12  # relative to the mean diagonal: what no trajectory says anything about stays as it is
SILENT = SAME**2  # an eigenvalue of sums of squares
ROUNDING = 1e-10  # relative to the largest eigenvalue: by which one may be too small without more than rounding


class OperatingPoint(NamedTuple):
    """The maximiser and the curvature of each task's local model of its objective.

    Attributes:
        target: theta~, shape (n_tasks, d).
        curvature: H, symmetric, positive and scaled to trace d, so that no task outweighs another; (n_tasks, d, d).
    """

    target: FloatArray
    curvature: FloatArray


class Equations(NamedTuple):
    """Sums over trajectories: each task's linear system ``A x = b``, and its curvature.

    Attributes:
        matrix: A, shape (n_tasks, k, k).
        vector: b, shape (n_tasks, k).
        curvature: H, shape (n_tasks, d, d); the matrix itself where they are the same.
        weight: H divided by it is the curvature of one living step, shape (n_tasks,).
    """

    matrix: FloatArray
    vector: FloatArray
    curvature: FloatArray
    weight: FloatArray


class Pool:
    """How sums over a task's trajectories are taken; here all trajectories are in one place.

    Attributes:
        sends: whether messages are sent for that, so that all tasks' sums had better be taken at once.
    """

    sends: ClassVar[bool] = False

    def total(self, values: FloatArray) -> FloatArray:
        """The sum of ``values``, shape (n_tasks, n_trajectories, ...), over trajectories, whose axis stays."""
        total: FloatArray = values.sum(axis=1, keepdims=True)
        return total

    def gathered(self, values: FloatArray) -> FloatArray:
        """Values of all trajectories where every one of them is known."""
        return values


ONE_PLACE = Pool()


def shared_sum(values: FloatArray, share: FloatArray | None) -> FloatArray:
    """The sum over trajectories of ``values``, (n_tasks, n_trajectories, ...), of which each counts ``share`` times."""
    total: FloatArray = values.sum(axis=1) if share is None else np.einsum("ni,ni...->n...", share, values)
    return total


def fisher_information(statistics: RolloutStatistics, share: FloatArray | None) -> FloatArray:
    """Summed over trajectories, (n_tasks, d, d); nothing of that size is formed for each."""
    packed = shared_sum(statistics.features_squared, share)[:, None]
    information: FloatArray = replace(statistics, features_squared=packed).fisher_matrix()[:, 0]
    return information


class Silence(NamedTuple):
    """What positive semidefinite matrices A say nothing about.

    That is told by eigenvalues, each unknown in such units that A's diagonal is 1: smaller than `SILENT`.

    Attributes:
        at: indices of the matrices that say nothing about some directions, shape (n_silent,).
        unit: of the unknowns of these, shape (n_silent, k).
        heard: projector on the other directions, in these units, shape (n_silent, k, k).
    """

    at: IntArray
    unit: FloatArray
    heard: FloatArray

    @classmethod
    def of(cls, matrix: FloatArray) -> Silence:
        """That of matrices (n, k, k)."""
        diagonal = np.einsum("nkk->nk", matrix)
        unit = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        scaled = matrix / (unit[:, :, None] * unit[:, None, :])
        scaled += (diagonal <= 0)[:, :, None] * np.eye(matrix.shape[-1])  # alone, and 0 without rounding
        at = np.flatnonzero(np.linalg.eigvalsh(scaled)[:, 0] < SILENT)
        values, vectors = np.linalg.eigh(scaled[at])
        return cls(at, unit[at], (vectors * (values >= SILENT)[:, None]) @ vectors.transpose(0, 2, 1))

    def taken_from(self, solution: FloatArray) -> FloatArray:
        """Solutions of ``A x = b``, (..., n, k), without what rounding has put into those directions."""
        if len(self.at) == 0:
            return solution
        clean = solution.copy()
        own = self.unit * solution[..., self.at, :]
        clean[..., self.at, :] = (self.heard @ own[..., None])[..., 0] / self.unit
        return clean

    def filled(self, matrix: FloatArray) -> FloatArray:
        """The matrices, (n, k, k), as stiff in those directions as in others."""
        filled = matrix.copy()
        between = self.unit[:, :, None] * self.unit[:, None, :]
        filled[self.at] += between * (np.eye(matrix.shape[-1]) - self.heard)
        return filled


def solved(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Solutions of ``A x = b``, shape (n, k); 0 in directions that A says nothing about."""
    solution = np.linalg.solve(regularised(matrix), vector[..., None])[..., 0]
    return Silence.of(matrix).taken_from(np.asarray(solution, np.float64))


def regularised(matrix: FloatArray, ridge: float = RIDGE) -> FloatArray:
    """Positive definite matrices from positive semidefinite ones, shape (..., k, k)."""
    k = matrix.shape[-1]
    diagonal = np.trace(matrix, axis1=-2, axis2=-1) / k
    return matrix + ridge * np.where(diagonal > 0, diagonal, 1.0)[..., None, None] * np.eye(k)


def with_eigenvalues_of_at_least(least: float, matrix: FloatArray) -> FloatArray:
    """Symmetric matrices, shape (n, k, k), as they are known to be: no eigenvalue is below ``least``.

    One that is below tells how wrong its matrix is at least, and no smaller eigenvalue of that can be trusted: those
    within the error of ``least`` are raised to the error. Matrices that are right but for rounding stay as they are.
    """
    values = np.linalg.eigvalsh(matrix)
    error = least - values[:, 0]
    wrong = np.flatnonzero(error > ROUNDING * np.abs(values).max(axis=1, initial=0.0))
    if len(wrong) == 0:
        return matrix
    values, vectors = np.linalg.eigh(matrix[wrong])
    raised = np.maximum(values, least + error[wrong, None])
    mended = matrix.copy()
    mended[wrong] = (vectors * raised[:, None]) @ vectors.transpose(0, 2, 1)
    return mended


def trace_normalised(curvature: FloatArray) -> FloatArray:
    """``d H / tr H`` of each task; the identity where H is zero."""
    d = curvature.shape[-1]
    trace = np.trace(curvature, axis1=1, axis2=2)
    zero = trace <= 0
    scaled: FloatArray = curvature * d / np.where(zero, 1.0, trace)[:, None, None]
    scaled[zero] = np.eye(d)
    return scaled


def capped(delta: FloatArray, fisher: FloatArray, max_kl: float) -> FloatArray:
    """Steps cut to ``delta' F delta / 2 <= max_kl``, with F the Fisher information of a living step, (n, d, d)."""
    kl = 0.5 * np.einsum("ni,nij,nj->n", delta, fisher, delta)
    shorter: FloatArray = np.sqrt(max_kl / np.maximum(kl, max_kl))[:, None] * delta
    return shorter


def pooled(statistics: RolloutStatistics) -> RolloutStatistics:
    """All trajectories as if of one task, their returns compared with those of their own task."""
    s = statistics
    relative = replace(s, returns=s.returns - s.returns.mean(axis=1, keepdims=True))
    flat = {name: getattr(relative, name) for name in STATISTICS}
    return replace(s, **{name: array.reshape(1, -1, *array.shape[2:]) for name, array in flat.items()})
