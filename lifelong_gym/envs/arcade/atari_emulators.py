"""Emulators of Atari games, which rows lend each other, and where their episodes begin."""

from __future__ import annotations

import atexit
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import MissingExtraError

Screen = npt.NDArray[np.uint8]
MOST_IDLE = 128  # emulators that wait for a row

_idle: list[tuple[str, Any]] = []  # whose rows are gone: to load a game takes a hundred times as long as to step it


@functools.cache
def libraries() -> tuple[Any, Any]:
    """The modules ale_py, told not to greet, and cv2.

    Raises:
        MissingExtraError: one isn't installed.
    """
    try:
        import ale_py
    except ImportError as error:
        raise MissingExtraError("ale_py", "atari") from error
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("cv2", "atari") from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py, cv2


def emulator(game: str) -> Any:
    """One that nobody uses; what it has been through doesn't matter, as episodes begin from a state that is restored.

    Raises:
        MissingExtraError: ale-py has no such ROM.
    """
    for i, (name, idle) in enumerate(_idle):
        if name == game:
            del _idle[i]
            return idle
    return _loaded(game)


def _loaded(game: str) -> Any:
    ale_py, _ = libraries()
    path = ale_py.roms.get_rom_path(game)
    if path is None:
        raise MissingExtraError(f"the ROM of {game}", "atari")
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(path)
    return ale


def give_back(game: str, ale: Any) -> None:
    """Let another row have it."""
    _idle.append((game, ale))
    del _idle[:-MOST_IDLE]


@dataclass(frozen=True)
class Start:
    """How a flavour of a game begins: restoring a state leaves the screen as it was, so that is kept beside it.

    Attributes:
        state: of the whole emulator.
        grey: shape (height, width).
        colours: shape (height, width, 3).
    """

    state: Any
    grey: Screen
    colours: Screen


@functools.lru_cache(maxsize=2048)
def start_of(game: str, mode: int, difficulty: int) -> Start:
    """Where its episodes begin; -1 leaves mode or difficulty to the game."""
    ale = _loaded(game)  # what was set in another one stays set: some games begin in no flavour that can be chosen
    if mode >= 0:
        ale.setMode(mode)
    if difficulty >= 0:
        ale.setDifficulty(difficulty)
    ale.reset_game()
    start = Start(ale.cloneSystemState(), ale.getScreenGrayscale().copy(), ale.getScreenRGB().copy())
    give_back(game, ale)
    return start


@atexit.register
def _let_go() -> None:
    """ALE's bindings complain about each emulator and state that outlives them."""
    _idle.clear()
    start_of.cache_clear()
