"""Indoor worlds as height fields, after the four of Zeng et al. (2021): a layout's kind, seed and sizes decide.

A cell has a floor height (what stands there), a ceiling height, materials and light. A wall's floor is above the
ceiling; a lintel or beam is a ceiling that hangs lower.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.navigation.columns import CELL, HEIGHTS, PER_METRE, SIDE, SURFACES
from lifelong_gym.envs.navigation.patterns import GROUND, LID, LOOKS, THING, WALL
from lifelong_gym.numerics.arrays import BoolArray, FloatArray

WORLDS = tuple(LOOKS)
SIZE = SIDE * CELL  # m
EDGE = 0.4  # m, of the walls around the world
ABOVE = 1.0  # m, by which walls overtop the ceiling, so that no ray passes between
ROOM, LOWEST, HIGHEST = 0.7, 0.7, 1.9  # m: free around a start, and the heights within which it is free
N_STARTS, START = 64, 3  # numbers of a start: x, y, yaw
N_DIRECTIONS, VIEW = 16, 5.0  # m
CENTRES = (np.arange(SIDE) + 0.5) * CELL


@dataclass(frozen=True)
class Layout:
    """What a world is built of, each of shape (120, 120), x first.

    Attributes:
        floor: height of what stands there, in metres.
        ceiling: height of the ceiling, in metres.
        sides: slot of the material of a cell's sides.
        top: slot of the material of its floor, or of the top of what stands there.
    """

    floor: FloatArray
    ceiling: FloatArray
    sides: FloatArray
    top: FloatArray

    @classmethod
    def empty(cls, height: float) -> Layout:
        """A hall of that height with walls around."""
        floor, ceiling = np.zeros((SIDE, SIDE)), np.full((SIDE, SIDE), height)
        layout = cls(floor, ceiling, np.full((SIDE, SIDE), float(WALL)), np.full((SIDE, SIDE), float(GROUND)))
        for x0, y0, x1, y1 in ((0, 0, EDGE, SIZE), (SIZE - EDGE, 0, SIZE, SIZE), (0, 0, SIZE, EDGE)):
            layout.wall(x0, y0, x1, y1)
        layout.wall(0, SIZE - EDGE, SIZE, SIZE)
        return layout

    def wall(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A wall over that rectangle, in metres."""
        at = _rectangle(x0, y0, x1, y1)
        self.floor[at], self.sides[at] = self.ceiling.max() + ABOVE, WALL

    def door(self, x0: float, y0: float, x1: float, y1: float, lintel: float) -> None:
        """A gap in a wall, up to that height."""
        at = _rectangle(x0, y0, x1, y1)
        self.floor[at], self.top[at] = 0.0, GROUND
        self.ceiling[at] = np.minimum(self.ceiling[at], lintel)

    def thing(self, at: BoolArray | tuple[slice, slice], height: float) -> None:
        """Something of that height; from the ceiling on it reaches above."""
        highest = self.ceiling.max()
        self.floor[at] = height if height < highest else highest + ABOVE
        self.sides[at], self.top[at] = THING, LID

    def box(self, x0: float, y0: float, x1: float, y1: float, height: float) -> None:
        """A thing over that rectangle, in metres."""
        self.thing(_rectangle(x0, y0, x1, y1), height)

    def column(self, x: float, y: float, radius: float, height: float) -> None:
        """A round thing."""
        self.thing((CENTRES[:, None] - x) ** 2 + (CENTRES - y) ** 2 < radius**2, height)


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
    i0, i1, j0, j1 = (round(v * PER_METRE) for v in (x0, x1, y0, y1))
    return slice(max(i0, 0), min(i1, SIDE)), slice(max(j0, 0), min(j1, SIDE))


def _long(layout: Layout, rng: np.random.Generator, width: float, density: float) -> None:
    """Corridors side by side, joined by gaps, with crates along the walls."""
    pitch = width + 1.6
    edges = np.arange(EDGE + pitch, SIZE - 2.0, pitch + 1.0)
    for k, y in enumerate(edges):
        layout.wall(EDGE, y, SIZE - EDGE, y + 1.0)
        for x in (1.6, 18.6) if k % 2 == 0 else (6.0, 13.6):
            layout.door(x, y, x + 1.2 * width, y + 1.0, 2.5)
    for y0, y1 in zip([EDGE, *(edges + 1.0)], [*edges, SIZE - EDGE], strict=True):
        for x in np.arange(3.4, 20.6, 3.2):
            deep, length, high = (
                rng.uniform(0.4, max(0.5, 0.5 * (y1 - y0 - width))),
                rng.uniform(0.6, 1.4),
                rng.random(),
            )
            y = y0 if rng.random() < 0.5 else y1 - deep
            if rng.random() < density:
                layout.box(x, y, x + length, y + deep, (0.8, 1.6, 2.2)[int(3 * high)])


def _cloud(layout: Layout, rng: np.random.Generator, width: float, density: float) -> None:
    """An apartment of nine rooms, with shelves, tables and chests."""
    for at in (8.0, 16.0):
        layout.wall(at, EDGE, at + 0.4, SIZE - EDGE)
        layout.wall(EDGE, at, SIZE - EDGE, at + 0.4)
    for at in (8.0, 16.0):
        for middle in (4.2, 12.2, 20.0):
            along = middle + rng.uniform(-1.0, 1.0) - 0.5 * width
            layout.door(at, along, at + 0.4, along + width, 2.3)
            layout.door(along, at, along + width, at + 0.4, 2.3)
    for x0 in (0.4, 8.4, 16.4):
        for y0 in (0.4, 8.4, 16.4):
            x, y, high = rng.uniform(2.2, 4.0), rng.uniform(2.2, 4.0), rng.random(3)
            if high[0] < density:
                layout.box(x0, y0 + 0.3, x0 + 0.4, y0 + 2.2, 2.0)
            if high[1] < density:
                layout.box(x0 + x, y0 + y, x0 + x + 1.4, y0 + y + 1.0, 0.8)
            if high[2] < density:
                layout.box(x0 + 6.0, y0, x0 + 7.2, y0 + 0.6, 1.1 if x < 3.0 else 2.0)


def _frogeyes(layout: Layout, rng: np.random.Generator, width: float, density: float) -> None:
    """A hall of columns, some of which are stumps."""
    pitch = width + 2.2
    for x in np.arange(EDGE + pitch, SIZE - 1.5, pitch):
        for y in np.arange(EDGE + pitch, SIZE - 1.5, pitch):
            dx, dy, radius = *rng.uniform(-0.3, 0.3, 2) * width, rng.uniform(0.4, 0.9)
            is_column, stands = rng.random() < 0.75, rng.random() < density
            if stands:
                layout.column(x + dx, y + dy, radius, np.inf if is_column else 1.4)


def _pyramid(layout: Layout, rng: np.random.Generator, width: float, density: float) -> None:
    """A ring around a stepped pyramid, with posts on the way."""
    first = EDGE + 2.0 * width + 1.6
    n_steps = max(min(int((0.5 * SIZE - first) / 0.8), 6), 1)
    for k in range(n_steps):
        near, far = first + 0.8 * k, SIZE - first - 0.8 * k
        layout.box(near, near, far, far, 0.8 * (k + 1))
    for turn in range(4):
        for along in (4.4, 8.2, 12.0, 15.8, 19.6):
            radius, aside = rng.uniform(0.3, 0.7), rng.uniform(1.2, max(1.3, first - 1.2))
            height, stands = (1.2, np.inf)[int(rng.random() < 0.5)], rng.random() < density
            if stands:
                x, y = ((along, aside), (along, SIZE - aside), (aside, along), (SIZE - aside, along))[turn]
                layout.column(x, y, radius, height)


BUILDERS = dict(zip(WORLDS, (_long, _cloud, _frogeyes, _pyramid), strict=True))


@functools.lru_cache(maxsize=256)
def layout_of(world: str, seed: int, width: float, density: float, ceiling: float) -> Layout:
    """The layout of a world; see `Drone` for the arguments. It is kept: don't change it."""
    layout = Layout.empty(ceiling)
    BUILDERS[world](layout, np.random.default_rng([WORLDS.index(world), seed]), width, density)
    return layout


def heights(layout: Layout) -> npt.NDArray[np.float32]:
    """Per cell floor and ceiling: a table of their own, since the camera's walk reads them alone."""
    table = np.stack([layout.floor, layout.ceiling], 2).astype(np.float32)
    assert table.shape[2] == HEIGHTS
    return table


def surfaces(layout: Layout, ambient: float) -> npt.NDArray[np.float32]:
    """Per cell the slots of its sides and its top, and its light; lamps hang in a grid."""
    lamps = np.arange(3.0, SIZE, 6.0)
    glow = np.exp(-((CENTRES[:, None] - lamps) ** 2) / 4.5).sum(1)
    light = ambient + 0.55 * glow[:, None] * glow
    table = np.stack([layout.sides, layout.top, light], 2).astype(np.float32)
    assert table.shape[2] == SURFACES
    return table


def room_for_starts(layout: Layout) -> BoolArray:
    """The cells around which everything is free, at the heights at which flights begin."""
    blocked = (layout.floor > LOWEST) | (layout.ceiling < HIGHEST)
    reach = int(np.ceil(ROOM * PER_METRE))
    free = ~blocked
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            if i * i + j * j <= (ROOM * PER_METRE) ** 2:
                free &= ~np.roll(blocked, (i, j), (0, 1))
    return free


def starts(layout: Layout, seed: int) -> npt.NDArray[np.float32]:
    """Poses that flights begin from, (64, 3): x and y in metres, and a yaw in radians with a view ahead."""
    rng = np.random.default_rng([seed, N_STARTS])
    free = np.argwhere(room_for_starts(layout))
    chosen = np.asarray((free[rng.integers(len(free), size=N_STARTS)] + 0.5) * CELL, np.float64)
    yaws = 2.0 * np.pi * (np.arange(N_DIRECTIONS) + rng.random((N_STARTS, 1))) / N_DIRECTIONS
    views = _views(layout, chosen, np.asarray(yaws, np.float64))
    best = np.argsort(-views - 1e-6 * rng.random(views.shape), 1)[:, :3]
    which = best[np.arange(N_STARTS), rng.integers(best.shape[1], size=N_STARTS)]
    table = np.concatenate([chosen, yaws[np.arange(N_STARTS), which][:, None]], 1).astype(np.float32)
    assert table.shape == (N_STARTS, START)
    return table


def _views(layout: Layout, places: FloatArray, yaws: FloatArray) -> FloatArray:
    """How far one flies from places (n, 2) in directions (n, m), at most `VIEW` metres: (n, m)."""
    blocked = (layout.floor > LOWEST) | (layout.ceiling < HIGHEST)
    ahead = np.arange(CELL, VIEW, 0.5 * CELL)
    x = places[:, 0, None, None] + np.cos(yaws)[..., None] * ahead
    y = places[:, 1, None, None] + np.sin(yaws)[..., None] * ahead
    i, j = (np.clip((v * PER_METRE).astype(int), 0, SIDE - 1) for v in (x, y))
    open_so_far = np.cumprod(~blocked[i, j], axis=2)
    views: FloatArray = open_so_far.sum(2) * 0.5 * CELL
    return views
