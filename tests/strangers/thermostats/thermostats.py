"""A family of somebody else's: rooms in winter, each with a heater that is on or off."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lifelong_gym import Parameter, ParameterSpace
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Bounded, Discrete, Quantity
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, scale, shift
from lifelong_gym.references.reference import Measure, Reference
from lifelong_gym.tasks.distributions import Uniform

DT, COLD = 0.1, -8.0
STATE = (Quantity("temperature", "K", "above what is wanted"),)


def reward_comfort(next_state: Vector) -> float:
    """The nearer the better."""
    return -next_state[0] * next_state[0]


class Thermostat(KernelFamily):
    """A cold room, to be kept warm by a heater that is on or off.

    ## Description
    ``T' = (heat * on - loss * (T - cold)) / capacity``, with a wind that comes and goes; steps of 0.1.

    ## Action Space
    ``Discrete(2)``: off, on.

    ## Observation Space
    ``Box(shape=(1,))``: the temperature above what is wanted, in K.

    ## Rewards
    Minus its square.

    ## Starting State
    Uniform in [-2, 2].

    ## Episode End
    After 40 steps.

    ## Parameters
    ``heat`` and ``loss``.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("heat", "K/s", "of the heater", (1.0, 60.0), Uniform(15.0, 25.0)),
            Parameter("loss", "1/s", "through the walls", (0.1, 2.0), Uniform(0.6, 1.0)),
        ],
        wide=["heat"],
    )
    state = STATE
    actions = Discrete(2, ("off", "on"))
    observations = Bounded(STATE, (200.0,))
    horizon = 40
    time_step = DT
    n_initial_noise = 1
    n_noise = 1
    rewards: ClassVar[Any] = {"comfort": reward_comfort}
    reference = "thermostats:BangBang"
    viewer = "thermostats:Gauge"

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Around what is wanted."""
        return shift(-2.0, scale(4.0, noise))

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, room: Vector) -> Vector:
        """Explicit Euler."""
        heat, loss = room
        wind = 0.5 + noise[0]
        return (state[0] + DT * (heat * action[0] - loss * wind * (state[0] - COLD)),)

    @staticmethod
    def observation(state: Vector) -> Vector:
        """The temperature."""
        return state

    def constants(self, parameters: Columns) -> Groups:
        """As they are."""
        return {"room": (parameters["heat"], parameters["loss"])}


class BangBang(Reference):
    """On wherever the room would otherwise be too cold after the step."""

    how = "a switch that looks one step ahead"

    def predict(self, observations: Any) -> Any:
        """On where the error is then smaller."""
        tasks = np.arange(len(observations)) % len(self.tasks)
        heat, loss = self.tasks.values[tasks].T
        off = observations[:, 0] - DT * loss * (observations[:, 0] - COLD)
        return (np.abs(off + DT * heat) < np.abs(off)).astype(np.int64)

    def zero(self, measure: Measure) -> FloatArray:
        """The heater stays off."""
        return measure(Off())


class Off:
    """Doing nothing."""

    def predict(self, observations: Any) -> Any:
        """Off."""
        return np.zeros(len(observations), np.int64)


class Gauge:
    """Draws the room in the colour of its temperature."""

    size = (96, 64)

    def draw(self, surface: Any, scene: Any) -> None:
        """The warmer the redder."""
        warmth = min(max(scene.state[0] / 8.0, -1.0), 1.0)
        surface.fill((int(127 + 127 * warmth), 80, int(127 - 127 * warmth)))
