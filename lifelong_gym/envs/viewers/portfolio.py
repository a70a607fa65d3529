"""A portfolio: wealth against that of equal shares, drawdown, and shares stacked, over the days of the episode."""

from __future__ import annotations

import itertools
import math

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    ALARM,
    BODY,
    BODY_DARK,
    FAILED,
    GOAL,
    INK,
    LIMIT,
    LINE,
    MUTED,
    PAPER,
    SECOND,
    Colour,
    mix,
)
from lifelong_gym.envs.viewers.panel import Scene, heading, legend, number, words
from lifelong_gym.tasks.task_set import Task

DAY, AGE, WEALTH, MARKET, PEAK, SHARES = 0, 1, 2, 3, 4, 5  # in the state
LEFT, RIGHT = 62.0, 560.0
CURVES, DRAWDOWN, STACK = (84.0, 210.0), (222.0, 262.0), (276.0, 372.0)  # top and bottom
ASKED = (580.0, 620.0)  # left and right of the bars of what was asked for
HUES = (BODY, ACTION, GOAL, SECOND, LIMIT, BODY_DARK)
LEAST = 0.02  # span of the logarithms that the curves fill


def hue(i: int) -> Colour:
    """Of the i-th instrument: six colours, then paler ones."""
    return mix(HUES[i % len(HUES)], PAPER, 1.0 / (1.0 + 0.5 * (i // len(HUES))))


def log(x: float) -> float:
    """Of wealth; what isn't one is 0."""
    return math.log(x) if 0.0 < x < math.inf else 0.0


class PortfolioViewer:
    """Draws `Portfolio`."""

    size = (640, 440)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        heading(canvas, scene)
        states = [*scene.past, scene.state]
        at = [LEFT + (RIGHT - LEFT) * (i + 1) / len(states) for i in range(len(states))]
        self._draw_curves(canvas, states, at)
        self._draw_drawdown(canvas, states, at)
        self._draw_stack(canvas, states, at)
        self._draw_action(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("wealth", BODY), ("equal shares", MUTED), ("drawdown", FAILED)])
            words(canvas, MUTED, 394, self._account(scene.state))
            words(canvas, MUTED, 414, self._facts(scene.task))
        canvas.finish()

    def _draw_curves(self, canvas: Canvas, states: list[tuple[float, ...]], at: list[float]) -> None:
        """On a logarithmic scale that holds all of both."""
        top, bottom = CURVES
        curves = [[log(state[i]) for state in states] for i in (MARKET, WEALTH)]
        low, high = min(map(min, curves)), max(max(map(max, curves)), 0.0)
        low = min(low, high - LEAST)
        scale = (bottom - top) / (high - low)
        start = bottom - scale * (0.0 - low) if low <= 0.0 else bottom
        canvas.dashes(LINE, (LEFT, start), (RIGHT, start))
        for colour, curve in zip((MUTED, BODY), curves, strict=True):
            points: list[Point] = [(x, bottom - scale * (y - low)) for x, y in zip(at, curve, strict=True)]
            canvas.path(colour, [(LEFT, start), *points], 3)
            canvas.circle(colour, points[-1], 4)
        if not canvas.is_small:
            for y, value in ((top, high), (bottom, low)):
                canvas.text(MUTED, (LEFT - 8, y), f"{math.exp(value):.2f}", 16, "right")

    def _draw_drawdown(self, canvas: Canvas, states: list[tuple[float, ...]], at: list[float]) -> None:
        """The share of the highest wealth that is lost, downwards; the panel is as deep as the worst of it."""
        top, bottom = DRAWDOWN
        lost = [min(max(1.0 - state[WEALTH] / state[PEAK], 0.0), 1.0) if state[PEAK] > 0.0 else 0.0 for state in states]
        worst = max(*lost, LEAST)
        canvas.line(LINE, (LEFT, top), (RIGHT, top), 1.5)
        edge = [(x, top + (bottom - top) * y / worst) for x, y in zip(at, lost, strict=True)]
        canvas.polygon(mix(FAILED, PAPER, 0.35), [(LEFT, top), *edge, (RIGHT, top)])
        if not canvas.is_small:
            canvas.text(MUTED, (LEFT - 8, bottom), f"−{100 * worst:.1f}%", 16, "right")

    def _draw_stack(self, canvas: Canvas, states: list[tuple[float, ...]], at: list[float]) -> None:
        """A column a day, a colour an instrument, one above the other."""
        top, bottom = STACK
        for left, right, state in zip([LEFT, *at], at, states, strict=False):
            shares = [share if 0.0 < share < math.inf else 0.0 for share in state[SHARES:]]
            whole = sum(shares) or 1.0
            edges = [bottom - (bottom - top) * y / whole for y in itertools.accumulate(shares, initial=0.0)]
            for i, (low, high) in enumerate(itertools.pairwise(edges)):
                canvas.polygon(hue(i), [(left, low), (right, low), (right, high), (left, high)])
        if not canvas.is_small:
            canvas.text(MUTED, (LEFT - 8, 0.5 * (top + bottom)), "shares", 16, "right")

    def _draw_action(self, canvas: Canvas, scene: Scene) -> None:
        """What was asked for, in the instruments' colours."""
        if scene.action is None:
            return
        top, bottom = CURVES[0], STACK[1]
        pitch, middle = (bottom - top) / len(scene.action), 0.5 * (ASKED[0] + ASKED[1])
        canvas.line(LINE, (middle, top), (middle, bottom), 2)
        for i, asked in enumerate(scene.action):
            width = (middle - ASKED[0]) * min(max(asked, -1.0), 1.0)
            y = bottom - (i + 0.5) * pitch
            canvas.rectangle(hue(i), (middle + 0.5 * width, y), (max(abs(width), 2.0), 0.7 * pitch), INK)

    def _account(self, state: tuple[float, ...]) -> str:
        day, age = number_of_days(state[DAY]), number_of_days(state[AGE])
        account = f"wealth {state[WEALTH]:.3f}, equal shares {state[MARKET]:.3f}, highest {state[PEAK]:.3f}"
        return f"row {day}, after {age} days: {account}; shares {' '.join(f'{x:.2f}' for x in state[SHARES:])}"

    def _facts(self, task: Task) -> str:
        instruments = [f"{value:.0f}" for name, value in task.items() if name.startswith("instrument_") and value >= 0]
        period = f"rows {task['first_day']:.0f} to {task['last_day']:.0f}"
        return f"instruments {' '.join(instruments)}    {period}    cost {number(100.0 * task['cost'])}%"


def number_of_days(x: float) -> str:
    """An integer, if it is one."""
    return f"{x:.0f}" if math.isfinite(x) else "?"
