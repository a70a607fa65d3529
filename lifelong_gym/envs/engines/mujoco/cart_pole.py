"""The cart-pole by MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from lifelong_gym.envs.control.cart_pole import DT, FORCE
from lifelong_gym.envs.engines.mujoco.engine import (
    PLACEHOLDER,
    MujocoEngine,
    add_body,
    add_box,
    add_hinge,
    add_rod,
    add_slide,
)
from lifelong_gym.numerics.scalar import Vector


@final
class MujocoCartPole(MujocoEngine):
    """A cart that slides, and a uniform rod of length 2 l that turns on it, without friction.

    MuJoCo's RK4 with the kernel's time step solves the same equations by the same method: a step agrees with the
    kernel's to rounding.
    """

    dt = DT

    def build(self, mujoco: Any, spec: Any, task: Mapping[str, float]) -> None:
        """See `MujocoEngine`."""
        mass, half = task["pole_mass"], task["pole_half_length"]
        self._gain = FORCE * task["actuator_gain"]
        cart = add_body(spec.worldbody, "cart", task["cart_mass"], PLACEHOLDER)
        add_slide(mujoco, cart)
        add_box(mujoco, cart, (0.2, 0.1, 0.06))
        across = mass * half**2 / 3.0
        pole = add_body(cart, "pole", mass, (across, across, 1e-6 * across), half)
        add_hinge(mujoco, pole)
        add_rod(mujoco, pole, 2.0 * half, 0.03)

    def coordinates(self, state: Vector) -> tuple[Sequence[float], Sequence[float]]:
        """See `MujocoEngine`."""
        return state[0::2], state[1::2]

    def forces(self, state: Vector, action: Vector) -> Sequence[float]:
        """See `MujocoEngine`."""
        return self._gain * action[0], 0.0

    def state(self, positions: list[float], velocities: list[float], before: Vector) -> Vector:
        """See `MujocoEngine`."""
        return positions[0], velocities[0], positions[1], velocities[1]
