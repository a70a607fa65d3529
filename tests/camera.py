"""A simulator family: a camera that looks for a bright square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import SimulatorFamily
from lifelong_gym.envs.spaces import Discrete, Image, Quantity
from lifelong_gym.tasks.distributions import Integer
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

SIDE, SQUARE = 40, 8
MOVES = ((-4, 0), (4, 0), (0, -4), (0, 4))
GROUNDS = {"night": 10, "dusk": 60, "day": 120}


class Camera(SimulatorFamily):
    """A camera moves over a plane, in which a square is to be kept in view.

    ## Description
    The square drifts at random, on a lighter or darker ground.

    ## Action Space
    ``Discrete(4)``: up, down, left, right, by 4 pixels.

    ## Observation Space
    ``Box(0, 255, (40, 40, 1), uint8)``: what it sees.

    ## Rewards
    ``near``: minus the distance of the square from the centre, in pixels.

    ## Starting State
    The square is anywhere in view.

    ## Episode End
    Termination once it is out of view; truncation after 30 steps.

    ## Parameters
    ``ground``: how bright it is; ``drift``: largest step of the square, in pixels.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("ground", "1", "how bright it is", names=tuple(GROUNDS), draws=Integer(0, 2)),
            Parameter("drift", "1", "largest step in pixels", (0, 3), Integer(1, 3), 2, integer=True),
        ]
    )
    arguments = (Argument("brightness", int, 255, "of the square"),)
    brightness: int
    state: tuple[Quantity, ...] = (Quantity("row", "1", "of the square"), Quantity("column", "1", "of the square"))
    actions = Discrete(4)
    observations = Image(SIDE, SIDE, 1)
    horizon = 30
    rewards = {"near": "minus the distance from the centre"}  # noqa: RUF012 (declared as ClassVar in the base class)
    simulator = "tests.camera:View"


class View:
    """What one camera sees."""

    def __init__(self, family: Camera, task: Mapping[str, Any], reward: str) -> None:
        """Take the task, and the family's argument."""
        self._ground, self._drift, self._brightness = GROUNDS[task["ground"]], int(task["drift"]), family.brightness
        self.state = np.zeros(2)

    def reset(self, rng: np.random.Generator) -> Any:
        """Somewhere in view."""
        self.state = rng.integers(0, SIDE - SQUARE, 2).astype(float)
        return self._look()

    def step(self, action: int, rng: np.random.Generator) -> tuple[Any, float, bool]:
        """The camera moves, and then the square."""
        self.state = self.state - MOVES[action] + rng.integers(-self._drift, self._drift + 1, 2)
        distance = float(np.hypot(*(self.state - 0.5 * (SIDE - SQUARE))))
        return self._look(), -distance, bool(np.any(self.state <= -SQUARE) or np.any(self.state >= SIDE))

    def _look(self) -> Any:
        image = np.full((SIDE, SIDE, 1), self._ground, np.uint8)
        (top, left), (bottom, right) = np.clip([self.state, self.state + SQUARE], 0, SIDE).astype(int)
        image[top:bottom, left:right] = self._brightness
        return image

    def snapshot(self) -> Any:
        """Where the square is."""
        return self.state.copy()

    def restore(self, snapshot: Any) -> None:
        """There it is again."""
        self.state = snapshot.copy()
