"""The synthetic allocation: what each entity is worth, what it was given, and how much it likes to share."""

from __future__ import annotations

import math

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.palette import ACTION, ALARM, BODY, GHOST, GOAL, LINE, MUTED, PAPER
from lifelong_gym.envs.viewers.panel import MARGIN, Scene, heading, legend, number, words

FLOOR, TOP = 330.0, 84.0  # of the bars
HALF = 356.0  # where an action of 0 is drawn
DEEP = 24.0  # pixels of an action of 1
BELOW = 402.0


def height(x: float) -> float:
    """Pixels of a bar: half of all for 1, and never more than all."""
    return (FLOOR - TOP) * x / (1.0 + x) if 0.0 < x < math.inf else 0.0


class AllocationViewer:
    """Draws `Allocation`."""

    size = (640, 440)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        heading(canvas, scene)
        m = len(scene.state)
        pitch = (canvas.width - 2.0 * MARGIN) / m
        for i in range(m):
            self._draw_entity(canvas, scene, i, MARGIN + (i + 0.5) * pitch, pitch)
        canvas.line(LINE, (MARGIN, FLOOR), (canvas.width - MARGIN, FLOOR), 2)
        if not canvas.is_small:
            legend(canvas, [("worth", BODY), ("temperature", GOAL), ("asked for", ACTION)])
            text = f"{number(scene.task['n_entities'])} entities    noise {number(scene.task['noise'])}"
            words(canvas, MUTED, BELOW + 8, text)
        canvas.finish()

    def _draw_entity(self, canvas: Canvas, scene: Scene, i: int, x: float, pitch: float) -> None:
        there = i < scene.task["n_entities"]
        tall = height(scene.state[i])
        canvas.rectangle(BODY if there else LINE, (x, FLOOR - 0.5 * tall), (0.6 * pitch, tall))
        beta = FLOOR - height(scene.task[f"beta_{i + 1}"])
        canvas.line(GOAL if there else GHOST, (x - 0.4 * pitch, beta), (x + 0.4 * pitch, beta), 4)
        if scene.action is not None:
            asked = DEEP * min(max(scene.action[i], -1.0), 1.0)
            canvas.line(LINE, (x - 0.3 * pitch, HALF), (x + 0.3 * pitch, HALF), 2)
            canvas.rectangle(ACTION, (x, HALF - 0.5 * asked), (0.4 * pitch, max(abs(asked), 2.0)))
