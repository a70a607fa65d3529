"""Atari games as rows: an emulator each, whose random numbers are ours."""

from __future__ import annotations

import atexit
import zlib
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arcade.atari import Atari
from lifelong_gym.envs.arcade.atari_emulators import Screen, emulator, give_back, libraries, start_of

NOTHING = 0  # the action


class AtariGame:
    """One row's game: standard preprocessing (Machado et al. 2018), with stickiness and no-ops from our streams.

    Threads don't share such rows: ale-py 0.12 holds Python's lock while it emulates.
    """

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
        if self._ale is not None:
            give_back(self._game, self._ale)
            self._ale = None


_playing: WeakSet[AtariGame] = WeakSet()


@atexit.register
def _let_go() -> None:
    """ALE's bindings complain about each emulator and state that outlives them."""
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
