"""The grid world: where the agent, its goal and its obstacles are, and how slippery the floor is."""

from __future__ import annotations

import math

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas, Point, arc
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    ALARM,
    BODY,
    BODY_DARK,
    FAILED,
    GHOST,
    GOAL,
    ICE,
    INK,
    LIMIT,
    LINE,
    MUTED,
    PAPER,
    mix,
)
from lifelong_gym.envs.viewers.panel import Scene, heading, legend, number, words
from lifelong_gym.tasks.task_set import Task

SIZE = 10
OBSTACLES = (1, 2, 3)
CELL = 40.0
LEFT, TOP = 42.0, 84.0
DIRECTIONS = ((0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0))


def center(row: float, column: float) -> Point:
    """Middle of a cell."""
    return LEFT + CELL * (column + 0.5), TOP + CELL * (row + 0.5)


class GridWorldViewer:
    """Draws `GridWorld`."""

    size = (484, 544)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        heading(canvas, scene)
        self._draw_board(canvas, scene.task)
        self._draw_agent(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("action", ACTION), ("goal", GOAL), ("obstacle", LIMIT), ("start", MUTED)])
            words(canvas, MUTED, TOP + SIZE * CELL + 22, self._facts(scene.task))
        canvas.finish()

    def _draw_board(self, canvas: Canvas, task: Task) -> None:
        side, middle = SIZE * CELL, center(0.5 * (SIZE - 1), 0.5 * (SIZE - 1))
        canvas.rectangle(mix(ICE, PAPER, min(2.0 * task["slip"], 1.0)), middle, (side, side))
        x, y = center(task["goal_row"], task["goal_column"])
        for i in OBSTACLES:
            self._draw_obstacle(canvas, task[f"obstacle_{i}_row"], task[f"obstacle_{i}_column"])
        canvas.rectangle(GHOST, (x, y), (CELL, CELL))
        canvas.line(INK, (x - 8, y + 13), (x - 8, y - 13), 2.5)
        canvas.polygon(GOAL, [(x - 8, y - 14), (x + 13, y - 7), (x - 8, y)])
        canvas.path(MUTED, arc(center(task["start_row"], task["start_column"]), (16, 16), 0.0, 2.0 * math.pi), 2.5)
        for i in range(SIZE + 1):
            canvas.line(LINE, (LEFT, TOP + CELL * i), (LEFT + side, TOP + CELL * i), 1.5)
            canvas.line(LINE, (LEFT + CELL * i, TOP), (LEFT + CELL * i, TOP + side), 1.5)
        corners = [(LEFT, TOP), (LEFT + side, TOP), (LEFT + side, TOP + side), (LEFT, TOP + side), (LEFT, TOP)]
        canvas.path(INK, corners, 4)
        for i in range(0 if canvas.is_small else SIZE):
            canvas.text(MUTED, (LEFT - 14, center(i, 0)[1]), str(i), 18)
            canvas.text(MUTED, (center(0, i)[0], TOP - 12), str(i), 18)

    def _draw_obstacle(self, canvas: Canvas, row: float, column: float) -> None:
        if row < 0.0 or column < 0.0:
            return
        x, y = center(row, column)
        canvas.rectangle(mix(LIMIT, PAPER, 0.35), (x, y), (CELL, CELL))
        canvas.line(LIMIT, (x - 9, y - 9), (x + 9, y + 9), 5)
        canvas.line(LIMIT, (x - 9, y + 9), (x + 9, y - 9), 5)

    def _draw_agent(self, canvas: Canvas, scene: Scene) -> None:
        place = center(*scene.state)
        colour, edge = BODY, BODY_DARK
        if scene.state == (scene.task["goal_row"], scene.task["goal_column"]):
            colour, edge = GOAL, INK
        elif scene.state in self._obstacles(scene.task):
            colour, edge = FAILED, INK
        if scene.action is not None:
            dx, dy = DIRECTIONS[int(scene.action[0])]
            canvas.arrow(ACTION, place, (34 * dx, 34 * dy), 6)
        canvas.circle(colour, place, 12, edge)

    def _obstacles(self, task: Task) -> list[tuple[float, ...]]:
        return [(task[f"obstacle_{i}_row"], task[f"obstacle_{i}_column"]) for i in OBSTACLES]

    def _facts(self, task: Task) -> str:
        cells = [f"({number(row)}, {number(column)})" for row, column in self._obstacles(task) if min(row, column) >= 0]
        goal = f"goal ({number(task['goal_row'])}, {number(task['goal_column'])})"
        facts = f"{goal}    obstacles {' '.join(cells) or 'none'}    slip {number(task['slip'])}"
        if task["random_start"]:
            facts += f"    random start {number(task['random_start'])}"
        return facts if task["absorbing"] else f"{facts}    nothing ends"
