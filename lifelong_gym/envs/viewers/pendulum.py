"""A cart on a rail with poles standing on it: what the viewers of both pendulums share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lifelong_gym.envs.viewers.canvas import Canvas, Point, polar
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
    Colour,
    mix,
)
from lifelong_gym.envs.viewers.panel import Scene, effect, effect_width, sized

RAIL = 296.0
METRE = 56.0  # along the rail, so that twice the limit stays in the picture
POLE_METRE = 125.0  # along a pole: short ones must be told apart
HIGHEST = 66.0  # where the longest poles end
LIMIT_X = 2.4
LIMIT_ANGLE = 0.5


@dataclass(frozen=True)
class Pole:
    """One pole.

    Attributes:
        length: in m.
        thickness: in pixels.
        bob: radius of the mass at its tip in pixels; 0 for a rod that has its own.
        angle: from upright in rad, positive to the right.
        goal: the angle it should have.
    """

    length: float
    thickness: float
    bob: float
    angle: float
    goal: float


def draw_rail(canvas: Canvas) -> None:
    """The rail in metres, with its ends in the limits' colour."""
    middle = 0.5 * canvas.width
    canvas.line(MUTED, (0, RAIL), (canvas.width, RAIL), 2)
    for metre in range(-5, 6):
        x = middle + METRE * metre
        canvas.line(MUTED, (x, RAIL), (x, RAIL + 6), 1)
        if not canvas.is_small:
            canvas.text(MUTED, (x, RAIL + 16), f"{metre} m".replace("-", "−"), 16)
    for side in (-1, 1):
        x = middle + side * METRE * LIMIT_X
        canvas.dashes(LIMIT, (x, RAIL + 6), (x, RAIL - 200), 2)


def joints(foot: Point, lengths: Sequence[float], angles: Sequence[float]) -> list[Point]:
    """The foot, and where each pole ends."""
    points = [foot]
    for length, angle in zip(lengths, angles, strict=True):
        points.append(polar(points[-1], length, angle))
    return points


def draw_pendulum(canvas: Canvas, scene: Scene, cart_mass: float, nominal_mass: float, poles: Sequence[Pole]) -> None:
    """Rail, goal, limits of the angles, cart, poles and the force."""
    draw_rail(canvas)
    size = sized(cart_mass, nominal_mass, 84), sized(cart_mass, nominal_mass, 38)
    top = RAIL - 8 - size[1]
    x = 0.5 * canvas.width + METRE * scene.state[0]
    goal_x = 0.5 * canvas.width + METRE * scene.task["goal_1"]
    scale = min(POLE_METRE, (top - HIGHEST) / sum(pole.length for pole in poles))
    lengths = [scale * pole.length for pole in poles]
    wanted = joints((goal_x, top), lengths, [pole.goal for pole in poles])
    canvas.rectangle(GHOST, (goal_x, top + 0.5 * size[1]), size, GOAL)
    for start, end in itertools.pairwise(wanted):
        canvas.dashes(GOAL, start, end, 4, 12)
    standing = joints((x, top), lengths, [pole.angle for pole in poles])
    for foot, length in zip(standing, lengths, strict=False):
        for side in (-1, 1):
            canvas.dashes(mix(LIMIT, PAPER, 0.6), foot, polar(foot, length, side * LIMIT_ANGLE), 1.5, 8)
    _draw_cart(canvas, (x, top), size)
    colours: list[tuple[Colour, Colour]] = [(SECOND, SECOND_DARK), (mix(SECOND, PAPER, 0.65), SECOND_DARK)]
    for pole, start, end, (fill, edge) in zip(poles, standing, standing[1:], colours, strict=False):
        canvas.line(edge, start, end, pole.thickness + 3)
        canvas.line(fill, start, end, pole.thickness)
        if pole.bob:
            canvas.circle(fill, end, pole.bob, edge)
    canvas.circle(INK, standing[0], 4)
    force = effect(scene)
    edge_x = x + math.copysign(0.5 * size[0], force)
    canvas.arrow(ACTION, (edge_x, top + 0.5 * size[1]), (90 * force, 0.0), effect_width(scene.task))


def _draw_cart(canvas: Canvas, top: Point, size: Point) -> None:
    canvas.rectangle(BODY, (top[0], top[1] + 0.5 * size[1]), size, BODY_DARK)
    for side in (-1, 1):
        canvas.circle(INK, (top[0] + side * 0.28 * size[0], RAIL - 8), 8, PAPER)
