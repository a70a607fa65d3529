"""Policies of many tasks as combinations of few: ``theta_j = L s_j``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch as th

from lifelong_gym.agents.operating_point import OperatingPoint
from lifelong_gym.tasks import FloatArray, IntArray

MOST_PASSES = 1000
ROUNDING = 1e-14


def lasso(basis: FloatArray, point: OperatingPoint, penalty: float, start: FloatArray) -> FloatArray:
    """Minimise ``|target - L s|^2_H + penalty |s|_1`` for each task.

    Coordinate descent on all tasks at once, until it has found a task's signs; these give the solution exactly.

    Args:
        basis: L, shape (d, n_basis).
        point: targets and curvatures of n tasks.
        penalty: mu_1.
        start: where to begin, shape (n, n_basis).

    Returns:
        Codes s, shape (n, n_basis).
    """
    weighted = point.curvature @ basis
    quadratic = np.einsum("dk,ndl->nkl", basis, weighted)
    linear = np.einsum("ndk,nd->nk", weighted, point.target)
    codes = start.copy()
    unsolved = np.arange(len(codes))
    for _ in range(MOST_PASSES):
        q, c = quadratic[unsolved], linear[unsolved]
        descended = _descend(q, c, penalty, codes[unsolved])
        exact, is_optimal = _with_signs(q, c, penalty, np.sign(descended))
        codes[unsolved] = np.where(is_optimal[:, None], exact, descended)
        unsolved = unsolved[~is_optimal]
        if len(unsolved) == 0:
            break
    return codes


def _descend(quadratic: FloatArray, linear: FloatArray, penalty: float, codes: FloatArray) -> FloatArray:
    """One pass over the coordinates."""
    for k in range(codes.shape[1]):
        scale = quadratic[:, k, k]
        residual = linear[:, k] - np.einsum("nl,nl->n", quadratic[:, k], codes) + scale * codes[:, k]
        shrunk = np.sign(residual) * np.maximum(np.abs(residual) - 0.5 * penalty, 0.0)
        codes[:, k] = np.divide(shrunk, scale, out=np.zeros_like(shrunk), where=scale > 0)
    return codes


def _with_signs(
    quadratic: FloatArray, linear: FloatArray, penalty: float, signs: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The stationary point among codes of the given signs (0: not used), and whether it is the minimum."""
    used = signs != 0
    one = np.eye(signs.shape[1])
    system = np.where(used[:, :, None] & used[:, None, :], quadratic, one * quadratic.max(initial=1.0))
    system += ROUNDING * system.max(axis=(1, 2), keepdims=True) * one  # or equal columns would be singular
    wanted = np.where(used, linear - 0.5 * penalty * signs, 0.0)
    codes = np.linalg.solve(system, wanted[:, :, None])[:, :, 0]
    pull = linear - (quadratic @ codes[:, :, None])[:, :, 0]
    allowed = 0.5 * penalty + ROUNDING * np.abs(linear).max(axis=1, keepdims=True, initial=1.0)
    fits = np.where(used, (np.sign(codes) == signs) | (penalty == 0.0), np.abs(pull) <= allowed)
    return codes, fits.all(axis=1)


class SharedBasis(th.nn.Module):
    """A basis L, each task's code s_j, and the sums from which L is computed in closed form.

    With ``l = vec L`` (columns stacked), L minimises ``1/T sum_j |target_j - L s_j|^2_{H_j} + ridge |L|^2``, so
    ``(A / T + ridge I) l = b / T`` with ``A = sum_j (s_j s_j') x H_j`` and ``b = sum_j s_j x (H_j target_j)`` over
    the T tasks observed so far. A task that is observed again replaces its own terms.

    Args:
        n_tasks: number of tasks.
        d: number of policy parameters.
        n_basis: columns of L.
        sparsity: mu_1, weight of ``|s|_1``.
        ridge: mu_2.
    """

    def __init__(self, n_tasks: int, d: int, n_basis: int, sparsity: float, ridge: float) -> None:
        """Nothing has been observed yet."""
        super().__init__()
        self._sparsity, self._ridge = sparsity, ridge
        shapes = {
            "basis": (d, n_basis),  # L
            "codes": (n_tasks, n_basis),  # s
            "targets": (n_tasks, d),
            "curvatures": (n_tasks, d, d),  # H; zero: not observed
            "gram": (n_basis * d, n_basis * d),  # A
            "moment": (n_basis * d,),  # b
        }
        for name, shape in shapes.items():
            self.register_buffer(name, th.zeros(shape, dtype=th.float64))

    def array(self, name: str) -> FloatArray:
        """A buffer as a NumPy array that shares its memory."""
        array: FloatArray = self.get_buffer(name).numpy()
        return array

    @property
    def is_empty(self) -> bool:
        """Whether there is no basis yet."""
        return not self.array("basis").any()

    @property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Which tasks have been observed, shape (n_tasks,)."""
        observed: npt.NDArray[np.bool_] = self.array("curvatures").any(axis=(1, 2))
        return observed

    def policies(self, tasks: IntArray) -> FloatArray:
        """``L s_j`` of the given tasks, shape (n, d); a task not observed yet has the mean code of those that were."""
        observed = self.observed
        codes = self.array("codes")[tasks]
        if observed.any():
            codes[~observed[tasks]] = self.array("codes")[observed].mean(axis=0)
        return codes @ self.array("basis").T

    def observe(self, tasks: IntArray, point: OperatingPoint, alternations: int, rng: np.random.Generator) -> None:
        """Learn from new operating points of some tasks: their codes and the basis, in turns.

        Args:
            tasks: which, shape (n,), all different.
            point: their operating points.
            alternations: how often codes and basis are improved.
            rng: draws columns that nothing uses.
        """
        if self.is_empty:
            self._begin(point.target, rng)
        for _ in range(alternations):
            self._replace(tasks, point)
            self._solve(rng)
        self._replace(tasks, point)

    def _begin(self, targets: FloatArray, rng: np.random.Generator) -> None:
        """The leading left singular vectors of the first targets."""
        left, _, _ = np.linalg.svd(targets.T, full_matrices=False)
        basis = self.array("basis")
        n = min(left.shape[1], basis.shape[1])
        basis[:, :n] = left[:, :n]
        self._redraw(rng)

    def _replace(self, tasks: IntArray, point: OperatingPoint) -> None:
        """New codes for these tasks, and their terms in A and b."""
        codes, targets, curvatures = (self.array(name) for name in ("codes", "targets", "curvatures"))
        new = lasso(self.array("basis"), point, self._sparsity, codes[tasks])
        self._add(-1.0, codes[tasks], OperatingPoint(targets[tasks], curvatures[tasks]))
        self._add(1.0, new, point)
        codes[tasks], targets[tasks], curvatures[tasks] = new, point.target, point.curvature

    def _add(self, sign: float, codes: FloatArray, point: OperatingPoint) -> None:
        n, p = codes.shape
        d = point.target.shape[1]
        outer = (codes[:, :, None] * codes[:, None, :]).reshape(n, p * p)
        sums = (outer.T @ point.curvature.reshape(n, d * d)).reshape(p, p, d, d)
        self.array("gram")[:] += sign * sums.transpose(0, 2, 1, 3).reshape(p * d, p * d)
        pulls = np.einsum("nij,nj->ni", point.curvature, point.target)
        self.array("moment")[:] += sign * (codes.T @ pulls).reshape(-1)

    def _solve(self, rng: np.random.Generator) -> None:
        n_observed = np.count_nonzero(self.observed)
        gram, moment, basis = (self.array(name) for name in ("gram", "moment", "basis"))
        system = gram / n_observed + self._ridge * np.eye(len(gram))
        basis[:] = np.linalg.solve(system, moment / n_observed).reshape(basis.shape[::-1]).T
        self._redraw(rng)

    def _redraw(self, rng: np.random.Generator) -> None:
        """Draw unit columns in place of those that are zero, or else they would stay so."""
        basis = self.array("basis")
        zero = ~basis.any(axis=0)
        fresh = rng.standard_normal((len(basis), np.count_nonzero(zero)))
        basis[:, zero] = fresh / np.linalg.norm(fresh, axis=0)
