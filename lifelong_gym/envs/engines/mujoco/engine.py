"""What all MuJoCo models share: no contacts, Runge-Kutta steps, and a model that is generated from a task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lifelong_gym.envs.engines.engine import Engine
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.numerics.scalar import Vector

PLACEHOLDER = (1.0, 1.0, 1.0)  # kg m^2, where a body doesn't turn, or until its inertia is set
CART, POLE, JOINT, FRAME = (0.35, 0.42, 0.5, 1.0), (0.85, 0.45, 0.2, 1.0), (0.2, 0.2, 0.25, 1.0), (0.3, 0.5, 0.75, 1.0)


def imported() -> Any:
    """The mujoco module, or `MissingExtraError`."""
    try:
        import mujoco
    except ImportError as error:
        raise MissingExtraError("mujoco", "mujoco") from error
    return mujoco


class MujocoEngine(Engine):
    """A task's transition by MuJoCo.

    Attributes:
        dt: seconds of the family's step.
        model: the compiled model.
    """

    dt: ClassVar[float]

    def __init__(self, task: Mapping[str, float]) -> None:
        """See `Engine`."""
        self._mujoco = mujoco = imported()
        spec = mujoco.MjSpec()
        spec.option.timestep = self.dt / self.n_substeps
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_RK4
        spec.option.disableflags = mujoco.mjtDisableBit.mjDSBL_CONTACT
        spec.option.gravity = 0.0, 0.0, -task.get("gravity", 0.0)
        self.build(mujoco, spec, task)
        self.model = spec.compile()
        self.set_constants(self.model, task)
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))
        self._data = mujoco.MjData(self.model)

    @classmethod
    def prepare(cls) -> None:
        """See `Engine`."""
        imported()

    @classmethod
    def check_rows(cls, n_rows: int) -> None:
        """Memory is the only limit."""

    def close(self) -> None:
        """Nothing to release but memory."""

    @abstractmethod
    def build(self, mujoco: Any, spec: Any, task: Mapping[str, float]) -> None:
        """Add the task's bodies, joints and what is seen of them."""

    def set_constants(self, model: Any, task: Mapping[str, float]) -> None:
        """Set what the compiler refuses or versions spell differently; by default nothing."""

    @abstractmethod
    def coordinates(self, state: Vector) -> tuple[Sequence[float], Sequence[float]]:
        """Positions and velocities of the joints, qpos and qvel, in a state of the family."""

    @abstractmethod
    def forces(self, state: Vector, action: Vector) -> Sequence[float]:
        """Forces on the joints' degrees of freedom, held for a step."""

    @abstractmethod
    def state(self, positions: list[float], velocities: list[float], before: Vector) -> Vector:
        """The family's state from that of the joints, and from the one a step earlier."""

    def step(self, state: Vector, action: Vector) -> Vector:
        """See `Engine`."""
        data = self._data
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = self.coordinates(state)
        data.qfrc_applied[:] = self.forces(state, action)
        self._mujoco.mj_step(self.model, data, self.n_substeps)
        return self.state(data.qpos.tolist(), data.qvel.tolist(), state)


def add_body(parent: Any, name: str, mass: float, inertia: Sequence[float], height: float = 0.0) -> Any:
    """A body at its parent's origin.

    Args:
        parent: body that it hangs on.
        name: of the body.
        mass: in kg.
        inertia: about the axes x, y and z through its centre of mass, in kg m^2.
        height: of its centre of mass, in metres.
    """
    body = parent.add_body(name=name)
    body.explicitinertial, body.mass, body.inertia, body.ipos = True, mass, inertia, (0.0, 0.0, height)
    return body


def add_slide(mujoco: Any, body: Any) -> None:
    """Let a body slide along x; its joint has its name."""
    body.add_joint(name=body.name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(1.0, 0.0, 0.0))


def add_hinge(mujoco: Any, body: Any, axis: Sequence[float] = (0.0, 1.0, 0.0)) -> None:
    """Let a body turn about an axis; its joint has its name."""
    body.add_joint(name=body.name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis)


def add_look(body: Any, kind: Any, size: Sequence[float], colour: Sequence[float], **place: Any) -> None:
    """A shape that is seen and weighs nothing."""
    body.add_geom(type=kind, size=size, rgba=colour, mass=0.0, contype=0, conaffinity=0, **place)


def add_rod(mujoco: Any, body: Any, length: float, radius: float) -> None:
    """A rod that stands upright on its body's origin is seen."""
    ends = (0.0, 0.0, 0.0, 0.0, 0.0, length)
    add_look(body, mujoco.mjtGeom.mjGEOM_CAPSULE, (radius, 0.0, 0.0), POLE, fromto=ends)


def add_box(mujoco: Any, body: Any, half: Sequence[float], colour: Sequence[float] = CART) -> None:
    """A box around its body's origin is seen."""
    add_look(body, mujoco.mjtGeom.mjGEOM_BOX, half, colour)
