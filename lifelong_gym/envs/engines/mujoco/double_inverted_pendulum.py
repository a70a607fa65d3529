"""The double inverted pendulum by MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from lifelong_gym.envs.control.double_inverted_pendulum import DT, FORCE
from lifelong_gym.envs.engines.mujoco.engine import (
    JOINT,
    PLACEHOLDER,
    MujocoEngine,
    add_body,
    add_box,
    add_hinge,
    add_look,
    add_rod,
    add_slide,
)
from lifelong_gym.numerics.scalar import Vector


@final
class MujocoDoubleInvertedPendulum(MujocoEngine):
    """A cart that slides, and two point masses on massless rods, without friction.

    MuJoCo's second angle is relative to the first, ours are absolute. RK4 gives the same steps in both coordinates,
    one is linear in the other.
    """

    dt = DT

    def build(self, mujoco: Any, spec: Any, task: Mapping[str, float]) -> None:
        """See `MujocoEngine`."""
        self._gain = FORCE * task["actuator_gain"]
        cart = add_body(spec.worldbody, "cart", task["cart_mass"], PLACEHOLDER)
        add_slide(mujoco, cart)
        add_box(mujoco, cart, (0.2, 0.1, 0.06))
        below, height = cart, 0.0
        for i in (1, 2):
            length = task[f"length_{i}"]
            rod = add_body(below, f"rod_{i}", task[f"mass_{i}"], PLACEHOLDER, length)
            rod.pos = 0.0, 0.0, height
            add_hinge(mujoco, rod)
            add_rod(mujoco, rod, length, 0.02)
            add_look(rod, mujoco.mjtGeom.mjGEOM_SPHERE, (0.05, 0.0, 0.0), JOINT, pos=(0.0, 0.0, length))
            below, height = rod, length

    def set_constants(self, model: Any, task: Mapping[str, float]) -> None:
        """Points have no moment of inertia, which the compiler refuses."""
        model.body_inertia[2:] = 0.0

    def coordinates(self, state: Vector) -> tuple[Sequence[float], Sequence[float]]:
        """See `MujocoEngine`."""
        return (state[0], state[2], state[4] - state[2]), (state[1], state[3], state[5] - state[3])

    def forces(self, state: Vector, action: Vector) -> Sequence[float]:
        """See `MujocoEngine`."""
        return self._gain * action[0], 0.0, 0.0

    def state(self, positions: list[float], velocities: list[float], before: Vector) -> Vector:
        """See `MujocoEngine`."""
        cart, lower, upper = positions
        velocity, spin, relative = velocities
        return cart, velocity, lower, spin, lower + upper, spin + relative
