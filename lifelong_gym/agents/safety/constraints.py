"""What a task's policy may be: ``A theta <= b``, as users state it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.contract.checks import real
from lifelong_gym.agents.safety import feasibility
from lifelong_gym.errors import InfeasibleConstraintsError, integer
from lifelong_gym.numerics.arrays import FloatArray

MOST_CORNERS = 16  # observations of which all corners are listed
ROUNDING = 4 * 2.0**-53  # twice what an operation may be wrong by, either of two times a sum is taken


def rounding(matrix: FloatArray, size: FloatArray, n_terms: int) -> FloatArray:
    """How far ``A theta`` may lie from its exact value, in whatever order it and theta are summed up.

    Args:
        matrix: A, shape (..., c, d).
        size: a bound on the sum of the magnitudes of each theta_i's terms, shape (..., d).
        n_terms: terms of theta_i.

    Returns:
        Bounds, shape (..., c), also on the difference between any two ways to compute it.
    """
    d = matrix.shape[-1]
    terms = (np.abs(matrix) @ size[..., None])[..., 0]
    bound: FloatArray = (d + n_terms + 4) * (ROUNDING * terms + np.finfo(np.float64).tiny)
    return bound


@dataclass(frozen=True, eq=False)
class PolicyConstraints:
    """Linear constraints ``A theta <= b`` on the parameters of a task's linear policy, its *safe set*.

    ``theta`` has shape (n_actions * n_features,), row-major in (action, feature), in units of a; features are
    ``phi = (y / c, 1)`` of the observation y with the family's ``feature_scale`` c. Constraints are combined by ``&``:

    >>> limits = PolicyConstraints.gains([-2.0, -3.0], [0.0, 3.0]) & PolicyConstraints.polytope([[1.0, 1.0]], [1.5])
    >>> limits.violation(np.array([0.0, 2.0]))
    0.5
    >>> limits.centre()
    (array([-1.,  ...]), 1.0)

    ==================  =======================================================================================
    constructor         what it promises of the mean action W phi
    ==================  =======================================================================================
    `gains`, `polytope` nothing beyond theta itself: exact
    `actions`           ``|a_i| <= limit`` at given observations and all between them: exact on their convex hull,
                        thus on a whole box whose corners are given; conservative where not all of that is reachable
    `actions_within`    the same on a box by one share of the limit per feature: conservative, but only 2d rows
    `action_changes`    ``|a_i' - a_i| <= limit`` from step to step, for every change of observation within a box:
                        exact for that box, conservative where it contains changes that don't occur in a step
    ==================  =======================================================================================

    Exploration noise comes on top of the mean action, and no constraint on parameters promises that the closed loop
    is stable.

    Args:
        matrix: A, shape (c, d).
        bound: b, shape (c,).
        names: of the rows, for error messages.

    Raises:
        ValueError: wrong shapes, numbers that are not finite, or rows of A that are zero.
    """

    matrix: FloatArray
    bound: FloatArray
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        matrix, bound = _numbers("matrix", self.matrix), _numbers("bound", self.bound)
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise ValueError(f"`matrix` must have shape (n_constraints, d). Received {matrix.shape}")
        if bound.shape != matrix.shape[:1]:
            raise ValueError(f"`bound` must have shape {matrix.shape[:1]} as `matrix` has rows. Received {bound.shape}")
        zero = np.flatnonzero(~matrix.any(axis=1))
        if len(zero):
            raise ValueError(
                f"`matrix` must have no zero rows: they constrain nothing. Received zeros in row {zero[0]}"
            )
        names = tuple(self.names) or tuple(f"row {i}" for i in range(len(bound)))
        if len(names) != len(bound):
            raise ValueError(f"`names` must name the {len(bound)} rows. Received {len(names)}")
        for field, value in (("matrix", matrix), ("bound", bound), ("names", names)):
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        return f"PolicyConstraints({self.matrix.shape[0]} constraints on {self.matrix.shape[1]} parameters)"

    @classmethod
    def polytope(cls, matrix: npt.ArrayLike, bound: npt.ArrayLike, names: Sequence[str] = ()) -> Self:
        """``A theta <= b``; see the class."""
        return cls(_numbers("matrix", matrix), _numbers("bound", bound), tuple(names))

    @classmethod
    def gains(cls, low: npt.ArrayLike, high: npt.ArrayLike) -> Self:
        """``low <= theta <= high``, each of shape (d,); infinite where there is no limit.

        Raises:
            ValueError: other shapes, not numbers, or nothing between low and high.
        """
        below, above = real("low", low), real("high", high)
        if below.ndim != 1 or below.shape != above.shape:
            raise ValueError(f"`low` and `high` must have shape (d,). Received {below.shape} and {above.shape}")
        if np.isnan(below).any() or np.isnan(above).any():
            raise ValueError("`low` and `high` must be numbers. Received nan")
        for i in np.flatnonzero(~(below < above)):
            raise ValueError(f"`low` must be below `high`. Received {below[i]:g} and {above[i]:g} for theta[{i}]")
        return cls._two_sided(np.eye(len(below)), -below, above, [f"theta[{i}]" for i in range(len(below))])

    @classmethod
    def actions(
        cls,
        limit: npt.ArrayLike,
        observations: npt.ArrayLike,
        *,
        feature_scale: npt.ArrayLike | None = None,
        bias: bool = True,
    ) -> Self:
        """``|a_i| <= limit_i`` at these observations and in their convex hull: exact there.

        Args:
            limit: largest mean action, positive, in units of a, shape (n_actions,).
            observations: shape (n, n_observations); see `corners` for a box.
            feature_scale: c, shape (n_observations,); default: all 1.
            bias: whether the features end with the constant 1.

        Raises:
            ValueError: a wrong shape, or numbers that are not finite or not positive.
        """
        seen = _features(_matrix("observations", observations), feature_scale, float(bias), bias)
        return cls._limits(_positive("limit", limit), seen, "at observation")

    @classmethod
    def action_changes(
        cls,
        limit: npt.ArrayLike,
        changes: npt.ArrayLike,
        *,
        feature_scale: npt.ArrayLike | None = None,
        bias: bool = True,
    ) -> Self:
        """``|a_i(next) - a_i| <= limit_i`` for observations that change by at most ``changes`` in a step.

        Exact for that box of changes; which changes a step can cause is the user's knowledge. The bias, if there is
        one, cancels out and stays free.

        Args:
            limit: largest change of the mean action from step to step, positive, in units of a, shape (n_actions,).
            changes: largest |y' - y|, not negative, shape (n_observations,).
            feature_scale: c, shape (n_observations,); default: all 1.
            bias: whether the features end with the constant 1.

        Raises:
            ValueError: a wrong shape, or numbers that are not finite or negative.
        """
        reach = _numbers("changes", changes)
        if reach.ndim != 1 or (reach < 0).any() or not reach.any():
            raise ValueError(f"`changes` must be (n_observations,) numbers from 0 on, not all 0. Received {reach}")
        ends = corners(-reach, reach)
        half = ends[: len(ends) // 2]  # the other half are their opposites
        seen = _features(half, feature_scale, 0.0, bias)
        return cls._limits(_positive("limit", limit), seen, "for change")

    @classmethod
    def actions_within(
        cls,
        limit: npt.ArrayLike,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        *,
        shares: npt.ArrayLike | None = None,
        feature_scale: npt.ArrayLike | None = None,
        bias: bool = True,
    ) -> Self:
        """``|a_i| <= limit_i`` for observations between ``low`` and ``high``, conservatively: a share for each feature.

        ``|theta_ij| max |phi_j| <= share_j limit_i``. It refuses policies that `actions` at all corners allows, but
        its rows are 2d instead of ``2^(n_observations + 1) n_actions``.

        Args:
            limit: largest mean action, positive, in units of a, shape (n_actions,).
            low: of each observation, shape (n_observations,).
            high: of each observation.
            shares: of the features, positive, their sum at most 1, shape (n_features,); default: equal.
            feature_scale: c, shape (n_observations,); default: all 1.
            bias: whether the features end with the constant 1.

        Raises:
            ValueError: a wrong shape, numbers out of range, or a feature that is always 0.
        """
        ends = np.stack([_numbers("low", low), _numbers("high", high)])
        reach = np.abs(_features(_matrix("low and high", ends), feature_scale, float(bias), bias)).max(axis=0)
        if not reach.all():
            raise ValueError(f"`low` and `high` must not both be 0. Received 0 for observation {np.argmin(reach)}")
        n = len(reach)
        parts = _positive("shares", np.full(n, 1.0 / n) if shares is None else shares)
        if parts.shape != (n,) or parts.sum() > 1.0 + 1e-12:
            raise ValueError(f"`shares` must be {n} numbers with a sum of at most 1. Received {parts}")
        most = (_positive("limit", limit)[:, None] * (parts / reach)).ravel()
        return cls.gains(-most, most)

    @classmethod
    def _limits(cls, limit: FloatArray, features: FloatArray, place: str) -> Self:
        rows = np.asarray(np.kron(np.eye(len(limit)), features), np.float64)
        most = np.repeat(limit, len(features))
        names = [f"action {i} {place} {j}" for i in range(len(limit)) for j in range(len(features))]
        return cls._two_sided(rows, most, most, names)

    @classmethod
    def _two_sided(cls, rows: FloatArray, below: FloatArray, above: FloatArray, names: Sequence[str]) -> Self:
        """``-below <= rows theta <= above`` where these are finite."""
        signed = np.concatenate([-rows, rows])
        most = np.concatenate([below, above])
        labels = [f"{name} >= {-value:g}" for name, value in zip(names, below, strict=True)]
        labels += [f"{name} <= {value:g}" for name, value in zip(names, above, strict=True)]
        kept = np.flatnonzero(np.isfinite(most))
        return cls(signed[kept], most[kept], tuple(labels[i] for i in kept))

    def __and__(self, other: PolicyConstraints) -> PolicyConstraints:
        if not isinstance(other, PolicyConstraints):
            return NotImplemented
        if other.d != self.d:
            raise ValueError(f"constraints must be on equally many parameters. Received {self.d} and {other.d}")
        matrix, bound = np.concatenate([self.matrix, other.matrix]), np.concatenate([self.bound, other.bound])
        return PolicyConstraints(matrix, bound, self.names + other.names)

    @property
    def d(self) -> int:
        """Number of policy parameters."""
        return self.matrix.shape[1]

    @property
    def normalised(self) -> tuple[FloatArray, FloatArray]:
        """A and b with rows of length 1."""
        length = np.linalg.norm(self.matrix, axis=1)
        return self.matrix / length[:, None], self.bound / length

    def values(self, theta: FloatArray) -> FloatArray:
        """``A theta - b``, at most 0 where a constraint is met, shape (c,), for theta of shape (d,)."""
        return np.asarray(self.matrix @ theta - self.bound, np.float64)

    def violation(self, theta: FloatArray) -> float:
        """The largest of `values`; at most 0 for a safe policy."""
        return float(self.values(theta).max())

    def holds(self, theta: FloatArray) -> bool:
        """``A theta <= b`` as floating-point numbers, without tolerance."""
        return bool(np.all(self.matrix @ theta <= self.bound))

    def holds_strictly(self, theta: FloatArray) -> bool:
        """``A theta < b`` in whatever order the sums are taken, also where theta stands for a sum with zeros."""
        theta = np.asarray(theta, np.float64)
        return bool(np.all(self.matrix @ theta + rounding(self.matrix, np.abs(theta), self.d + 1) < self.bound))

    def centre(self, task: int | None = None) -> tuple[FloatArray, float]:
        """The Chebyshev centre and the radius of the ball around it: a policy strictly inside.

        Args:
            task: index to name in errors.

        Raises:
            InfeasibleConstraintsError: the set is empty or too thin; it says which constraints are in conflict.
            ValueError: A is singular, that is, constrains fewer than d directions, or the set is unbounded.
        """
        matrix, bound = self.normalised
        middle, radius = feasibility.centre(matrix, bound)
        if not feasibility.has_room(bound, radius):
            raise self._infeasible(task, radius)
        self.check_regular(task)
        if np.isinf(radius):
            raise ValueError(
                f"the safe set{_of(task)} must be bounded: combine it with PolicyConstraints.gains(low, high)"
            )
        if not self.holds_strictly(middle):
            raise self._infeasible(task, radius)
        return middle, radius

    def check_regular(self, task: int | None = None) -> None:
        """Raise `ValueError` if A is singular, that is, leaves some direction of theta unconstrained."""
        rank = int(np.linalg.matrix_rank(self.normalised[0]))
        if rank < self.d:
            raise ValueError(
                f"`matrix`{_of(task)} must not be singular. Received rank {rank} for {self.d} parameters: combine the "
                "constraints with PolicyConstraints.gains(low, high)"
            )

    def _infeasible(self, task: int | None, radius: float) -> InfeasibleConstraintsError:
        matrix, bound = self.normalised
        conflict = feasibility.smallest_conflict(matrix, bound)
        amounts = feasibility.least_relaxation(matrix, bound) * np.linalg.norm(self.matrix, axis=1)
        relaxation = {self.names[i]: float(amounts[i]) for i in np.flatnonzero(amounts)}
        return InfeasibleConstraintsError(task, radius, tuple(self.names[i] for i in conflict), relaxation)


def _of(task: int | None) -> str:
    return "" if task is None else f" of task {task}"


def corners(low: npt.ArrayLike, high: npt.ArrayLike) -> FloatArray:
    """All corners of the box between two observations, (2^n, n); the second half are opposite to the first.

    >>> corners([0.0, -1.0], [2.0, 1.0])
    array([[ 2.,  1.],
           [ 2., -1.],
           [ 0.,  1.],
           [ 0., -1.]])
    """
    below, above = _numbers("low", low), _numbers("high", high)
    if below.ndim != 1 or below.shape != above.shape or (below > above).any():
        raise ValueError(f"`low` must be (n_observations,) numbers, at most `high`. Received {below} and {above}")
    integer("n_observations", len(below), 1, MOST_CORNERS)
    return np.array(list(itertools.product(*zip(above, below, strict=True))))


def _features(observations: FloatArray, feature_scale: npt.ArrayLike | None, last: float, bias: bool) -> FloatArray:
    n = observations.shape[1]
    scale = np.ones(n) if feature_scale is None or np.size(feature_scale) == 0 else _positive("scale", feature_scale)
    if scale.shape != (n,):
        raise ValueError(f"`feature_scale` must have shape ({n},). Received {scale.shape}")
    scaled: FloatArray = observations / scale
    return np.column_stack([scaled, np.full(len(scaled), last)]) if bias else scaled


def _numbers(name: str, given: npt.ArrayLike) -> FloatArray:
    numbers = real(name, given)
    if not np.isfinite(numbers).all():
        raise ValueError(f"`{name}` must be finite. Received {numbers[~np.isfinite(numbers)][0]}")
    return numbers


def _matrix(name: str, given: npt.ArrayLike) -> FloatArray:
    numbers = _numbers(name, given)
    if numbers.ndim != 2 or 0 in numbers.shape:
        raise ValueError(f"`{name}` must have shape (n, n_observations). Received {numbers.shape}")
    return numbers


def _positive(name: str, given: npt.ArrayLike) -> FloatArray:
    numbers = _numbers(name, given)
    if numbers.ndim != 1 or len(numbers) == 0 or not (numbers > 0).all():
        raise ValueError(f"`{name}` must be a list of positive numbers. Received {given!r}")
    return numbers
