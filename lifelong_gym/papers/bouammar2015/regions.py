"""Where policies start, and the safe sets that they are or aren't in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.envs.family import Family
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.tasks.task_set import TaskSet

FLOOR = 0.1  # of a policy's largest gain: the least scale of the others, many of which are 0
N_DIRECTIONS = 72
BEYOND, AROUND = "beyond", "around"


def regulators(family: Family, tasks: TaskSet) -> FloatArray:
    """Each task's own optimum, near enough, shape (n_tasks, d)."""
    return lqr_policies(family, tasks, bias=False)


def start_policy(family: Family, share: float, time: str) -> FloatArray:
    """A share of the nominal task's regulator, shape (d,)."""
    return share * lqr_policies(family, family.parameters.tasks([{}]), time=time, bias=False)[0]


def scales(optimal: FloatArray) -> FloatArray:
    """Of each gain, (n_tasks, d)."""
    size = np.abs(optimal)
    return np.maximum(size, FLOOR * size.max(axis=1, keepdims=True))


def around(optimal: FloatArray, width: float) -> list[PolicyConstraints]:
    """Boxes around the optima: gains may differ from theirs by this share."""
    room = width * scales(optimal)
    return [PolicyConstraints.gains(low, high) for low, high in zip(optimal - room, optimal + room, strict=True)]


def beyond(optimal: FloatArray, shares: tuple[float, float]) -> list[PolicyConstraints]:
    """Sets whose gains are all weaker than the optimal ones, a polytope each: the optimum lies outside.

    Args:
        optimal: shape (n_tasks, d).
        shares: least and largest share of each gain; the mean share of the gains that aren't small may not exceed the
            point three quarters between them.
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
