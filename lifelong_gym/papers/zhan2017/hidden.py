"""Presets whose best policies are known to lie in few dimensions, and how near a learned basis comes to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import subspace_angles

from lifelong_gym import registry
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.jobs import Progress
from lifelong_gym.papers.zhan2017.learning import drawn_tasks, mean_rewards
from lifelong_gym.references.linear import best_policies
from lifelong_gym.tasks.task_set import TaskSet


def carried_over(theta: FloatArray, tasks: TaskSet, n_action: int) -> FloatArray:
    """The nominal task's best policy, seen through each task's isometry.

    Actuators and sensors of opposite sign, sensors' zeros that are moved, and inputs that are turned.

    Args:
        theta: on the features ``(y / c, 1)``, n_action rows one after another.
        tasks: of the preset ``known_basis``, with c = 1 wherever zeros are moved.
        n_action: numbers an action consists of.

    Returns:
        Shape (n_tasks, d).
    """
    gains = np.tile(theta.reshape(1, n_action, -1), (len(tasks), 1, 1))
    names, n = tasks.space.names, gains.shape[2] - 1
    if "input_rotation" in names:
        gains = _turned(tasks.column("input_rotation")).transpose(0, 2, 1) @ gains
    for i in range(n):
        gains[:, :, i] /= tasks.column(f"sensor_gain_{i + 1}")[:, None]
        gains[:, :, n] += gains[:, :, i] * tasks.column(f"sensor_offset_{i + 1}")[:, None]
    gains *= tasks.column("actuator_gain")[:, None, None]
    return gains.reshape(len(tasks), -1)


def _turned(angle: FloatArray) -> FloatArray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)


def truth(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What is hidden.

    Returns:
        ``basis``: an orthonormal one of the best policies, (d, k); ``singular``: all their singular values, relative
        to the first; ``values``: J of the best policies, (n_tasks,).
    """
    family, tasks = registry.family(settings["env"]), drawn_tasks(settings)
    nominal = best_policies(family, family.parameters.tasks([{}]))[0]
    progress(0.9)
    thetas = carried_over(nominal, tasks, family.actions.size)
    left, singular, _ = np.linalg.svd(thetas.T, full_matrices=False)
    return {
        "basis": left[:, : settings["n_hidden"]],
        "singular": rounded(singular / singular[0]),
        "values": rounded(mean_rewards(settings["env"], tasks, thetas, bias=True)),
    }


def largest_angle(basis: FloatArray, hidden: FloatArray) -> float:
    """Between the spans of two bases, (d, k) each, in degrees: 0 where they are the same, 90 where one misses a part.

    >>> largest_angle(np.eye(3)[:, :1], np.eye(3)[:, 1:2])
    90.0
    """
    return float(np.degrees(subspace_angles(basis, hidden).max()))
