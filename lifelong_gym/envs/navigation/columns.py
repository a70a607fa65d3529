"""What a level camera sees of a height field: the pixels of a column share one walk over the cells they look along.

A cell has a floor and a ceiling; what stands on the floor raises it, and a wall is a floor above the ceiling. The walk
goes from cell to cell, nearest first, and gives a column's pixels what they hit from the lower and the upper end.
"""

from __future__ import annotations

from typing import Any

from lifelong_gym.numerics.scalar import Vector, room, sincos

CELL, PER_METRE, SIDE = 0.2, 5.0, 120  # a world of 24 m x 24 m
FIELDS = 5  # of a cell: floor, ceiling, materials of sides and of the top, light
FLOOR, CEILING, SIDES, TOP, LIGHT = range(FIELDS)
ACROSS_X, ACROSS_Y, UPWARDS, DOWNWARDS = 0.0, 1.0, 2.0, 3.0  # which face of a cell a pixel hits
NEVER = 1e30  # a ray along an axis crosses no line across it

TAN_H, TAN_V = 0.8390996311772799, 0.4719935425372199  # of half the fields of view: 80 degrees, and 9/16 of the width
FAR = 19.6  # m, 50 of the 255 grey levels of a depth map of 100 m
MOST_ROWS = 256

TEXELS, TILE = 64, 2.0  # of a pattern's finest picture a side, and the metres it covers
PYRAMID = 5461  # texels of a pattern's pictures, each half as large as the one before
MATERIAL = 4  # numbers of a material: pattern, red, green, blue
RGB, GRAY, DEPTH = 0.0, 1.0, 2.0
CEILING_SLOT = 2

MAP_HEIGHT, MAP_WIDTH = 18, 32  # of the depth map that the reward is measured on
MAP_SIZE = MAP_HEIGHT * MAP_WIDTH
NEAREST = 29  # 5% of it


def slope_of(row: int, height: int) -> float:
    """How much a pixel's ray rises, a metre ahead."""
    return (1.0 - 2.0 * (row + 0.5) / height) * TAN_V


def look(
    cells: Any, place: Vector, dx: float, dy: float, height: int, slopes: Any, depth: Any, face: Any, cell: Any
) -> None:
    """Write per pixel of a column, uppermost first, its depth in units of (dx, dy), and the face and cell it shows."""
    x, y, z = place
    i, j = int(x * PER_METRE), int(y * PER_METRE)
    step_i = 1 if dx > 0.0 else -1
    step_j = 1 if dy > 0.0 else -1
    inverse_x = 1.0 / dx if dx != 0.0 else NEVER
    inverse_y = 1.0 / dy if dy != 0.0 else NEVER
    next_x = ((i + (1 if dx > 0.0 else 0)) * CELL - x) * inverse_x if dx != 0.0 else NEVER
    next_y = ((j + (1 if dy > 0.0 else 0)) * CELL - y) * inverse_y if dy != 0.0 else NEVER
    span_x, span_y = abs(CELL * inverse_x), abs(CELL * inverse_y)
    low, high = height - 1, 0
    if z < cells[FIELDS * (i * SIDE + j) + FLOOR] or z > cells[FIELDS * (i * SIDE + j) + CEILING]:
        for row in range(height):  # the camera is within something: a state that was set
            depth[row], face[row], cell[row] = 0.0, UPWARDS, float(i * SIDE + j)
        low = -1
    entered, side = 0.0, ACROSS_X
    has_entered = False
    while low >= high:
        at = i * SIDE + j
        floor, ceiling = cells[FIELDS * at + FLOOR], cells[FIELDS * at + CEILING]
        if has_entered:
            while low >= high and z + slopes[low] * entered < floor:
                depth[low], face[low], cell[low] = entered, side, float(at)
                low -= 1
            while low >= high and z + slopes[high] * entered > ceiling:
                depth[high], face[high], cell[high] = entered, side, float(at)
                high += 1
        leaving = next_x if next_x < next_y else next_y
        while low >= high and z + slopes[low] * leaving < floor:
            depth[low], face[low], cell[low] = (floor - z) / slopes[low], UPWARDS, float(at)
            low -= 1
        while low >= high and z + slopes[high] * leaving > ceiling:
            depth[high], face[high], cell[high] = (ceiling - z) / slopes[high], DOWNWARDS, float(at)
            high += 1
        entered, has_entered = leaving, True
        if next_x < next_y:
            i += step_i
            next_x += span_x
            side = ACROSS_X
        else:
            j += step_j
            next_y += span_y
            side = ACROSS_Y


def texel(patterns: Any, pattern: float, a: float, b: float, footprint: float) -> float:
    """How bright a pattern is, 0 to 1, ``a`` and ``b`` metres from its corner, in a picture no finer than a pixel."""
    size, first, width = TEXELS, 0, TILE / TEXELS
    while width < footprint and size > 1:
        first += size * size
        size //= 2
        width *= 2.0
    per_metre = size / TILE
    row, column = int(b * per_metre) & (size - 1), int(a * per_metre) & (size - 1)
    brightness: float = patterns[int(pattern) * PYRAMID + first + row * size + column]
    return brightness


def byte(x: float) -> float:
    """At most 255."""
    return x if x < 255.0 else 255.0


def picture(state: Vector, tables: Any, frame: Vector, lamp: Vector, out: Any) -> None:
    """What the camera shows, ``frame``: height, width and kind; ``lamp``: the light's red, green and blue."""
    cells, materials, patterns = tables[0], tables[1], tables[2]
    height, width, kind = int(frame[0]), int(frame[1]), frame[2]
    x, y, z = state[0], state[1], state[2]
    sine, cosine = sincos(state[3])
    depth, face, cell = room(MOST_ROWS), room(MOST_ROWS), room(MOST_ROWS)
    slopes, stretch = room(MOST_ROWS), room(MOST_ROWS)
    pixel_u, pixel_v = 2.0 * TAN_H / width, 2.0 * TAN_V / height
    for row in range(height):
        slopes[row] = slope_of(row, height)
        stretch[row] = pixel_v / max(abs(slopes[row]), 1e-9)
    channels = 3 if kind == RGB else 1
    for column in range(width):
        u = (2.0 * (column + 0.5) / width - 1.0) * TAN_H
        dx, dy = cosine + u * sine, sine - u * cosine
        look(cells, (x, y, z), dx, dy, height, slopes, depth, face, cell)
        stretch_x, stretch_y = pixel_u / max(abs(dx), 1e-9), pixel_u / max(abs(dy), 1e-9)
        for row in range(height):
            t, at, to = depth[row], FIELDS * int(cell[row]), (row * width + column) * channels
            if kind == DEPTH:
                out[to] = 255.0 * (t if t < FAR else FAR) / FAR
            else:
                hit_x, hit_y, hit_z = x + dx * t, y + dy * t, z + slopes[row] * t
                if face[row] == ACROSS_X:
                    slot, a, b, shade = cells[at + SIDES], hit_y, hit_z, 0.86
                    footprint = t * max(stretch_x, pixel_v)
                elif face[row] == ACROSS_Y:
                    slot, a, b, shade = cells[at + SIDES], hit_x, hit_z, 0.72
                    footprint = t * max(stretch_y, pixel_v)
                else:
                    slot, a, b, shade = cells[at + TOP], hit_x, hit_y, 0.95
                    if face[row] == DOWNWARDS:
                        slot, shade = float(CEILING_SLOT), 0.62
                    footprint = t * max(pixel_u, stretch[row])
                material = MATERIAL * int(slot)
                bright = texel(patterns, materials[material], a, b, footprint)
                bright = 255.0 * bright * shade * cells[at + LIGHT] / (1.0 + 0.004 * t * t)
                red = byte(bright * materials[material + 1] * lamp[0])
                green = byte(bright * materials[material + 2] * lamp[1])
                blue = byte(bright * materials[material + 3] * lamp[2])
                if kind == RGB:
                    out[to], out[to + 1], out[to + 2] = red, green, blue
                else:
                    out[to] = 0.299 * red + 0.587 * green + 0.114 * blue


def depth_map(state: Vector, cells: Any, depths: Any) -> float:
    """Write the depth map that the reward is measured on, in metres up to `FAR`, row by row; its mean."""
    sine, cosine = sincos(state[3])
    depth, face, cell, slopes = room(MAP_HEIGHT), room(MAP_HEIGHT), room(MAP_HEIGHT), room(MAP_HEIGHT)
    for row in range(MAP_HEIGHT):
        slopes[row] = slope_of(row, MAP_HEIGHT)
    total = 0.0
    for column in range(MAP_WIDTH):
        u = (2.0 * (column + 0.5) / MAP_WIDTH - 1.0) * TAN_H
        dx, dy = cosine + u * sine, sine - u * cosine
        look(cells, (state[0], state[1], state[2]), dx, dy, MAP_HEIGHT, slopes, depth, face, cell)
        for row in range(MAP_HEIGHT):
            t = depth[row] if depth[row] < FAR else FAR
            depths[row * MAP_WIDTH + column] = t
            total += t
    return total / MAP_SIZE


def rounded(x: float) -> int:
    """To the nearest integer, of a number that isn't negative."""
    return int(x + 0.5)


def window(mean: float) -> tuple[int, int, int, int]:
    """The middle window of a depth map: first and last row and column, the latter exclusive.

    The farther one sees the smaller it is, and in front of it, a little above the middle, the way goes on.
    """
    n = max(50.0 * (mean / FAR) / 3.0, 1.0)
    top = rounded(0.9 * MAP_HEIGHT * (n - 1.0) / (2.0 * n))
    left = rounded(MAP_WIDTH * (n - 1.0) / (2.0 * n))
    bottom = min(max(rounded(0.9 * MAP_HEIGHT * (n - 1.0) / (2.0 * n) + MAP_HEIGHT / n), top + 1), MAP_HEIGHT)
    right = min(max(rounded(MAP_WIDTH * (n - 1.0) / (2.0 * n) + MAP_WIDTH / n), left + 1), MAP_WIDTH)
    return top, bottom, left, right


def clearance(state: Vector, cells: Any) -> float:
    """Mean of the nearest 5% of the middle window, over `FAR`: 0 at a wall, 1 where nothing is near."""
    depths, nearest = room(MAP_SIZE), room(NEAREST)
    top, bottom, left, right = window(depth_map(state, cells, depths))
    n = max(rounded(0.05 * (bottom - top) * (right - left)), 1)
    for i in range(n):
        nearest[i] = FAR
    for row in range(top, bottom):
        for column in range(left, right):
            t, place = depths[row * MAP_WIDTH + column], n - 1
            if t < nearest[place]:
                while place > 0 and t < nearest[place - 1]:
                    nearest[place] = nearest[place - 1]
                    place -= 1
                nearest[place] = t
    total = 0.0
    for i in range(n):
        total += nearest[i]
    return total / n / FAR
