"""The simple and the double mass by MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from lifelong_gym.envs.control import double_mass, simple_mass
from lifelong_gym.envs.engines.mujoco.engine import PLACEHOLDER, MujocoEngine, add_body, add_box, add_slide
from lifelong_gym.numerics.scalar import Vector

BETWEEN = "between"


@final
class MujocoSimpleMass(MujocoEngine):
    """A mass that slides, on the spring and the damper of its joint; RK4 at 5 ms."""

    dt = simple_mass.DT
    n_substeps = 10

    def build(self, mujoco: Any, spec: Any, task: Mapping[str, float]) -> None:
        """See `MujocoEngine`."""
        self._gain = simple_mass.FORCE * task["actuator_gain"]
        mass = add_body(spec.worldbody, "mass", task["mass"], PLACEHOLDER)
        add_slide(mujoco, mass)
        add_box(mujoco, mass, (0.2, 0.2, 0.2))

    def set_constants(self, model: Any, task: Mapping[str, float]) -> None:
        """The spring and the damper."""
        model.jnt_stiffness[0], model.dof_damping[0] = task["stiffness"], task["damping"]

    def coordinates(self, state: Vector) -> tuple[Sequence[float], Sequence[float]]:
        """See `MujocoEngine`."""
        return state[:1], state[1:]

    def forces(self, state: Vector, action: Vector) -> Sequence[float]:
        """See `MujocoEngine`."""
        return (self._gain * action[0],)

    def state(self, positions: list[float], velocities: list[float], before: Vector) -> Vector:
        """See `MujocoEngine`."""
        return positions[0], velocities[0]


@final
class MujocoDoubleMass(MujocoEngine):
    """Two masses that slide, one on the spring and the damper of its joint, and a tendon between them; RK4 at 10 ms."""

    dt = double_mass.DT
    n_substeps = 10

    def build(self, mujoco: Any, spec: Any, task: Mapping[str, float]) -> None:
        """See `MujocoEngine`."""
        self._gain = double_mass.FORCE * task["actuator_gain"]
        for i in (1, 2):
            mass = add_body(spec.worldbody, f"mass_{i}", task[f"mass_{i}"], PLACEHOLDER)
            mass.pos = 2.0 * (i - 1), 0.0, 0.0
            add_slide(mujoco, mass)
            add_box(mujoco, mass, (0.2, 0.2, 0.2))
        tendon = spec.add_tendon(name=BETWEEN)
        tendon.wrap_joint("mass_1", -1.0)
        tendon.wrap_joint("mass_2", 1.0)
        tendon.springlength = 0.0, 0.0

    def set_constants(self, model: Any, task: Mapping[str, float]) -> None:
        """The springs and the dampers."""
        model.jnt_stiffness[0], model.dof_damping[0] = task["stiffness_1"], task["damping_1"]
        model.tendon_stiffness[0], model.tendon_damping[0] = task["stiffness_2"], task["damping_2"]

    def coordinates(self, state: Vector) -> tuple[Sequence[float], Sequence[float]]:
        """See `MujocoEngine`."""
        return state[0::2], state[1::2]

    def forces(self, state: Vector, action: Vector) -> Sequence[float]:
        """See `MujocoEngine`."""
        return self._gain * action[0], 0.0

    def state(self, positions: list[float], velocities: list[float], before: Vector) -> Vector:
        """See `MujocoEngine`."""
        return positions[0], velocities[0], positions[1], velocities[1]
