"""What all engines share: a step of theirs in the place of a family's transition; all else is the family's text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from lifelong_gym.envs.backends.kernels import Kernels, bind_family
from lifelong_gym.envs.backends.simulator_rows import KernelSimulator
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import TaskSet


class Engine(ABC):
    """One task's transition by a physics engine, a function of state and action alone.

    Every step puts the engine into the family's state, so that no earlier step leaves a trace: the state is all that
    there is to store, restore and compare, as with the kernel. Nothing touches, so there are no contacts to remember.

    Attributes:
        n_substeps: steps of the engine in one of the family's.
        threads: whether threads may step several engines at once.
    """

    n_substeps: ClassVar[int] = 1
    threads: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, task: Mapping[str, float]) -> None:
        """Build the model of a task, a value for each parameter of the family."""

    @abstractmethod
    def step(self, state: Vector, action: Vector) -> Vector:
        """The family's next state, from a state and an action in the family's units."""

    @abstractmethod
    def close(self) -> None:
        """Release what the engine holds; may be called again."""

    @classmethod
    @abstractmethod
    def prepare(cls) -> None:
        """Import the engine; raises `MissingExtraError` where it isn't installed."""

    @classmethod
    @abstractmethod
    def check_rows(cls, n_rows: int) -> None:
        """Raise `ValueError` where a process can't hold so many engines."""

    @classmethod
    def maker(
        cls, family: KernelFamily, tasks: TaskSet, reward: str | None, terminate_on_failure: bool
    ) -> Callable[[int], EngineSimulator]:
        """Makes the simulator of a task index; arguments as those of `kernel_simulator`.

        Raises:
            MissingExtraError: the engine isn't installed.
        """
        cls.prepare()
        program = Program.of(family, tasks, reward, terminate_on_failure)
        kernels = bind_family(program.text, Binder({}), {"transition": transition})

        def make(index: int) -> EngineSimulator:
            constants: list[float] = program.constants[program.tables.slots[index]].tolist()
            return EngineSimulator(family, kernels, constants, cls(tasks[index]))

        return make


class EngineSimulator(KernelSimulator):
    """A kernel family's task on plain Python floats, stepped by an engine."""

    def __init__(self, family: KernelFamily, kernels: Kernels, constants: list[float], engine: Engine) -> None:
        """The engine rides along behind the constants, where `transition` finds it."""
        super().__init__(family, kernels, (*constants, cast(float, engine)))
        self._engine = engine

    @property
    def threads(self) -> bool:
        """See `Engine`."""
        return self._engine.threads

    def close(self) -> None:
        """See `Simulator`."""
        self._engine.close()


def transition(state: Vector, action: Vector, noise: Vector, k: tuple[Any, ...], tables: tuple[Any, ...]) -> Vector:
    """The family's transition role."""
    following: Vector = k[-1].step(state, action)
    return following
