"""What the engines' quadrotors share: attitudes as quaternions, and what the rotors do."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lifelong_gym.envs.control.quadrotor import Quadrotor, angular_inputs
from lifelong_gym.numerics.scalar import Vector

Quaternion = tuple[float, float, float, float]  # w, x, y, z


class Rotors:
    """What a task's rotors do to its frame.

    Attributes:
        inertia: of the frame about its axes x, y and z, in kg m^2.
        wheel: moment of inertia of one rotor, in kg m^2.
    """

    def __init__(self, task: Mapping[str, float]) -> None:
        """Take what the kernel takes."""
        columns = {name: np.float64(value) for name, value in task.items()}
        self._rotors: Vector = tuple(float(np.asarray(x)) for x in Quadrotor().physics(columns)["rotors"])  # type: ignore[arg-type]
        self.inertia = task["inertia_x"], task["inertia_y"], task["inertia_z"]
        self.wheel = task["rotor_inertia"]

    def torques(self, action: Vector) -> tuple[tuple[float, float, float], float]:
        """Torques about the frame's axes in N m, and the residual speed of the rotors in rad/s."""
        x, y, z, residual = angular_inputs(action, self._rotors)
        return (x * self.inertia[0], y * self.inertia[1], z * self.inertia[2]), residual


def quaternion(roll: float, pitch: float, yaw: float) -> Quaternion:
    """The attitude ``R_z(yaw) R_y(pitch) R_x(roll)``."""
    (a, x), (b, y), (c, z) = ((math.cos(0.5 * angle), math.sin(0.5 * angle)) for angle in (roll, pitch, yaw))
    return (
        a * b * c + x * y * z,
        x * b * c - a * y * z,
        a * y * c + x * b * z,
        a * b * z - x * y * c,
    )


def angles(attitude: Quaternion, yaw: float) -> tuple[float, float, float]:
    """Roll, pitch and yaw of a unit quaternion, the last within half a turn of ``yaw``."""
    w, x, y, z = attitude
    roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x))))
    heading = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return roll, pitch, yaw + math.remainder(heading - yaw, 2.0 * math.pi)


def rotated(attitude: Quaternion, vector: Vector) -> tuple[float, float, float]:
    """A vector of the frame as the world sees it."""
    w, x, y, z = attitude
    a, b, c = vector
    u, v, t = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
    return a + w * u + y * t - z * v, b + w * v + z * u - x * t, c + w * t + x * v - y * u
