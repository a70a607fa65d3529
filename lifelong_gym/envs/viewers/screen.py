"""Frames of scenes: as arrays, or in a window."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.viewers.canvas import pygame, render_text
from lifelong_gym.envs.viewers.palette import INK, LINE, PAPER
from lifelong_gym.errors import LifelongGymError, unknown
from lifelong_gym.imports import load
from lifelong_gym.tasks.task_set import Task

RENDER_MODES = ("rgb_array", "human")
MAX_TILES = 16
LARGEST = (1280, 880)


@dataclass(frozen=True)
class Scene:
    """What there is to see of one task at one moment.

    Attributes:
        state: the physical state; what isn't a number is drawn as 0.
        action: the action u in [-1, 1] that led here (or its index); None before the first step.
        task: the task's parameters.
        label: heading, for instance "task 3".
        failed: whether the state is beyond its limits.
        step: steps taken in this episode.
        episode_return: sum of this episode's rewards.
        past: the states of this episode before this one, from its first on.
        picture: what the simulation shows of itself, uint8 (height, width, 3); None where it shows nothing.
    """

    state: tuple[float, ...]
    action: tuple[float, ...] | None
    task: Task
    label: str
    failed: bool
    step: int
    episode_return: float
    past: tuple[tuple[float, ...], ...] = ()
    picture: npt.NDArray[np.uint8] | None = field(default=None, compare=False)


class Viewer(Protocol):
    """Draws the scenes of one family; the constructor takes no arguments.

    Attributes:
        size: width and height of a picture in pixels.
    """

    size: tuple[int, int]

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill a surface, of this size or smaller, with a picture of the scene."""
        ...


class Screen:
    """Shows scenes: one fills the frame, several are tiled.

    Args:
        viewer: ``module:Class`` of a `Viewer`.
        render_mode: ``"rgb_array"`` or ``"human"``.
        fps: frames per second of the window.

    Raises:
        ValueError: another render mode, or ``fps`` not positive.
    """

    def __init__(self, viewer: str, render_mode: str, fps: float) -> None:
        """See the class."""
        if render_mode not in RENDER_MODES:
            raise unknown("render_mode", render_mode, RENDER_MODES)
        if not fps > 0:
            raise ValueError(f"`fps` must be positive. Received {fps}")
        self._viewer: Viewer = load(viewer)()
        self._in_window = render_mode == "human"
        self._fps = fps
        self._clock = pygame.time.Clock()
        self._has_window = False
        self._dismissed = False

    def show(self, scenes: Sequence[Scene]) -> npt.NDArray[np.uint8] | None:
        """Draw one frame.

        Args:
            scenes: at least one; beyond 16, a note says how many are left out.

        Returns:
            ``rgb_array``: uint8 of shape (height, width, 3). ``human``: None; once the user has closed the
            window, nothing is drawn any more.

        Raises:
            ValueError: no scenes.
            LifelongGymError: no window can be opened.
        """
        if len(scenes) == 0:
            raise ValueError("`scenes` must hold at least one scene. Received none")
        if not self._in_window:
            return _pixels(self._frame(scenes))
        if not self._dismissed:
            self._present(self._frame(scenes))
        return None

    def close(self) -> None:
        """Close the window, if there is one; may be called again."""
        if self._has_window:
            pygame.display.quit()
            self._has_window = False

    def _frame(self, scenes: Sequence[Scene]) -> pygame.Surface:
        columns, rows, (width, height) = layout(min(len(scenes), MAX_TILES), self._viewer.size)
        frame = pygame.Surface((columns * width, rows * height), 0, 32)
        frame.fill(LINE)
        gap = 0 if len(scenes) == 1 else 1
        for i, scene in enumerate(scenes[:MAX_TILES]):
            row, column = divmod(i, columns)
            place = column * width + gap, row * height + gap, width - 2 * gap, height - 2 * gap
            self._viewer.draw(frame.subsurface(place), replace(scene, state=tuple(map(_finite, scene.state))))
        if len(scenes) > MAX_TILES:
            _note(frame, f"{len(scenes) - MAX_TILES} more not shown")
        return frame

    def _present(self, frame: pygame.Surface) -> None:
        window = pygame.display.get_surface() if pygame.display.get_init() else None
        if window is None or window.get_size() != frame.get_size():
            window = _window(frame.get_size())
        self._has_window = True
        window.blit(frame, (0, 0))
        pygame.display.flip()
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self._dismissed = True
            self.close()
        self._clock.tick(self._fps)


def _window(size: tuple[int, int]) -> pygame.Surface:
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # else SIGTERM would only close the window
    try:
        pygame.display.init()
        pygame.display.set_caption("lifelong_gym")
        return pygame.display.set_mode(size)
    except pygame.error as error:
        hint = 'without a screen, use render_mode="rgb_array" or set SDL_VIDEODRIVER=dummy'
        raise LifelongGymError(f"no window can be opened ({error}); {hint}") from error


def layout(n: int, size: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
    """Columns, rows and the size of a tile; sides are even, as video formats want them.

    >>> layout(1, (640, 440)), layout(10, (640, 440))
    ((1, 1, (640, 440)), (4, 3, (320, 220)))
    """
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    shrink = min(1.0, LARGEST[0] / (columns * size[0]), LARGEST[1] / (rows * size[1]))
    width, height = (2 * int(side * shrink / 2) for side in size)
    return columns, rows, (width, height)


def _finite(x: float) -> float:
    return x if math.isfinite(x) else 0.0


def _pixels(frame: pygame.Surface) -> npt.NDArray[np.uint8]:
    width, height = frame.get_size()
    return np.frombuffer(pygame.image.tobytes(frame, "RGB"), np.uint8).reshape(height, width, 3).copy()


def _note(frame: pygame.Surface, text: str) -> None:
    image = render_text(text, 22, PAPER)
    width, height = image.get_size()
    corner = frame.get_width() - width - 12, frame.get_height() - height - 8
    frame.fill(INK, (*corner, width + 12, height + 8))
    frame.blit(image, (corner[0] + 6, corner[1] + 4))
