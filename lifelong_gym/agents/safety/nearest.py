"""Points of polytopes nearest to targets: many small quadratic programs, each with the proof that it is solved."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize

from lifelong_gym.errors import ProjectionError
from lifelong_gym.numerics.arrays import FloatArray

TOLERANCE = 1e-9  # of optimality conditions, relative to the distance moved


class Nearest(NamedTuple):
    """Points of polytopes nearest to targets, with the proof that they are.

    Attributes:
        points: shape (n, k).
        multipliers: of the constraints, not negative, shape (n, c), in units of the normalised problem.
        residuals: by how much the optimality conditions fail, relative to the distance moved, shape (n,).
    """

    points: FloatArray
    multipliers: FloatArray
    residuals: FloatArray


def nearest(targets: FloatArray, rows: FloatArray, room: FloatArray, metric: FloatArray | None = None) -> Nearest:
    """The points s that minimise ``(s - target)' M (s - target)`` subject to ``rows s <= room``, each exactly.

    Lawson and Hanson (1974): a least-distance problem is the residual of a non-negative least-squares problem.

    Args:
        targets: shape (n, k).
        rows: shape (n, c, k); zero rows are allowed where there is room.
        room: shape (n, c).
        metric: M, positive definite, shape (n, k, k); default: the identity.

    Raises:
        ProjectionError: the optimality conditions hold to less than `TOLERANCE`, as when there is no point at all.
    """
    root = None if metric is None else _root(metric)
    whitened = rows if root is None else np.linalg.solve(root, rows.transpose(0, 2, 1)).transpose(0, 2, 1)
    length = np.linalg.norm(whitened, axis=2)
    length[length == 0] = 1.0
    depth = (times(rows, targets) - room) / length
    farthest = np.maximum(depth.max(axis=1), 0.0)
    outside = np.flatnonzero(farthest)
    program = LeastDistance(-(whitened / length[:, :, None])[outside], depth[outside] / farthest[outside, None])
    steps, multipliers, residuals = program.solved()
    if not (residuals <= TOLERANCE).all():
        worst = residuals[~(residuals <= TOLERANCE)][0]
        raise ProjectionError(f"the projection's optimality conditions hold to {worst:.1e} only, not {TOLERANCE:g}")
    moved = farthest[outside, None] * steps
    if root is not None:
        moved = np.linalg.solve(root[outside].transpose(0, 2, 1), moved[:, :, None])[:, :, 0]
    found = Nearest(targets.copy(), np.zeros(room.shape), np.zeros(len(room)))
    found.points[outside] += moved
    found.multipliers[outside], found.residuals[outside] = multipliers, residuals
    return found


def _root(metric: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.cholesky(metric), np.float64)
    except np.linalg.LinAlgError:
        raise ProjectionError("a metric is not positive definite") from None


class LeastDistance(NamedTuple):
    """Least-distance problems: the shortest y with ``G y >= h``, where the largest h is 1.

    Attributes:
        normals: G, rows of length 1 or 0, shape (n, c, k).
        depth: h, shape (n, c).
    """

    normals: FloatArray
    depth: FloatArray

    def solved(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The y (n, k), the multipliers (n, c), and residuals of the optimality conditions (n,)."""
        n, c, k = self.normals.shape
        columns = np.ascontiguousarray(
            np.concatenate([self.normals, self.depth[:, :, None]], axis=2).transpose(0, 2, 1)
        )
        weights, wanted = np.zeros((n, c)), np.r_[np.zeros(k), 1.0]
        for i in range(n):
            with contextlib.suppress(RuntimeError):  # too many passes: the residual will tell
                weights[i] = scipy.optimize.nnls(columns[i], wanted)[0]
        rest = 1.0 - np.einsum("nc,nc->n", self.depth, weights)
        multipliers = weights / np.where(rest > 0, rest, 1.0)[:, None]
        steps = _transposed_times(self.normals, multipliers)
        residuals = np.where(rest > 0, self.residuals(steps, multipliers), np.inf)
        for i in np.flatnonzero(residuals > TOLERANCE).tolist():
            steps[i], multipliers[i] = self._on_active(i, weights[i] > 0)
        return steps, multipliers, self.residuals(steps, multipliers)

    def _on_active(self, i: int, active: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """The shortest y on these constraints' boundaries: where y is long, `rest` has lost its digits."""
        normals, multipliers = self.normals[i, active], np.zeros(self.depth.shape[1])
        step = np.linalg.lstsq(normals, self.depth[i, active], rcond=None)[0]
        multipliers[active] = np.linalg.lstsq(normals.T, step, rcond=None)[0]
        return step, multipliers

    def residuals(self, steps: FloatArray, multipliers: FloatArray) -> FloatArray:
        """Of primal and dual feasibility, stationarity and the duality gap, relative to y: (n,)."""
        size = np.maximum(1.0, np.linalg.norm(steps, axis=1))
        slack = times(self.normals, steps) - self.depth
        primal, dual = np.maximum(-slack, 0.0).max(axis=1), np.maximum(-multipliers, 0.0).max(axis=1)
        stationary = np.linalg.norm(steps - _transposed_times(self.normals, multipliers), axis=1)
        gap = np.abs(multipliers * slack).sum(axis=1)
        worst: FloatArray = np.maximum(np.maximum(primal, np.maximum(dual, stationary)) / size, gap / size**2)
        return worst


def times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """``A_i x_i`` for matrices (n, c, k) and vectors (n, k): (n, c)."""
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0], np.float64)


def _transposed_times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    return np.asarray((vectors[:, None, :] @ matrices)[:, 0, :], np.float64)
