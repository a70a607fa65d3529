"""A family with arguments: corridors of any length, whose doors may cost something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Discrete, Quantity
from lifelong_gym.numerics.scalar import Vector, clip, where
from lifelong_gym.tasks.distributions import Integer
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter


def reward_door(next_state: Vector, goal: Vector, price: Vector) -> float:
    """1 for being at the goal, minus what a step costs."""
    return where(next_state[0] == goal[0], 1.0, 0.0) - price[0]


def places(size: int) -> ParameterSpace:
    """Where the door may be."""
    goal = Parameter("goal", "1", "cell of the door", (1, size - 1), Integer(1, size - 1), size - 1, integer=True)
    return ParameterSpace([goal, Parameter("slip", "1", "probability to stay", (0.0, 0.9), nominal=0.2)])


class Corridor(KernelFamily):
    """A corridor with a door.

    ## Description
    Cells in a row; the agent moves left or right, or slips and stays.

    ## Action Space
    ``Discrete(2)``: left, right.

    ## Observation Space
    ``Discrete(size)``: the cell.

    ## Rewards
    1 in the cell of the door, minus the mean of ``prices``.

    ## Starting State
    The first cell.

    ## Episode End
    After 12 steps.

    ## Parameters
    ``goal`` and ``slip``.

    ## Version History
    - v0: first version.
    """

    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("size", int, 5, "number of cells"),
        Argument("prices", (list, dict), None, "what a step may cost; none: nothing"),
    )
    size: int
    prices: list[float] | dict[str, float] | None
    parameters = places(5)
    state = (Quantity("cell", "1", "from the left"),)
    actions = Discrete(2, ("left", "right"))
    observations = Discrete(5)
    horizon = 12
    n_noise = 1
    rewards: ClassVar[Mapping[str, Any]] = {"door": reward_door}
    viewer = "tests.corridors:Lamp"
    render_fps = 5
    reference = "lifelong_gym.references.closed_form:ClosedForm"

    def __init__(self, **arguments: Any) -> None:
        """As long as is asked for."""
        super().__init__(**arguments)
        if self.size < 2:
            raise ValueError(f"`size` must be at least 2. Received {self.size}")
        self.parameters, self.observations = places(self.size), Discrete(self.size)

    @staticmethod
    def initial() -> Vector:
        """The first cell."""
        return (0.0,)

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, slip: Vector, last: Vector) -> Vector:
        """One cell further, or none."""
        moved = clip(state[0] + 2.0 * action[0] - 1.0, 0.0, last[0])
        return (where(noise[0] < slip[0], state[0], moved),)

    @staticmethod
    def observation(state: Vector) -> Vector:
        """The cell."""
        return state

    @staticmethod
    def best_actions(parameters: Columns, observations: Any, reward: str) -> Any:
        """Towards the door; about it, to and fro."""
        return (observations < parameters["goal"]).astype(np.int64)

    def price(self) -> float:
        """Of a step."""
        prices = self.prices.values() if isinstance(self.prices, dict) else self.prices
        return float(np.mean(list(prices))) if prices else 0.0

    def constants(self, parameters: Columns) -> Groups:
        """What depends on the task, and what on the arguments."""
        own = {"goal": (parameters["goal"],), "slip": (parameters["slip"],)}
        return {**own, "last": (self.size - 1.0,), "price": (self.price(),)}


class Lamp:
    """Draws how far one has come."""

    size = (64, 32)

    def draw(self, surface: Any, scene: Any) -> None:
        """The farther the brighter."""
        surface.fill((min(255, 20 * int(scene.state[0])), 0, 0))
