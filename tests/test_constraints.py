"""Constraints on policies: what they promise of actions, what is refused, and what is in conflict in an empty set."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from lifelong_gym import rollout, sample_tasks
from lifelong_gym.agents.safety import feasibility
from lifelong_gym.agents.safety.constraints import PolicyConstraints, corners
from lifelong_gym.errors import InfeasibleConstraintsError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.registry import family as family_of

LOW, HIGH = np.array([-1.0, -0.5, 0.2]), np.array([2.0, 0.5, 0.6])
SCALE = np.array([2.0, 0.5, 1.0])


def most_action(theta: FloatArray, low: FloatArray, high: FloatArray, bias: bool) -> FloatArray:
    """The largest |W phi| over a box of observations, per action, by interval arithmetic."""
    gains = theta.reshape(2, -1)
    middle, half = 0.5 * (low + high) / SCALE, 0.5 * (high - low) / SCALE
    offset = gains[:, :3] @ middle + (gains[:, 3] if bias else 0.0)
    return np.asarray(np.abs(offset) + np.abs(gains[:, :3]) @ half)


@pytest.mark.parametrize("bias", [True, False])
def test_action_limits_at_corners_are_exact(bias: bool) -> None:
    """A policy meets them if, and only if, no observation in the box gives a larger action."""
    limit, rng = np.array([1.5, 0.7]), np.random.default_rng(0)
    limits = PolicyConstraints.actions(limit, corners(LOW, HIGH), feature_scale=SCALE, bias=bias)
    verdicts = []
    for theta in rng.normal(size=(2000, 2 * (3 + bias))) * 0.4:
        allowed = bool((most_action(theta, LOW, HIGH, bias) <= limit).all())
        assert limits.holds(theta) == allowed
        verdicts.append(allowed)
    assert 200 < sum(verdicts) < 1800


def test_shares_are_conservative() -> None:
    """What shares allow, the corners allow; the converse is false."""
    rng, limit = np.random.default_rng(1), [1.5, 0.7]
    exact = PolicyConstraints.actions(limit, corners(LOW, HIGH), feature_scale=SCALE)
    shared = PolicyConstraints.actions_within(limit, LOW, HIGH, shares=[0.4, 0.3, 0.1, 0.2], feature_scale=SCALE)
    verdicts = np.array([(shared.holds(t), exact.holds(t)) for t in rng.normal(size=(3000, 8)) * 0.2])
    assert verdicts[verdicts[:, 0], 1].all()
    assert verdicts[:, 0].any()
    assert (~verdicts[:, 0] & verdicts[:, 1]).any()
    assert len(shared.bound) == 16
    assert len(exact.bound) == 32


def test_limits_on_changes_are_exact() -> None:
    """They hold if, and only if, no change of observation within the box changes an action by more."""
    changes, limit, rng = np.array([0.3, 0.0, 1.0]), np.array([0.5, 0.2]), np.random.default_rng(2)
    limits = PolicyConstraints.action_changes(limit, changes, feature_scale=SCALE)
    verdicts = []
    for theta in rng.normal(size=(2000, 8)) * 0.3:
        allowed = bool((np.abs(theta.reshape(2, 4)[:, :3]) @ (changes / SCALE) <= limit).all())
        assert limits.holds(theta) == allowed
        verdicts.append(allowed)
    assert 200 < sum(verdicts) < 1800


def test_a_cart_pole_never_exceeds_its_limits() -> None:
    """Neither the actions nor their changes, on trajectories whose observations stay where the limits were stated."""
    tasks = sample_tasks("LifelongCartPole-v0", 1, preset="safe2015")
    family = "LifelongCartPole-v0"
    theta = np.array([0.4, 0.7, 6.0, 1.2, 0.0])
    first = rollout(family, tasks=tasks, theta=theta, n_trajectories=5, sigma=0.0, trajectories=True, horizon=60)
    seen = first.observations[0].reshape(-1, 4)
    reach, moves = np.abs(seen).max(axis=0), np.abs(np.diff(first.observations[0], axis=1)).max(axis=(0, 1))
    scale = family_of(family).feature_scale or None
    most = PolicyConstraints.actions([1.0], corners(-reach, reach), feature_scale=scale)
    change = PolicyConstraints.action_changes([1.0], moves, feature_scale=scale)
    # By how much the limits of 1 would have to be larger for this policy to meet them exactly.
    limit = float((most.matrix @ theta).max()), float((change.matrix @ theta).max())
    features = np.column_stack([seen / (1.0 if scale is None else np.array(scale)), np.ones(len(seen))])
    actions = (features @ theta).reshape(5, -1)
    assert np.abs(actions).max() <= limit[0] * (1 + 1e-12)
    assert np.abs(np.diff(actions, axis=1)).max() <= limit[1] * (1 + 1e-12)
    assert np.abs(actions).max() > 0.3 * limit[0]


def test_gains_are_a_box() -> None:
    """Rows that are infinite are left out; names tell the rest."""
    box = PolicyConstraints.gains([-1.0, -np.inf], [np.inf, 3.0])
    assert box.names == ("theta[0] >= -1", "theta[1] <= 3")
    assert box.holds(np.array([-1.0, 3.0]))
    assert not box.holds(np.array([np.nextafter(-1.0, -2.0), 3.0]))
    assert box.violation(np.array([0.0, 5.0])) == 2.0


def test_constraints_combine() -> None:
    """Both sides hold."""
    both = PolicyConstraints.gains([0.0, 0.0], [4.0, 4.0]) & PolicyConstraints.polytope([[1.0, 1.0]], [1.0], ["sum"])
    assert both.names[-1] == "sum"
    assert both.holds(np.array([0.5, 0.5]))
    assert not both.holds(np.array([1.0, 0.5]))
    middle, radius = both.centre()
    assert radius == pytest.approx(1 / (2 + np.sqrt(2)))  # of the circle in a right triangle
    assert np.allclose(middle, radius)


def test_centres_lie_inside_and_none_is_deeper() -> None:
    """Against the same program with another solver's method, and by trying points around."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        d = int(rng.integers(1, 6))
        a = rng.normal(size=(6 * d, d))
        constraints = PolicyConstraints.polytope(a, a @ rng.normal(size=d) + rng.uniform(0.01, 1, 6 * d))
        constraints &= PolicyConstraints.gains([-9.0] * d, [9.0] * d)
        middle, radius = constraints.centre()
        assert constraints.holds_strictly(middle)
        matrix, bound = constraints.normalised
        near = middle + rng.normal(size=(200, d)) * radius
        assert (bound - near @ matrix.T).min(axis=1).max() <= radius + 1e-6


def fewest_in_conflict(matrix: FloatArray, bound: FloatArray) -> int:
    """By trying all subsets."""
    for size in range(1, len(bound) + 1):
        for rows in itertools.combinations(range(len(bound)), size):
            if feasibility.centre(matrix[list(rows)], bound[list(rows)])[1] < 0:
                return size
    raise AssertionError("there is no conflict")


def test_the_smallest_conflict_is_found() -> None:
    """As many constraints as trying all subsets finds, none of which can be left out."""
    rng = np.random.default_rng(4)
    sizes: list[int] = []
    while len(sizes) < 12:
        matrix = rng.normal(size=(7, 2))
        matrix /= np.linalg.norm(matrix, axis=1)[:, None]
        bound = rng.normal(size=7) - 0.3
        if feasibility.centre(matrix, bound)[1] > -1e-3:
            continue
        found = feasibility.smallest_conflict(matrix, bound)
        assert feasibility.centre(matrix[found], bound[found])[1] < 0
        assert len(found) == fewest_in_conflict(matrix, bound)
        sizes.append(len(found))
    assert {2, 3} >= set(sizes)


def test_an_empty_set_names_its_conflict_and_the_least_relaxation() -> None:
    """Among many harmless constraints, the two that contradict each other; giving way by their gap resolves it."""
    box = PolicyConstraints.gains([-5.0] * 3, [5.0] * 3)
    contradiction = PolicyConstraints.polytope([[2.0, 0, 0], [-2.0, 0, 0]], [1.0, -1.5], ["torque", "stiffness"])
    with pytest.raises(InfeasibleConstraintsError, match=r"task 7 .*torque; stiffness") as caught:
        (box & contradiction).centre(task=7)
    error = caught.value
    assert set(error.conflict) == {"torque", "stiffness"}
    assert error.radius == pytest.approx(-0.125)  # half of the gap of 0.25 between them
    assert sum(error.relaxation.values()) == pytest.approx(0.5)
    assert pickle.loads(pickle.dumps(error)).relaxation == error.relaxation


def test_relaxing_as_told_makes_room() -> None:
    """Of random empty sets in 4 dimensions; and no total distance is smaller by more than rounding."""
    rng, met = np.random.default_rng(5), 0
    while met < 20:
        matrix = rng.normal(size=(20, 4))
        matrix /= np.linalg.norm(matrix, axis=1)[:, None]
        bound = rng.normal(size=20)
        radius = feasibility.centre(matrix, bound)[1]
        if radius > -1e-3:
            continue
        amounts = feasibility.least_relaxation(matrix, bound)
        assert feasibility.centre(matrix, bound + amounts)[1] > -1e-6
        assert feasibility.centre(matrix, bound + 0.99 * amounts)[1] < 0
        assert -radius <= amounts.sum() <= -radius * 20
        met += 1


def test_empty_sets_are_always_found() -> None:
    """Whose constraints overlap by a millionth or more, at any scale."""
    rng = np.random.default_rng(6)
    for _ in range(100):
        d, scale = int(rng.integers(1, 6)), 10.0 ** rng.integers(-3, 4)
        middle, wall = rng.normal(size=d) * scale, rng.normal(size=d)
        wall /= np.linalg.norm(wall)
        level, gap = wall @ middle, 10.0 ** rng.uniform(-6, 0) * scale
        box = PolicyConstraints.gains(middle - scale, middle + scale)
        with pytest.raises(InfeasibleConstraintsError) as caught:
            (box & PolicyConstraints.polytope([wall, -wall], [level, -level - gap])).centre()
        assert len(caught.value.conflict) <= d + 1


@pytest.mark.parametrize("thickness", [0.0, 1e-9])
def test_a_set_without_interior_is_refused(thickness: float) -> None:
    """A policy has to be strictly inside."""
    with pytest.raises(InfeasibleConstraintsError, match="no interior"):
        PolicyConstraints.polytope([[1.0], [-1.0]], [1.0 + thickness, -1.0]).centre()


def test_singular_and_unbounded_sets_are_refused() -> None:
    """Each with what to do about it."""
    with pytest.raises(ValueError, match=r"of task 3 must not be singular. Received rank 1 for 2"):
        PolicyConstraints.polytope([[1.0, 1.0], [-2.0, -2.0]], [1.0, 1.0]).centre(task=3)
    with pytest.raises(ValueError, match=r"must be bounded: combine it"):
        PolicyConstraints.polytope([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0]).centre()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolicyConstraints.polytope([1.0, 2.0], [1.0]), r"`matrix` must have shape \(n_constraints, d\)"),
        (lambda: PolicyConstraints.polytope([[1.0, 2.0]], [1.0, 1.0]), r"`bound` must have shape \(1,\)"),
        (lambda: PolicyConstraints.polytope([[1.0], [1.0, 2.0]], [1.0]), "`matrix` must be numbers of one shape"),
        (lambda: PolicyConstraints.polytope([[1.0, np.nan]], [1.0]), "`matrix` must be finite. Received nan"),
        (lambda: PolicyConstraints.polytope([[1.0, 2.0]], [np.inf]), "`bound` must be finite. Received inf"),
        (lambda: PolicyConstraints.polytope([[1.0, 2.0], [0.0, 0.0]], [1, 1]), "zeros in row 1"),
        (lambda: PolicyConstraints.polytope([[1.0]], [1.0], ["a", "b"]), "`names` must name the 1 rows. Received 2"),
        (lambda: PolicyConstraints.gains([1.0], [1.0]), r"`low` must be below `high`. Received 1 and 1 for theta\[0\]"),
        (lambda: PolicyConstraints.gains([np.nan], [1.0]), "must be numbers. Received nan"),
        (lambda: PolicyConstraints.gains([0.0, 0.0], [1.0]), r"Received \(2,\) and \(1,\)"),
        (lambda: PolicyConstraints.actions([0.0], [[1.0]]), "`limit` must be a list of positive numbers"),
        (lambda: PolicyConstraints.actions([1.0], [1.0]), r"`observations` must have shape \(n, n_observations\)"),
        (lambda: PolicyConstraints.actions([1.0], [[1.0]], feature_scale=[1.0, 1.0]), "`feature_scale` must have"),
        (lambda: PolicyConstraints.action_changes([1.0], [0.0]), "not all 0"),
        (lambda: PolicyConstraints.actions_within([1.0], [0.0], [0.0]), "must not both be 0"),
        (lambda: PolicyConstraints.actions_within([1.0], [-1.0], [1.0], shares=[0.7, 0.7]), "at most 1"),
        (lambda: corners(np.zeros(30), np.ones(30)), "at most 16. Received 30"),
        (lambda: corners([1.0], [0.0]), "at most `high`"),
        (lambda: PolicyConstraints.gains([0.0], [1.0]) & PolicyConstraints.gains([0.0] * 2, [1.0] * 2), "1 and 2"),
    ],
)
def test_bad_constraints_are_refused(make: Any, message: str) -> None:
    """Before anything is learned."""
    with pytest.raises(ValueError, match=message):
        make()
