"""A drone that flies through rooms by what its camera sees: a family of images, after PEDRA's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.navigation.columns import (
    CEILING,
    CELL,
    DEPTH,
    FLOOR,
    GRAY,
    HEIGHTS,
    MOST_ROWS,
    PER_METRE,
    RGB,
    SIDE,
    clearance,
    picture,
)
from lifelong_gym.envs.navigation.patterns import LOOKS, materials, patterns
from lifelong_gym.envs.navigation.worlds import (
    N_STARTS,
    SIZE,
    START,
    WORLDS,
    heights,
    layout_of,
    room_for_starts,
    starts,
    surfaces,
)
from lifelong_gym.envs.spaces import Discrete, Image, Quantity
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, clip, floor, sincos, where
from lifelong_gym.tasks.distributions import Constant, Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

STEP, RADIUS, LAST = 0.4, 0.25, SIDE - 1.0  # m
TURN, CLIMB = 0.18616842267784, 0.10471975511965978  # rad: a fifth of the fields of view over 1.5, 80 and 45 degrees
TURN_NOISE, CLIMB_NOISE = TURN / 6.0, CLIMB / 6.0
N_TURNS, STRAIGHT = 5.0, 2.0
TRIES, REACHED = 2, 4  # places of a step that are looked at, and cells a side that the drone may touch
CRASHED = 5  # channel of the state
CAMERAS = {"rgb": RGB, "gray": GRAY, "depth": DEPTH}
RENDERERS = {"columns": None, "mujoco": "lifelong_gym.envs.engines.mujoco.drone:DronePainter"}
SMALLEST = 8

STATE = (
    Quantity("x", "m", "position, from one corner of the world"),
    Quantity("y", "m", "position, from the same corner"),
    Quantity("z", "m", "height above the ground"),
    Quantity("yaw", "rad", "heading, counterclockwise from the x axis"),
    Quantity("path_length", "m", "flown without touching anything, horizontally"),
    Quantity("crashed", "1", "1 after a collision, else 0"),
)
ACTIONS = tuple(
    f"{turn}, {climb}"
    for climb in ("dive", "sink", "level", "rise", "climb")
    for turn in ("far left", "left", "straight", "right", "far right")
)


def has_room(*layout: FloatArray) -> npt.NDArray[np.bool_]:
    """Which tasks' worlds, told by their layouts' parameters, have room for a start."""
    tasks = zip(*(column.tolist() for column in layout), strict=True)
    made = [layout_of(WORLDS[int(world)], int(seed), *sizes) for world, seed, *sizes in tasks]
    return np.array([room_for_starts(each).any() for each in made], bool)


SEEDS = (0, 2**31 - 1)
LAYOUT = (
    Parameter("world", "1", "kind of the world", names=WORLDS, draws=Integer(0, len(WORLDS) - 1)),
    Parameter("layout", "1", "seed of what stands where", SEEDS, Integer(0, 9999), 0, integer=True),
    Parameter("width", "m", "of corridors, doors and gaps", (0.2, 3.0), Uniform(1.6, 2.4), 2.0),
    Parameter(
        "density",
        "1",
        "share of the places where something may stand that are taken",
        (0.0, 1.0),
        Uniform(0.3, 0.8),
        0.6,
    ),
    Parameter("ceiling", "m", "height of the rooms", (1.5, 6.0), Uniform(2.6, 4.0), 3.0),
)
LOOK = (
    Parameter("light", "1", "brightness of the lamps", (0.2, 1.5), Uniform(0.6, 1.2), 1.0),
    Parameter("hue", "1", "turn of all colours", (0.0, 1.0), Uniform(0.0, 1.0), 0.0),
    Parameter("textures", "1", "seed of the patterns; 0: the world's own", SEEDS, Integer(1, 9999), 0, integer=True),
)
OWN = {  # how high a preset's rooms are, and what they are
    "long": (3.0, "corridors side by side, of brick, with crates"),
    "cloud": (2.7, "an apartment of nine rooms, papered and furnished"),
    "frogeyes": (4.0, "a hall of marble columns"),
    "pyramid": (5.0, "a ring around a stepped pyramid"),
}
PRESETS = {
    name: Preset({"world": Constant(name), "layout": Integer(0, 9999), "ceiling": Constant(high)}, meaning)
    for name, (high, meaning) in OWN.items()
}
RULE = Rule(
    tuple(parameter.name for parameter in LAYOUT),
    "`width` and `ceiling` must be large enough, and `density` small enough, for the layout to have room for a start",
    has_room,
)


def reward_clearance(next_state: Vector, measured: Vector, end: Vector) -> float:
    """How far the nearest thing in the middle window is, 0 to 1; -1 where the flight ends."""
    return where((next_state[CRASHED] > 0.5) | (measured[0] < end[0]), -1.0, measured[0])


def touches(heights: Any, x: float, y: float, z: float) -> float:
    """1 where a ball around the drone touches floor, ceiling or what stands there, else 0."""
    first_i, first_j, found = floor((x - RADIUS) * PER_METRE), floor((y - RADIUS) * PER_METRE), 0.0
    for di in range(REACHED):
        i = clip(first_i + di, 0.0, LAST)
        aside_x = clip(x, i * CELL, (i + 1.0) * CELL) - x
        for dj in range(REACHED):
            j = clip(first_j + dj, 0.0, LAST)
            aside_y = clip(y, j * CELL, (j + 1.0) * CELL) - y
            at = HEIGHTS * int(i * SIDE + j)
            low, high = heights[at + FLOOR], heights[at + CEILING]
            is_near = aside_x * aside_x + aside_y * aside_y < RADIUS * RADIUS
            found = where(is_near & ((z - RADIUS < low) | (z + RADIUS > high)), 1.0, found)
    return found


@final
class Drone(KernelFamily):
    """A drone that flies through rooms as far as it can, by what its camera sees.

    ## Description
    Four kinds of worlds, each with a look of its own, stand for those of Zeng et al. (2021); rules of flight and reward
    are those of PEDRA, on which that paper's experiments ran. A world is a field of 120 x 120 cells of 0.2 m, each with
    what stands on its floor and with a ceiling. ``layout``, ``width``, ``density`` and ``ceiling`` build as many worlds
    of a kind as one likes and change where one can fly; ``light``, ``hue`` and ``textures`` change pixels alone.

    ## Action Space
    ``Discrete(25)``, ``5 * climb + turn``. The drone turns and then flies 0.4 m horizontally; both angles have uniform
    noise of up to a sixth of 10.67 and 6 degrees. The camera stays level.

    | Num | Number of | Angles |
    |---|---|---|
    | 0-4 | turn: left to right | 21.3, 10.7, 0, -10.7, -21.3 degrees |
    | 0-4 | climb: down to up | -12, -6, 0, 6, 12 degrees |

    ## Observation Space
    ``Box(0, 255, (resolution, resolution, channels), uint8)``: 80 degrees wide and 50.5 high; ``camera="rgb"`` has
    three channels, ``"gray"`` and ``"depth"`` one. A depth of 255 is 19.6 m or more.

    | Num | State | Min | Max | Unit |
    |---|---|---|---|---|
    | 0-1 | x and y | 0 | 24 | m |
    | 2 | z | 0 | 6 | m |
    | 3 | yaw | -Inf | Inf | rad |
    | 4 | path length | 0 | Inf | m |
    | 5 | crashed | 0 | 1 | 1 |

    ## Rewards
    ``clearance``: on a depth map of 32 x 18 pixels, whatever the camera, a window in the middle that is the smaller the
    farther one sees; the mean of the nearest 5% in it, over 19.6 m. -1 at a collision, or where that is below
    ``crash_depth``.

    ## Starting State
    One of 64 poses of the layout from which one sees some way ahead, 1 to 1.5 m above the ground, the heading off by
    up to 10 degrees.

    ## Episode End
    Termination at a collision (a ball of 0.25 m around the drone touches something) and, with ``crash_depth`` above 0,
    already where the reward's number is below that: PEDRA's own is 0.07, 1.4 m. Truncation after 500 steps, 200 m.

    Infos hold ``path_length``, the metres flown in this episode, and ``mean_safe_flight``, its mean over the row's
    episodes.

    ## Parameters
    | Parameter | Nominal | Default range | Unit | Meaning |
    |---|---|---|---|---|
    | ``world`` | long | all four | 1 | kind of the world: ``long``, ``cloud``, ``frogeyes``, ``pyramid`` |
    | ``layout`` | 0 | 0 to 9999 | 1 | seed of what stands where |
    | ``width`` | 2 | 1.6 to 2.4 | m | of corridors, doors and gaps |
    | ``density`` | 0.6 | 0.3 to 0.8 | 1 | share of places for things that are taken |
    | ``ceiling`` | 3 | 2.6 to 4 | m | height of the rooms |
    | ``light`` | 1 | 0.6 to 1.2 | 1 | brightness of the lamps |
    | ``hue`` | 0 | 0 to 1 | 1 | turn of all colours |
    | ``textures`` | 0 | 1 to 9999 | 1 | seed of the patterns; 0: the world's own |

    ## Presets
    ``default``, ``single``, and one a world: ``long``, ``cloud``, ``frogeyes`` and ``pyramid``, whose layouts differ
    and whose look is the world's own; their ceilings are 3, 2.7, 4 and 5 m high.

    ## Arguments
    ``camera``, ``resolution`` (8 to 256), ``crash_depth`` (0 to 1), and ``renderer``: ``"columns"``, or ``"mujoco"``
    (extra ``mujoco``), which draws the same boxes off-screen by EGL or OSMesa; flights and rewards are the same.

    ## References
    - S. Zeng et al.: A Decentralized Policy Gradient Approach to Multi-Task Reinforcement Learning. UAI 2021.
    - A. Anwar, A. Raychowdhury: Autonomous Navigation via Deep Reinforcement Learning for Resource Constraint Edge
      Nodes Using Transfer Learning. IEEE Access 2020 (PEDRA).

    ## Version History
    - v0: first version.
    """

    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("camera", str, "rgb", "what a pixel shows", CAMERAS),
        Argument("resolution", int, 64, "height and width of the picture, in pixels"),
        Argument("renderer", str, "columns", "what draws it; `mujoco` needs EGL or OSMesa", RENDERERS),
        Argument("crash_depth", float, 0.0, "a flight also ends where the reward is below it; 0: at collisions only"),
    )
    camera: float
    resolution: int
    renderer: str | None
    crash_depth: float
    parameters = ParameterSpace((*LAYOUT, *LOOK), PRESETS, rules=(RULE,))
    state = STATE
    actions = Discrete(len(ACTIONS), ACTIONS)
    observations = Image(64, 64, 3)
    horizon = 500
    n_initial_noise = 4
    n_noise = 2
    n_measures = 1
    tallied: ClassVar[Mapping[str, str]] = {"path_length": "mean_safe_flight"}
    rewards: ClassVar[Mapping[str, Any]] = {"clearance": reward_clearance}
    viewer = "lifelong_gym.envs.viewers.drone:DroneViewer"
    render_fps = 10
    TABLES = (
        *((name, "task") for name in ("heights", "surfaces", "materials")),
        ("patterns", "shared"),
        ("starts", "task"),
    )

    def __init__(self, **arguments: Any) -> None:
        """A camera of that kind and size.

        Raises:
            ValueError: a size that isn't supported, or a depth that isn't one.
        """
        super().__init__(**arguments)
        if not SMALLEST <= self.resolution <= MOST_ROWS:
            raise ValueError(f"`resolution` must be in [{SMALLEST}, {MOST_ROWS}]. Received {self.resolution}")
        if not 0.0 <= self.crash_depth < 1.0:
            raise ValueError(f"`crash_depth` must be in [0, 1). Received {self.crash_depth}")
        self.painter = self.renderer
        self.idle_parameters = tuple(parameter.name for parameter in LOOK) if self.camera == DEPTH else ()
        self.observations = Image(self.resolution, self.resolution, 3 if self.camera == RGB else 1)

    def shared_tables(self, arguments: Mapping[str, Any]) -> tuple[npt.ArrayLike, ...]:
        """The patterns."""
        return (patterns(),)

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """The cells' heights and surfaces, the materials, and where flights begin."""
        world, seed = WORLDS[int(parameters["world"])], int(parameters["layout"])
        layout = layout_of(world, seed, parameters["width"], parameters["density"], parameters["ceiling"])
        own = materials(world, parameters["hue"], int(parameters["textures"]))
        return heights(layout), surfaces(layout, LOOKS[world][2]), own, starts(layout, seed)

    def constants(self, parameters: Columns) -> Groups:
        """The picture's size and kind, the colour of the light, and which depth ends a flight."""
        colours = np.array([LOOKS[world][1] for world in WORLDS])[parameters["world"].astype(int)]
        lamp = tuple(colours.T * parameters["light"])
        return {"frame": (*(float(self.resolution),) * 2, self.camera), "lamp": lamp, "end": (self.crash_depth,)}

    @staticmethod
    def initial(noise: Vector, tables: Any) -> Vector:
        """One of the poses, a little aside."""
        at = START * int(noise[0] * N_STARTS)
        x, y = tables[4][at] + 0.1 * (noise[1] - 0.5), tables[4][at + 1]
        return (x, y, 1.0 + 0.5 * noise[2], tables[4][at + 2] + 2.0 * TURN * (noise[3] - 0.5), 0.0, 0.0)

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, tables: Any) -> Vector:
        """Turn, and fly on unless something is in the way."""
        x, y, z, yaw, path, crashed = state
        climb = floor(action[0] / N_TURNS)
        turn = action[0] - N_TURNS * climb
        yaw = yaw - TURN * (turn - STRAIGHT) + TURN_NOISE * (2.0 * noise[0] - 1.0)
        sine, cosine = sincos(yaw)
        rise, _ = sincos(CLIMB * (climb - STRAIGHT) + CLIMB_NOISE * (2.0 * noise[1] - 1.0))
        to_x, to_y, to_z = STEP * cosine, STEP * sine, STEP * rise
        for i in range(TRIES):
            share = (i + 1.0) / TRIES
            hit = touches(tables[0], x + share * to_x, y + share * to_y, z + share * to_z)
            crashed = where(hit > 0.5, 1.0, crashed)
        flies = 1.0 - crashed
        return (x + flies * to_x, y + flies * to_y, z + flies * to_z, yaw, path + STEP * flies, crashed)

    @staticmethod
    def measure(state: Vector, tables: Any, out: Any) -> None:
        """How far the nearest thing ahead is."""
        out[0] = clearance(state, tables[0])

    @staticmethod
    def terminated(state: Vector, measured: Vector, end: Vector) -> bool:
        """After a collision, or where something is too near."""
        return (state[CRASHED] > 0.5) | (measured[0] < end[0])

    observation = staticmethod(picture)

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a pose within the world's outer walls."""
        super().check_state(state)
        for name, value, most in zip("xyz", state, (SIZE, SIZE, 6.0), strict=False):
            if not 0.0 < value < most:
                raise ValueError(f"`state`: {name} must be between 0 and {most:g} m. Received {value}")
