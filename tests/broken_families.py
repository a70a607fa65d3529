"""A family as a third party would write it, and others that are broken each in a way of its own."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Bounded, Continuous, Discrete, Quantity
from lifelong_gym.numerics.bind import ROLES
from lifelong_gym.numerics.scalar import Vector, clip, floor, scale, shift
from lifelong_gym.tasks.distributions import Choice, Constant, Integer, Uniform
from lifelong_gym.tasks.joint import Distinct, Listed
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

DT = 0.1
STATE = (Quantity("temperature", "K", "above the goal"),)
CAPACITY = Parameter("capacity", "J/K", "of the room", (0.5, 5.0), Uniform(1.0, 2.0))
LOSS = Parameter("loss", "W/K", "through the walls", (-1.0, 2.0), nominal=0.5)


def reward_warmth(next_state: Vector) -> float:
    """The nearer to the goal the better."""
    return -next_state[0] * next_state[0]


class Room(KernelFamily):
    """A room to be kept warm: healthy.

    ## Description
    A heat capacity with a heater, on a windy site.

    ## Action Space
    The power of the heater in W, from -1 to 1.

    ## Observation Space
    The temperature above the goal in K.

    ## Rewards
    Minus the square of the temperature.

    ## Starting State
    Uniform in [-1, 1].

    ## Episode End
    After 30 steps; a temperature beyond 2 K fails.

    ## Parameters
    ``capacity`` and ``loss``.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace([CAPACITY, LOSS])
    state = STATE
    actions = Continuous((Quantity("power", "W", "of the heater"),), (3.0,))
    observations = Bounded(STATE, (4.0,))
    horizon = 30
    time_step = DT
    n_initial_noise = 1
    n_noise = 1
    state_limits = (2.0,)
    failure_cost = 9.0
    rewards: ClassVar[Mapping[str, Any]] = {"warmth": reward_warmth}

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Anywhere."""
        return shift(-1.0, scale(2.0, noise))

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, room: Vector) -> Vector:
        """Explicit Euler."""
        per_capacity, loss = room
        return (state[0] + DT * per_capacity * (action[0] + noise[0] - 0.5 - loss * state[0]),)

    @staticmethod
    def observation(state: Vector) -> Vector:
        """The temperature."""
        return state

    @staticmethod
    def failed(state: Vector) -> bool:
        """Too hot or too cold."""
        return (state[0] > 2.0) | (state[0] < -2.0)

    def constants(self, parameters: Columns) -> Groups:
        """The division, done once per task."""
        return {"room": (1.0 / parameters["capacity"], parameters["loss"])}


def variant(name: str, **changes: Any) -> type[Room]:
    """A room in which some attributes are others; its docstring is the room's."""
    attributes = {key: staticmethod(value) if key in ROLES else value for key, value in changes.items()}
    return type(name, (Room,), {**attributes, "__module__": __name__})


def is_warm(state: Vector) -> bool:
    """Within a twentieth of the goal."""
    return (state[0] < 0.05) & (state[0] > -0.05)


Thermostat = variant("Thermostat", terminated=is_warm)  # healthy too: an episode may end early

COLOUR = Parameter("colour", "1", "of the walls", (0.0, 1.0), nominal=0.5)
SMELL = Parameter("smell", "1", "of the carpet", (0.0, 1.0), nominal=0.5)
ANY_CAPACITY = Parameter("capacity", "J/K", "of the room", (0.0, 5.0), Uniform(1.0, 2.0))


def frozen(self: Room, parameters: Columns) -> Groups:
    """The capacity of the nominal task, whatever the task."""
    return {"room": (1.0 / CAPACITY.nominal, parameters["loss"])}


def of_the_batch(self: Room, parameters: Columns) -> Groups:
    """Rooms that warm each other."""
    return {"room": (1.0 / parameters["capacity"].mean(), parameters["loss"])}


def without_seed(state: Vector, action: Vector, room: Vector) -> Vector:
    """Draws its noise elsewhere."""
    return (state[0] + DT * room[0] * (action[0] + random.random() - room[1] * state[0]),)


def knows_its_backend(state: Vector, action: Vector, room: Vector) -> Vector:
    """Looks at the type of a number."""
    outside = 1.5 if isinstance(state[0], np.ndarray) else 1.0
    return (state[0] + DT * room[0] * (action[0] - room[1] * (state[0] - outside)),)


def branches_on_values(state: Vector, action: Vector, room: Vector) -> Vector:
    """Arrays have no truth value."""
    if state[0] > 0.0:
        return (0.5 * state[0],)
    return (state[0] + DT * room[0] * (action[0] - room[1] * state[0]),)


def not_for_numba(state: Vector, action: Vector, room: Vector) -> Vector:
    """Numba compiles no generator expression."""
    return tuple(x + DT * room[0] * (action[0] - room[1] * x) for x in state)


def asks_for_the_weather(state: Vector, action: Vector, room: Vector, weather: Vector) -> Vector:
    """There is no such group."""
    return (state[0] + DT * room[0] * (action[0] + weather[0] - room[1] * state[0]),)


def not_a_number(state: Vector) -> Vector:
    """Infinity times zero."""
    return (state[0] * 1e200 * 1e200 * 0.0,)


def reward_infinite(next_state: Vector) -> float:
    """Beyond the largest float."""
    return -next_state[0] * next_state[0] * 1e200 * 1e200


WithoutEffect = variant("WithoutEffect", parameters=ParameterSpace([CAPACITY, LOSS, COLOUR]))
WithoutEffects = variant("WithoutEffects", parameters=ParameterSpace([CAPACITY, LOSS, COLOUR, SMELL]))
FrozenConstants = variant("FrozenConstants", constants=frozen)
ConstantsOfTheBatch = variant("ConstantsOfTheBatch", constants=of_the_batch)
InfiniteConstants = variant("InfiniteConstants", parameters=ParameterSpace([ANY_CAPACITY, LOSS]))
WithoutSeed = variant("WithoutSeed", transition=without_seed)
KnowsItsBackend = variant("KnowsItsBackend", transition=knows_its_backend)
BranchesOnValues = variant("BranchesOnValues", transition=branches_on_values)
NotForNumba = variant("NotForNumba", transition=not_for_numba)
AsksForTheWeather = variant("AsksForTheWeather", transition=asks_for_the_weather)
OutOfSpace = variant("OutOfSpace", observations=Bounded(STATE, (2.0,)))  # a failed state is beyond
NotANumber = variant("NotANumber", observation=not_a_number)
InfiniteReward = variant("InfiniteReward", rewards={"infinite": reward_infinite})
TooManyBounds = variant("TooManyBounds", actions=Continuous(Room.actions.channels, (3.0, 1.0)))
NoLimits = variant("NoLimits", state_limits=(2.0, 2.0))
NoHorizon = variant("NoHorizon", horizon=0)
NoTime = variant("NoTime", time_step=0.0)
UnknownReward = variant("UnknownReward", parameters=ParameterSpace([CAPACITY, LOSS], {"icy": Preset({}, "", "cold")}))
Undocumented = variant(
    "Undocumented", horizon=0, time_step=0.0, __doc__="A room.\n\n## Description\nWarm.\n\n## Action Space\nHeat."
)
SWAPPED = {"## Rewards": "## Starting State", "## Starting State": "## Rewards"}
Disordered = variant(
    "Disordered",
    horizon=0,
    __doc__="\n".join(SWAPPED.get(x.strip(), x.strip()) for x in (Room.__doc__ or "").split("\n")),
)

WALLS = Parameter("walls", "1", "what they are made of", names=("brick", "straw", "wood"), draws=Integer(0, 2))
NORTH = Parameter("north", "1", "radiators there", (0, 9), Integer(0, 9), nominal=0, integer=True)
SOUTH = Parameter("south", "1", "radiators there", (0, 9), Integer(0, 9), nominal=5, integer=True)


def of_materials(self: Room, parameters: Columns) -> Groups:
    """Straw leaks, and each radiator counts."""
    loss = np.array([0.1, 0.9, 0.4])[parameters["walls"].astype(np.int64)]
    return {"room": (1.0 / (1.0 + parameters["north"] + 0.1 * parameters["south"]), loss)}


# Healthy: an enumeration, integers and a rule among them.
House = variant(
    "House",
    parameters=ParameterSpace(
        [WALLS, NORTH, SOUTH],
        {
            "huts": Preset({"walls": Choice(("straw", "wood")), "south": Constant(9)}, "light"),
            "rows": Preset({}, "two", joint=(Listed(({"walls": "straw", "south": 3}, {"walls": "wood"})),)),
            "pairs": Preset({}, "any", joint=(Distinct(("north", "south"), 0, 9),)),
        },
        rules=[Rule(("north", "south"), "`south` must be more than `north`", np.less)],
    ),
    constants=of_materials,
)


def of_half_the_house(self: Room, parameters: Columns) -> Groups:
    """Whatever the walls."""
    return {"room": (1.0 / (1.0 + parameters["north"]), 0.5 + parameters["south"])}


UnseenWalls = variant(
    "UnseenWalls",
    parameters=ParameterSpace(
        [WALLS, NORTH, SOUTH], rules=[Rule(("south",), "`south` must be 5", functools.partial(np.equal, 5.0))]
    ),
    constants=of_half_the_house,
)


def tile(state: Vector) -> Vector:
    """Which of eight."""
    return (floor(clip(state[0] + 4.0, 0.0, 7.0)),)


# Healthy: what it shows is a number, what it takes isn't, and a parameter may be anything.
Thermometer = variant(
    "Thermometer",
    parameters=ParameterSpace(
        [CAPACITY, Parameter("loss", "W/K", "through the walls", (-np.inf, np.inf), nominal=0.5)]
    ),
    observations=Discrete(8),
    observation=tile,
)
