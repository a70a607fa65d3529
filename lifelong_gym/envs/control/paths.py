"""Targets that hover, jump from waypoint to waypoint, or fly a figure of eight."""

from __future__ import annotations

import numpy as np

from lifelong_gym.envs.family import Columns
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import TWO_PI, Vector, floor, sincos, where

PATHS = ("hover", "waypoints", "figure_eight")
FARTHEST, FASTEST = 4.0, 20.0  # m and m/s that no target exceeds along any axis, by the bounds of its parameters


def target(clock: float, path: Vector) -> Vector:
    """Position and velocity of the target after ``clock`` steps; before step 0 it waits where it begins."""
    x, y, z, eight, rise, side, step, laps, speed = path
    turns = laps * where(clock < 0.0, 0.0, clock)
    phase = turns - floor(turns)
    sine, cosine = sincos(TWO_PI * phase)
    pace = where(clock < 0.0, 0.0, speed)
    right = where((phase >= 0.25) & (phase < 0.75), 1.0, 0.0)
    left = where(phase >= 0.5, 1.0, 0.0)
    up = where((phase >= 0.25) & (phase < 0.5) | (phase >= 0.75), 1.0, 0.0)
    return (
        x + eight * sine + side * right,
        y + eight * sine * cosine + side * left,
        z + rise * sine * sine + step * up,
        pace * eight * cosine,
        pace * eight * (cosine * cosine - sine * sine),
        pace * rise * 2.0 * sine * cosine,
    )


def path_constants(p: Columns, dt: float) -> tuple[FloatArray, ...]:
    """The constants of `target`: beginning, sizes of eight and square (0: not flown), laps a step, and rad/s.

    Args:
        p: ``path``, ``path_size``, ``path_height``, ``path_period`` and ``target_x`` to ``target_z``.
        dt: seconds of a step.
    """
    waypoints, eight = (np.where(p["path"] == PATHS.index(name), 1.0, 0.0) for name in PATHS[1:])
    size, height, period = p["path_size"], p["path_height"], p["path_period"]
    begin = tuple(p[f"target_{axis}"] for axis in "xyz")
    return (*begin, eight * size, eight * height, waypoints * size, waypoints * height, dt / period, TWO_PI / period)
