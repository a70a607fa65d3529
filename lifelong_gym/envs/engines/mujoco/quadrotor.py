"""The quadrotor's attitude by MuJoCo."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from lifelong_gym.envs.control.quadrotor import DT
from lifelong_gym.envs.engines.attitude import Rotors, angles, quaternion
from lifelong_gym.envs.engines.mujoco.engine import (
    FRAME,
    JOINT,
    PLACEHOLDER,
    MujocoEngine,
    add_body,
    add_hinge,
    add_look,
)
from lifelong_gym.numerics.scalar import Vector

NOSE = (0.85, 0.3, 0.25, 1.0)  # the front rotor
WHEEL = 1e-9  # kg, which has no effect: it sits in the middle


@final
class MujocoQuadrotor(MujocoEngine):
    """A frame that turns freely about its centre, and one flywheel with the rotors' residual angular momentum.

    Rates follow the kernel's equations by the same method. Angles are those of the engine's attitude; the kernel adds
    up the rates instead (Bouabdallah 2007), which no rigid body does: they agree to first order in the angles.
    """

    dt = DT

    def build(self, mujoco: Any, spec: Any, task: Mapping[str, float]) -> None:
        """See `MujocoEngine`; without a rotor's inertia there is no flywheel."""
        self._rotors = Rotors(task)
        self._has_wheel = self._rotors.wheel > 0.0
        frame = add_body(spec.worldbody, "frame", task["mass"], PLACEHOLDER)
        frame.add_joint(name="frame", type=mujoco.mjtJoint.mjJNT_BALL)
        if self._has_wheel:
            add_hinge(mujoco, add_body(frame, "wheel", WHEEL, PLACEHOLDER), (0.0, 0.0, 1.0))
        arm, turn, kinds = task["arm_length"], task["mount_angle"], mujoco.mjtGeom
        for i, colour in enumerate((NOSE, JOINT, JOINT, JOINT)):
            angle = turn + 0.5 * math.pi * i
            x, y = arm * math.cos(angle), arm * math.sin(angle)
            ends = (0.0, 0.0, 0.0, x, y, 0.0)
            add_look(frame, kinds.mjGEOM_CAPSULE, (0.03 * arm, 0.0, 0.0), FRAME, fromto=ends)
            add_look(frame, kinds.mjGEOM_CYLINDER, (0.4 * arm, 0.02 * arm, 0.0), colour, pos=(x, y, 0.1 * arm))

    def set_constants(self, model: Any, task: Mapping[str, float]) -> None:
        """Inertias, also those that no solid body has, and a wheel without any across its axis."""
        model.body_inertia[1] = self._rotors.inertia
        model.body_inertia[2:] = 0.0, 0.0, self._rotors.wheel

    def coordinates(self, state: Vector) -> tuple[Sequence[float], Sequence[float]]:
        """See `MujocoEngine`; `forces` sets the wheel spinning."""
        attitude, rates = quaternion(*state[0::2]), state[1::2]
        return ((*attitude, 0.0), (*rates, 0.0)) if self._has_wheel else (attitude, rates)

    def forces(self, state: Vector, action: Vector) -> Sequence[float]:
        """See `MujocoEngine`."""
        torques, residual = self._rotors.torques(action)
        if not self._has_wheel:
            return torques
        self._data.qvel[3] = -residual - state[5]  # it is held by no torque, its speed is relative to the frame's
        return (*torques, 0.0)

    def state(self, positions: list[float], velocities: list[float], before: Vector) -> Vector:
        """See `MujocoEngine`."""
        w, x, y, z = positions[:4]
        roll, pitch, yaw = angles((w, x, y, z), before[4])
        return roll, velocities[0], pitch, velocities[1], yaw, velocities[2]
