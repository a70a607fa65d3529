"""Atari games as rows: an emulator each, whose random numbers are ours."""

from __future__ import annotations

import atexit
import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import MissingExtraError

if TYPE_CHECKING:
    from lifelong_gym.envs.arcade.atari import Atari

Screen = npt.NDArray[np.uint8]
NOTHING = 0  # the action
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


class AtariGame:
    """One row's game: standard preprocessing (Machado et al. 2018), with stickiness and no-ops from our streams.

    Attributes:
        threads: threads may step several at once; the emulator lets others run meanwhile.
    """

    threads: ClassVar[bool] = True

    def __init__(self, family: Atari, task: Mapping[str, Any], reward: str) -> None:
        """Take the task, a value for each parameter of `Atari`."""
        _playing.add(self)
        self._family, self._sign = family, reward == "sign"
        self._game, self._sticky = str(task["game"]), float(task["sticky"])
        self._start = start_of(self._game, int(task["mode"]), int(task["difficulty"]))
        self._masked = list(family.masked(self._game))
        self._ale = emulator(self._game)
        height, width = self._start.grey.shape
        self._screens = np.zeros((2, height, width), np.uint8)  # the last two, the first of which is their maximum
        self._frames = np.zeros((family.stack_size, family.screen_size, family.screen_size), np.uint8)
        self._still: Screen | None = None  # what the emulator should show, where it has been restored and not yet run
        self._held = NOTHING

    def reset(self, rng: np.random.Generator) -> Any:
        """See `Simulation`."""
        most = self._family.noop_max
        self._begin()
        for _ in range(int(rng.integers(1, most + 1)) if most else 0):
            self._still = None
            self._ale.act(NOTHING)
            if self._ale.game_over():
                self._begin()
        if self._family.observation == "ram":
            return self._bytes()
        if self._still is None:
            self._ale.getScreenGrayscale(self._screens[0])
        self._screens[1] = 0
        self._frames[:] = self._shrunk()
        return self._stacked()

    def _begin(self) -> None:
        self._ale.restoreSystemState(self._start.state)
        self._screens[0], self._still, self._held = self._start.grey, self._start.colours, NOTHING

    def step(self, action: int, rng: np.random.Generator) -> tuple[Any, float, bool]:
        """See `Simulation`."""
        ale, skip, score, over = self._ale, self._family.frame_skip, 0, False
        sees = self._family.observation == "pixels"
        self._still = None
        for frame, luck in enumerate(rng.random(skip).tolist()):
            if luck >= self._sticky:
                self._held = action
            score += ale.act(self._held)
            over = ale.game_over()
            if over:
                break
            if sees and frame >= skip - 2:
                ale.getScreenGrayscale(self._screens[skip - 1 - frame])
        reward = float(np.sign(score)) if self._sign else float(score)
        return self._look() if sees else self._bytes(), reward, over

    def _look(self) -> Screen:
        self._frames[:-1] = self._frames[1:]
        self._frames[-1] = self._shrunk()
        return self._stacked()

    def _shrunk(self) -> Screen:
        _, cv2 = libraries()
        screens, size = self._screens, self._family.screen_size
        if self._family.frame_skip > 1:
            np.maximum(screens[0], screens[1], out=screens[0])
        shrunk: Screen = cv2.resize(screens[0], (size, size), interpolation=cv2.INTER_AREA)
        return shrunk

    def _stacked(self) -> Screen:
        _, cv2 = libraries()
        stacked: Screen = cv2.merge(tuple(self._frames))  # ten times as fast as to transpose
        return stacked.reshape(*self._frames.shape[1:], len(self._frames))

    def _bytes(self) -> npt.NDArray[np.float32]:
        seen = self._ale.getRAM().astype(np.float32) / np.float32(255.0)
        seen[self._masked] = 0.0
        return seen

    def picture(self) -> Screen:
        """The screen, shape (height, width, 3)."""
        return self._ale.getScreenRGB().copy() if self._still is None else self._still.copy()

    def snapshot(self) -> Any:
        """See `Simulation`."""
        state = np.frombuffer(self._ale.cloneSystemState().serialize(), np.uint8).copy()
        packed = {name: _packed(array) for name, array in self._pictures().items()}
        return {"game": self._game, "emulator": state, "held": int(self._held), **packed}

    def _pictures(self) -> dict[str, Screen]:
        return {"screens": self._screens, "frames": self._frames, "picture": self.picture()}

    def restore(self, snapshot: Any) -> None:
        """See `Simulation`; raises `ValueError` where it is of another game, or damaged."""
        if snapshot["game"] != self._game:
            raise ValueError(f"it must be of {self._game}. Received {snapshot['game']!r}")
        found = {name: _unpacked(name, snapshot[name], like) for name, like in self._pictures().items()}
        held = int(snapshot["held"])
        ale_py, _ = libraries()
        try:
            state = ale_py.ALEState(snapshot["emulator"].tobytes())
            self._ale.restoreSystemState(state)
        except (SystemError, RuntimeError) as error:
            raise ValueError("the emulator's state is damaged") from error
        self._screens[:], self._frames[:], self._still = found["screens"], found["frames"], found["picture"]
        self._held = held

    def close(self) -> None:
        """Let another row have the emulator."""
        give_back(self._game, self._ale)
        self._ale = None


_playing: WeakSet[AtariGame] = WeakSet()


@atexit.register
def _let_go() -> None:
    """ALE's bindings complain about each emulator and state that outlives them."""
    _idle.clear()
    start_of.cache_clear()
    for game in list(_playing):
        vars(game).clear()


def _packed(array: Screen) -> Screen:
    """Screens are mostly of one colour."""
    return np.frombuffer(zlib.compress(array.tobytes(), 1), np.uint8).copy()


def _unpacked(name: str, packed: Any, like: Screen) -> Screen:
    try:
        raw = zlib.decompress(packed.tobytes())
    except zlib.error as error:
        raise ValueError(f"{name!r} is damaged: {error}") from error
    if len(raw) != like.size:
        raise ValueError(f"{name!r} must be of {like.shape}, {like.size} bytes. Received {len(raw)}")
    return np.frombuffer(raw, np.uint8).reshape(like.shape)
