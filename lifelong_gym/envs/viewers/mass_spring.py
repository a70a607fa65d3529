"""Masses on springs: blocks grow with mass, springs thicken with stiffness, dampers with damping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    BODY,
    BODY_DARK,
    GHOST,
    GOAL,
    INK,
    LIMIT,
    MUTED,
    PAPER,
    SECOND,
    SECOND_DARK,
    mix,
)
from lifelong_gym.envs.viewers.panel import ControlViewer, Scene, effect, effect_width, number, sized, spread
from lifelong_gym.tasks.task_set import Task

WALL = 34.0
LIMIT_STATE = 10.0
COLOURS = ((BODY, BODY_DARK), (SECOND, SECOND_DARK))


def draw_spring(canvas: Canvas, start: Point, end: Point, width: float) -> None:
    """A zigzag of eight teeth."""
    lead = 0.08 * (end[0] - start[0])
    x0, x1, n = start[0] + lead, end[0] - lead, 16
    teeth = [(x0 + (x1 - x0) * i / n, start[1] + (0 if i in (0, n) else 11 * (-1) ** i)) for i in range(n + 1)]
    canvas.path(mix(INK, PAPER, 0.8), [start, *teeth, end], width)


def draw_damper(canvas: Canvas, start: Point, end: Point, width: float) -> None:
    """A piston in a cylinder."""
    middle = 0.5 * (start[0] + end[0])
    reach = 0.18 * (end[0] - start[0])
    y, half = start[1], 9.0
    canvas.line(MUTED, start, (middle - reach, y), width)
    canvas.path(MUTED, [(middle + reach, y - half), (middle - reach, y - half)], 2)
    canvas.path(MUTED, [(middle - reach, y - half), (middle - reach, y + half), (middle + reach, y + half)], 2)
    canvas.line(MUTED, (middle + 0.3 * reach, y - half + 4), (middle + 0.3 * reach, y + half - 4), width + 2)
    canvas.line(MUTED, (middle + 0.3 * reach, y), end, width)


def draw_ruler(canvas: Canvas, origin: float, y: float, pixels: float, name: str) -> None:
    """Where positions lie: linear near zero, logarithmic far out; the red ends are the limits."""
    ends = [origin + spread(x, pixels) for x in (-2 * LIMIT_STATE, 2 * LIMIT_STATE)]
    canvas.line(MUTED, (ends[0], y), (ends[1], y), 1)
    for x in (-10, -5, -2, -1, 0, 1, 2, 5, 10):
        at, is_limit = origin + spread(x, pixels), abs(x) == LIMIT_STATE
        canvas.line(LIMIT if is_limit else MUTED, (at, y - 5), (at, y + 5), 3 if is_limit else 1)
        if not canvas.is_small:
            canvas.text(LIMIT if is_limit else MUTED, (at, y + 13), f"{x}".replace("-", "−"), 15)
    canvas.text(INK, (ends[1] + 14, y), name, 18, "left")


@dataclass(frozen=True)
class Block:
    """One mass and what ties it to its left neighbour.

    Attributes:
        suffix: what the names of its parameters end in.
        origin: where it rests, in pixels.
        mass: nominal, in kg; drawn at the nominal size.
        stiffness: nominal, in N/m.
        damping: nominal, in N s/m.
    """

    suffix: str
    origin: float
    mass: float
    stiffness: float
    damping: float


class MassSpringViewer(ControlViewer):
    """Blocks in a row, the first one tied to the wall.

    Attributes:
        blocks: from left to right.
        floor: height of the floor in pixels.
        side: of a nominal block, in pixels.
        pixels: of the rulers, see `spread`.
    """

    blocks: ClassVar[tuple[Block, ...]]
    floor: ClassVar[float]
    side: ClassVar[float]
    pixels: ClassVar[float]

    def stage(self, canvas: Canvas, scene: Scene) -> None:
        """See `ControlViewer`."""
        top = self.floor - 170
        canvas.rectangle(MUTED, (0.5 * WALL, 0.5 * (self.floor + top)), (WALL, self.floor - top))
        canvas.line(MUTED, (0, self.floor), (canvas.width, self.floor), 3)
        for i, block in enumerate(self.blocks):
            draw_ruler(canvas, block.origin, self._ruler(i), self.pixels, "m")
            self._draw_goal(canvas, scene.task, i)
        left = WALL
        for i in range(len(self.blocks)):
            left = self._draw_block(canvas, scene, i, left)
        pushed, _ = self._square(scene.task, 0, scene.state[0])
        canvas.arrow(ACTION, pushed, (95 * effect(scene), 0.0), effect_width(scene.task))

    def _ruler(self, i: int) -> float:
        return self.floor + 22 + 38 * i

    def _square(self, task: Task, i: int, x: float) -> tuple[Point, Point]:
        """Centre and size of block i at the position ``x`` in m."""
        block = self.blocks[i]
        side = sized(task["mass" + block.suffix], block.mass, self.side)
        return (block.origin + spread(x, self.pixels), self.floor - 0.5 * side - 2), (side, side)

    def _draw_goal(self, canvas: Canvas, task: Task, i: int) -> None:
        center, size = self._square(task, i, task[f"goal_{2 * i + 1}"])
        canvas.rectangle(GHOST, center, size, GOAL)
        canvas.line(GOAL, (center[0], self.floor), (center[0], self._ruler(i)), 3)

    def _draw_block(self, canvas: Canvas, scene: Scene, i: int, left: float) -> float:
        """Draw block i with what ties it to ``left``; returns its right side."""
        task, block, (fill, edge) = scene.task, self.blocks[i], COLOURS[i]
        (x, y), size = self._square(task, i, scene.state[2 * i])
        reach = 0.5 * size[0]
        low, high = self.floor - 16, self.floor - 42
        draw_damper(canvas, (left, low), (x - reach, low), sized(task["damping" + block.suffix], block.damping, 3))
        spring = sized(task["stiffness" + block.suffix], block.stiffness, 3)
        draw_spring(canvas, (left, high), (x - reach, high), spring)
        canvas.rectangle(fill, (x, y), size, edge)
        canvas.line(edge, (x, self.floor + 3), (x, self._ruler(i)), 3)
        canvas.arrow(edge, (x, y - reach - 14), (spread(scene.state[2 * i + 1], 28), 0.0), 3)
        return x + reach

    def facts(self, task: Task) -> str:
        """See `ControlViewer`."""
        words = []
        for s in [block.suffix for block in self.blocks]:
            i, m, k, d = s.strip("_"), task["mass" + s], task["stiffness" + s], task["damping" + s]
            words.append(f"m{i} {number(m)} kg, k{i} {number(k)} N/m, d{i} {number(d)} N s/m")
        return "    ".join(words)
