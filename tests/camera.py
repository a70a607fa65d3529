"""A simulator family: a camera that looks for a bright square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Family, SimulatorFamily
from lifelong_gym.envs.spaces import Discrete, Image, Quantity
from lifelong_gym.tasks.distributions import Integer
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

SIDE, SQUARE = 40, 8
MOVES = ((-4, 0), (4, 0), (0, -4), (0, 4))


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
    ``ground``: brightness; ``drift``: largest step of the square, in pixels.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("ground", "1", "brightness", (0, 200), Integer(0, 100), 50, integer=True),
            Parameter("drift", "1", "largest step in pixels", (0, 3), Integer(1, 3), 2, integer=True),
        ]
    )
    state: tuple[Quantity, ...] = (
        Quantity("row", "1", "of the square"),
        Quantity("column", "1", "of the square"),
    )
    actions = Discrete(4)
    observations = Image(SIDE, SIDE, 1)
    horizon = 30
    rewards = {"near": "minus the distance from the centre"}  # noqa: RUF012 (declared as ClassVar in the base class)
    simulator = "tests.camera:View"


class View:
    """What one camera sees."""

    def __init__(self, family: Family, task: Mapping[str, float], reward: str) -> None:
        """Take the task."""
        self._ground, self._drift = int(task["ground"]), int(task["drift"])
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
        image[top:bottom, left:right] = 255
        return image

    def snapshot(self) -> Any:
        """Where the square is."""
        return self.state.copy()

    def restore(self, snapshot: Any) -> None:
        """There it is again."""
        self.state = snapshot.copy()


class LitCamera(Camera):
    """Its square is as bright as its user likes."""

    __doc__ = Camera.__doc__

    arguments = (Argument("brightness", int, 255, "of the square"),)
    brightness: int
    simulator = "tests.camera:LitView"


class LitView(View):
    """What that camera sees."""

    def __init__(self, family: LitCamera, task: Mapping[str, float], reward: str) -> None:
        """Take the family's argument too."""
        super().__init__(family, task, reward)
        self._brightness = family.brightness

    def _look(self) -> Any:
        image = super()._look()
        return np.where(image == 255, np.uint8(self._brightness), image)


class Named(Camera):
    """Its argument hides what the family has."""

    arguments = (Argument("simulator", str, "", "hides"),)


class Blind(Camera):
    """Declares no state."""

    state = ()


class Grey(View):
    """Sees floats."""

    def _look(self) -> Any:
        return super()._look() / 255.0


class Slow(View):
    """Sees floats after its first step, a flag that is no flag, or no reward, as it is told."""

    wrong: Any = None

    def step(self, action: int, rng: np.random.Generator) -> Any:
        """What it is told."""
        return self.wrong


class GreyCamera(Camera):
    """Wrong from the start."""

    simulator = "tests.camera:Grey"


class SlowCamera(Camera):
    """Wrong from the first step on."""

    simulator = "tests.camera:Slow"


class NoCamera(Camera):
    """Names a class that simulates nothing."""

    simulator = "tests.camera:Camera"
