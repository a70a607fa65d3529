"""Facts about the published algorithm, cited where ours departs from it: its projection, solved literally.

Bou Ammar, Tutunov and Eaton (2015) project ``X = L'L`` and slacks by a semidefinite program whose equations are
``s' X s = |A^+ (b - c)|^2`` for each task's code s, with ``p I <= X <= q I``. (How codes begin is in
`test_safe_steps.test_the_basis_first_would_collapse`.)
"""

from __future__ import annotations

from typing import NamedTuple

import cvxpy as cp
import numpy as np
import pytest

from lifelong_gym.numerics.arrays import FloatArray

D, K, P, Q = 4, 2, 0.1, 10.0
ENOUGH = K * (K + 1) // 2  # numbers in X


class Deployed(NamedTuple):
    """Tasks' codes and constraints, and a basis; slacks c are such that ``A L s = b - c``."""

    basis: FloatArray
    codes: FloatArray
    squares: FloatArray  # |A^+ (b - c)|^2, (n_tasks,)

    @classmethod
    def random(cls, seed: int, n_tasks: int) -> Deployed:
        """Boxes cut by half-spaces; the basis is well within its bounds."""
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.normal(size=(D, K)))[0] * rng.uniform(0.8, 1.5, K)
        codes = rng.normal(size=(n_tasks, K))
        squares = []
        for code in codes:
            matrix = np.concatenate([np.eye(D), -np.eye(D), rng.normal(size=(3, D))])
            bound = matrix @ basis @ code + rng.uniform(0, 1, len(matrix))
            slack = bound - matrix @ basis @ code
            squares.append(float(np.sum((np.linalg.pinv(matrix) @ (bound - slack)) ** 2)))
        return cls(basis, codes, np.array(squares))

    def projected(self, wanted: FloatArray) -> FloatArray:
        """The X nearest to one that is wanted."""
        x = cp.Variable((K, K), symmetric=True)
        outer = self.codes[:, :, None] * self.codes[:, None, :]
        within = [x >> P * np.eye(K), x << Q * np.eye(K)]
        equations = [cp.sum(cp.multiply(o, x)) == square for o, square in zip(outer, self.squares, strict=True)]
        problem = cp.Problem(cp.Minimize(cp.sum_squares(x - wanted)), within + equations)
        problem.solve(solver=cp.CLARABEL)
        return np.asarray(x.value, np.float64)


def positive(rng: np.random.Generator) -> FloatArray:
    """A random X that a step might want."""
    root = rng.normal(size=(K, K))
    return np.asarray(root @ root.T + np.eye(K))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_tasks", [ENOUGH - 1, ENOUGH, 10])
def test_the_literal_projection_freezes_the_basis(seed: int, n_tasks: int) -> None:
    """Codes are those of the basis in force: from k (k + 1) / 2 tasks on X can't move, wherever a step wants it."""
    now, rng = Deployed.random(seed, n_tasks), np.random.default_rng(seed)
    before, targets = now.basis.T @ now.basis, [positive(rng) for _ in range(3)]
    moves = []
    for wanted in targets:
        assert np.linalg.norm(wanted - before) > 0.1
        moves.append(np.linalg.norm(now.projected(wanted) - before))
    if n_tasks < ENOUGH:
        assert max(moves) > 1e-2
    else:
        assert max(moves) < 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_the_literal_projection_has_no_solution_for_new_codes(seed: int) -> None:
    """With the codes of a step instead, more equations than numbers contradict each other: least squares remain."""
    now, rng = Deployed.random(seed, 10), np.random.default_rng(seed)
    relative = []
    for codes in (now.codes, now.codes + 0.1 * rng.normal(size=now.codes.shape)):
        equations = (codes[:, :, None] * codes[:, None, :]).reshape(10, K * K)
        found = np.linalg.lstsq(equations, now.squares, rcond=None)[0]
        relative.append(np.linalg.norm(equations @ found - now.squares) / np.linalg.norm(now.squares))
    assert relative[0] < 1e-12
    assert relative[1] > 0.01
