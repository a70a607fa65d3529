"""The chain: where the agent is, what its ends pay, and which way actions lead."""

from __future__ import annotations

import math

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas, Point, arc
from lifelong_gym.envs.viewers.palette import ACTION, ALARM, BODY, BODY_DARK, GOAL, INK, LIMIT, LINE, MUTED, PAPER, mix
from lifelong_gym.envs.viewers.panel import MARGIN, Scene, heading, legend, number
from lifelong_gym.tasks.task_set import Task

PLACES, PITCH, RADIUS = 5, 112.0, 32.0
LEFT, HEIGHT = 76.0, 150.0
ACTIONS = ("l", "r")
BARS, BAR, ROW = 250.0, 128.0, 30.0


def center(place: float) -> Point:
    """Middle of a state."""
    return LEFT + PITCH * place, HEIGHT


class ChainViewer:
    """Draws `Chain`."""

    size = (600, 330)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        heading(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("action", ACTION), ("pays", GOAL), ("fines", LIMIT), ("start", MUTED)])
        canvas.line(LINE, center(0), center(PLACES - 1), 5)
        for place in range(PLACES):
            self._draw_place(canvas, scene.task, place)
        self._draw_agent(canvas, scene)
        for state in (2, 4):
            self._draw_chances(canvas, scene.task, state)
        canvas.finish()

    def _draw_place(self, canvas: Canvas, task: Task, place: int) -> None:
        x, y = center(place)
        prize = {0: task["reward_s1"], PLACES - 1: task["reward_s5"]}.get(place, 0.0)
        colour = GOAL if prize > 0.0 else LIMIT if prize < 0.0 else LINE
        canvas.circle(mix(colour, PAPER, 0.35), (x, y), RADIUS, colour)
        if place == task["start"] - 1.0:
            canvas.path(MUTED, arc((x, y), (RADIUS + 7, RADIUS + 7), 0.0, 2.0 * math.pi), 2.5)
        canvas.text(MUTED, (x, y + RADIUS + 20), f"S{place + 1}", 20)
        if place in (0, PLACES - 1):
            canvas.text(INK, (x, y - RADIUS - 16), number(prize), 20)

    def _draw_agent(self, canvas: Canvas, scene: Scene) -> None:
        place = center(scene.state[0])
        if scene.action is not None:
            canvas.arrow(ACTION, place, (62.0 if scene.action[0] > 0.5 else -62.0, 0.0), 7)
        canvas.circle(BODY, place, 16, BODY_DARK)

    def _draw_chances(self, canvas: Canvas, task: Task, state: int) -> None:
        """A bar an action, filled from the left as far as it moves there."""
        x, _ = center(state - 1)
        for i, action in enumerate(ACTIONS):
            y, chance = BARS + ROW * i, task[f"s{state}_left_under_{action}"]
            middle = min(max(x, MARGIN + BAR / 2), canvas.width - MARGIN - BAR / 2)
            canvas.rectangle(LINE, (middle, y), (BAR, 14))
            canvas.rectangle(BODY, (middle - 0.5 * BAR * (1.0 - chance), y), (BAR * chance, 14))
            canvas.text(INK, (middle - BAR / 2 - 14, y), action.upper(), 19)
            if not canvas.is_small:
                canvas.text(MUTED, (middle + BAR / 2 + 8, y), f"left {number(chance)}", 17, "left")
