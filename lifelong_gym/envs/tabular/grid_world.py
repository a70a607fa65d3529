"""A 10 by 10 grid with a goal and obstacles: a family of discrete states and actions."""

from __future__ import annotations

from typing import final

import numpy as np

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Discrete, Quantity
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.numerics.scalar import Vector, clip, floor, where
from lifelong_gym.tasks.distributions import Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

SIZE = 10
LAST = 9.0
N_ACTIONS = 4
UP, DOWN, LEFT, RIGHT = 0.0, 1.0, 2.0, 3.0
OBSTACLES = (1, 2, 3)
STATE = (Quantity("row", "1", "from the top, 0 to 9"), Quantity("column", "1", "from the left, 0 to 9"))


def position(name: str, meaning: str, low: int, draws: Integer | None, nominal: int) -> Parameter:
    """An integer parameter between ``low`` and the last row or column."""
    return Parameter(name, "1", meaning, (low, SIZE - 1), draws, nominal, integer=True)


def cell(
    name: str, absent: bool, rows: Integer | None, columns: Integer | None, at: tuple[int, int]
) -> list[Parameter]:
    """The parameters of one cell: where it may be drawn, and its nominal place."""
    low, note = (-1, ", -1: there is none") if absent else (0, "")
    words = name.replace("_", " ") if absent else f"the {name}"
    return [
        position(f"{name}_row", f"row of {words}{note}", low, rows, at[0]),
        position(f"{name}_column", f"column of {words}{note}", low, columns, at[1]),
    ]


# Goal and obstacles are drawn from regions apart from each other and from the start, and no two obstacles can
# close off a corner: every task can be solved, although each number is drawn on its own.
FIRST_HALF, LAST_HALF, INNER = Integer(0, 4), Integer(5, 9), Integer(2, 4)
CELLS = (
    *cell("goal", False, LAST_HALF, LAST_HALF, (7, 7)),
    *cell("obstacle_1", True, FIRST_HALF, LAST_HALF, (2, 7)),
    *cell("obstacle_2", True, LAST_HALF, FIRST_HALF, (7, 2)),
    *cell("obstacle_3", True, INNER, INNER, (3, 3)),
    *cell("start", False, None, None, (0, 0)),
)
SLIP = Parameter("slip", "1", "probability that the direction is random", (0.0, 1.0), nominal=0.0)
ABSORBING = Parameter(
    "absorbing", "1", "1: goal and obstacles end episodes; 0: nothing does", (0, 1), nominal=1, integer=True, added=True
)
RANDOM_START = Parameter(
    "random_start", "1", "probability to start in a random free cell", (0.0, 1.0), nominal=0.0, added=True
)
DRAWN = {parameter.name: parameter.draws for parameter in CELLS if parameter.draws is not None}
PRESETS = {"slippery": Preset({**DRAWN, "slip": Uniform(0.05, 0.3)}, "as `default`, on a slippery floor")}


def apart(row: FloatArray, column: FloatArray, *obstacles: FloatArray) -> BoolArray:
    """Whether a cell is none of the obstacles, given as rows and columns in turns, in each task."""
    pairs = zip(obstacles[::2], obstacles[1::2], strict=True)
    return ~np.logical_or.reduce([(row == other) & (column == another) for other, another in pairs])


RULES = [
    Rule(
        (f"{name}_row", f"{name}_column", *(parameter.name for parameter in CELLS[2:8])),
        f"the {name} must not lie on an obstacle",
        apart,
    )
    for name in ("goal", "start")
]


def is_goal(state: Vector, goal: Vector) -> bool:
    """Whether the cell is the goal."""
    return (state[0] == goal[0]) & (state[1] == goal[1])


def is_obstacle(state: Vector, obstacles: Vector) -> bool:
    """Whether the cell is one of the obstacles; an absent one has a row or column of -1."""
    row, column = state
    first = (row == obstacles[0]) & (column == obstacles[1])
    second = (row == obstacles[2]) & (column == obstacles[3])
    third = (row == obstacles[4]) & (column == obstacles[5])
    return first | second | third


def reward_goal(next_state: Vector, goal: Vector, obstacles: Vector) -> float:
    """+1 at the goal, -1 at an obstacle, otherwise 0."""
    return where(is_goal(next_state, goal), 1.0, where(is_obstacle(next_state, obstacles), -1.0, 0.0))


def free_cells(
    goal: tuple[FloatArray, ...], obstacles: tuple[FloatArray, ...], absorbing: FloatArray
) -> tuple[FloatArray, ...]:
    """How many cells are free, and the numbers of those that aren't, smaller ones first, and then beyond the last."""
    beyond = float(SIZE * SIZE)
    rows, columns = np.array([goal[0], *obstacles[::2]]), np.array([goal[1], *obstacles[1::2]])
    taken = np.where((rows >= 0.0) & (columns >= 0.0) & (absorbing > 0.0), SIZE * rows + columns, beyond)
    taken = np.sort(taken, axis=0)
    taken[1:][taken[1:] == taken[:-1]] = beyond
    taken = np.sort(taken, axis=0)
    return beyond - (taken < beyond).sum(axis=0), *taken


@final
class GridWorld(KernelFamily):
    """A 10 by 10 grid on which an agent looks for its goal.

    ## Description
    The agent moves from cell to cell; moving into a wall, it stays. Goal and obstacles end the episode, unless the
    task says otherwise. They, the start and the floor's slipperiness are the parameters: what is one task's goal may
    be another's obstacle. All tasks share the moves, each until its end; literally so where nothing is absorbing. The
    setting is the grid world of Zeng et al. (2021), whose five maps are `grid_world_map`.

    ## Action Space
    ``Discrete(4)``. With probability ``slip`` the action is replaced by one of the four at random.

    | Num | Action |
    |---|---|
    | 0 | up: row - 1 |
    | 1 | down: row + 1 |
    | 2 | left: column - 1 |
    | 3 | right: column + 1 |

    ## Observation Space
    ``Discrete(100)``: the cell, ``10 row + column``. The physical state is a pair.

    | Num | State | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | row, from the top | 0 | 9 | 1 |
    | 1 | column, from the left | 0 | 9 | 1 |

    ## Rewards
    ``goal``: +1 for reaching the goal, -1 for an obstacle, otherwise 0. Where nothing is absorbing, each time anew.

    ## Starting State
    The cell of the parameters ``start_row`` and ``start_column``, the upper left corner by default; with the
    probability ``random_start`` any free cell instead: one in which no episode ends. An episode that starts on a goal
    or an obstacle all the same stays there, gets its reward and ends with the first step.

    ## Episode End
    Termination at the goal or an obstacle, if these are ``absorbing``; truncation after 200 steps.

    ## Parameters
    | Parameter | Nominal | Default range | Unit | Meaning |
    |---|---|---|---|---|
    | ``goal_row``, ``goal_column`` | 7, 7 | 5 to 9, 5 to 9 | 1 | the goal |
    | ``obstacle_1_row``, ``obstacle_1_column`` | 2, 7 | 0 to 4, 5 to 9 | 1 | an obstacle; -1: there is none |
    | ``obstacle_2_row``, ``obstacle_2_column`` | 7, 2 | 5 to 9, 0 to 4 | 1 | an obstacle; -1: there is none |
    | ``obstacle_3_row``, ``obstacle_3_column`` | 3, 3 | 2 to 4, 2 to 4 | 1 | an obstacle; -1: there is none |
    | ``start_row``, ``start_column`` | 0, 0 | | 1 | where episodes start |
    | ``slip`` | 0 | | 1 | probability that the direction is random |
    | ``absorbing`` | 1 | | 1 | 1: goal and obstacles end episodes; 0: nothing does |
    | ``random_start`` | 0 | | 1 | probability to start in a random free cell |

    All but ``slip`` and ``random_start`` are integers. Neither goal nor start lies on an obstacle.

    ## Presets
    ``default``, ``single``, and ``slippery``, which also draws ``slip`` from [0.05, 0.3].

    ## References
    - S. Zeng et al.: A Decentralized Policy Gradient Approach to Multi-Task Reinforcement Learning. UAI 2021.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace((*CELLS, SLIP, ABSORBING, RANDOM_START), PRESETS, rules=RULES)
    state = STATE
    actions = Discrete(N_ACTIONS, ("up", "down", "left", "right"))
    observations = Discrete(SIZE * SIZE)
    horizon = 200
    n_initial_noise = 2
    n_noise = 2
    rewards = {"goal": reward_goal}  # noqa: RUF012 (declared as ClassVar in the base class)
    reference = "lifelong_gym.references.tabular:ValueIteration"
    render_fps = 5
    viewer = "lifelong_gym.envs.viewers.grid_world:GridWorldViewer"

    @staticmethod
    def initial(noise: Vector, start: Vector, free: Vector) -> Vector:
        """The start cell, or a random one: counted among the free ones, it skips each that isn't."""
        cell = floor(free[1] * noise[1])
        for i in range(2, 6):
            cell = cell + where(cell >= free[i], 1.0, 0.0)
        row = floor(cell / SIZE)
        drawn = noise[0] < free[0]
        return where(drawn, row, start[0]), where(drawn, cell - SIZE * row, start[1])

    @staticmethod
    def transition(
        state: Vector, action: Vector, noise: Vector, goal: Vector, obstacles: Vector, slip: Vector, absorbing: Vector
    ) -> Vector:
        """One move; goal and obstacles are never left where they are absorbing."""
        row, column = state
        direction = where(noise[0] < slip[0], floor(N_ACTIONS * noise[1]), action[0])
        down = where(direction == DOWN, 1.0, where(direction == UP, -1.0, 0.0))
        right = where(direction == RIGHT, 1.0, where(direction == LEFT, -1.0, 0.0))
        stays = (is_goal(state, goal) | is_obstacle(state, obstacles)) & (absorbing[0] > 0.0)
        moved = clip(row + down, 0.0, LAST), clip(column + right, 0.0, LAST)
        return where(stays, row, moved[0]), where(stays, column, moved[1])

    @staticmethod
    def terminated(state: Vector, goal: Vector, obstacles: Vector, absorbing: Vector) -> bool:
        """At the goal or an obstacle, if they are absorbing."""
        return (is_goal(state, goal) | is_obstacle(state, obstacles)) & (absorbing[0] > 0.0)

    @staticmethod
    def observation(state: Vector) -> Vector:
        """The number of the cell."""
        return (SIZE * state[0] + state[1],)

    def constants(self, parameters: Columns) -> Groups:
        """The cells, as pairs of row and column, and what the task leaves to chance."""

        def pair(name: str) -> tuple[FloatArray, FloatArray]:
            return parameters[f"{name}_row"], parameters[f"{name}_column"]

        obstacles = tuple(value for i in OBSTACLES for value in pair(f"obstacle_{i}"))
        return {
            "goal": pair("goal"),
            "obstacles": obstacles,
            "start": pair("start"),
            "slip": (parameters["slip"],),
            "absorbing": (parameters["absorbing"],),
            "free": (parameters["random_start"], *free_cells(pair("goal"), obstacles, parameters["absorbing"])),
        }

    def discrete_states(self) -> FloatArray:
        """The cells, row by row."""
        cells: FloatArray = np.stack(np.divmod(np.arange(float(SIZE * SIZE)), SIZE), axis=1)
        return cells

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a cell of the board."""
        for channel, value in zip(self.state, state.flat, strict=False):
            if value != np.floor(value) or not 0 <= value < SIZE:
                raise ValueError(f"`state`: {channel.name} must be an integer from 0 to {SIZE - 1}. Received {value}")
        super().check_state(state)
