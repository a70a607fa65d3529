"""Simulator families' objects as the rows' simulators: what they get and give is translated by the spaces' codecs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lifelong_gym.envs.backends.simulator_rows import EpisodeStream
from lifelong_gym.envs.family import Simulation, SimulatorFamily
from lifelong_gym.envs.spaces.codecs import ActionText, Array
from lifelong_gym.errors import FamilyError
from lifelong_gym.imports import load
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import TaskSet

METHODS = ("reset", "step", "snapshot", "restore")


class FamilySimulator:
    """A `Simulation` as a `Simulator`."""

    def __init__(self, family: SimulatorFamily, simulation: Simulation, seen: ActionText) -> None:
        """``seen`` is the text of the actions' codec, bound to plain floats."""
        self._family = family
        self._simulation: Any = simulation
        self._seen = seen
        self._rng = np.random.default_rng(0)
        self._observation: Array = np.empty(family.observations.size, family.observations.dtype)

    @property
    def threads(self) -> bool:
        """Whether threads may step several simulations at once."""
        return bool(getattr(self._simulation, "threads", False))

    @property
    def state(self) -> Vector:
        """The physical state, empty where the family declares none."""
        return tuple(float(x) for x in self._simulation.state) if self._family.state else ()

    @state.setter
    def state(self, state: Vector) -> None:
        raise AssertionError("refused by `SimulatorFamily.check_state`")

    def reset(self, stream: EpisodeStream) -> None:
        """See `Simulator`."""
        self._rng = stream.generator()
        self._observation = self._checked("reset", self._simulation.reset(self._rng))

    def step(self, action: Vector, step: int) -> tuple[float, bool, bool]:
        """See `Simulator`."""
        seen = self._seen(action, self.present())
        result = self._simulation.step(self._family.actions.for_simulator(seen), self._rng)
        if not isinstance(result, tuple) or len(result) != 3:
            received = type(result).__name__
            raise FamilyError(f"{self._name}: `step` must return observation, reward, terminated. Received {received}")
        observation, reward, terminated = self._checked("step", result[0]), *result[1:]
        if not isinstance(reward, (int, float, np.number)) or not math.isfinite(reward):
            raise FamilyError(f"{self._name}: the reward of `step` must be a finite number. Received {reward!r}")
        if not isinstance(terminated, (bool, np.bool_)):
            raise FamilyError(f"{self._name}: `terminated` of `step` must be a bool. Received {terminated!r}")
        self._observation = observation
        return float(reward), bool(terminated), False

    @property
    def _name(self) -> str:
        return type(self._simulation).__name__

    def _checked(self, method: str, observation: Any) -> Array:
        try:
            return self._family.observations.flat(observation).copy()
        except FamilyError as error:
            raise FamilyError(f"{self._name}: `{method}`: {error}") from None

    def observe(self) -> Array:
        """See `Simulator`."""
        return self._observation

    def present(self) -> Vector:
        """1 or 0 per number of an action: who is there now."""
        present = getattr(self._simulation, "present", None)
        return (1.0,) * self._family.actions.size if present is None else tuple(float(x) for x in present())

    def picture(self) -> Any:
        """What the simulation shows of itself; None where it shows nothing."""
        return getattr(self._simulation, "picture", lambda: None)()

    def snapshot(self) -> Any:
        """See `Simulator`."""
        return self._simulation.snapshot(), self._rng.bit_generator.state, self._observation

    def restore(self, snapshot: Any) -> None:
        """See `Simulator`."""
        inner, self._rng.bit_generator.state, observation = snapshot
        wanted = self._observation.dtype, self._observation.shape
        if not isinstance(observation, np.ndarray) or (observation.dtype, observation.shape) != wanted:
            raise ValueError(f"the observation must be {wanted[0]} of shape {wanted[1]}. Received {observation!r}")
        self._observation = observation
        self._simulation.restore(inner)

    def close(self) -> None:
        """See `Simulator`."""
        getattr(self._simulation, "close", lambda: None)()


def family_simulator(
    family: SimulatorFamily, tasks: TaskSet, reward: str, terminate_on_failure: bool
) -> Callable[[int], FamilySimulator]:
    """Makes the simulator of a task index; arguments as those of `kernel_simulator`, though nothing here fails.

    Raises:
        FamilyError: the class that the family names lacks a method of `Simulation`.
    """
    kind = load(family.simulator)
    missing = [method for method in METHODS if not callable(getattr(kind, method, None))]
    if missing:
        wanted = ", ".join(METHODS)
        raise FamilyError(f"{family.simulator} must have methods {wanted}. Missing: {', '.join(missing)}")
    family.prepare()
    seen = Binder({}).bind(*family.actions.text())
    return lambda task: FamilySimulator(family, kind(family, dict(tasks[task]), reward), seen)
