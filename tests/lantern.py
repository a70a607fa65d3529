"""A kernel family that sees pictures: a lantern in a dark corridor, whose reward is measured from where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Discrete, Image, Quantity
from lifelong_gym.numerics.scalar import Vector, clip
from lifelong_gym.tasks.distributions import Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

LENGTH, REACH = 32, 0.04


def reward_open(measured: Vector) -> float:
    """How far one sees to both sides, and 0 where that is nothing."""
    return measured[0] + measured[1]


class Lantern(KernelFamily):
    """A lantern is carried through a corridor with pillars.

    ## Description
    It lights what is near, up to the pillars on both sides.

    ## Action Space
    ``Discrete(3)``: left, stay, right, by a quarter of a cell, and a draught moves it besides.

    ## Observation Space
    ``Box(0, 255, (size, size, 1), uint8)``: the cells around the lantern, as high as they are bright.

    ## Rewards
    ``open``: how many cells there are between the pillars.

    ## Starting State
    Anywhere.

    ## Episode End
    Termination between pillars side by side; truncation after 20 steps.

    ## Parameters
    ``seed``: of the pillars; ``brightness``: of the lantern, which changes the picture alone.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("seed", "1", "of the pillars", (0, 99), Integer(0, 99), 1, integer=True),
            Parameter("brightness", "1", "of the lantern", (0.1, 1.0), Uniform(0.5, 1.0)),
        ]
    )
    arguments: ClassVar[tuple[Argument, ...]] = (Argument("size", int, 6, "of the picture, in pixels"),)
    size: int
    state = (Quantity("place", "1", "cells from the left"),)
    actions = Discrete(3)
    observations = Image(6, 6, 1)
    horizon = 20
    n_initial_noise = 1
    n_noise = 1
    n_measures = 2
    rewards: ClassVar[Mapping[str, Any]] = {"open": reward_open}
    TABLES = (("pillars", "task"),)

    def __init__(self, **arguments: Any) -> None:
        """A picture as large as is asked for."""
        super().__init__(**arguments)
        self.observations = Image(self.size, self.size, 1)

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """1 where a pillar stands; at both ends there is one."""
        pillars = np.random.default_rng(int(parameters["seed"])).random(LENGTH) < 0.3
        pillars[[0, -1]] = True
        return (pillars.astype(np.float32),)

    def constants(self, parameters: Columns) -> Groups:
        """How bright, and the size of the picture."""
        return {"light": (parameters["brightness"],), "pixels": (float(self.size),)}

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Anywhere between the ends."""
        return (1.0 + noise[0] * (LENGTH - 3.0),)

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector) -> Vector:
        """A step, and the draught."""
        return (clip(state[0] + 0.25 * (action[0] - 1.0) + 0.5 * (noise[0] - 0.5), 1.0, LENGTH - 2.0),)

    @staticmethod
    def measure(state: Vector, tables: Any, out: Any) -> None:
        """Free cells to the left and to the right, one's own included."""
        for side in range(2):
            cell, step, free = int(state[0]), 2 * side - 1, 0
            while tables[0][cell] == 0.0:
                cell += step
                free += 1
            out[side] = float(free)

    @staticmethod
    def terminated(measured: Vector) -> bool:
        """Where one sees a single cell."""
        return (measured[0] == 1.0) & (measured[1] == 1.0)

    @staticmethod
    def observation(state: Vector, tables: Any, light: Vector, pixels: Vector, out: Any) -> None:
        """Of each cell around a column that is as high as the cell is bright; behind pillars it is dark."""
        n = int(pixels[0])
        for column in range(n):
            cell, towards = int(state[0]), column - n // 2
            step, seen = (1 if towards > 0 else -1), 0
            while seen < abs(towards) and tables[0][cell] == 0.0:
                cell += step
                seen += 1
            bright = light[0] / (1.0 + REACH * seen * seen) if seen == abs(towards) else 0.0
            for row in range(n):
                out[row * n + column] = 255.0 * bright if n - row <= n * bright else 0.0
