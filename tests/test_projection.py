"""Projections onto safe sets: equal to a reference solver's, and without a single violation in floating point."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.nearest import TOLERANCE, Nearest, nearest
from lifelong_gym.agents.safety.projection import SafeSets, SpectralBounds
from lifelong_gym.errors import InfeasibleConstraintsError, ProjectionError
from lifelong_gym.numerics.arrays import FloatArray
from tests.safe_learners import exactly_safe

BOUNDS = SpectralBounds()


def one(target: FloatArray, rows: FloatArray, room: FloatArray, metric: FloatArray | None = None) -> Nearest:
    """`nearest` for a single target."""
    found = nearest(target[None], rows[None], room[None], None if metric is None else metric[None])
    return Nearest(*(part[0] for part in found))


def reference(
    variable: cp.Variable, objective: Any, constraints: list[Any], accuracy: float
) -> tuple[float, FloatArray]:
    """The minimum that cvxpy with Clarabel finds, and where."""
    tolerances = {name: accuracy for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas")}
    value = cp.Problem(cp.Minimize(objective), constraints).solve(solver=cp.CLARABEL, **tolerances)
    assert variable.value is not None
    return float(value), variable.value


def positive_definite(rng: np.random.Generator, k: int) -> FloatArray:
    """A random metric."""
    root = rng.normal(size=(k, k))
    return np.asarray(root @ root.T + 1e-2 * np.eye(k))


def polytope(rng: np.random.Generator, kind: int, c: int, k: int) -> tuple[FloatArray, FloatArray]:
    """Rows and room of a polytope that contains 0; kinds differ in how degenerate they are."""
    rows = rng.normal(size=(c, k))
    if kind % 3 == 1:
        rows[c // 2 :] = rows[: c - c // 2]
    if kind % 5 == 1:
        rows = np.round(rows)
    room = rng.uniform(0, 1, c) * 10.0 ** rng.integers(-6, 2)
    return rows, 0 * room if kind % 7 == 1 else room


@pytest.mark.parametrize("with_metric", [False, True])
def test_nearest_points_equal_the_reference(with_metric: bool) -> None:
    """To cvxpy's with Clarabel, on random and degenerate polytopes, to the reference's own accuracy."""
    rng = np.random.default_rng(0)
    for kind in range(40):
        k, c = int(rng.integers(1, 7)), int(rng.integers(2, 40))
        rows, room = polytope(rng, kind, c, k)
        target, metric = rng.normal(size=k) * 2, positive_definite(rng, k)
        found = one(target, rows, room, metric if with_metric else None)
        weight = metric if with_metric else np.eye(k)
        s = cp.Variable(k)
        best, where = reference(s, cp.quad_form(s - target, cp.psd_wrap(weight)), [rows @ s <= room], 1e-11)
        value = (found.points - target) @ weight @ (found.points - target)
        assert value == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert np.abs(found.points - where).max() <= 1e-5 * (1 + np.abs(target).max())


def test_nearest_points_of_boxes_are_clipped_targets() -> None:
    """The closed form, to rounding, over targets far and near."""
    rng = np.random.default_rng(1)
    high, low = rng.uniform(0, 1, (500, 6)), -rng.uniform(0, 1, (500, 6))
    targets = rng.normal(size=(500, 6)) * 10.0 ** rng.integers(-2, 4, (500, 1))
    rows = np.broadcast_to(np.concatenate([np.eye(6), -np.eye(6)]), (500, 12, 6))
    found = nearest(targets, rows, np.concatenate([high, -low], axis=1))
    error = np.abs(found.points - np.clip(targets, low, high)).max(axis=1)
    assert (error <= 1e-13 * (1 + np.abs(targets).max(axis=1))).all()


def test_optimality_conditions_hold_on_degenerate_polytopes() -> None:
    """Of three thousand, each within the tolerance; with duplicate rows, no room, and targets at any distance."""
    rng, worst = np.random.default_rng(2), 0.0
    for kind in range(3000):
        k, c = int(rng.integers(1, 8)), int(rng.integers(1, 50))
        rows, room = polytope(rng, kind, c, k)
        metric = positive_definite(rng, k) if kind % 2 else None
        found = one(rng.normal(size=k) * 10.0 ** rng.integers(-3, 4), rows, room, metric)
        worst = max(worst, float(found.residuals))
        assert (found.multipliers >= -TOLERANCE).all()
    assert 0 < worst <= TOLERANCE


def test_what_has_no_solution_is_never_answered() -> None:
    """Two thousand empty polytopes whose constraints overlap by 1e-6 or more; the least-squares solver alone errs."""
    rng = np.random.default_rng(3)
    for _ in range(2000):
        k, c = int(rng.integers(1, 6)), int(rng.integers(0, 20))
        rows, room = polytope(rng, 0, c, k)
        wall, gap = rng.normal(size=k), 10.0 ** rng.uniform(-6, 0)
        wall /= np.linalg.norm(wall)
        rows, room = np.vstack([rows, wall, -wall]), np.r_[room, -1.0, 1.0 - gap]
        with pytest.raises(ProjectionError, match="optimality conditions hold to"):
            one(rng.normal(size=k), rows, room)


def test_clipping_is_the_nearest_basis() -> None:
    """No basis within the bounds is nearer, and the singular values are within them."""
    rng, bounds = np.random.default_rng(4), SpectralBounds(0.5, 2.0)
    for _ in range(50):
        basis = rng.normal(size=(4, 2)) * 10.0 ** rng.integers(-2, 2)
        clipped = bounds.clip(basis)
        size = np.linalg.svd(clipped, compute_uv=False)
        assert (size >= np.sqrt(0.5) * (1 - 1e-12)).all()
        assert (size <= np.sqrt(2.0) * (1 + 1e-12)).all()
        assert np.array_equal(bounds.clip(clipped), clipped)
        left, _ = np.linalg.qr(clipped + 0.1 * rng.normal(size=(200, 4, 2)))
        others = left * rng.uniform(np.sqrt(0.5), np.sqrt(2.0), (200, 1, 2)) @ np.linalg.qr(rng.normal(size=(2, 2)))[0]
        distances = np.linalg.norm(others - basis, axis=(1, 2))
        assert np.linalg.norm(clipped - basis) <= distances.min() * (1 + 1e-12)


def test_clipping_equals_the_reference_where_only_the_upper_bound_matters() -> None:
    """``|L|_2 <= sqrt q`` is convex: cvxpy solves it."""
    rng = np.random.default_rng(5)
    basis = 2 * rng.normal(size=(4, 3))
    variable = cp.Variable((4, 3))
    best, where = reference(variable, cp.sum_squares(variable - basis), [cp.sigma_max(variable) <= 1.5], 1e-9)
    clipped = SpectralBounds(1e-6, 2.25).clip(basis)
    assert np.sum((clipped - basis) ** 2) == pytest.approx(best, rel=1e-7)
    assert np.allclose(clipped, where, atol=1e-4)  # the square root of the objective's accuracy


def random_sets(rng: np.random.Generator, n: int, d: int, scale: float, anchored: bool) -> SafeSets:
    """Safe sets of ``n`` tasks: boxes cut by random half-spaces, with anchors far from or near their walls."""
    sets = SafeSets(n, d)
    for t in range(n):
        middle = rng.normal(size=d) * scale
        width = rng.uniform(0.01, 1, d) * scale
        c = int(rng.integers(0, 2 * d))
        normals = rng.normal(size=(c, d)) * 10.0 ** rng.integers(-3, 4, (c, 1))
        cut = PolicyConstraints.polytope(normals, normals @ middle + np.abs(normals) @ width * rng.uniform(0.1, 2, c))
        constraints = PolicyConstraints.gains(middle - width, middle + width) & cut if c else None
        constraints = constraints or PolicyConstraints.gains(middle - width, middle + width)
        anchor = None
        if anchored:
            outside = one(middle + rng.normal(size=d) * 9 * width, constraints.matrix, constraints.bound).points
            share = 10.0 ** rng.uniform(-6, 0)
            anchor = share * middle + (1 - share) * outside
        sets.register(t, constraints, anchor)
    return sets


def violations(sets: SafeSets, basis: FloatArray, codes: FloatArray) -> int:
    """Tasks for which ``A @ (a + L @ s) <= b`` is false in any of six ways to compute it."""
    ways = np.zeros((6, len(codes)), bool)
    batched = sets.anchors + codes @ basis.T
    for t in range(len(codes)):
        a, b, s = np.ascontiguousarray(sets.matrix[t]), sets.bound[t], codes[t]
        deployed = sets.anchors[t] + basis @ s
        ways[0, t] = np.all(a @ deployed <= b)
        ways[1, t] = np.all(a @ batched[t] <= b)
        ways[2, t] = np.all(
            np.asfortranarray(a)[:, ::-1] @ (sets.anchors[t] + np.einsum("dk,k->d", basis, s))[::-1] <= b
        )
        ways[3, t] = np.all(a @ sets.anchors[t] + (a @ basis) @ s <= b)
        ways[4, t] = exactly_safe(a, deployed, b)
        ways[5, t] = exactly_safe(a, batched[t], b)
    return int((~ways).any(axis=0).sum())


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 8),
    scale=st.sampled_from([1e-4, 1.0, 1e3]),
    far=st.sampled_from([1e-3, 1.0, 1e4]),
    with_metric=st.booleans(),
    anchored=st.booleans(),
)
def test_no_projected_policy_violates_anything(
    seed: int, d: int, scale: float, far: float, with_metric: bool, anchored: bool
) -> None:
    """Three thousand random sets and codes; evaluated in any order and exactly: zero violations, no tolerance."""
    rng = np.random.default_rng(seed)
    n, k = 25, int(rng.integers(1, d + 1))
    sets = random_sets(rng, n, d, scale, anchored)
    metric = np.stack([positive_definite(rng, k) for _ in range(n)]) if with_metric else None
    basis, codes = rng.normal(size=(d, k)) * 10.0 ** rng.integers(-2, 2), rng.normal(size=(n, k)) * scale * far
    found = sets.project(basis, codes, BOUNDS, metric)
    assert violations(sets, found.basis, found.codes) == 0
    assert sets.holds(found.policies).all()
    assert sets.holds_strictly(found.basis, found.codes).all()
    assert found.residual <= TOLERANCE
    assert anchored or found.shrink < 1e-6  # anchors in the middle of their sets


def test_some_tasks_are_judged_as_among_all() -> None:
    """Strict safety of a few tasks, by their indices: those at a boundary, beyond it and inside."""
    rng = np.random.default_rng(14)
    sets, basis = random_sets(rng, 60, 4, 1.0, False), BOUNDS.clip(rng.normal(size=(4, 2)))
    codes = sets.project(basis, rng.normal(size=(60, 2)) * 10.0 ** rng.uniform(-2, 1, (60, 1)), BOUNDS).codes
    codes[::3] *= 1.001
    everybody, tasks = sets.holds_strictly(basis, codes), rng.permutation(60)[:40]
    assert 0 < everybody[tasks].sum() < 40
    assert np.array_equal(sets.holds_strictly(basis, codes, tasks), everybody[tasks])


def test_the_solver_alone_is_no_guarantee() -> None:
    """Its points lie on the boundary and some violate it by rounding: the count above can find violations."""
    rng = np.random.default_rng(6)
    sets = random_sets(rng, 300, 4, 1.0, False)
    basis, codes = BOUNDS.clip(rng.normal(size=(4, 2))), rng.normal(size=(300, 2)) * 10
    room = sets.bound - (sets.matrix @ sets.anchors[:, :, None])[:, :, 0]
    raw = nearest(codes, sets.matrix @ basis, room).points
    assert violations(sets, basis, raw) > 30


def test_projected_codes_equal_the_reference() -> None:
    """Of all tasks at once, in the metric of their losses; rounding's last shrinking included."""
    rng = np.random.default_rng(7)
    sets = random_sets(rng, 12, 4, 1.0, True)
    metric = np.stack([positive_definite(rng, 3) for _ in range(12)])
    codes = rng.normal(size=(12, 3)) * 2
    found = sets.project(rng.normal(size=(4, 3)), codes, BOUNDS, metric)
    assert found.solved.any()
    for t in range(12):
        s = cp.Variable(3)
        inside = [sets.matrix[t] @ (sets.anchors[t] + found.basis @ s) <= sets.bound[t]]
        _, where = reference(s, cp.quad_form(s - codes[t], cp.psd_wrap(metric[t])), inside, 1e-11)
        assert np.allclose(found.codes[t], where, atol=1e-6)


def test_what_is_safe_stays_as_it_is() -> None:
    """To the bit; and a second projection changes nothing either."""
    rng = np.random.default_rng(8)
    sets = random_sets(rng, 20, 5, 1.0, False)
    first = sets.project(rng.normal(size=(5, 3)), rng.normal(size=(20, 3)), BOUNDS)
    second = sets.project(first.basis, first.codes, BOUNDS)
    assert np.array_equal(first.basis, second.basis)
    assert np.array_equal(first.codes, second.codes)
    assert not second.solved.any()
    assert second.shrink == 0.0


def test_policies_without_a_basis_are_projected_one_by_one() -> None:
    """Onto boxes that is clipping; and what is inside stays, but for rounding."""
    rng, sets = np.random.default_rng(13), SafeSets(40, 3)
    for t in range(40):
        sets.register(t, PolicyConstraints.gains([-1.0, -2.0, 0.0], [1.0, 0.5, 4.0]), np.array([0.0, 0.1, 0.2]))
    thetas = rng.normal(size=(40, 3)) * 2
    found = sets.project_policies(thetas)
    assert np.allclose(found.policies, np.clip(thetas, [-1.0, -2.0, 0.0], [1.0, 0.5, 4.0]), rtol=0, atol=1e-12)
    assert sets.holds(found.policies).all()
    assert 0 < found.solved.sum() < 40


def test_anchors_are_kept_whatever_the_basis() -> None:
    """Codes of 0 are always safe."""
    rng = np.random.default_rng(9)
    sets = random_sets(rng, 20, 5, 1.0, True)
    found = sets.project(rng.normal(size=(5, 5)) * 100, np.zeros((20, 5)), BOUNDS)
    assert np.array_equal(found.policies, sets.anchors)


def state(sets: SafeSets) -> dict[str, Any]:
    """All arrays, copied."""
    return {name: array.copy() for name, array in sets.arrays.items()}


def test_a_refused_task_changes_nothing() -> None:
    """The last safe sets stay in force."""
    sets = random_sets(np.random.default_rng(10), 3, 2, 1.0, False)
    before = state(sets)
    box, many = (
        PolicyConstraints.gains([0.0, 0.0], [1.0, 1.0]),
        PolicyConstraints.polytope(np.ones((50, 2)), np.ones(50)),
    )
    with pytest.raises(InfeasibleConstraintsError, match="of task 1 is empty"):
        sets.register(1, box & many & PolicyConstraints.polytope([[1.0, 0.0]], [-1.0]))
    with pytest.raises(ValueError, match="`anchor` of task 2 must be 2 numbers strictly inside"):
        sets.register(2, box, np.array([1.0, 0.5]))
    with pytest.raises(ValueError, match=r"must be on 2 parameters\. Received 1"):
        sets.register(2, PolicyConstraints.gains([0.0], [1.0]))
    with pytest.raises(ValueError, match="`task` must be an integer of at least 0 and at most 2"):
        sets.register(3, box)
    assert all(np.array_equal(before[name], array) for name, array in sets.arrays.items())


def test_parameters_that_cannot_be_projected_are_refused() -> None:
    """Nothing comes back, so that the last safe parameters stay in force."""
    sets = random_sets(np.random.default_rng(11), 3, 2, 1.0, False)
    with pytest.raises(ProjectionError, match="not finite"):
        sets.project(np.ones((2, 1)), np.full((3, 1), np.nan), BOUNDS)
    with pytest.raises(ProjectionError, match="not positive definite"):
        sets.project(np.ones((2, 1)), np.full((3, 1), 1e3), BOUNDS, -np.ones((3, 1, 1)))
    with pytest.raises(ValueError, match=r"`codes` must have shape \(3, 1\). Received \(2, 1\)"):
        sets.project(np.ones((2, 1)), np.ones((2, 1)), BOUNDS)
    with pytest.raises(ValueError, match=r"`basis` must have shape \(2, k\) with k from 1 to 2. Received \(2, 3\)"):
        sets.project(np.ones((2, 3)), np.ones((3, 3)), BOUNDS)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        (2.0, 1.0, "`p` must be at most `q`. Received 2.0 and 1.0"),
        (0.0, 1.0, "`p` must be above 0"),
        (0.1, np.nan, "`q` must be a finite number"),
    ],
)
def test_bad_spectral_bounds_are_refused(p: float, q: float, message: str) -> None:
    """Before anything is learned."""
    with pytest.raises(ValueError, match=message):
        SpectralBounds(p, q)


def test_tasks_can_be_added_and_saved() -> None:
    """Unregistered tasks are left alone and never count as safe; more of them change nothing for the others."""
    rng = np.random.default_rng(12)
    sets = random_sets(rng, 4, 3, 1.0, False)
    basis, codes = rng.normal(size=(3, 2)), rng.normal(size=(4, 2)) * 5
    before = sets.project(basis, codes, BOUNDS)
    sets.grow(6)
    more = SafeSets.from_arrays(sets.arrays).project(basis, np.r_[codes, [[9.0, 9.0], [8.0, 8.0]]], BOUNDS)
    assert np.array_equal(more.codes[:4], before.codes)
    assert np.array_equal(more.codes[4:], [[9.0, 9.0], [8.0, 8.0]])
    assert np.array_equal(sets.holds(more.policies), [True] * 4 + [False] * 2)
    sets.register(5, PolicyConstraints.polytope(np.r_[np.eye(3), -np.eye(3), np.eye(3), np.eye(3)], np.ones(12)))
    after = sets.project(more.basis, more.codes, BOUNDS)
    assert sets.holds(after.policies)[5]
    assert np.array_equal(after.codes[:4], before.codes)


def test_tighter_constraints_hold_from_the_next_projection_on() -> None:
    """A task's constraints may be replaced."""
    sets = SafeSets(1, 2)
    sets.register(0, PolicyConstraints.gains([-1.0, -1.0], [1.0, 1.0]))
    first = sets.project(np.eye(2), np.array([[0.9, 0.9]]), BOUNDS)
    tighter = PolicyConstraints.gains([-0.5, -0.5], [0.5, 0.5])
    sets.register(0, tighter)
    assert not sets.holds(first.policies)[0]
    assert tighter.holds(sets.project(first.basis, first.codes, BOUNDS).policies[0])
