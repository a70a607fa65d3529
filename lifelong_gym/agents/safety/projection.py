"""Projections that keep policies ``theta_t = a_t + L s_t`` of many tasks safe.

Every task's policies must obey ``A_t theta <= b_t``, and the basis ``p I <= L'L <= q I``. The projection clips the
singular values of L, then moves the code s_t of each task that the new L takes out of its safe set: to the nearest
code inside, by a quadratic program. It last draws codes towards 0, that is, policies towards their anchors a_t, until
no order of summation can make ``A @ (a + L @ s) <= b`` false. As anchors are strictly inside, that always ends.

The result is feasible, but not the nearest pair of L and codes: that problem isn't convex.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.contract.checks import number
from lifelong_gym.agents.safety.constraints import PolicyConstraints, rounding
from lifelong_gym.agents.safety.nearest import nearest, times
from lifelong_gym.errors import ProjectionError, integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import SAME, completed

ALL = slice(None)
WITHIN = 1e-12  # by which singular values may miss their bounds, relatively, as those of a clipped basis do
SHRINK = 16.0 ** np.arange(13) * 1e-15  # shares of its way to the anchor that a policy tries, then all of it


@dataclass(frozen=True)
class SpectralBounds:
    """``p I <= L'L <= q I``: the columns of a basis are neither negligible nor overwhelming.

    Args:
        p: positive.
        q: at least p.

    Raises:
        ValueError: anything else.
    """

    p: float = 0.1
    q: float = 10.0

    def __post_init__(self) -> None:
        for name in ("p", "q"):
            object.__setattr__(self, name, number(name, getattr(self, name), open_at_low=True))
        if self.p > self.q:
            raise ValueError(f"`p` must be at most `q`. Received {self.p} and {self.q}")

    def clip(self, basis: FloatArray) -> FloatArray:
        """The nearest basis within the bounds in the Frobenius norm; the same one if it is within.

        Where L is of lower rank, several are as near: the axes in order, as far as they add any, fill up its columns'
        span and that of its rows.

        Args:
            basis: L, shape (d, k), with k at most d.
        """
        left, size, right = np.linalg.svd(basis, full_matrices=False)
        clipped = np.clip(size, np.sqrt(self.p), np.sqrt(self.q))
        if np.allclose(clipped, size, rtol=WITHIN, atol=0.0):
            return basis.copy()
        rank = np.count_nonzero(size > SAME * size.max())
        if rank < len(size):
            left, right = completed(left[:, :rank], len(size)), completed(right[:rank].T, len(size)).T
        return np.asarray((left * clipped) @ right, np.float64)


class Projection(NamedTuple):
    """Safe parameters, and what it took.

    Attributes:
        basis: L, shape (d, k).
        codes: s, shape (n_tasks, k); of unregistered tasks as they were.
        policies: ``a + L s`` as deployed, shape (n_tasks, d).
        solved: which tasks' codes a quadratic program moved, shape (n_tasks,).
        residual: largest of the programs' optimality conditions.
        shrink: largest share of its way to the anchor that a policy went for safety in floating point.
    """

    basis: FloatArray
    codes: FloatArray
    policies: FloatArray
    solved: npt.NDArray[np.bool_]
    residual: float
    shrink: float


class SafeSets:
    """The safe sets of tasks, stacked, and an anchor strictly inside each.

    Args:
        n_tasks: number of tasks, all unregistered.
        d: number of policy parameters.

    Attributes:
        matrix: A, shape (n_tasks, c, d), filled up with zero rows.
        bound: b, shape (n_tasks, c), filled up with ones.
        anchors: a, shape (n_tasks, d), 0 where unregistered.
        registered: shape (n_tasks,).
    """

    def __init__(self, n_tasks: int, d: int) -> None:
        """See the class."""
        n = integer("n_tasks", n_tasks)
        self.matrix = np.zeros((n, 0, integer("d", d)))
        self.bound = np.ones((n, 0))
        self.anchors = np.zeros((n, d))
        self.registered = np.zeros(n, bool)

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All there is to save; see `from_arrays`."""
        return {name: getattr(self, name) for name in ("matrix", "bound", "anchors", "registered")}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> Self:
        """What `arrays` gave."""
        n, _, d = arrays["matrix"].shape
        sets = cls(n, d)
        for name in sets.arrays:
            setattr(sets, name, arrays[name].copy())
        return sets

    def grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all, the new ones unregistered."""
        n = integer("n_tasks", n_tasks, len(self.registered)) - len(self.registered)
        self.matrix = np.pad(self.matrix, ((0, n), (0, 0), (0, 0)))
        self.bound = np.pad(self.bound, ((0, n), (0, 0)), constant_values=1.0)
        self.anchors = np.pad(self.anchors, ((0, n), (0, 0)))
        self.registered = np.pad(self.registered, (0, n))

    def register(self, task: int, constraints: PolicyConstraints, anchor: FloatArray | None = None) -> None:
        """Add a task, or replace its constraints. If that raises, everything is as before.

        Args:
            task: its index.
            constraints: its safe set.
            anchor: strictly inside, shape (d,); default: the Chebyshev centre.

        Raises:
            InfeasibleConstraintsError: nothing is strictly inside.
            ValueError: no such task, wrong shapes, a singular matrix, a set too wide to have a centre, or an anchor not
                strictly inside.
        """
        task = integer("task", task, 0, len(self.registered) - 1)
        d = self.anchors.shape[1]
        if constraints.d != d:
            raise ValueError(f"`constraints` of task {task} must be on {d} parameters. Received {constraints.d}")
        at = constraints.centre(task)[0] if anchor is None else self._checked_anchor(task, constraints, anchor)
        c = len(constraints.bound)
        more = max(0, c - self.bound.shape[1])
        self.matrix = np.pad(self.matrix, ((0, 0), (0, more), (0, 0)))
        self.bound = np.pad(self.bound, ((0, 0), (0, more)), constant_values=1.0)
        self.matrix[task], self.bound[task] = 0.0, 1.0
        self.matrix[task, :c], self.bound[task, :c] = constraints.matrix, constraints.bound
        self.anchors[task], self.registered[task] = at, True

    def _checked_anchor(self, task: int, constraints: PolicyConstraints, anchor: FloatArray) -> FloatArray:
        at = np.array(anchor, np.float64)
        if at.shape != self.anchors.shape[1:] or not constraints.holds_strictly(at):
            constraints.centre(task)  # says so where nothing is inside
            d = self.anchors.shape[1]
            raise ValueError(f"`anchor` of task {task} must be {d} numbers strictly inside its safe set. Received {at}")
        constraints.check_regular(task)
        return at

    def policies(self, basis: FloatArray, codes: FloatArray) -> FloatArray:
        """``a + L s`` of all tasks, shape (n_tasks, d)."""
        return np.asarray(self.anchors + codes @ basis.T, np.float64)

    def holds(self, policies: FloatArray) -> npt.NDArray[np.bool_]:
        """Of which tasks ``A theta <= b`` holds in floating point without tolerance, for theta (n_tasks, d).

        Of an unregistered task nothing is known: it doesn't.
        """
        met = times(self.matrix, policies) <= self.bound
        return np.asarray(met.all(axis=1) & self.registered)

    def holds_strictly(
        self, basis: FloatArray, codes: FloatArray, tasks: IntArray | slice = ALL
    ) -> npt.NDArray[np.bool_]:
        """Of which of these tasks ``A (a + L s) <= b`` holds however it is computed, if they are registered: (n,)."""
        matrix, anchors, own = self.matrix[tasks], self.anchors[tasks], codes[tasks]
        size = np.abs(anchors) + np.abs(own) @ np.abs(basis).T
        values = times(matrix, anchors + own @ basis.T)
        met = values + rounding(matrix, size, basis.shape[1] + 1) <= self.bound[tasks]
        return np.asarray(met.all(axis=1) & self.registered[tasks])

    def project(
        self, basis: FloatArray, codes: FloatArray, bounds: SpectralBounds, metric: FloatArray | None = None
    ) -> Projection:
        """Safe parameters near the given ones, for all registered tasks.

        Args:
            basis: L, shape (d, k); brought within ``bounds`` first.
            codes: s, shape (n_tasks, k).
            bounds: on the basis.
            metric: in which codes are near, positive definite, shape (n_tasks, k, k); default: the Euclidean one.

        Raises:
            ProjectionError: parameters that are not finite, or a program that failed. The caller's own parameters
                are as before.
        """
        self._check(basis, codes)
        clipped = bounds.clip(basis)
        inside, solved, residual = self._nearest_codes(clipped, codes, metric)
        drawn, shrink = self._drawn_inside(clipped, inside)
        policies = self.policies(clipped, drawn)
        if not (self.holds(policies) | ~self.registered).all():  # pragma: no cover - `holds_strictly` implies it
            raise ProjectionError("a projected policy violates its constraints")
        return Projection(clipped, drawn, policies, solved, residual, shrink)

    def project_policies(self, thetas: FloatArray, metric: FloatArray | None = None) -> Projection:
        """The nearest safe policies of all registered tasks, each by itself: what a learner without a basis needs.

        Args:
            thetas: shape (n_tasks, d).
            metric: in which they are near, positive definite, shape (n_tasks, d, d); default: the Euclidean one.

        Returns:
            A projection whose basis is the identity.

        Raises:
            ProjectionError: as `project`.
        """
        return self.project(np.eye(self.anchors.shape[1]), thetas - self.anchors, SpectralBounds(1.0, 1.0), metric)

    def _check(self, basis: FloatArray, codes: FloatArray) -> None:
        n, d = self.anchors.shape
        k = basis.shape[1] if basis.ndim == 2 else 0
        if basis.shape != (d, k) or not 1 <= k <= d:
            raise ValueError(f"`basis` must have shape ({d}, k) with k from 1 to {d}. Received {basis.shape}")
        if codes.shape != (n, k):
            raise ValueError(f"`codes` must have shape ({n}, {k}). Received {codes.shape}")
        if not (np.isfinite(basis).all() and np.isfinite(codes).all()):
            raise ProjectionError("the parameters to project are not finite")

    def _nearest_codes(
        self, basis: FloatArray, codes: FloatArray, metric: FloatArray | None
    ) -> tuple[FloatArray, npt.NDArray[np.bool_], float]:
        rows = self.matrix @ basis
        room = self.bound - times(self.matrix, self.anchors)
        outside = (times(rows, codes) > room).any(axis=1) & self.registered
        inside = codes.copy()
        if not outside.any():
            return inside, outside, 0.0
        found = nearest(codes[outside], rows[outside], room[outside], None if metric is None else metric[outside])
        inside[outside] = found.points
        return inside, outside, float(found.residuals.max())

    def _drawn_inside(self, basis: FloatArray, codes: FloatArray) -> tuple[FloatArray, float]:
        """Codes drawn towards 0 until policies are safe whatever rounding does, and the largest share it took."""
        drawn, largest = codes.copy(), 0.0
        unsafe = np.flatnonzero(~self.holds_strictly(basis, drawn) & self.registered)
        for share in (*SHRINK[SHRINK < 1], 1.0):
            if not len(unsafe):
                break
            drawn[unsafe], largest = (1.0 - share) * codes[unsafe], float(share)
            unsafe = unsafe[~self.holds_strictly(basis, drawn, unsafe)]
        return drawn, largest
