"""Linear-quadratic regulators about the goal, as linear policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from lifelong_gym.envs.backends import numpy_math
from lifelong_gym.envs.backends.bind import ROLES
from lifelong_gym.envs.family import Constants, Continuous, KernelFamily
from lifelong_gym.tasks import FloatArray, TaskSet

EFFORT_WEIGHT = 0.1  # of the families' quadratic reward
DIFFERENCE = 1e-5


def continuous(family: KernelFamily) -> Continuous:
    """The family's actions; raises `ValueError` unless they are continuous."""
    if not isinstance(family.actions, Continuous):
        raise ValueError(f"`family` must have continuous actions. Received {type(family).__name__}")
    return family.actions


def bound_role(family: KernelFamily, constants: Constants, role: str) -> Any:
    """One of the family's functions on NumPy arrays: its arguments, and the columns of the constants."""
    name = type(family).__name__
    return numpy_math.binder().role(getattr(type(family), role), ROLES[role], constants.groups, name)


def lqr_policies(family: KernelFamily, tasks: TaskSet) -> FloatArray:
    """The policies that are optimal for the quadratic reward ``-|x - x*|^2 - 0.1 |a|^2`` near each task's goal.

    Where the goal is no equilibrium they hold the state that costs least. A task whose linearisation can't be
    stabilised gets the policy that does nothing.

    Args:
        family: with continuous actions and a group of constants ``goal``.
        tasks: the tasks.

    Returns:
        theta in units of a, on the features ``(y / c, 1)``: (n_tasks, n_action * n_features).

    Raises:
        ValueError: discrete actions, or no goal.
    """
    n_action = continuous(family).size
    constants = Constants.of(family, tasks.values)
    if "goal" not in constants.groups:
        raise ValueError(f"`family` must have a group of constants `goal`. Received {type(family).__name__}")
    goal, k = constants.table[:, constants.groups["goal"]], tuple(constants.table.T)
    n = goal.shape[1]
    transition, observation = (bound_role(family, constants, role) for role in ("transition", "observation"))

    def follow(x: FloatArray) -> FloatArray:
        return _stacked(transition(tuple(x[:, :n].T), tuple(x[:, n:].T), (0.5,) * family.n_noise, k))

    def observe(x: FloatArray) -> FloatArray:
        return _stacked(observation(tuple(x[:, :n].T), k))

    at = np.concatenate([goal, np.zeros((len(tasks), n_action))], axis=1)
    system, sensors, drifts = _jacobian(follow, at), _jacobian(observe, at)[..., :n], follow(at) - goal
    regulators = [_regulator(s[:, :n], s[:, n:], drift) for s, drift in zip(system, drifts, strict=True)]
    gains, biases = (np.stack(part) for part in zip(*regulators, strict=True))
    by_sensor = gains @ np.linalg.pinv(sensors)  # x - x* from y - y*
    biases += (by_sensor @ observe(at)[..., None])[..., 0]
    scale = np.array(family.feature_scale or (1.0,) * family.observations.size)
    return np.concatenate([-by_sensor * scale, biases[..., None]], axis=-1).reshape(len(tasks), -1)


def _stacked(columns: tuple[Any, ...]) -> FloatArray:
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _jacobian(function: Callable[[FloatArray], FloatArray], at: FloatArray) -> FloatArray:
    """Central differences, (n_tasks, n_out, n_in)."""
    moves = DIFFERENCE * np.eye(at.shape[1])
    return np.stack([(function(at + move) - function(at - move)) / (2 * DIFFERENCE) for move in moves], axis=-1)


def _regulator(a: FloatArray, b: FloatArray, drift: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gain and bias of the action ``bias - gain e`` that is optimal on average for ``e' = a e + b u + drift``.

    The cost to go is ``e' P e + 2 p' e``: P solves the Riccati equation, p is linear in the drift.
    """
    n, m = b.shape
    effort = EFFORT_WEIGHT * np.eye(m)
    try:
        cost = scipy.linalg.solve_discrete_are(a, b, np.eye(n), effort)
        to_action = np.linalg.solve(effort + b.T @ cost @ b, b.T)
        gain = to_action @ cost @ a
        closed = a - b @ gain
        linear = np.linalg.solve(np.eye(n) - closed.T, closed.T @ cost @ drift)
    except np.linalg.LinAlgError:
        return np.zeros((m, n)), np.zeros(m)
    return gain, np.asarray(-to_action @ (cost @ drift + linear), np.float64)
