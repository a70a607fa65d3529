"""Atari 2600 games in all their modes and difficulties."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lifelong_gym.envs.arcade.atari_emulators import libraries
from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import SimulatorFamily
from lifelong_gym.envs.spaces import Bounded, Discrete, Image, Quantity
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.tasks.joint import Listed
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

FRAMES = 108_000  # of an episode at most: half an hour at 60 a second
# Ours, of Atari-100k's 26: Amani et al. 2023 have twenty, and name Alien and RoadRunner alone.
PAPER20 = (
    *("alien", "amidar", "assault", "asterix", "bank_heist", "boxing", "breakout", "chopper_command"),
    *("crazy_climber", "demon_attack", "freeway", "frostbite", "gopher", "hero", "jamesbond", "kangaroo"),
    *("krull", "ms_pacman", "pong", "road_runner"),
)
SWITCHING = ("alien", "atlantis", "boxing", "breakout", "centipede")
CORA = ("space_invaders", "krull", "beam_rider", "hero", "star_gunner", "ms_pacman")
MOVES = ("up", "right", "left", "down", "upright", "upleft", "downright", "downleft")
ACTIONS = ("noop", "fire", *MOVES, *[f"{move}fire" for move in MOVES])
OBSERVATIONS = {name: name for name in ("pixels", "ram")}


@dataclass(frozen=True)
class Flavours:
    """What a game may be played as.

    Attributes:
        modes: increasing.
        difficulties: increasing.
        telling: bytes of the RAM that stay the same within a flavour, and differ between some two.
    """

    modes: tuple[int, ...]
    difficulties: tuple[int, ...]
    telling: tuple[int, ...]


@functools.cache
def games() -> dict[str, Flavours]:
    """Those of ale-py that can be played, by name; a table that `tests/atari_survey.py` wrote."""
    table = json.loads((Path(__file__).parent / "atari_games.json").read_text(encoding="utf-8"))
    return {name: _flavours(**row) for name, row in table.items()}


def _flavours(modes: list[int], difficulties: list[int], telling: list[int]) -> Flavours:
    return Flavours(tuple(modes), tuple(difficulties), tuple(telling))


class Atari(SimulatorFamily):
    """104 Atari 2600 games in 1,090 modes and difficulties, by the Arcade Learning Environment (Bellemare et al. 2013).

    ## Description
    A task is a game, its mode, its difficulty, and how often it doesn't obey (Machado et al. 2018). Every row has an
    emulator of its own (extra ``atari``). Its random numbers are ours, so that a seed decides on every interface.

    ## Action Space
    ``Discrete(18)``: all that a joystick with a button can do, in the emulator's order; all games have the same.

    ## Observation Space
    ``observation="pixels"``: ``Box(0, 255, (screen_size, screen_size, stack_size), uint8)``, the last ``stack_size``
    pictures, newest last: grey, the larger of the last two frames' values, shrunk by areas, as by Gymnasium's
    `AtariPreprocessing`. ``observation="ram"``: ``Box(0, 1, (128,), float32)``, the bytes of the memory divided by 255.
    With ``mask_ram`` those that tell mode or difficulty are 0: they stay the same for 500 random steps, and differ
    between some two flavours of the game.

    ## Rewards
    - ``score``: the game's points of this step.
    - ``sign``: their sign, as DQN learns on (Mnih et al. 2015).

    ## Starting State
    The game's own, after 1 to ``noop_max`` frames in which nothing is done.

    ## Episode End
    Termination when the game is over; truncation after 108,000 frames, which are 27,000 steps of 4.

    ## Parameters
    ``game``; ``mode`` and ``difficulty`` that the game has, or -1: as the game starts; ``sticky``: probability in each
    frame that the last action is held in place of this one. Some flavours are alike until something rare happens.

    ## Version History
    - v0: first version.
    """

    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("observation", str, "pixels", "what is seen", OBSERVATIONS),
        Argument("frame_skip", int, 4, "frames of a step"),
        Argument("noop_max", int, 30, "most frames at the beginning in which nothing is done"),
        Argument("screen_size", int, 84, "height and width of a picture, in pixels"),
        Argument("stack_size", int, 4, "pictures that are seen at once"),
        Argument("mask_ram", bool, True, "whether bytes that tell mode or difficulty are hidden"),
    )
    observation: str
    frame_skip: int
    noop_max: int
    screen_size: int
    stack_size: int
    mask_ram: bool
    actions = Discrete(18, ACTIONS)
    rewards: ClassVar[dict[str, str]] = {"score": "the game's points", "sign": "their sign"}
    simulator = "lifelong_gym.envs.arcade.atari_game:AtariGame"
    viewer = "lifelong_gym.envs.viewers.picture:PictureViewer"
    render_fps = 15

    def __init__(self, **arguments: Any) -> None:
        """Spaces and horizon follow from the arguments.

        Raises:
            ValueError: an argument out of its range.
        """
        super().__init__(**arguments)
        integer("frame_skip", self.frame_skip, 1, FRAMES)
        integer("noop_max", self.noop_max, 0, FRAMES)
        integer("screen_size", self.screen_size, 1, 210)
        integer("stack_size", self.stack_size, 1, 64)
        self.horizon = FRAMES // self.frame_skip
        pixels = Image(self.screen_size, self.screen_size, self.stack_size)
        self.observations = pixels if self.observation == "pixels" else _memory()
        self.parameters = _tasks()

    def prepare(self) -> None:
        """See `SimulatorFamily`; raises `MissingExtraError` where ale-py or OpenCV isn't installed."""
        libraries()

    def masked(self, game: str) -> tuple[int, ...]:
        """Bytes of the RAM that aren't shown."""
        return games()[game].telling if self.mask_ram and self.observation == "ram" else ()


def _memory() -> Bounded:
    cells = [Quantity(f"byte_{i}", "1", "of the RAM, divided by 255") for i in range(128)]
    return Bounded(tuple(cells), (1.0,) * len(cells), (0.0,) * len(cells))


@functools.cache
def _tasks() -> ParameterSpace:
    names = tuple(games())
    modes = [mode for flavours in games().values() for mode in flavours.modes]
    difficulties = [difficulty for flavours in games().values() for difficulty in flavours.difficulties]
    parameters = [
        Parameter("game", "1", "which one", names=names, nominal=names.index("breakout")),
        Parameter("mode", "1", "of the game; -1: its own", (-1, max(modes)), nominal=-1, integer=True),
        Parameter("difficulty", "1", "of the game; -1: its own", (-1, max(difficulties)), nominal=-1, integer=True),
        Parameter("sticky", "1", "probability that the last action is held", (0.0, 1.0), nominal=0.25),
    ]
    rules = [
        Rule(("game", "mode"), "`mode` must be -1 or one that the game has", _has_mode, _modes),
        Rule(
            ("game", "difficulty"), "`difficulty` must be -1 or one that the game has", _has_difficulty, _difficulties
        ),
    ]
    return ParameterSpace(parameters, _presets(), rules=rules)


def _presets() -> dict[str, Preset]:
    twenty = "twenty games as they start, all in random order, then again"
    several = {name: row for name, row in games().items() if len(row.modes) * len(row.difficulties) > 1}
    return {
        "default": _dealt(twenty, *[{"game": game} for game in PAPER20]),
        "paper20": _dealt(twenty, *[{"game": game} for game in PAPER20]),
        "switching": _dealt("the games of Switching ALE", *[{"game": game} for game in SWITCHING]),
        "cora": _dealt("the games of CORA's Atari sequence", *[{"game": game} for game in CORA]),
        **{
            f"modes:{game}": _dealt(
                f"all modes and difficulties of {game}",
                *[{"game": game, "mode": mode, "difficulty": d} for mode in row.modes for d in row.difficulties],
            )
            for game, row in several.items()
        },
    }


def _dealt(meaning: str, *tasks: Mapping[str, Any]) -> Preset:
    return Preset({}, meaning, joint=(Listed(tasks),))


def _has_mode(game: FloatArray, mode: FloatArray) -> BoolArray:
    return _has(game, mode, tuple(row.modes for row in games().values()))


def _has_difficulty(game: FloatArray, difficulty: FloatArray) -> BoolArray:
    return _has(game, difficulty, tuple(row.difficulties for row in games().values()))


def _has(game: FloatArray, value: FloatArray, valid: tuple[tuple[int, ...], ...]) -> BoolArray:
    """Complex numbers are pairs that NumPy compares."""
    pairs = [complex(i, own) for i, values in enumerate(valid) for own in values]
    there: BoolArray = (value == -1.0) | np.isin(game + 1j * value, pairs)
    return there


def _modes(task: Mapping[str, Any]) -> str:
    return f"those of {task['game']} are {', '.join(map(str, games()[task['game']].modes))}"


def _difficulties(task: Mapping[str, Any]) -> str:
    return f"those of {task['game']} are {', '.join(map(str, games()[task['game']].difficulties))}"
