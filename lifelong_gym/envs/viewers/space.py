"""A camera in space: points in metres, x forward, y to the left and z up, become places on a canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import LINE
from lifelong_gym.numerics.arrays import FloatArray

NEAREST = 0.15  # times the camera's distance: nothing is drawn larger than nearness makes it there


@dataclass(frozen=True)
class Camera:
    """Looks at a point from behind, from above, and from afar.

    Attributes:
        at: that point, in metres, shape (3,).
        middle: where it is on the canvas.
        scale: pixels of a metre there.
        distance: from the camera, in metres.
        azimuth: direction of the look from the x axis, to the left, in rad.
        elevation: of the camera above the point, in rad.
    """

    at: FloatArray
    middle: Point
    scale: float
    distance: float
    azimuth: float
    elevation: float

    def project(self, points: FloatArray) -> tuple[list[Point], FloatArray]:
        """Points of shape (n, 3) on the canvas, and how far beyond the point looked at each lies, (n,)."""
        (x, y, z), sine, cosine = (points - self.at).T, math.sin(self.azimuth), math.cos(self.azimuth)
        ahead, right = cosine * x + sine * y, sine * x - cosine * y
        depth = math.cos(self.elevation) * ahead - math.sin(self.elevation) * z
        raised = math.sin(self.elevation) * ahead + math.cos(self.elevation) * z
        scale = self.scale / np.maximum(1.0 + depth / self.distance, NEAREST)
        across, down = self.middle[0] + scale * right, self.middle[1] - scale * raised
        return list(zip(across.tolist(), down.tolist(), strict=True)), depth

    def draw_floor(self, canvas: Canvas, half: float, mesh: float) -> None:
        """Lines on the ground, ``mesh`` metres apart, up to ``half`` metres around the point looked at."""
        x, y = np.round(self.at[:2] / mesh) * mesh
        n = math.ceil(half / mesh)
        for i in range(-n, n + 1):
            aside, end = i * mesh, n * mesh
            for line in (((x + aside, y - end), (x + aside, y + end)), ((x - end, y + aside), (x + end, y + aside))):
                canvas.path(LINE, self.project(np.array([(*point, 0.0) for point in line]))[0], 1)


def rotation(roll: float, pitch: float, yaw: float) -> FloatArray:
    """Body to world, both with x forward, y to the left and z up; shape (3, 3)."""
    (a, b, c), (p, q, r) = ([f(angle) for angle in (roll, pitch, yaw)] for f in (math.sin, math.cos))
    about_x = np.array([[1, 0, 0], [0, p, -a], [0, a, p]])
    about_y = np.array([[q, 0, b], [0, 1, 0], [-b, 0, q]])
    about_z = np.array([[r, -c, 0], [c, r, 0], [0, 0, 1]])
    result: FloatArray = about_z @ about_y @ about_x
    return result


def ring(n: int = 32) -> FloatArray:
    """Points on the unit circle around the z axis, the first again at the end, shape (n + 1, 3)."""
    angles = np.linspace(0.0, 2.0 * math.pi, n + 1)
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(n + 1)], axis=1)
