"""Grid worlds as tables, for whoever solves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.tabular.grid_world import N_ACTIONS, SIZE, GridWorld, reward_goal
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.scalar import Vector

CELLS = [(float(row), float(column)) for row in range(SIZE) for column in range(SIZE)]
NO_SLIP, CERTAIN = (1.0, 0.0), (0.0,)


def number_of(cell: Vector) -> int:
    """``10 row + column``."""
    return int(GridWorld.observation(cell)[0])


def successors(goal: Vector, obstacles: Vector) -> IntArray:
    """The next cell per direction and cell, shape (4, 100), from the family's own text."""
    return np.array(
        [
            [number_of(GridWorld.transition(cell, (float(a),), NO_SLIP, goal, obstacles, CERTAIN)) for cell in CELLS]
            for a in range(N_ACTIONS)
        ]
    )


@final
@dataclass(frozen=True)
class Model:
    """A task as tables over the 100 cells ``10 row + column``.

    Attributes:
        successor: int64, shape (4, 100): the next cell per direction.
        reward: shape (100,): for arriving in a cell.
        ends: shape (100,): whether arriving there ends the episode.
        slip: probability of a random direction.
        start: the cell episodes start from.
    """

    successor: IntArray
    reward: FloatArray
    ends: npt.NDArray[np.bool_]
    slip: float
    start: int

    @classmethod
    def of(cls, task: Mapping[str, float]) -> Self:
        """Tabulate a task; parameters that it leaves out are nominal."""
        columns = GridWorld.parameters.columns(GridWorld.parameters.tasks([task]).values)
        groups = GridWorld().constants(columns)
        goal, obstacles, start, slip = (
            tuple(float(np.ravel(value)[0]) for value in groups[name])
            for name in ("goal", "obstacles", "start", "slip")
        )
        return cls(
            successors(goal, obstacles),
            np.array([reward_goal(cell, goal, obstacles) for cell in CELLS]),
            np.array([GridWorld.terminated(cell, goal, obstacles) for cell in CELLS]),
            slip[0],
            number_of(start),
        )

    def expected(self, values: FloatArray) -> FloatArray:
        """The expectation over next cells of ``values``, shape (100,), per direction and cell: (4, 100)."""
        directions = values[self.successor]
        return np.asarray((1.0 - self.slip) * directions + self.slip * directions.mean(axis=0))
