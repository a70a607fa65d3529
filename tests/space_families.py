"""Families of the kinds of spaces that the package's own families don't have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import ActionCodec, Bounded, MultiDiscrete, Quantity
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, sincos, where
from lifelong_gym.tasks.distributions import Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

DEGREE = 0.017453292519943295
SECTIONS = """

    ## Description
    For tests.

    ## Action Space
    See the class.

    ## Observation Space
    See the class.

    ## Rewards
    See the class.

    ## Starting State
    See the class.

    ## Episode End
    After 12 steps.

    ## Parameters
    See the class.

    ## Version History
    - v0: first version.
    """


def documented(kind: type[Any]) -> type[Any]:
    """The class, with the sections that a docstring has."""
    kind.__doc__ = f"{kind.__doc__}{SECTIONS}"
    return kind


def reward_lock(next_state: Vector) -> float:
    """How many of the dials are right."""
    return next_state[2]


@documented
class Lock(KernelFamily):
    """Two dials, of three and five digits, are turned at once."""

    parameters = ParameterSpace(
        [
            Parameter("first", "1", "right digit", (0, 2), Integer(0, 2), 1, integer=True),
            Parameter("second", "1", "right digit", (0, 4), Integer(0, 4), 2, integer=True),
        ]
    )
    state = (Quantity("first", "1", "dial"), Quantity("second", "1", "dial"), Quantity("right", "1", "dials"))
    actions = MultiDiscrete((3, 5))
    observations = Bounded(state, (2.0, 4.0, 2.0), (0.0, 0.0, 0.0))
    horizon = 12
    rewards: ClassVar[Mapping[str, Any]] = {"lock": reward_lock}

    @staticmethod
    def initial() -> Vector:
        """Both dials at 0."""
        return (0.0, 0.0, 0.0)

    @staticmethod
    def transition(action: Vector, code: Vector) -> Vector:
        """The dials are where they were turned to."""
        right = where(action[0] == code[0], 1.0, 0.0) + where(action[1] == code[1], 1.0, 0.0)
        return (action[0], action[1], right)

    @staticmethod
    def observation(state: Vector) -> Vector:
        """All of it."""
        return state

    def constants(self, parameters: Columns) -> Groups:
        """The right digits."""
        return {"code": (parameters["first"], parameters["second"])}


def direction(action: Vector, present: Vector) -> Vector:
    """Sine and cosine of an angle in degrees."""
    return sincos(action[0] * DEGREE)


@dataclass(frozen=True)
class Angle(ActionCodec):
    """A kind of space that the package doesn't know: an angle, of which the family sees a pair."""

    @property
    def size(self) -> int:
        """One number."""
        return 1

    @property
    def space(self) -> spaces.Box:
        """In degrees."""
        return spaces.Box(0.0, 360.0, (1,), np.float32)

    def text(self) -> tuple[Any, Mapping[str, Any]]:
        """See `direction`."""
        return direction, {}

    def check_values(self, actions: FloatArray) -> None:
        """Once around, no more."""
        if not ((actions >= 0.0) & (actions <= 360.0)).all():
            raise ValueError(f"an angle must be in [0, 360]. Received {actions}")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        """Anywhere around."""
        return rng.uniform(0.0, 360.0, (*shape, 1)).astype(np.float32)


def reward_north(next_state: Vector) -> float:
    """How far north."""
    return next_state[0]


@documented
class Walk(KernelFamily):
    """A walk in directions of one's own."""

    parameters = ParameterSpace([Parameter("step", "m", "length", (0.1, 2.0), Uniform(0.5, 1.5))])
    state = (Quantity("north", "m", "position"), Quantity("east", "m", "position"))
    actions = Angle()
    observations = Bounded(state, (30.0, 30.0))
    horizon = 12
    rewards: ClassVar[Mapping[str, Any]] = {"north": reward_north}

    @staticmethod
    def initial() -> Vector:
        """At home."""
        return (0.0, 0.0)

    @staticmethod
    def transition(state: Vector, action: Vector, length: Vector) -> Vector:
        """A step in that direction."""
        return (state[0] + length[0] * action[1], state[1] + length[0] * action[0])

    @staticmethod
    def observation(state: Vector) -> Vector:
        """Where one is."""
        return state

    def constants(self, parameters: Columns) -> Groups:
        """Of a step."""
        return {"length": (parameters["step"],)}
