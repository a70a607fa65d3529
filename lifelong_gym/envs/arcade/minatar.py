"""MinAtar: five games like Atari's on a board of 10 x 10."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import SimulatorFamily
from lifelong_gym.envs.spaces import Bounded, Discrete, Quantity
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.numerics.states import plain
from lifelong_gym.tasks.distributions import Constant, Integer, Uniform
from lifelong_gym.tasks.joint import Listed
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
SIDE, CHANNELS = 10, 10
DEALT = (Listed(tuple({"game": game} for game in GAMES)),)
COLOURS = np.array(
    [
        (250, 248, 243),  # of the board, then of each channel; where several are set, the last one's
        (58, 110, 165),
        (232, 130, 50),
        (246, 205, 160),
        (206, 92, 84),
        (42, 148, 110),
        (138, 104, 168),
        (90, 62, 120),
        (33, 68, 110),
        (128, 130, 140),
        (193, 18, 31),
    ],
    np.uint8,
)


def _seen() -> Bounded:
    places = [(row, column, i) for row in range(SIDE) for column in range(SIDE) for i in range(CHANNELS)]
    cells = [Quantity(f"cell_{r}_{c}_{i}", "1", "whether the i-th kind of thing is there") for r, c, i in places]
    return Bounded(tuple(cells), (1.0,) * len(cells), (0.0,) * len(cells))


class MinAtar(SimulatorFamily):
    """Five games like Atari's on a board of 10 x 10, by MinAtar; fifty times as fast (Young and Tian 2019).

    ## Description
    A task is a game, how often it doesn't obey, and whether it gets harder the longer it is played. The games are those
    of the package `minatar` (extra ``minatar``), played by its own code with our random numbers.

    ## Action Space
    ``Discrete(6)``: nothing, left, up, right, down, fire. Every game has all of them; some do nothing in it.

    ## Observation Space
    ``Box(0, 1, (1000,), float32)``: the board, ``reshape(10, 10, 10)`` is (row, column, channel). A channel is 1 where
    one kind of thing is, such as the ball. The games have 4 to 10 kinds; channels that a game lacks are 0.

    ## Rewards
    ``score``: the game's own points of this step.

    ## Starting State
    The game's own.

    ## Episode End
    Termination when the game is over, of Freeway after 2,500 steps; truncation after 5,000 steps.

    ## Parameters
    ``game``: ``asterix``, ``breakout``, ``freeway``, ``seaquest`` or ``space_invaders``. ``sticky``: probability that
    the last action is taken again in place of this one. ``ramping``: 1 where the game gets harder, else 0; Breakout and
    Freeway never do.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("game", "1", "which one", names=GAMES, nominal=0),
            Parameter("sticky", "1", "probability that the last action is taken again", (0.0, 1.0), nominal=0.1),
            Parameter("ramping", "1", "whether it gets harder", (0, 1), nominal=1, integer=True),
        ],
        {
            "default": Preset({}, "the five games, all in random order, then again", joint=DEALT),
            "varied": Preset(
                {"sticky": Uniform(0.0, 0.5), "ramping": Integer(0, 1)},
                "the games as they obey more or less, and get harder or don't",
                joint=DEALT,
            ),
            "plain": Preset(
                {"sticky": Constant(0.0), "ramping": Constant(0)},
                "the games as they always obey and never get harder",
                joint=DEALT,
            ),
        },
    )
    actions = Discrete(6, ("nothing", "left", "up", "right", "down", "fire"))
    observations = _seen()
    horizon = 5_000
    rewards: ClassVar[dict[str, str]] = {"score": "the game's points"}
    simulator = "lifelong_gym.envs.arcade.minatar:MinAtarGame"
    viewer = "lifelong_gym.envs.viewers.picture:PictureViewer"
    render_fps = 10

    def prepare(self) -> None:
        """See `SimulatorFamily`; raises `MissingExtraError` where MinAtar isn't installed."""
        _folder()


def _folder() -> Path:
    """Where MinAtar's games lie.

    Raises:
        MissingExtraError: it isn't installed.
    """
    found = find_spec("minatar")
    if found is None or found.origin is None:
        raise MissingExtraError("minatar", "minatar")
    return Path(found.origin).parent / "environments"


@functools.cache
def _module(game: str) -> Any:
    """The module of a game alone: to import the package is to import seaborn, which takes seconds."""
    spec = spec_from_file_location(f"minatar.environments.{game}", _folder() / f"{game}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MinAtarGame:
    """One row's game."""

    def __init__(self, family: MinAtar, task: Mapping[str, Any], reward: str) -> None:
        """Take the task, a value for each parameter of `MinAtar`."""
        self._sticky = float(task["sticky"])
        self._env = _module(task["game"]).Env(ramping=bool(task["ramping"]))
        fixed = {"channels", "action_map", "ramping", "random"}
        self._names = [name for name in vars(self._env) if name not in fixed]
        self._rng: np.random.Generator | None = None
        self._last = 0

    def reset(self, rng: np.random.Generator) -> Any:
        """See `Simulation`."""
        self._draw_from(rng)
        self._env.reset()
        self._last = 0
        return self._look()

    def step(self, action: int, rng: np.random.Generator) -> tuple[Any, float, bool]:
        """See `Simulation`."""
        self._draw_from(rng)
        if self._env.random.random_sample() >= self._sticky:
            self._last = action
        reward, terminated = self._env.act(self._last)
        return self._look(), float(reward), bool(terminated)

    def _draw_from(self, rng: np.random.Generator) -> None:
        """The games ask for a `RandomState`; it shares the generator's bits, and has no state of its own."""
        if rng is not self._rng:
            self._rng, self._env.random = rng, np.random.RandomState(rng.bit_generator)

    def _look(self) -> npt.NDArray[np.float32]:
        board = self._env.state()
        seen = np.zeros((SIDE, SIDE, CHANNELS), np.float32)
        seen[..., : board.shape[2]] = board
        return seen.reshape(-1)

    def picture(self) -> npt.NDArray[np.uint8]:
        """A pixel a cell, in the colour of the thing that is there, shape (10, 10, 3)."""
        board = self._env.state()
        pixels: npt.NDArray[np.uint8] = COLOURS[(board * np.arange(1, board.shape[2] + 1)).max(axis=2)]
        return pixels

    def snapshot(self) -> Any:
        """See `Simulation`."""
        return {"last": self._last, "game": plain({name: getattr(self._env, name) for name in self._names})}

    def restore(self, snapshot: Any) -> None:
        """See `Simulation`; raises `ValueError` where it is of another game."""
        game = plain(snapshot["game"])
        if set(game) != set(self._names):
            raise ValueError(f"the game must have {', '.join(self._names)}. Received {', '.join(map(str, game))}")
        for name, value in game.items():
            own = np.shape(getattr(self._env, name)) if isinstance(value, np.ndarray) else ()
            if isinstance(value, np.ndarray) and value.shape != own:
                raise ValueError(f"{name!r} of the game must have shape {own}. Received {value.shape}")
        self._last = int(snapshot["last"])
        for name, value in game.items():
            setattr(self._env, name, value)
