"""The cart-pole's physics by MuJoCo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from lifelong_gym.envs.backends.kernels import bind_family
from lifelong_gym.envs.backends.simulator_rows import KernelSimulator, Simulator
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.control.cart_pole import DT, FORCE, CartPole
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import TaskSet

# No contacts, no friction. The pole is a uniform rod of length 2 l: moment of inertia m l^2 / 3 about its centre.
MODEL = """
<mujoco>
  <option timestep="{dt}" integrator="RK4" gravity="0 0 -{gravity}"><flag contact="disable"/></option>
  <worldbody>
    <body>
      <joint name="cart" type="slide" axis="1 0 0"/>
      <inertial pos="0 0 0" mass="{cart_mass}" diaginertia="{cart_mass} {cart_mass} {cart_mass}"/>
      <body>
        <joint name="pole" type="hinge" axis="0 1 0"/>
        <inertial pos="0 0 {pole_half_length}" mass="{pole_mass}" diaginertia="{inertia} {inertia} {thin}"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def imported() -> Any:
    """The mujoco module, or `MissingExtraError`."""
    try:
        import mujoco
    except ImportError as error:
        raise MissingExtraError("mujoco", "mujoco") from error
    return mujoco


def transition(state: Vector, action: Vector, noise: Vector, k: tuple[Any, ...], tables: tuple[Any, ...]) -> Vector:
    """The family's transition role; the task's engine rides along behind its constants."""
    following: Vector = k[-1].step(state, action)
    return following


@final
class MujocoCartPole:
    """A cart-pole task's transition by MuJoCo; everything else is the kernel's own text.

    MuJoCo's RK4 with the kernel's time step solves the same equations by the same method. A step agrees with the
    kernel's to 2e-15, a balanced episode of 150 steps, or a free fall until failure, to 1e-14 (100 tasks of five
    presets); a badly tuned controller, under which the pole sways up to its limits, amplifies rounding to 3e-6.
    """

    def __init__(self, task: Mapping[str, float]) -> None:
        """Build the model of a task, a value for each parameter of `CartPole`."""
        self._mujoco = imported()
        inertia = task["pole_mass"] * task["pole_half_length"] ** 2 / 3.0
        text = MODEL.format(**task, dt=DT, inertia=inertia, thin=1e-6 * inertia)
        self._model = self._mujoco.MjModel.from_xml_string(text)
        self._data = self._mujoco.MjData(self._model)
        self._gain = FORCE * task["actuator_gain"]

    def step(self, state: Vector, action: Vector) -> Vector:
        """The state after a step; all that it depends on is set anew, so no earlier step leaves a trace.

        Args:
            state: position, velocity, angle and angular velocity.
            action: the force, shape (1,), in units of 10 N.
        """
        data = self._data
        self._mujoco.mj_resetData(self._model, data)
        data.qpos[:], data.qvel[:] = state[0::2], state[1::2]
        data.qfrc_applied[0] = self._gain * action[0]
        self._mujoco.mj_step(self._model, data)
        (position, angle), (velocity, spin) = data.qpos.tolist(), data.qvel.tolist()
        return position, velocity, angle, spin

    @classmethod
    def maker(
        cls, family: CartPole, tasks: TaskSet, reward: str | None, terminate_on_failure: bool
    ) -> Callable[[int], Simulator]:
        """Makes the simulator of a task index; arguments as those of `kernel_simulator`.

        Raises:
            MissingExtraError: MuJoCo isn't installed.
        """
        imported()
        program = Program.of(family, tasks, reward, terminate_on_failure)
        kernels = bind_family(program.text, Binder({}), {"transition": transition})

        def make(index: int) -> Simulator:
            k: tuple[Any, ...] = (*program.constants[program.tables.slots[index]].tolist(), cls(tasks[index]))
            return KernelSimulator(family, kernels, k)

        return make
