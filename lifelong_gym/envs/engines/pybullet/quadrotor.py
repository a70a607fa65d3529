"""The quadrotor's attitude by PyBullet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from lifelong_gym.envs.control.quadrotor import DT
from lifelong_gym.envs.engines.attitude import Rotors, angles, quaternion, rotated
from lifelong_gym.envs.engines.pybullet.engine import PybulletEngine, RobotLink
from lifelong_gym.numerics.scalar import Vector

WHEEL = 1e-9  # kg, which has no effect: it sits in the middle
CENTRE = (0.0, 0.0, 0.0)


@final
class PybulletQuadrotor(PybulletEngine):
    """A frame that floats without gravity, and one flywheel with the rotors' residual angular momentum.

    As with MuJoCo, angles are those of the engine's attitude. Torques turn with the frame: they are applied anew in
    each of 20 substeps of 1 ms.
    """

    dt = DT
    is_fixed = False
    loops = True

    def links(self, task: Mapping[str, float]) -> Sequence[RobotLink]:
        """See `PybulletEngine`; without a rotor's inertia there is no flywheel."""
        self._rotors = Rotors(task)
        frame = RobotLink("frame", None, task["mass"], self._rotors.inertia)
        if self._rotors.wheel == 0.0:
            return (frame,)
        return frame, RobotLink("wheel", "frame", WHEEL, (0.0, 0.0, self._rotors.wheel), axis=(0.0, 0.0, 1.0))

    def step(self, state: Vector, action: Vector) -> Vector:
        """See `Engine`."""
        bullet, body, at = self._bullet, self._body, {"physicsClientId": self._client}
        torques, residual = self._rotors.torques(action)
        w, x, y, z = quaternion(*state[0::2])
        rates = rotated((w, x, y, z), state[1::2])
        bullet.resetBasePositionAndOrientation(body, CENTRE, (x, y, z, w), **at)
        bullet.resetBaseVelocity(body, CENTRE, rates, **at)
        if self._rotors.wheel > 0.0:
            bullet.resetJointState(body, 0, 0.0, -residual - state[5], **at)
        for _ in range(self.n_substeps):
            bullet.applyExternalTorque(body, -1, torques, bullet.LINK_FRAME, **at)
            bullet.stepSimulation(**at)
        x, y, z, w = bullet.getBasePositionAndOrientation(body, **at)[1]
        roll_rate, pitch_rate, yaw_rate = rotated((w, -x, -y, -z), bullet.getBaseVelocity(body, **at)[1])
        roll, pitch, yaw = angles((w, x, y, z), state[4])
        return roll, roll_rate, pitch, pitch_rate, yaw, yaw_rate
