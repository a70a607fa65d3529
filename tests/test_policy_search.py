"""The mathematics of the shared basis."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong_gym.agents.linear.operating_point import OperatingPoint, trace_normalised
from lifelong_gym.agents.shared_basis import basis
from lifelong_gym.agents.shared_basis.basis import SharedBasis, columns, lasso, sums
from lifelong_gym.numerics.arrays import IntArray


def random_point(n: int, d: int, seed: int) -> OperatingPoint:
    """Random targets and positive definite curvatures of trace d."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, d, d + 2))
    return OperatingPoint(rng.normal(size=(n, d)), trace_normalised(root @ root.transpose(0, 2, 1)))


def observe(
    shared: SharedBasis, tasks: IntArray, point: OperatingPoint, alternations: int, rng: np.random.Generator
) -> None:
    """Fit codes and basis in turns."""
    shared.begin(point.target, rng)
    for _ in range(alternations):
        shared.encode(tasks, point)
        shared.solve(rng)
    shared.encode(tasks, point)


@pytest.mark.parametrize("penalty", [0.0, 0.3, 2.0, 100.0])
def test_lasso_meets_its_optimality_conditions(penalty: float) -> None:
    """The subgradient of every task's objective contains 0: the sparser, the higher the penalty."""
    point = random_point(20, 6, seed=0)
    matrix = np.random.default_rng(1).normal(size=(6, 4))
    codes = lasso(matrix, point, penalty, np.zeros((20, 4)))
    residual = point.target - codes @ matrix.T
    slope = 2.0 * np.einsum("dk,nde,ne->nk", matrix, point.curvature, residual)
    used = codes != 0
    np.testing.assert_allclose(slope[used], penalty * np.sign(codes[used]), atol=1e-9)
    assert np.all(np.abs(slope[~used]) <= penalty + 1e-9)
    assert {0.0: used.all(), 100.0: not used.any()}.get(penalty, True)


def test_sums_survive_many_visits() -> None:
    """After sixty visits by changing groups of tasks, A and b are those computed at once, to rounding."""
    n, d, p = 12, 4, 3
    rng = np.random.default_rng(0)
    shared = SharedBasis(n, d, p, sparsity=1e-3, ridge=1e-4)
    for visit in range(60):
        tasks = np.sort(rng.choice(n, size=rng.integers(1, n), replace=False))
        observe(shared, tasks, random_point(len(tasks), d, seed=visit), 2, rng)
    codes, curvatures, targets = (shared.array(name) for name in ("codes", "curvatures", "targets"))
    assert curvatures.any(axis=(1, 2)).all()
    gram = sum(np.kron(np.outer(s, s), h) for s, h in zip(codes, curvatures, strict=True))
    moment = sum(np.kron(s, h @ t) for s, h, t in zip(codes, curvatures, targets, strict=True))
    np.testing.assert_allclose(shared.array("gram"), gram, atol=1e-14 * np.abs(gram).max())
    np.testing.assert_allclose(shared.array("moment"), moment, atol=1e-14 * np.abs(moment).max())


def test_basis_minimises_its_objective() -> None:
    """With codes held fixed, the gradient of the ridge regression is zero at the solution."""
    n, d, p, ridge = 9, 4, 2, 0.01
    point, rng = random_point(n, d, seed=3), np.random.default_rng(3)
    shared = SharedBasis(n, d, p, sparsity=1e-3, ridge=ridge)
    observe(shared, np.arange(n), point, 1, rng)
    shared.solve(rng)
    found, codes = shared.array("basis"), shared.array("codes")
    residual = point.target - codes @ found.T
    slope = -2.0 / n * np.einsum("nij,nj,nk->ik", point.curvature, residual, codes) + 2.0 * ridge * found
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_targets_of_low_rank_are_fitted() -> None:
    """Targets that lie in a plane are reached by two columns, up to the small penalties."""
    rng = np.random.default_rng(0)
    point = random_point(15, 5, seed=0)
    plane = OperatingPoint(rng.normal(size=(15, 2)) @ rng.normal(size=(2, 5)), point.curvature)
    shared = SharedBasis(15, 5, 2, sparsity=1e-8, ridge=1e-10)
    observe(shared, np.arange(15), plane, 5, rng)
    np.testing.assert_allclose(shared.policies(np.arange(15)), plane.target, atol=1e-6)


def test_columns_that_nothing_uses_are_drawn_anew() -> None:
    """With fewer tasks than columns, or a penalty that empties all codes, no column stays zero."""
    for n, sparsity in ((1, 1e-3), (4, 1e6)):
        shared = SharedBasis(n, 5, 3, sparsity=sparsity, ridge=1e-4)
        observe(shared, np.arange(n), random_point(n, 5, seed=0), 2, np.random.default_rng(0))
        assert shared.array("basis").any(axis=0).all()


@pytest.mark.parametrize("mean_basis", [False, True])
def test_conjugate_gradients_solve_the_same_system(mean_basis: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not the system is formed, with tasks that have not been observed among others."""
    bases = []
    for most in (400, 0):
        monkeypatch.setattr(basis, "MOST_DIRECT", most)
        shared = SharedBasis(12, 6, 3, sparsity=1e-3, ridge=1e-2, mean_basis=mean_basis)
        assert (shared.array("gram").size == 0) == (most == 0)
        for tasks in (np.arange(8), np.arange(5, 10)):
            observe(shared, tasks, random_point(len(tasks), 6, seed=len(tasks)), 1, np.random.default_rng(0))
        bases.append(shared.array("basis").copy())
    np.testing.assert_allclose(bases[1], bases[0], rtol=1e-7, atol=1e-9)


def test_stacked_columns() -> None:
    """``(s' x I) vec L = L s``, and the sums are those of Kronecker products."""
    rng = np.random.default_rng(0)
    matrix, s = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    stacked = matrix.T.reshape(-1)
    np.testing.assert_array_equal(columns(stacked, (4, 3)), matrix)
    np.testing.assert_allclose(np.kron(s[0], np.eye(4)) @ stacked, matrix @ s[0], rtol=1e-12)
    point = random_point(5, 4, seed=1)
    gram, moment = sums(s, point)
    np.testing.assert_allclose(gram, sum(np.kron(np.outer(c, c), h) for c, h in zip(s, point.curvature, strict=True)))
    pulls = [np.kron(c, h @ t) for c, h, t in zip(s, point.curvature, point.target, strict=True)]
    np.testing.assert_allclose(moment, np.sum(pulls, axis=0))


def test_a_mean_takes_the_place_of_a_column() -> None:
    """Targets on a line beside the origin are reached by a mean and one column."""
    rng = np.random.default_rng(0)
    point = random_point(15, 5, seed=0)
    line = OperatingPoint(rng.normal(size=5) + rng.normal(size=(15, 1)) * rng.normal(size=5), point.curvature)
    shared = SharedBasis(15, 5, 1, sparsity=1e-8, ridge=1e-10, mean_basis=True)
    observe(shared, np.arange(15), line, 5, rng)
    np.testing.assert_allclose(shared.policies(np.arange(15)), line.target, atol=1e-6)
    assert (shared.array("codes")[:, 0] == 1.0).all()


def test_growing_changes_nothing_that_was_learned() -> None:
    """New tasks have the mean code; sums and the others' codes stay."""
    shared = SharedBasis(4, 5, 2, sparsity=1e-3, ridge=1e-4)
    observe(shared, np.arange(3), random_point(3, 5, seed=0), 2, np.random.default_rng(0))
    before = shared.policies(np.arange(4))
    shared.grow(9)
    np.testing.assert_allclose(shared.policies(np.array([0, 1, 2, 8])), before, rtol=1e-14)
    assert shared.observed.tolist() == [True] * 3 + [False] * 6


def test_ten_thousand_tasks_take_little_memory() -> None:
    """Nothing of the size of L squared is kept per task."""
    shared = SharedBasis(10_000, 28, 4, sparsity=1e-3, ridge=1e-4)
    n_bytes = sum(buffer.numel() * buffer.element_size() for buffer in shared.buffers())
    assert n_bytes < 10_000 * 8 * (28 * 28 + 28 + 4) + 8 * 113 * 113
