"""What all PyBullet models share: a client of their own, no damping, and a robot that is generated from a task."""

from __future__ import annotations

import sys
import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from lifelong_gym.envs.engines.engine import Engine
from lifelong_gym.errors import LifelongGymError, MissingExtraError
from lifelong_gym.numerics.scalar import Vector

MOST_CLIENTS = 1000  # of a process: PyBullet has room for 1024
NO_WHEELS = (3, 13)  # PyPI has none from this Python on
PLACEHOLDER = "1.0"  # kg m^2, until the moments of inertia are set
clients: set[int] = set()  # that engines hold


class MissingPybulletError(MissingExtraError):
    """PyBullet isn't installed; from Python 3.13 on the message says why the extra doesn't bring it."""

    def __init__(self) -> None:
        """Look at the Python that runs."""
        super().__init__("pybullet", "pybullet")
        if sys.version_info >= NO_WHEELS:
            version = ".".join(map(str, sys.version_info[:2]))
            why = f"PyPI has its wheels for Python below 3.13 only, and this is {version}"
            ImportError.__init__(
                self, f"`pybullet` is not installed. {why}: take an older one, or build it from source"
            )


def imported() -> Any:
    """The pybullet module, or `MissingPybulletError`."""
    try:
        import pybullet
    except ImportError as error:
        raise MissingPybulletError from error
    return pybullet


@dataclass(frozen=True)
class RobotLink:
    """A body of a robot, and the joint that it hangs on.

    Attributes:
        name: of both.
        parent: name of the body that it hangs on; None: the base, which has no joint.
        mass: in kg.
        inertia: about the axes through its centre of mass, in kg m^2.
        height: of its centre of mass above its joint, in metres.
        joint: URDF's type of joint.
        axis: of the joint.
        above: height of its joint above its parent's, in metres.
    """

    name: str
    parent: str | None
    mass: float
    inertia: tuple[float, float, float] = (0.0, 0.0, 0.0)
    height: float = 0.0
    joint: str = "continuous"
    axis: tuple[float, float, float] = (0.0, 1.0, 0.0)
    above: float = 0.0


WORLD = RobotLink("world", None, 0.0)


def urdf(links: Sequence[RobotLink]) -> str:
    """The robot in the Unified Robot Description Format, all moments of inertia 1."""
    robot = ElementTree.Element("robot", name="robot")
    for link in links:
        body = ElementTree.SubElement(robot, "link", name=link.name)
        if link.mass > 0.0:
            inertial = ElementTree.SubElement(body, "inertial")
            ElementTree.SubElement(inertial, "origin", xyz=f"0 0 {link.height!r}")
            ElementTree.SubElement(inertial, "mass", value=repr(link.mass))
            moments = dict.fromkeys(("ixx", "iyy", "izz"), PLACEHOLDER) | dict.fromkeys(("ixy", "ixz", "iyz"), "0")
            ElementTree.SubElement(inertial, "inertia", moments)
        if link.parent is not None:
            joint = ElementTree.SubElement(robot, "joint", name=link.name, type=link.joint)
            ElementTree.SubElement(joint, "parent", link=link.parent)
            ElementTree.SubElement(joint, "child", link=link.name)
            ElementTree.SubElement(joint, "origin", xyz=f"0 0 {link.above!r}")
            ElementTree.SubElement(joint, "axis", xyz=" ".join(map(str, link.axis)))
            ElementTree.SubElement(joint, "limit", lower="1", upper="-1", effort="0", velocity="1e3")  # no limits
    return ElementTree.tostring(robot, encoding="unicode")


class PybulletEngine(Engine):
    """A task's transition by PyBullet, in a client of its own without a window, which takes 30 MB and 30 ms to open.

    Bullet's steps are semi-implicit Euler, of first order: errors shrink in proportion to the substeps.

    Attributes:
        dt: seconds of the family's step.
        is_fixed: whether the base is held.
        loops: whether the substeps are taken one by one, since forces differ from one to the next.
    """

    dt: ClassVar[float]
    n_substeps = 20
    is_fixed: ClassVar[bool] = True
    loops: ClassVar[bool] = False

    def __init__(self, task: Mapping[str, float]) -> None:
        """See `Engine`.

        Raises:
            LifelongGymError: PyBullet opens no further client.
        """
        self._bullet = imported()
        self._client = _opened(self._bullet)
        self._release = weakref.finalize(self, _closed, self._bullet, self._client)
        at = {"physicsClientId": self._client}
        self._bullet.setGravity(0.0, 0.0, -task.get("gravity", 0.0), **at)
        parts = {"fixedTimeStep": self.dt / self.n_substeps} if self.loops else {"fixedTimeStep": self.dt}
        self._bullet.setPhysicsEngineParameter(**parts, numSubSteps=0 if self.loops else self.n_substeps, **at)
        self._body = self._loaded(self.links(task))

    def _loaded(self, links: Sequence[RobotLink]) -> int:
        """The robot's number, with its inertias set, undamped and without PyBullet's own motors."""
        bullet, at = self._bullet, {"physicsClientId": self._client}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "robot.urdf"
            path.write_text(urdf(links), encoding="utf-8")
            body: int = bullet.loadURDF(
                str(path), useFixedBase=self.is_fixed, flags=bullet.URDF_USE_INERTIA_FROM_FILE, **at
            )
        for number, link in enumerate(links, -1):
            damping = dict.fromkeys(("linearDamping", "angularDamping", "jointDamping"), 0.0)
            bullet.changeDynamics(body, number, localInertiaDiagonal=link.inertia, **damping, **at)
            if number >= 0:
                bullet.setJointMotorControl2(body, number, bullet.VELOCITY_CONTROL, force=0.0, **at)
        return body

    @classmethod
    def prepare(cls) -> None:
        """See `Engine`."""
        imported()

    @classmethod
    def check_rows(cls, n_rows: int) -> None:
        """See `Engine`."""
        left = MOST_CLIENTS - len(clients)
        if n_rows > left:
            raise ValueError(
                f'`num_envs` must be at most {left} with `physics="pybullet"`, a process holds {MOST_CLIENTS} clients '
                f"of PyBullet, 30 MB each, and has {len(clients)}. Received {n_rows}"
            )

    @abstractmethod
    def links(self, task: Mapping[str, float]) -> Sequence[RobotLink]:
        """The task's robot: the base, then a link a joint."""

    def close(self) -> None:
        """Close the client."""
        self._release()


class PybulletJoints(PybulletEngine):
    """A robot on a held base, whose first joint is pushed."""

    gain: float

    @abstractmethod
    def joints(self, state: Vector) -> Sequence[tuple[float, float]]:
        """Position and velocity of each joint in a state of the family."""

    @abstractmethod
    def state(self, joints: Sequence[tuple[float, float]]) -> Vector:
        """The family's state from that of the joints."""

    def step(self, state: Vector, action: Vector) -> Vector:
        """See `Engine`; a force holds for all substeps."""
        bullet, body, at = self._bullet, self._body, {"physicsClientId": self._client}
        joints = self.joints(state)
        for number, (position, velocity) in enumerate(joints):
            bullet.resetJointState(body, number, position, velocity, **at)
        bullet.setJointMotorControl2(body, 0, bullet.TORQUE_CONTROL, force=self.gain * action[0], **at)
        bullet.stepSimulation(**at)
        return self.state([joint[:2] for joint in bullet.getJointStates(body, range(len(joints)), **at)])


def _opened(bullet: Any) -> int:
    """A new client."""
    try:
        client: int = bullet.connect(bullet.DIRECT)
    except bullet.error as error:
        raise _full(error) from error
    if client < 0:
        raise _full("no client")
    clients.add(client)
    return client


def _full(reason: Any) -> LifelongGymError:
    return LifelongGymError(
        f"PyBullet opens no further client ({reason}), this process holds {len(clients)}: close envs"
    )


def _closed(bullet: Any, client: int) -> None:
    clients.discard(client)
    bullet.disconnect(client)
