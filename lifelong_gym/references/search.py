"""Covariance matrix adaptation (CMA-ES) on many problems of one dimension at once.

N. Hansen: The CMA Evolution Strategy: A Tutorial. arXiv:1604.00772, 2016; here with Cholesky factors instead of
eigenvectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray, IntArray

Objective = Callable[[FloatArray, IntArray], FloatArray]


@dataclass(frozen=True)
class Rates:
    """The method's constants, as Hansen recommends them.

    Attributes:
        weights: of the better half of a generation, best first, (population // 2,).
        selected: how many candidates these weights effectively select.
        path: how fast the path of the mean is forgotten.
        damping: of the step size.
        slow_path: how fast the path that enters the covariance is forgotten.
        rank_one: share of that path in the new covariance.
        rank_many: share of the chosen candidates in the new covariance.
        expected_length: of a standard normal vector.
    """

    weights: FloatArray
    selected: float
    path: float
    damping: float
    slow_path: float
    rank_one: float
    rank_many: float
    expected_length: float

    @classmethod
    def of(cls, d: int, population: int) -> Rates:
        """The constants for dimension ``d``."""
        raw = np.log((population + 1) / 2) - np.log(np.arange(1, population // 2 + 1))
        weights = raw / raw.sum()
        n = float(1 / (weights**2).sum())
        path = (n + 2) / (d + n + 5)
        rank_one = 2 / ((d + 1.3) ** 2 + n)
        return cls(
            weights=weights,
            selected=n,
            path=path,
            damping=1 + 2 * max(0.0, np.sqrt((n - 1) / (d + 1)) - 1) + path,
            slow_path=(4 + n / d) / (d + 4 + 2 * n / d),
            rank_one=rank_one,
            rank_many=min(1 - rank_one, 2 * (n - 2 + 1 / n) / ((d + 2) ** 2 + n)),
            expected_length=float(np.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))),
        )


class Distributions:
    """Where each problem's next candidates come from: a normal distribution a problem.

    Args:
        mean: of the first generation, (n_problems, d).
        covariance: of the first generation, (n_problems, d, d).
        population: candidates a generation.
    """

    def __init__(self, mean: FloatArray, covariance: FloatArray, population: int) -> None:
        """See the class."""
        self._rates = Rates.of(mean.shape[1], population)
        self._mean, self._covariance = mean.copy(), covariance.copy()
        self._step = np.ones(len(mean))
        self._path, self._slow_path = np.zeros_like(mean), np.zeros_like(mean)
        self._generation = 0

    def candidates(self, normals: FloatArray, at: IntArray) -> tuple[FloatArray, IntArray]:
        """Candidates from standard normals (population, d), of those problems ``at`` that still have any.

        Where the best lies in a kink, the covariance flattens generation by generation, until rounding leaves it
        without a Cholesky factor. Such a problem is solved as far as floats allow.

        Returns:
            Candidates, (n, population, d), and the problems that they belong to, (n,).
        """
        factors, regular = _cholesky(self._covariance[at])
        at = at[regular]
        candidates: FloatArray = self._mean[at, None] + self._step[at, None, None] * (
            normals @ factors.transpose(0, 2, 1)
        )
        return candidates, at

    def update(self, normals: FloatArray, candidates: FloatArray, values: FloatArray, at: IntArray) -> None:
        """Move the distributions of the problems ``at`` towards their better candidates."""
        r, d = self._rates, self._mean.shape[1]
        best = np.argsort(-values, axis=1, kind="stable")[:, : len(r.weights)]  # stable: ties the same on any machine
        chosen = np.take_along_axis(candidates, best[..., None], axis=1)
        moves = (chosen - self._mean[at, None]) / self._step[at, None, None]
        move = r.weights @ moves
        self._mean[at] += self._step[at, None] * move
        self._generation += 1
        # The gains keep a path standard normal if values are pure chance: only then does its length, against that
        # expected of chance, say whether steps go the same way (grow) or back and forth (shrink).
        gain = np.sqrt(r.path * (2 - r.path) * r.selected)
        self._path[at] = (1 - r.path) * self._path[at] + gain * (r.weights @ normals[best])
        length = np.linalg.norm(self._path[at], axis=1) / r.expected_length
        # While the step size still grows fast, the slow path stands still lest the covariance grow as well.
        calm = length < (1.4 + 2 / (d + 1)) * np.sqrt(1 - (1 - r.path) ** (2 * self._generation))
        decay = r.slow_path * (2 - r.slow_path)
        slow_gain = calm * np.sqrt(decay * r.selected)
        self._slow_path[at] = (1 - r.slow_path) * self._slow_path[at] + slow_gain[:, None] * move
        slow = self._slow_path[at]
        # What a slow path that stands still withholds from the covariance, more of the old one makes up for.
        kept = 1 - r.rank_one - r.rank_many + ~calm * r.rank_one * decay
        self._covariance[at] = (
            kept[:, None, None] * self._covariance[at]
            + r.rank_one * slow[:, :, None] * slow[:, None]
            + r.rank_many * (moves * r.weights[:, None]).transpose(0, 2, 1) @ moves
        )
        self._step[at] *= np.exp(np.minimum(1.0, r.path / r.damping * (length - 1)))


def _cholesky(matrices: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Factors of those symmetric matrices that are positive definite, and which of all these are."""
    regular: npt.NDArray[np.bool_] = np.ones(len(matrices), bool)
    try:  # NumPy refuses the whole batch for one bad matrix; that is rare, so one call for all comes first
        factors = np.asarray(np.linalg.cholesky(matrices), np.float64)
    except np.linalg.LinAlgError:
        regular = np.array([_is_regular(matrix) for matrix in matrices])
        factors = np.asarray(np.linalg.cholesky(matrices[regular]), np.float64)
    return factors, regular


def _is_regular(matrix: FloatArray) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def maximise(
    objective: Objective,
    start: FloatArray,
    covariance: FloatArray,
    *,
    generations: int,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Maximise one function per problem without derivatives; never ends below the start.

    A problem's result depends on neither the number nor the order of the problems beside it: all use the same
    normals, and each ends on its own, when the best of its recent generations differ by less than ``tolerance``
    times its value, or when its candidates lie in fewer than d dimensions.

    Args:
        objective: ``(candidates (n, m, d), problems (n,)) -> values (n, m)``.
        start: mean of the first generation, (n_problems, d).
        covariance: of the first generation, (n_problems, d, d).
        generations: at most.
        tolerance: relative.
        seed: of the normals.

    Returns:
        The best candidates, (n_problems, d), and their values, (n_problems,).
    """
    n, d = start.shape
    population = 2 * int(4 + 3 * np.log(d))
    search, rng = Distributions(start, covariance, population), np.random.default_rng(seed)
    active = np.arange(n)
    best, value = start.copy(), objective(start[:, None], active)[:, 0]
    # Infinite until it is full, so that no problem ends before so many generations, Hansen's number for stagnation.
    recent = np.full((n, 10 + 30 * d // population), np.inf)
    for _ in range(generations):
        normals = rng.standard_normal((population, d))  # drawn once for all problems, however many are left
        candidates, active = search.candidates(normals, active)
        if len(active) == 0:
            break
        values = objective(candidates, active)
        search.update(normals, candidates, values, active)
        rows, top = np.arange(len(active)), values.argmax(axis=1)
        highest, better = values[rows, top], values[rows, top] > value[active]
        best[active[better]] = candidates[rows, top][better]
        value[active[better]] = highest[better]
        recent[active] = np.column_stack([highest, recent[active, :-1]])
        spread = recent[active].max(axis=1) - recent[active].min(axis=1)
        active = active[spread > tolerance * np.abs(value[active])]
    return best, value
