"""Exact optima of grid worlds: of one task, and of one policy that serves several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.scalar import Vector
from lifelong_gym.envs.tabular.grid_world import N_ACTIONS, SIZE, GridWorld, reward_goal
from lifelong_gym.tasks import FloatArray, IntArray, Task

TOLERANCE = 1e-13
MAX_TASKS = 16
CELLS = [(float(row), float(column)) for row in range(SIZE) for column in range(SIZE)]
NO_SLIP, CERTAIN = (1.0, 0.0), (0.0,)
NOWHERE = (-1.0, -1.0)


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
    def of(cls, task: Task | Mapping[str, float]) -> Model:
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


def optimal_values(task: Task | Mapping[str, float], gamma: float = 0.99) -> FloatArray:
    """Largest expected discounted return of a task, without a time limit, by the cell an episode starts in.

    Args:
        task: its parameters; what is left out is nominal.
        gamma: discount, in [0, 1).

    Returns:
        Shape (100,), by ``10 row + column``. The first reward isn't discounted.

    Raises:
        ValueError: ``gamma`` or a parameter is out of range.
    """
    _check_discount(gamma)
    model = Model.of(task)
    return _fixed_point(model.successor, model.slip, model.reward, np.where(model.ends, 0.0, gamma))


def optimal_actions(task: Task | Mapping[str, float], gamma: float = 0.99) -> IntArray:
    """The best direction in every cell for the discounted return, without a time limit; arguments as above.

    Returns:
        Shape (100,), by ``10 row + column``; of equally good directions the first.
    """
    model, values = Model.of(task), optimal_values(task, gamma)
    directions = (model.reward + np.where(model.ends, 0.0, gamma * values))[model.successor]
    best: IntArray = directions.argmax(axis=0)
    return best


def joint_optimum(tasks: Sequence[Task | Mapping[str, float]], gamma: float = 0.99) -> float:
    """Largest sum of discounted returns that one policy, blind to the task, earns in several tasks.

    Without slipping all tasks go through the same cells, each until its own goal or obstacle. Value iteration
    therefore runs over pairs of a cell and the set of tasks still alive. Where the best path visits no cell
    twice, a policy that sees only the cell attains the optimum.

    Args:
        tasks: at most 16, with the same start and no slip.
        gamma: discount, in [0, 1).

    Raises:
        ValueError: the tasks are none or too many, start apart or on a goal or obstacle, or slip.
    """
    _check_discount(gamma)
    models = [Model.of(task) for task in tasks]
    start = _common_start(models)
    successor = successors(NOWHERE, NOWHERE * 3)
    rewards = np.array([model.reward for model in models])
    flags = np.array([model.ends * 2**i for i, model in enumerate(models)]).sum(axis=0)
    values = np.zeros((2 ** len(models), len(CELLS)))
    for alive in range(1, len(values)):
        members = np.array([float(alive >> i & 1) for i in range(len(models))])
        remaining = alive & ~flags
        leaves = remaining < alive
        arrival: FloatArray = members @ rewards
        arrival[leaves] += gamma * values[remaining[leaves], np.flatnonzero(leaves)]
        values[alive] = _fixed_point(successor, 0.0, arrival, np.where(leaves, 0.0, gamma))
    return float(values[-1, start])


def _fixed_point(successor: IntArray, slip: float, arrival: FloatArray, discount: FloatArray) -> FloatArray:
    """Solve ``V = max_a E[arrival + discount V]`` at the next cell, shape (100,)."""
    values = np.zeros(len(CELLS))
    while True:
        directions = (arrival + discount * values)[successor]
        expected = (1.0 - slip) * directions + slip * directions.mean(axis=0)
        improved: FloatArray = expected.max(axis=0)
        if np.abs(improved - values).max() < TOLERANCE:
            return improved
        values = improved


def _check_discount(gamma: float) -> None:
    if not 0.0 <= gamma < 1.0:
        raise ValueError(f"`gamma` must be in [0, 1). Received {gamma}")


def _common_start(models: Sequence[Model]) -> int:
    if not 1 <= len(models) <= MAX_TASKS:
        raise ValueError(f"`tasks` must be 1 to {MAX_TASKS}. Received {len(models)}")
    starts = {model.start for model in models}
    if len(starts) > 1:
        raise ValueError(f"`tasks` must start in one cell. Received cells {sorted(starts)}")
    slips = [model.slip for model in models]
    if any(slips):
        raise ValueError(f"`tasks` must not slip. Received `slip` {slips}")
    (start,) = starts
    if any(model.ends[start] for model in models):
        raise ValueError(f"`tasks` must not start on a goal or obstacle. Received start cell {start}")
    return start
