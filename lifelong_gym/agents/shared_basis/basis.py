"""Policies of many tasks as combinations of few: ``theta_j = L s_j``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch as th
from scipy.sparse import linalg

from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.directions import SAME, TIED, leading_directions

MOST_DIRECT = 400  # numbers in L up to which its system is formed and solved; beyond, conjugate gradients are faster
CG_TOLERANCE = 1e-10
MOST_PASSES = 1000
ROUNDING = 1e-14  # relative size below which a difference of floats is nothing but rounding


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
    # Descent alone only nears the minimum, and slowly where columns of L are alike. But once it has the right signs,
    # the rest is a linear system, whose solution a test can recognise as the minimum: tasks leave the loop one by one.
    unsolved = np.arange(len(codes))
    if penalty == 0.0:
        undecided, shortest = _shortest(quadratic, linear)
        codes[undecided] = shortest
        unsolved = np.delete(unsolved, undecided)
    for _ in range(MOST_PASSES):
        q, c = quadratic[unsolved], linear[unsolved]
        descended = _descend(q, c, penalty, codes[unsolved])
        exact, is_optimal = _with_signs(q, c, penalty, np.sign(descended))
        codes[unsolved] = np.where(is_optimal[:, None], exact, descended)
        unsolved = unsolved[~is_optimal]
        if len(unsolved) == 0:
            break
    return codes


def _shortest(quadratic: FloatArray, linear: FloatArray) -> tuple[IntArray, FloatArray]:
    """The tasks for which columns say the same, so that many codes are as good without a penalty; their shortest."""
    values = np.linalg.eigvalsh(quadratic)
    undecided = np.flatnonzero(values[:, 0] <= SAME**2 * values[:, -1])
    values, vectors = np.linalg.eigh(quadratic[undecided])
    real = values > SAME**2 * values[:, -1:]
    along = (vectors.transpose(0, 2, 1) @ linear[undecided, :, None])[:, :, 0]
    parts = np.divide(along, values, out=np.zeros_like(along), where=real)
    return undecided, (vectors @ parts[:, :, None])[:, :, 0]


def _descend(quadratic: FloatArray, linear: FloatArray, penalty: float, codes: FloatArray) -> FloatArray:
    """One pass over the coordinates; of columns that say the same, the first takes it all."""
    rounding = ROUNDING * np.abs(linear).max(axis=1, initial=1.0)
    for k in range(codes.shape[1]):
        scale = quadratic[:, k, k]
        # What is left for this coordinate by the others: its own term is taken out of the sum again.
        residual = linear[:, k] - np.einsum("nl,nl->n", quadratic[:, k], codes) + scale * codes[:, k]
        beyond = np.abs(residual) - 0.5 * penalty
        shrunk = np.sign(residual) * np.where(beyond > rounding, beyond, 0.0)
        # A column along which a task's curvature is 0, such as one of zeros, does nothing for it: code 0.
        codes[:, k] = np.divide(shrunk, scale, out=np.zeros_like(shrunk), where=scale > 0)
    return codes


def _with_signs(
    quadratic: FloatArray, linear: FloatArray, penalty: float, signs: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The stationary point among codes of the given signs (0: not used), and whether it is the minimum."""
    used = signs != 0
    one = np.eye(signs.shape[1])
    # Tasks use different columns, yet all systems keep one size, so that one call solves them: rows of columns not used
    # are those of the identity, as large as the others lest the conditioning suffer, and give 0.
    system = np.where(used[:, :, None] & used[:, None, :], quadratic, one * quadratic.max(initial=1.0))
    system += ROUNDING * system.max(axis=(1, 2), keepdims=True) * one  # or equal columns would be singular
    wanted = np.where(used, linear - 0.5 * penalty * signs, 0.0)
    codes = np.linalg.solve(system, wanted[:, :, None])[:, :, 0]
    # Minimal are codes that have the signs they were found for, and whose unused columns the data pull at less than the
    # penalty holds them back.
    pull = linear - (quadratic @ codes[:, :, None])[:, :, 0]
    # Where they are equal, what was added to the system is in the pull, as much as rounding.
    allowed = 0.5 * penalty + 4 * ROUNDING * np.abs(linear).max(axis=1, keepdims=True, initial=1.0)
    fits = np.where(used, (np.sign(codes) == signs) | (penalty == 0.0), np.abs(pull) <= allowed)
    return codes, fits.all(axis=1)


class SharedBasis(th.nn.Module):
    """A basis L and each task's code s_j: policies are ``theta_j = L s_j``.

    L minimises ``1/T sum_j |target_j - L s_j|^2_{H_j} + ridge |L|^2`` over the T tasks observed so far, that is, it
    solves ``1/T sum_j H_j L s_j s_j' + ridge L = 1/T sum_j H_j target_j s_j'``. Up to `MOST_DIRECT` numbers in L, the
    sums are kept and the system is solved; a task that is observed again replaces its own terms. A larger L is found
    by conjugate gradients from the last one, at d^2 + 2 d n_columns operations a task and iteration.

    Args:
        n_tasks: number of tasks.
        d: number of policy parameters.
        n_basis: columns of L that codes choose.
        sparsity: mu_1, weight of ``|s|_1``.
        ridge: mu_2.
        mean_basis: L has one more column, the first, whose coefficient is 1 in every task and not penalised:
            ``theta_j = mean + L s_j``.
        keeps_sums: keep the sums of the system for L.
    """

    followers: ClassVar[tuple[str, ...]] = ("gram", "moment")  # buffers that follow from the others

    def __init__(
        self,
        n_tasks: int,
        d: int,
        n_basis: int,
        sparsity: float,
        ridge: float,
        mean_basis: bool = False,
        keeps_sums: bool = True,
    ) -> None:
        """Nothing has been observed yet."""
        super().__init__()
        self._sparsity, self._ridge = sparsity, ridge
        self._n_fixed = int(mean_basis)
        k = n_basis + mean_basis
        n_direct = k * d if keeps_sums and k * d <= MOST_DIRECT else 0
        shapes = {
            "basis": (d, k),  # L
            "codes": (n_tasks, k),  # s
            "targets": (n_tasks, d),
            "curvatures": (n_tasks, d, d),  # H; zero: not observed
            "gram": (n_direct, n_direct),  # sum_j (s_j s_j') x H_j, for L with its columns stacked
            "moment": (n_direct,),  # sum_j s_j x (H_j target_j)
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
        observed: npt.NDArray[np.bool_] = np.einsum("nii->n", self.array("curvatures")) > 0
        return observed

    def points(self, tasks: IntArray) -> OperatingPoint:
        """The last operating points of observed tasks."""
        return OperatingPoint(self.array("targets")[tasks], self.array("curvatures")[tasks])

    def policies(self, tasks: IntArray) -> FloatArray:
        """``L s_j`` of the given tasks, shape (n, d); a task not observed yet has the mean code of those that were."""
        return self.codes_of(tasks) @ self.array("basis").T

    def codes_of(self, tasks: IntArray) -> FloatArray:
        """Codes of the given tasks, shape (n, n_columns), of those not observed yet the mean of the others'."""
        observed = self.observed
        codes = self.array("codes")[tasks]
        if observed.any():
            codes[~observed[tasks]] = self.array("codes")[observed].mean(axis=0)
        return codes

    def grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all, the new ones not observed."""
        for name in ("codes", "targets", "curvatures"):
            old = self.get_buffer(name)
            self.register_buffer(name, th.cat([old, old.new_zeros((n_tasks - len(old), *old.shape[1:]))]))

    def begin(self, targets: FloatArray, rng: np.random.Generator) -> None:
        """Unless there is a basis: the mean, if wanted, and the leading left singular vectors of the first targets."""
        if not self.is_empty:
            return
        fixed, basis = self._n_fixed, self.array("basis")
        mean = targets.mean(axis=0) if fixed else np.zeros(len(basis))
        basis[:, :fixed] = mean[:, None]
        n_columns = basis.shape[1]
        scale = float(np.sqrt(len(targets)) * np.linalg.norm(mean))  # differences from the mean may be its rounding
        leading = leading_directions((targets - mean).T, n_columns - fixed, scale)
        n_known = fixed + leading.shape[1]
        basis[:, fixed:n_known] = leading
        # Fewer tasks than columns leave some that no task says anything of.
        basis[:, n_known:] = drawn(len(basis), n_columns - n_known, rng)

    def encode(self, tasks: IntArray, point: OperatingPoint) -> None:
        """New codes for these tasks, and their terms in the sums."""
        codes = self.codes_in(self.array("basis"), tasks, point)
        if self.array("gram").size:
            # Where all terms are replaced, sums begin at 0 again: subtracting would leave rounding that builds up.
            if np.count_nonzero(self.observed) == np.count_nonzero(self.observed[tasks]):
                self.array("gram")[:], self.array("moment")[:] = 0.0, 0.0
            else:
                self._add(-1.0, self.array("codes")[tasks], self.points(tasks))
            self._add(1.0, codes, point)
        self.store(tasks, codes, point)

    def codes_in(self, basis: FloatArray, tasks: IntArray, point: OperatingPoint) -> FloatArray:
        """The best codes for these tasks in a basis, the fixed column's coefficient being 1."""
        fixed = self._n_fixed
        rest = OperatingPoint(point.target - basis[:, :fixed].sum(axis=1), point.curvature)
        free = lasso(basis[:, fixed:], rest, self._sparsity, self.array("codes")[tasks, fixed:])
        return np.concatenate([np.ones((len(free), fixed)), free], axis=1)

    def store(self, tasks: IntArray, codes: FloatArray, point: OperatingPoint) -> None:
        """Keep codes and operating points."""
        self.array("codes")[tasks] = codes
        self.array("targets")[tasks], self.array("curvatures")[tasks] = point

    def settle(self) -> None:
        """Let `followers` follow, after other buffers were replaced."""
        if self.array("gram").size:
            observed = np.flatnonzero(self.observed)
            self.array("gram")[:], self.array("moment")[:] = sums(self.array("codes")[observed], self.points(observed))

    def _add(self, sign: float, codes: FloatArray, point: OperatingPoint) -> None:
        gram, moment = sums(codes, point)
        self.array("gram")[:] += sign * gram
        self.array("moment")[:] += sign * moment

    def solve(self, rng: np.random.Generator) -> None:
        """The best basis for the codes as they are; columns that nothing uses are drawn anew."""
        basis = self.array("basis")
        if self.array("gram").size:
            n = np.count_nonzero(self.observed)
            system = self.array("gram") / n + self._ridge * np.eye(basis.size)
            basis[:] = columns(np.asarray(np.linalg.solve(system, self.array("moment") / n)), basis.shape)
        else:
            basis[:] = conjugate_gradients(self._product, self._right_side(), basis)
        unused = ~used(self.array("codes")[self.observed]).any(axis=0)
        basis[:, unused] = drawn(len(basis), int(unused.sum()), rng)

    def _product(self, basis: FloatArray) -> FloatArray:
        """``1/T sum_j H_j L s_j s_j' + ridge L``; tasks not observed add nothing."""
        codes = self.array("codes")
        pulled = (self.array("curvatures") @ (codes @ basis.T)[:, :, None])[:, :, 0]
        return pulled.T @ codes / np.count_nonzero(self.observed) + self._ridge * basis

    def _right_side(self) -> FloatArray:
        pulled = (self.array("curvatures") @ self.array("targets")[:, :, None])[:, :, 0]
        return pulled.T @ self.array("codes") / np.count_nonzero(self.observed)


def used(codes: FloatArray) -> BoolArray:
    """Which columns codes, (n, k), really use; what is nothing beside a task's largest coefficient is rounding."""
    size = np.abs(codes)
    return np.asarray(size > TIED * size.max(axis=1, keepdims=True, initial=0.0))


def drawn(d: int, n: int, rng: np.random.Generator) -> FloatArray:
    """Unit columns, (d, n), for what nothing uses: it would be zero, and stay so."""
    fresh = rng.standard_normal((d, n))
    columns: FloatArray = fresh / np.linalg.norm(fresh, axis=0)
    return columns


def sums(codes: FloatArray, point: OperatingPoint) -> tuple[FloatArray, FloatArray]:
    """``sum_j (s_j s_j') x H_j`` and ``sum_j s_j x (H_j target_j)``, of shapes (k d, k d) and (k d,)."""
    n, k = codes.shape
    d = point.target.shape[1]
    # The sum over tasks as one product of matrices: `einsum` over five indices would not reach the BLAS.
    outer = (codes[:, :, None] * codes[:, None, :]).reshape(n, k * k)
    gram = (outer.T @ point.curvature.reshape(n, d * d)).reshape(k, k, d, d).transpose(0, 2, 1, 3)
    pulls = np.einsum("nij,nj->ni", point.curvature, point.target)
    return gram.reshape(k * d, k * d), (codes.T @ pulls).reshape(-1)


def columns(stacked: npt.NDArray[Any], shape: tuple[int, ...]) -> FloatArray:
    """The matrix whose columns are stacked in a vector."""
    return stacked.reshape(shape[::-1]).T


class _LostInNoiseError(Exception):
    """A direction along which the map's values say nothing."""


def conjugate_gradients(
    product: Callable[[FloatArray], FloatArray], right: FloatArray, start: FloatArray, noise: float = 0.0
) -> FloatArray:
    """The matrix that a linear map takes to ``right``, the map being symmetric and positive definite.

    Args:
        product: the map.
        right: what the solution is taken to.
        start: where to begin, of the same shape.
        noise: norm of the error that a product may have. Iterations end at residuals, and before directions, that are
            no larger than that (a step along these could go anywhere), or when there is none left without noise.

    Raises:
        LinAlgError: no convergence, as where the map isn't positive definite.
    """
    last = start.ravel()

    def image(x: FloatArray) -> FloatArray:
        found = product(x.reshape(right.shape)).ravel()
        # The curvature along x, whose error is at most |x| times the noise: below that even its sign is chance.
        if noise > 0 and x @ found <= noise * np.linalg.norm(x):
            raise _LostInNoiseError
        return found

    def keep(x: FloatArray) -> None:
        nonlocal last
        last = x.copy()

    operator = linalg.LinearOperator((right.size, right.size), matvec=image, dtype=np.float64)
    # In exact arithmetic as many iterations as unknowns suffice. SciPy's own limit, ten times that, makes up for
    # rounding; with noise, more iterations would only follow the noise.
    limits: dict[str, Any] = {"rtol": CG_TOLERANCE, "atol": noise, "maxiter": right.size if noise > 0 else None}
    with contextlib.suppress(_LostInNoiseError):  # then ``last`` is what `keep` saw last
        last, info = linalg.cg(operator, right.ravel(), last, callback=keep, **limits)
        if info != 0 and noise == 0:
            raise np.linalg.LinAlgError("conjugate gradients didn't converge")
    return last.reshape(right.shape)
