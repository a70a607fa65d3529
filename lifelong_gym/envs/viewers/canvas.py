"""Antialiased shapes in logical coordinates: drawn several times too large, then scaled down."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal

from lifelong_gym.envs.viewers.palette import Colour
from lifelong_gym.errors import MissingLibraryError

try:
    import pygame
except ImportError as error:
    raise MissingLibraryError("pygame", "pygame-ce") from error

Point = tuple[float, float]
Anchor = Literal["left", "center", "right"]

OVERSAMPLING = 3
SMALLEST_TEXT = 14  # pixels; smaller letters can't be told apart
FARTHEST = 20_000.0  # pixels; SDL's coordinates are 32-bit integers, and drawing outside the surface takes time


@functools.lru_cache(maxsize=32)
def _font(size: int) -> pygame.font.Font:
    return pygame.font.Font(None, size)


def render_text(text: str, size: int, colour: Colour) -> pygame.Surface:
    """Text as an image, in pygame's own font."""
    pygame.font.init()
    try:
        return _font(size).render(text, True, colour)
    except pygame.error:  # somebody called `pygame.quit()`, which ends the life of every font
        _font.cache_clear()
        return _font(size).render(text, True, colour)


class Canvas:
    """A surface addressed in logical units, y downwards.

    Nothing is seen on the surface until `finish`; text lies above all shapes.

    Args:
        surface: where the picture goes, of any size.
        size: logical width and height.
        background: first colour.
    """

    def __init__(self, surface: pygame.Surface, size: tuple[int, int], background: Colour) -> None:
        """See the class."""
        self.width, self.height = size
        self._target = surface
        self._shrink = surface.get_width() / size[0]
        self._scale = self._shrink * OVERSAMPLING
        fine = surface.get_width() * OVERSAMPLING, surface.get_height() * OVERSAMPLING
        self._fine = pygame.Surface(fine, 0, 32)
        self._fine.fill(background)
        self._texts: list[tuple[pygame.Surface, Point]] = []

    @property
    def is_small(self) -> bool:
        """Whether there is only room for the essential."""
        return self._shrink < 0.6

    def finish(self) -> None:
        """Put the picture on the surface."""
        self._fine.blits(self._texts)
        pygame.transform.smoothscale(self._fine, self._target.get_size(), self._target)

    def _at(self, point: Point) -> Point:
        x, y = self._scale * point[0], self._scale * point[1]
        return min(max(x, -FARTHEST), FARTHEST), min(max(y, -FARTHEST), FARTHEST)

    def polygon(
        self, colour: Colour, points: Sequence[Point], outline: Colour | None = None, width: float = 2.0
    ) -> None:
        """A filled polygon, with an outline if it has a colour."""
        pygame.draw.polygon(self._fine, colour, [self._at(point) for point in points])
        if outline is not None:
            self.path(outline, [*points, points[0]], width)

    def rectangle(
        self, colour: Colour, center: Point, size: Point, outline: Colour | None = None, angle: float = 0.0
    ) -> None:
        """A rectangle, turned counterclockwise by ``angle`` in radians."""
        self.polygon(colour, box(center, size, angle), outline)

    def circle(self, colour: Colour, center: Point, radius: float, outline: Colour | None = None) -> None:
        """A disc."""
        self.ellipse(colour, center, (radius, radius), outline)

    def ellipse(self, colour: Colour, center: Point, radii: Point, outline: Colour | None = None) -> None:
        """A filled ellipse with horizontal and vertical radii."""
        self.polygon(colour, arc(center, radii, 0.0, 2.0 * math.pi), outline)

    def line(self, colour: Colour, start: Point, end: Point, width: float = 2.0) -> None:
        """A straight line with round ends."""
        a, b, half = self._at(start), self._at(end), 0.5 * max(width * self._scale, OVERSAMPLING)
        length = math.dist(a, b)
        if length > 0.0:
            nx, ny = half * (b[1] - a[1]) / length, half * (a[0] - b[0]) / length
            corners = [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)]
            pygame.draw.polygon(self._fine, colour, corners)
        if half > OVERSAMPLING:
            for end_point in (a, b):
                pygame.draw.circle(self._fine, colour, end_point, half)

    def path(self, colour: Colour, points: Sequence[Point], width: float = 2.0) -> None:
        """Lines from point to point."""
        for start, end in itertools.pairwise(points):
            self.line(colour, start, end, width)

    def dashes(self, colour: Colour, start: Point, end: Point, width: float = 1.5, period: float = 10.0) -> None:
        """A dashed line."""
        n = min(max(round(math.dist(start, end) / period), 1), 200)
        for i in range(n):
            self.line(colour, between(start, end, i / n), between(start, end, (i + 0.55) / n), width)

    def arrow(self, colour: Colour, start: Point, vector: Point, width: float = 4.0) -> None:
        """An arrow; one shorter than its width isn't drawn."""
        length = math.hypot(*vector)
        if length < width:
            return
        ux, uy = vector[0] / length, vector[1] / length
        head = min(2.6 * width + 3.0, length)
        neck = start[0] + vector[0] - head * ux, start[1] + vector[1] - head * uy
        self.line(colour, start, neck, width)
        tip = start[0] + vector[0], start[1] + vector[1]
        half = 0.6 * head
        self.polygon(
            colour, [tip, (neck[0] - half * uy, neck[1] + half * ux), (neck[0] + half * uy, neck[1] - half * ux)]
        )

    @staticmethod
    def width_of(text: str, size: float) -> float:
        """How wide a text would be, in logical units."""
        return render_text(text, round(size * OVERSAMPLING), (0, 0, 0)).get_width() / OVERSAMPLING

    def text(self, colour: Colour, position: Point, text: str, size: float = 16.0, anchor: Anchor = "center") -> float:
        """Text whose middle line lies at ``position``; returns its width."""
        pixels = max(size * self._shrink, SMALLEST_TEXT)
        image = render_text(text, round(pixels * OVERSAMPLING), colour)
        width, height = image.get_size()
        before = {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * width
        x, y = self._at(position)
        self._texts.append((image, (x - before, y - 0.5 * height)))
        return width / self._scale


def between(a: Point, b: Point, share: float) -> Point:
    """The point at ``share`` of the way from ``a`` to ``b``."""
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def polar(center: Point, radius: float, angle: float) -> Point:
    """The point at ``angle`` radians from upright, clockwise."""
    return center[0] + radius * math.sin(angle), center[1] - radius * math.cos(angle)


def arc(center: Point, radii: Point, start: float, stop: float) -> list[Point]:
    """Points on an ellipse between two angles, in radians from upright, clockwise."""
    n = max(int(abs(stop - start) * 12), 2)
    angles = [start + (stop - start) * i / n for i in range(n + 1)]
    return [(center[0] + radii[0] * math.sin(a), center[1] - radii[1] * math.cos(a)) for a in angles]


def box(center: Point, size: Point, angle: float = 0.0) -> list[Point]:
    """Corners of a rectangle turned counterclockwise by ``angle``."""
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
    return [
        (center[0] + cosine * i * size[0] + sine * j * size[1], center[1] - sine * i * size[0] + cosine * j * size[1])
        for i, j in corners
    ]
