"""Is there room in ``{x: A x <= b}``? Linear programs that find its middle, or what is in the way.

Rows are normalised, ``|A_i| = 1``, so that amounts by which a constraint gives way are distances.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize

from lifelong_gym.numerics.arrays import FloatArray, IntArray

THINNEST = 1e-7  # radius of a set, relative to the largest |b_i|, below which the programs can't tell it from none
WIDEST = 1e6  # radius, on the same scale, from which on a set counts as unbounded
MOST_SECONDS = 5.0  # of the search for the smallest conflict


def centre(matrix: FloatArray, bound: FloatArray) -> tuple[FloatArray, float]:
    """The Chebyshev centre: the middle of the largest ball inside.

    Args:
        matrix: A, normalised, shape (c, d).
        bound: b, shape (c,).

    Returns:
        Its middle and its radius as computed from the middle, so never too large. A negative radius is the distance
        by which every constraint would have to give way before there is a point; ``inf``: no ball is the largest.
    """
    c, d = matrix.shape
    scale = _scale(bound)
    rows = np.column_stack([matrix, np.ones(c)])
    limits = [(None, None)] * d + [(None, WIDEST)]
    found = scipy.optimize.linprog(np.r_[np.zeros(d), -1.0], A_ub=rows, b_ub=bound / scale, bounds=limits)
    if found.x is None:  # pragma: no cover - the program always has a solution
        raise RuntimeError(f"the Chebyshev centre was not found: {found.message}")
    middle = np.asarray(found.x[:d] * scale, np.float64)
    if found.x[d] >= WIDEST:
        return middle, np.inf
    return middle, float((bound - matrix @ middle).min())


def has_room(bound: FloatArray, radius: float) -> bool:
    """Whether a set with these bounds and this radius has an interior worth the name."""
    return radius > THINNEST * _scale(bound)


def smallest_conflict(matrix: FloatArray, bound: FloatArray) -> IntArray:
    """The fewest constraints that together leave no room.

    By Farkas' lemma these carry the weights ``w >= 0, sum w = 1, A'w = 0`` of a combination with ``b'w <= 0``; a
    mixed-integer program finds the fewest. Should that take too long, the set returned is one from which none can be
    left out.

    Args:
        matrix: A, normalised, shape (c, d), of a set without room.
        bound: b, shape (c,).

    Returns:
        Their indices.
    """
    return _irreducible(matrix, bound, _fewest(matrix, bound))


def _fewest(matrix: FloatArray, bound: FloatArray) -> IntArray:
    c, d = matrix.shape
    zero, one, b = np.zeros((d, c)), np.eye(c), bound / _scale(bound)
    conditions = [
        scipy.optimize.LinearConstraint(np.hstack([matrix.T, zero]), 0.0, 0.0),
        scipy.optimize.LinearConstraint(np.r_[np.ones(c), np.zeros(c)], 1.0, 1.0),
        scipy.optimize.LinearConstraint(np.r_[b, np.zeros(c)], -np.inf, THINNEST),
        scipy.optimize.LinearConstraint(np.hstack([one, -one]), -np.inf, 0.0),  # a weight only where one is chosen
    ]
    found = scipy.optimize.milp(
        np.r_[np.zeros(c), np.ones(c)],
        integrality=np.r_[np.zeros(c), np.ones(c)],
        bounds=scipy.optimize.Bounds(0.0, 1.0),
        constraints=conditions,
        options={"time_limit": MOST_SECONDS},
    )
    chosen = np.arange(c) if found.x is None else np.flatnonzero(found.x[c:] > 0.5)
    return chosen if _conflicting(matrix, bound, chosen) else np.arange(c)


def _irreducible(matrix: FloatArray, bound: FloatArray, chosen: IntArray) -> IntArray:
    for i in chosen:
        others = chosen[chosen != i]
        if _conflicting(matrix, bound, others):
            chosen = others
    return chosen


def _conflicting(matrix: FloatArray, bound: FloatArray, rows: IntArray) -> bool:
    return len(rows) > 0 and not has_room(bound, centre(matrix[rows], bound[rows])[1])


def least_relaxation(matrix: FloatArray, bound: FloatArray) -> FloatArray:
    """By how much each constraint has to give way for there to be a point, the total distance being least: (c,)."""
    c, d = matrix.shape
    scale = _scale(bound)
    found = scipy.optimize.linprog(
        np.r_[np.zeros(d), np.ones(c)],
        A_ub=np.hstack([matrix, -np.eye(c)]),
        b_ub=bound / scale,
        bounds=[(None, None)] * d + [(0.0, None)] * c,
    )
    if found.x is None:  # pragma: no cover - the program always has a solution
        raise RuntimeError(f"the least relaxation was not found: {found.message}")
    amounts = np.asarray(found.x[d:] * scale, np.float64)
    return np.where(amounts > THINNEST * scale, amounts, 0.0)


def _scale(bound: FloatArray) -> float:
    return float(np.abs(bound).max(initial=0.0)) or 1.0
