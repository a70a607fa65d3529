"""Families of the kinds of spaces that the package's own families don't have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import ActionCodec, Bounded, Entities, MultiDiscrete, Quantity, Simplex
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, clip, mul, sincos, total, where
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


WATER = Quantity("water", "l", "in a tank")
PRESENT = Quantity("present", "1", "whether the tank is there")
RATE = Parameter("rate", "1", "of what a tank gets", (0.1, 2.0), Uniform(0.5, 1.5))
TANKS = Parameter("tanks", "1", "that are there", (1, 3), Integer(2, 3), 2, integer=True)


def reward_least(state: Vector, action: Vector, next_state: Vector) -> float:
    """What is shared out, so far as it goes to the tanks that have least."""
    return total(mul(action, next_state)) - 0.1 * total(mul(state, state))


@documented
class Tanks(KernelFamily):
    """Water is shared out among up to three tanks; those that aren't there get none."""

    parameters = ParameterSpace([RATE, TANKS])
    state = (WATER, Quantity("water_2", "l", "in the second"), Quantity("water_3", "l", "in the third"))
    actions = Simplex(3)
    observations = Entities(3, (WATER, PRESENT), (50.0, 1.0), (0.0, 0.0))
    horizon = 12
    n_noise = 1
    n_initial_noise = 3
    rewards: ClassVar[Mapping[str, Any]] = {"least": reward_least}

    @staticmethod
    def initial(noise: Vector, there: Vector) -> Vector:
        """Up to a litre."""
        return mul(noise, there)

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, rate: Vector) -> Vector:
        """Each gets its share of two litres, more or less."""
        litres = rate[0] * (1.0 + noise[0])
        return (
            clip(state[0] + litres * action[0], 0.0, 50.0),
            clip(state[1] + litres * action[1], 0.0, 50.0),
            clip(state[2] + litres * action[2], 0.0, 50.0),
        )

    @staticmethod
    def present(there: Vector) -> Vector:
        """Those that the task has."""
        return there

    @staticmethod
    def observation(state: Vector, there: Vector) -> Vector:
        """Tank by tank."""
        return (state[0], there[0], state[1], there[1], state[2], there[2])

    def constants(self, parameters: Columns) -> Groups:
        """The first so many tanks are there."""
        there = tuple((parameters["tanks"] > i).astype(float) for i in range(3))
        return {"rate": (parameters["rate"],), "there": there}


@documented
class LogitTanks(Tanks):
    """The same, asked for logits."""

    actions = Simplex(3, logits=4.0)


@documented
class BookedTanks(Tanks):
    """A book says which tanks are there, per number of them."""

    TABLES = (("book", "shared"),)

    def shared_tables(self, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """A row per number of tanks."""
        return (np.tri(4, 3, -1),)

    @staticmethod
    def present(there: Vector, tables: tuple[Any, ...]) -> Vector:  # type: ignore[override]
        """As the book has it."""
        row, book = 3 * int(there[0] + there[1] + there[2]), tables[0]
        return (book[row], book[row + 1], book[row + 2])


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
