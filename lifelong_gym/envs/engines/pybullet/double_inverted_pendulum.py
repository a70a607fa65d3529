"""The double inverted pendulum by PyBullet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from lifelong_gym.envs.control.double_inverted_pendulum import DT, FORCE
from lifelong_gym.envs.engines.pybullet.engine import WORLD, PybulletJoints, RobotLink
from lifelong_gym.numerics.scalar import Vector


@final
class PybulletDoubleInvertedPendulum(PybulletJoints):
    """A cart that slides, and two point masses on massless rods, without friction; substeps of half a millisecond.

    PyBullet's second angle is relative to the first, ours are absolute.
    """

    dt = DT

    def links(self, task: Mapping[str, float]) -> Sequence[RobotLink]:
        """See `PybulletEngine`."""
        self.gain = FORCE * task["actuator_gain"]
        lower, upper = task["length_1"], task["length_2"]
        cart = RobotLink("cart", "world", task["cart_mass"], joint="prismatic", axis=(1.0, 0.0, 0.0))
        rod = RobotLink("rod_1", "cart", task["mass_1"], height=lower)
        return WORLD, cart, rod, RobotLink("rod_2", "rod_1", task["mass_2"], height=upper, above=lower)

    def joints(self, state: Vector) -> Sequence[tuple[float, float]]:
        """See `PybulletJoints`."""
        position, velocity, angle_1, spin_1, angle_2, spin_2 = state
        return (position, velocity), (angle_1, spin_1), (angle_2 - angle_1, spin_2 - spin_1)

    def state(self, joints: Sequence[tuple[float, float]]) -> Vector:
        """See `PybulletJoints`."""
        (position, velocity), (lower, spin), (upper, relative) = joints
        return position, velocity, lower, spin, lower + upper, spin + relative
