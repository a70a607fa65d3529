"""The drone: what its camera sees, the depth map with the window of the reward, and where it has flown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame

from lifelong_gym.envs.backends.making import make_rows
from lifelong_gym.envs.backends.rows import Episodes
from lifelong_gym.envs.backends.table_views import row_tables
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.envs.spaces import Discrete
from lifelong_gym.envs.tables import Tables
from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import ACTION, ALARM, BODY, FAILED, GOAL, INK, MUTED, PAPER, Colour, mix
from lifelong_gym.envs.viewers.panel import Scene, heading, legend, number, words
from lifelong_gym.imports import load
from lifelong_gym.tasks.task_set import Task

FAMILY = "lifelong_gym.envs.navigation.drone:Drone"
COLUMNS = "lifelong_gym.envs.navigation.columns"
PIXELS = 128
WORLD, CELLS, HIGHEST = 24.0, 120, 5.9
FREE: Colour = mix(MUTED, PAPER, 0.15)
Image = npt.NDArray[np.uint8]


class World:
    """A task's world, to look at from any state."""

    def __init__(self, task: Task) -> None:
        """Build it."""
        family = load(FAMILY)(resolution=PIXELS)
        assert isinstance(family, KernelFamily)
        assert isinstance(family.actions, Discrete)
        self.task, self.actions = task, family.actions.names
        tasks = family.parameters.tasks([dict(task)])
        self._rows = make_rows("kernel", "numba", 1, family, tasks, next(iter(family.rewards)), False)
        self._heights = row_tables(Tables.of(family, tasks), 0)[0]
        self._map, self._window = load(f"{COLUMNS}:depth_map"), load(f"{COLUMNS}:window")
        self._shape = load(f"{COLUMNS}:MAP_HEIGHT"), load(f"{COLUMNS}:MAP_WIDTH")
        self._far = load(f"{COLUMNS}:FAR")

    def picture(self, state: Sequence[float]) -> Image:
        """What the camera sees, (128, 128, 3)."""
        seen, zero = np.empty((1, PIXELS * PIXELS * 3), np.uint8), np.zeros(1, np.int64)
        keys = np.zeros((1, 2), np.uint64)
        self._rows.restart(Episodes(zero, zero, zero, zero, keys, np.array([state])), seen)
        return seen.reshape(PIXELS, PIXELS, 3)

    def depths(self, state: Sequence[float]) -> tuple[Image, tuple[int, int, int, int]]:
        """The depth map, (18, 32, 3), the brighter the nearer, and the window: first and last row and column."""
        depths = [0.0] * math.prod(self._shape)
        window = self._window(self._map(tuple(state), self._heights, depths))
        near = 1.0 - np.sqrt(np.array(depths).reshape(self._shape) / self._far)
        return _grey(near), window

    def plan(self) -> Image:
        """The floor plan from above, (120, 120, 3), north up: the darker the higher something stands."""
        floor = np.array([self._heights[2 * i] for i in range(CELLS * CELLS)]).reshape(CELLS, CELLS)
        share = np.minimum(floor / self.task["ceiling"], 1.0)[..., None] ** 0.7
        colours = share * np.array(INK) + (1.0 - share) * np.array(FREE)
        return np.ascontiguousarray(colours.transpose(1, 0, 2)[::-1].astype(np.uint8))


def _grey(share: npt.NDArray[Any]) -> Image:
    return np.repeat((255.0 * np.clip(share, 0.0, 1.0)).astype(np.uint8)[..., None], 3, -1)


class DroneViewer:
    """Draws `Drone`."""

    size = (880, 460)

    def __init__(self) -> None:
        """No world has been built."""
        self._world: World | None = None

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        if self._world is None or dict(self._world.task) != dict(scene.task):
            self._world = World(scene.task)
        world, state = self._world, _inside(scene.state)
        crashed = scene.failed or state[5] > 0.5
        canvas = Canvas(surface, self.size, ALARM if crashed else PAPER)
        heading(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("flown", GOAL), ("drone", BODY), ("window of the reward", ACTION)])
            words(canvas, MUTED, 440, self._facts(scene, crashed))
        canvas.finish()
        scale = surface.get_width() / self.size[0]
        put(surface, scale, _surface(world.picture(state)), (20, 66), (448, 252))
        put(surface, scale, self._depths(world, state), (20, 326), (160, 90))
        put(surface, scale, self._plan(world, scene, state, crashed), (494, 66), (350, 350))

    def _depths(self, world: World, state: Sequence[float]) -> pygame.Surface:
        depths, (top, bottom, left, right) = world.depths(state)
        image = pygame.transform.scale_by(_surface(depths), 10)
        pygame.draw.rect(image, ACTION, (10 * left, 10 * top, 10 * (right - left), 10 * (bottom - top)), 4)
        return image

    def _plan(self, world: World, scene: Scene, state: Sequence[float], crashed: bool) -> pygame.Surface:
        side = 6 * CELLS
        image = pygame.transform.scale(_surface(world.plan()), (side, side))

        def at(place: Sequence[float]) -> Point:
            return side * place[0] / WORLD, side * (1.0 - place[1] / WORLD)

        path = [at(_inside(past)) for past in (*scene.past, state)]
        if len(path) > 1:
            pygame.draw.lines(image, GOAL, False, path, 5)
        (x, y), yaw = at(state), state[3]
        nose = [(x + r * math.cos(yaw + a), y - r * math.sin(yaw + a)) for r, a in ((22, 0.0), (15, 2.5), (15, -2.5))]
        pygame.draw.polygon(image, FAILED if crashed else BODY, nose)
        return image

    def _facts(self, scene: Scene, crashed: bool) -> str:
        assert self._world is not None
        action = "" if scene.action is None else f"    {self._world.actions[int(scene.action[0])]}"
        flown, height = number(scene.state[4]), number(scene.state[2])
        ended = "    crashed" if crashed else ""
        return f"{scene.task['world']}    flown {flown} m    height {height} m{action}{ended}"


def put(surface: pygame.Surface, scale: float, image: pygame.Surface, corner: Point, size: Point) -> None:
    """Show an image there, in logical units."""
    width, height = (max(round(scale * v), 1) for v in size)
    surface.blit(
        pygame.transform.smoothscale(image, (width, height)), (round(scale * corner[0]), round(scale * corner[1]))
    )


def _surface(image: Image) -> pygame.Surface:
    return pygame.surfarray.make_surface(image.transpose(1, 0, 2))


def _inside(state: Sequence[float]) -> tuple[float, ...]:
    """A state within the world, whatever is to be drawn."""
    x, y, z, *rest = state
    return min(max(x, 0.01), WORLD - 0.01), min(max(y, 0.01), WORLD - 0.01), min(max(z, 0.01), HIGHEST), *rest
