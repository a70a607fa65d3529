"""The CH-47 from the side: its pitch, what the rotors add to their thrust, and its speed against the wanted one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    BODY,
    BODY_DARK,
    GHOST,
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
from lifelong_gym.envs.viewers.panel import ControlViewer, Gauge, Scene, effect, effect_width, number, spread
from lifelong_gym.tasks.task_set import Task

CENTER = (228.0, 200.0)
SCALE = 0.82
LIMIT_SPEED = 50.0
# Side view, nose to the right, y upwards.
FUSELAGE = (
    *((122, -8), (117, 8), (102, 20), (93, 26), (88, 44), (72, 44), (64, 28), (-60, 28), (-78, 60), (-106, 64)),
    *((-113, 34), (-118, 10), (-100, -12), (-62, -25), (88, -26), (112, -20)),
)
COCKPIT = ((113, 4), (100, 17), (84, 19), (84, 3))
ROTORS = ((80.0, 56.0), (-94.0, 76.0))
ROTOR_RADIUS = 88.0
WHEELS = ((58.0, -32.0), (-72.0, -32.0))
SPEEDS, SPEEDS_HALF = (552.0, 132.0), 54.0
TABLE, CELL = (487.0, 236.0), 20.0
# Doyle and Stein (1981).
NOMINAL: dict[str, float] = dict(
    a_11=-0.02, a_12=0.005, a_13=2.4, a_14=-32.0, b_11=0.14, b_12=-0.12,
    a_21=-0.14, a_22=0.44, a_23=-1.3, a_24=-30.0, b_21=0.36, b_22=-8.6,
    a_32=0.018, a_33=-1.6, a_34=1.2, b_31=0.35, b_32=0.009,
)  # fmt: skip


def turned(points: Sequence[Point], pitch: float) -> list[Point]:
    """Points of the side view on the canvas, nose up by ``pitch`` rad."""
    sine, cosine = SCALE * math.sin(pitch), SCALE * math.cos(pitch)
    return [(CENTER[0] + cosine * x - sine * y, CENTER[1] - sine * x - cosine * y) for x, y in points]


def rotor_thrusts(scene: Scene) -> tuple[float, float]:
    """What front and aft rotor add to their thrust: collective plus and minus differential collective."""
    first, second, angle = effect(scene, 0), effect(scene, 1), scene.task["input_rotation"]
    differential = math.cos(angle) * first - math.sin(angle) * second
    collective = math.sin(angle) * first + math.cos(angle) * second
    return collective + differential, collective - differential


def fastest_growth(task: Task) -> float:
    """Largest real part of the eigenvalues of A, per second."""
    rows = [[task.get(f"a_{i}{j}", 0.0) for j in range(1, 5)] for i in range(1, 4)]
    return float(np.linalg.eigvals(np.array([*rows, [0.0, 0.0, 1.0, 0.0]])).real.max())


def draw_helicopter(canvas: Canvas, pitch: float, fill: Colour, edge: Colour) -> None:
    """Fuselage, wheels and rotors."""
    for x, y in ROTORS:
        mast, disc = turned([(x, y - 16), (x, y)], pitch), turned([(x - ROTOR_RADIUS, y), (x + ROTOR_RADIUS, y)], pitch)
        canvas.path(edge, mast, 5)
        canvas.path(edge, disc, 3.5)
    for wheel in turned(WHEELS, pitch):
        canvas.circle(edge, wheel, 7)
    canvas.polygon(fill, turned(FUSELAGE, pitch), edge)


def draw_speed(canvas: Canvas, scene: Scene) -> None:
    """Longitudinal speed to the right and vertical speed downwards: an arrow, the goal a ring, the limits a frame."""
    per_unit = SPEEDS_HALF / math.asinh(LIMIT_SPEED / 2.0)
    here, goal = (
        (spread(x, per_unit, 2.0), spread(z, per_unit, 2.0))
        for x, z in (scene.state[:2], (scene.task["goal_1"], scene.task["goal_2"]))
    )
    (x, y), half = SPEEDS, SPEEDS_HALF
    canvas.rectangle(PAPER, SPEEDS, (2 * half, 2 * half), LIMIT)
    canvas.line(LINE, (x - half, y), (x + half, y), 1.5)
    canvas.line(LINE, (x, y - half), (x, y + half), 1.5)
    canvas.circle(GHOST, (x + goal[0], y + goal[1]), 7, GOAL)
    canvas.arrow(INK, SPEEDS, here, 3)
    canvas.circle(INK, SPEEDS, 2.5)
    if not canvas.is_small:
        canvas.text(MUTED, (x, y - half - 10), "speed", 18)
        canvas.text(MUTED, (x + half + 10, y), "u", 18)
        canvas.text(MUTED, (x, y + half + 10), "w", 18)


def draw_entries(canvas: Canvas, task: Task) -> None:
    """The entries of A and B against their nominal values: stronger is purple, weaker orange."""
    left, top = TABLE
    if not canvas.is_small:
        canvas.text(MUTED, (left + 2 * CELL, top - 12), "A", 18)
        canvas.text(MUTED, (left + 5 * CELL + 10, top - 12), "B", 18)
        canvas.text(MUTED, (left + 3 * CELL + 5, top + 3 * CELL + 14), "against nominal", 18)
    for name, nominal in NOMINAL.items():
        row, column = int(name[2]) - 1, int(name[3]) - 1 + (0 if name[0] == "a" else 4)
        change = max(-1.0, min(1.0, (task[name] / nominal - 1.0) / 0.3))
        colour = mix(SECOND if change > 0 else ACTION, PAPER, abs(change))
        corner = left + (column + 0.5) * CELL + (10 if column >= 4 else 0), top + (row + 0.5) * CELL
        canvas.rectangle(colour, corner, (CELL, CELL), LINE)


class CH47Viewer(ControlViewer):
    """Draws `CH47`."""

    gauges = (
        Gauge("u", "ft/s", LIMIT_SPEED),
        Gauge("w", "ft/s", LIMIT_SPEED),
        Gauge("q", "rad/s", 5.0),
        Gauge("θ", "rad", 3.0),
    )
    action_is = "thrust"

    def stage(self, canvas: Canvas, scene: Scene) -> None:
        """See `ControlViewer`."""
        pitch = scene.state[3]
        canvas.dashes(MUTED, (20, CENTER[1]), (440, CENTER[1]), 1.5)
        draw_helicopter(canvas, scene.task["goal_4"], GHOST, GOAL)
        draw_helicopter(canvas, pitch, BODY, BODY_DARK)
        canvas.polygon(mix(BODY, PAPER, 0.3), turned(COCKPIT, pitch))
        for (x, y), thrust in zip(ROTORS, rotor_thrusts(scene), strict=True):
            (start, end) = turned([(x, y), (x, y + 45.0 * thrust)], pitch)
            canvas.arrow(ACTION, start, (end[0] - start[0], end[1] - start[1]), effect_width(scene.task))
        draw_speed(canvas, scene)
        draw_entries(canvas, scene.task)

    def facts(self, task: Task) -> str:
        """See `ControlViewer`."""
        return (
            f"fastest growth {number(fastest_growth(task))} per second    inputs turned by"
            f" {number(task['input_rotation'])} rad"
        )
