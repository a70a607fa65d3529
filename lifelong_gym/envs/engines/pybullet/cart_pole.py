"""The cart-pole by PyBullet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from lifelong_gym.envs.control.cart_pole import DT, FORCE
from lifelong_gym.envs.engines.pybullet.engine import WORLD, PybulletJoints, RobotLink
from lifelong_gym.numerics.scalar import Vector


@final
class PybulletCartPole(PybulletJoints):
    """A cart that slides, and a uniform rod of length 2 l that turns on it, without friction; substeps of 1 ms."""

    dt = DT

    def links(self, task: Mapping[str, float]) -> Sequence[RobotLink]:
        """See `PybulletEngine`."""
        self.gain = FORCE * task["actuator_gain"]
        mass, half = task["pole_mass"], task["pole_half_length"]
        across = mass * half**2 / 3.0
        cart = RobotLink("cart", "world", task["cart_mass"], joint="prismatic", axis=(1.0, 0.0, 0.0))
        return WORLD, cart, RobotLink("pole", "cart", mass, (across, across, 0.0), half)

    def joints(self, state: Vector) -> Sequence[tuple[float, float]]:
        """See `PybulletJoints`."""
        position, velocity, angle, spin = state
        return (position, velocity), (angle, spin)

    def state(self, joints: Sequence[tuple[float, float]]) -> Vector:
        """See `PybulletJoints`."""
        (position, velocity), (angle, spin) = joints
        return position, velocity, angle, spin
