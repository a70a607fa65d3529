"""The safe sets that policies are or aren't in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.numerics.arrays import FloatArray

FLOOR = 0.1  # of a policy's largest gain: the least scale of the others, many of which are 0
N_DIRECTIONS = 72


def scales(optimal: FloatArray) -> FloatArray:
    """Of each gain, (n_tasks, d)."""
    size = np.abs(optimal)
    return np.maximum(size, FLOOR * size.max(axis=1, keepdims=True))


def around(optimal: FloatArray, width: float) -> list[PolicyConstraints]:
    """Boxes around the optima: gains may differ from theirs by this share."""
    room = width * scales(optimal)
    return [PolicyConstraints.gains(low, high) for low, high in zip(optimal - room, optimal + room, strict=True)]


def beyond(optimal: FloatArray, shares: Sequence[float]) -> list[PolicyConstraints]:
    """Sets, a polytope each, whose gains have between these shares of the optimal ones: the optimum lies outside.

    The mean share of the gains that aren't small may not exceed the point three quarters between them.
    """
    low, high = shares
    size, scale = np.abs(optimal), scales(optimal)
    main = size == scale
    most = low + 0.75 * (high - low)
    sets = []
    for gains, unit, is_main in zip(optimal, scale, main, strict=True):
        ends = np.sort(np.where(is_main, np.outer(shares, gains), np.outer((-high, high), unit)), axis=0)
        row = np.where(is_main, np.sign(gains) / unit, 0.0) / is_main.sum()
        cut = PolicyConstraints.polytope([row], [most], ["mean share of the optimal gains"])
        sets.append(PolicyConstraints.gains(*ends) & cut)
    return sets


def outline(region: PolicyConstraints, shown: Sequence[int]) -> FloatArray:
    """Corners of a safe set's shadow on two of its parameters, in order, shape (n, 2)."""
    corners = []
    for angle in np.linspace(0.0, 2 * np.pi, N_DIRECTIONS, endpoint=False):
        wanted = np.zeros(region.d)
        wanted[list(shown)] = np.cos(angle), np.sin(angle)
        found = scipy.optimize.linprog(-wanted, region.matrix, region.bound, bounds=(None, None))
        corners.append(np.asarray(found.x)[list(shown)])
    return np.array(corners)
