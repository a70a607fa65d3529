"""What the pictures have in common: a heading, gauges of the state, and the task in words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.palette import ACTION, ALARM, BODY, FAILED, GOAL, INK, LIMIT, LINE, MUTED, PAPER, Colour
from lifelong_gym.envs.viewers.screen import Scene
from lifelong_gym.tasks.task_set import Task

MARGIN = 20.0
HEADING = 22.0
GAUGES = 356.0
WORDS = 402.0


@dataclass(frozen=True)
class Gauge:
    """How one number of the state is shown.

    Attributes:
        symbol: as in the equations.
        unit: SI symbol.
        limit: beyond it the task has failed.
    """

    symbol: str
    unit: str
    limit: float


def number(value: float) -> str:
    """Three digits, with a real minus sign.

    >>> number(-0.12345)
    '\u22120.123'
    """
    return f"{value:.3g}".replace("-", "−")


def heading(canvas: Canvas, scene: Scene) -> None:
    """Whose picture it is, how far it has come, and whether it has failed."""
    canvas.text(INK, (MARGIN, HEADING), scene.label, 30, "left")
    progress = f"step {scene.step}    return {scene.episode_return:.1f}".replace("-", "−")
    canvas.text(INK, (canvas.width - MARGIN, HEADING), progress, 23, "right")
    if scene.failed:
        canvas.rectangle(FAILED, (0.5 * canvas.width, HEADING), (112, 30))
        canvas.text(PAPER, (0.5 * canvas.width, HEADING), "FAILED", 26)
        corners = [(0.0, 0.0), (canvas.width, 0.0), (canvas.width, canvas.height), (0.0, canvas.height), (0.0, 0.0)]
        canvas.path(FAILED, corners, 7)


def legend(canvas: Canvas, items: Iterable[tuple[str, Colour]]) -> None:
    """Below the label: what the colours mean."""
    x = MARGIN
    for word, colour in items:
        canvas.circle(colour, (x + 5, HEADING + 26), 5)
        x += 15 + canvas.text(MUTED, (x + 14, HEADING + 26), word, 18, "left") + 14


def draw_gauge(canvas: Canvas, gauge: Gauge, value: float, goal: float, left: float, width: float) -> None:
    """A bar from zero to the value; its length is the square root, for what matters happens near zero."""
    middle, half = left + 0.5 * width, 0.5 * width
    beyond = abs(value) > gauge.limit
    canvas.text(INK, (left, GAUGES - 14), gauge.symbol, 23, "left")
    if not canvas.is_small:
        words = f"{number(value)} {gauge.unit}"
        canvas.text(LIMIT if beyond else MUTED, (left + width, GAUGES - 14), words, 18 if width > 100 else 16, "right")
    canvas.rectangle(LINE, (middle, GAUGES + 4), (width, 9))
    at = half * _root(value, gauge.limit)
    canvas.rectangle(LIMIT if beyond else BODY, (middle + 0.5 * at, GAUGES + 4), (abs(at), 9))
    canvas.line(MUTED, (middle, GAUGES - 1), (middle, GAUGES + 9), 1)
    x = middle + half * _root(goal, gauge.limit)
    canvas.polygon(GOAL, [(x, GAUGES + 6), (x - 6, GAUGES + 17), (x + 6, GAUGES + 17)])


def _root(value: float, limit: float) -> float:
    return math.copysign(math.sqrt(min(abs(value) / limit, 1.0)), value)


def words(canvas: Canvas, colour: Colour, y: float, text: str) -> None:
    """A centred line; letters shrink where it would be too long."""
    room = (canvas.width - MARGIN) / max(Canvas.width_of(text, 18), 1.0)
    canvas.text(colour, (0.5 * canvas.width, y), text, 18 * min(room, 1.0))


def oddities(task: Task, gauges: tuple[Gauge, ...]) -> str:
    """In words, what can't be seen: an unusual actuator and the sensors that lie."""
    found = []
    if task["actuator_gain"] != 1.0:
        found.append(f"actuator × {number(task['actuator_gain'])}")
    gains = {g.symbol: task[f"sensor_gain_{i}"] for i, g in enumerate(gauges, 1)}
    reversed_ = [symbol for symbol, gain in gains.items() if gain == -1.0]
    if reversed_:
        found.append(f"sensors reversed: {', '.join(reversed_)}")
    found += [f"sensor {symbol} × {number(gain)}" for symbol, gain in gains.items() if abs(gain) != 1.0]
    offsets = {g.symbol: task[f"sensor_offset_{i}"] for i, g in enumerate(gauges, 1)}
    if any(offsets.values()):
        found.append("sensor offsets: " + ", ".join(f"{s} {number(o)}" for s, o in offsets.items() if o))
    return "    ".join(found)


class ControlViewer(ABC):
    """Draws a control family: subclasses draw the body on the stage between heading and gauges.

    Attributes:
        size: width and height of a picture in pixels.
        gauges: one per number of the state.
        action_is: what the actions' arrows stand for.
    """

    size: tuple[int, int] = (640, 440)
    gauges: ClassVar[tuple[Gauge, ...]]
    action_is: ClassVar[str] = "force"

    @abstractmethod
    def stage(self, canvas: Canvas, scene: Scene) -> None:
        """Draw the body, its goal and the action, above y = 330."""

    @abstractmethod
    def facts(self, task: Task) -> str:
        """The task's own parameters in one line."""

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        self.stage(canvas, scene)
        heading(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [(self.action_is, ACTION), ("goal", GOAL), ("limit", LIMIT)])
        pitch = (canvas.width - 2.0 * MARGIN) / len(self.gauges)
        for i, (gauge, value) in enumerate(zip(self.gauges, scene.state, strict=True)):
            goal = scene.task[f"goal_{i + 1}"]
            draw_gauge(canvas, gauge, value, goal, MARGIN + i * pitch + 0.05 * pitch, 0.9 * pitch)
        if not canvas.is_small:
            words(canvas, MUTED, WORDS, self.facts(scene.task))
            words(canvas, INK, WORDS + 20, oddities(scene.task, self.gauges))
        canvas.finish()


def sized(value: float, nominal: float, pixels: float, exponent: float = 0.5) -> float:
    """Pixels that grow with a positive parameter: ``pixels`` at its nominal value, from 0.4 to 2.2 times that."""
    return pixels * min(max((max(value, 0.0) / nominal) ** exponent, 0.4), 2.2)


def spread(value: float, pixels: float, unit: float = 1.0) -> float:
    """A position on an axis that is linear near zero and logarithmic far out, so that extremes stay in the picture."""
    return pixels * math.asinh(value / unit)


def effect(scene: Scene, i: int = 0) -> float:
    """The i-th action as a force in [-1, 1], with the actuator's sign; 0 before the first step."""
    if scene.action is None:
        return 0.0
    return math.copysign(1.0, scene.task["actuator_gain"]) * min(max(scene.action[i], -1.0), 1.0)


def effect_width(task: Task, pixels: float = 5.0) -> float:
    """Width of the arrows: strong actuators have thick ones."""
    return sized(abs(task["actuator_gain"]), 1.0, pixels, 0.35)
