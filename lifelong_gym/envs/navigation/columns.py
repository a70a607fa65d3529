"""What a level camera sees of a height field: the pixels of a column share one walk over the cells they look along.

A cell has a floor and a ceiling; what stands on the floor raises it, and a wall is a floor above the ceiling. The walk
goes from cell to cell, nearest first, and gives a column's pixels what they hit from the lower and the upper end. It
looks at pixels only where heights change: which cell of an even floor or ceiling a pixel hits, its depth tells.
"""

from __future__ import annotations

from typing import Any

from lifelong_gym.numerics.scalar import Vector, room, sincos

CELL, PER_METRE, SIDE = 0.2, 5.0, 120  # a world of 24 m x 24 m
HEIGHTS = 2  # of a cell
FLOOR, CEILING = range(HEIGHTS)
SURFACES = 3  # numbers of a cell's: materials of sides and of the top, light
SIDES, TOP, LIGHT = range(SURFACES)
ACROSS_X, ACROSS_Y, UPWARDS, DOWNWARDS = 0.0, 1.0, 2.0, 3.0  # which face of a cell a pixel hits
SHADES = (0.86, 0.72, 0.95, 0.62)  # how light those faces are
NEVER = 1e30  # a ray along an axis crosses no line across it

TAN_H, TAN_V = 0.8390996311772799, 0.4719935425372199  # of half the fields of view: 80 degrees, and 9/16 of the width
FAR = 19.6  # m, 50 of the 255 grey levels of a depth map of 100 m
MOST_ROWS = 256

TEXELS, TILE = 64, 2.0  # of a pattern's finest picture a side, and the metres it covers
LEVELS = 7  # pictures of a pattern
PYRAMID = 5461  # texels of a pattern's pictures, each half as large as the one before
MATERIAL = 4  # numbers of a material: pattern, red, green, blue
RGB, GRAY, DEPTH = 0.0, 1.0, 2.0
CEILING_SLOT, N_SLOTS, N_COLOURS = 2, 5, 15  # materials of a world

MAP_HEIGHT, MAP_WIDTH = 18, 32  # of the depth map that the reward is measured on
MAP_SIZE = MAP_HEIGHT * MAP_WIDTH
NEAREST = 29  # 5% of it


def slope_of(row: int, height: int) -> float:
    """How much a pixel's ray rises, a metre ahead."""
    return (1.0 - 2.0 * (row + 0.5) / height) * TAN_V


def crossed(borders: Any, first: int, step: int, last: int, guess: int, z: float, slope: float, bound: float) -> int:
    """Along one axis, the first cell that a sinking ray leaves below a bound: there it has hit what is that high.

    ``first`` and ``last``: cells that the walk has been in, ``step`` apart; ``borders``: per cell the depth at which it
    is left; ``guess``: a cell near, right but for rounding. A ray that rises to a ceiling is one upside down.
    """
    k = guess
    if (k - first) * step < 0:
        k = first
    if (last - k) * step < 0:
        k = last
    while z + slope * borders[k] >= bound:
        k += step
    while k != first and z + slope * borders[k - step] < bound:
        k -= step
    return k


def look(
    heights: Any, place: Vector, dx: float, dy: float, height: int, slopes: Any, depth: Any, face: Any, cell: Any
) -> None:
    """Write per pixel of a column, uppermost first, its depth in units of (dx, dy), and the face and cell it shows."""
    x, y, z = place
    first_i, first_j = int(x * PER_METRE), int(y * PER_METRE)
    i, j, step_i, step_j = first_i, first_j, (1 if dx > 0.0 else -1), (1 if dy > 0.0 else -1)
    inverse_x = 1.0 / dx if dx != 0.0 else NEVER
    inverse_y = 1.0 / dy if dy != 0.0 else NEVER
    next_x = ((i + (1 if dx > 0.0 else 0)) * CELL - x) * inverse_x if dx != 0.0 else NEVER
    next_y = ((j + (1 if dy > 0.0 else 0)) * CELL - y) * inverse_y if dy != 0.0 else NEVER
    span_x, span_y = abs(CELL * inverse_x), abs(CELL * inverse_y)
    borders_x, borders_y = room(SIDE), room(SIDE)
    borders_x[i], borders_y[j] = next_x, next_y
    at, low, high = i * SIDE + j, height - 1, 0
    floor, ceiling = heights[HEIGHTS * at + FLOOR], heights[HEIGHTS * at + CEILING]
    if z < floor or z > ceiling:
        for row in range(height):  # the camera is within something: a state that was set
            depth[row], face[row], cell[row] = 0.0, UPWARDS, float(at)
        low = -1
    while low >= high:
        entered, across_x, last_floor, last_ceiling = 0.0, True, floor, ceiling
        while floor == last_floor and ceiling == last_ceiling:  # to where something begins
            across_x = next_x < next_y
            entered = next_x if across_x else next_y
            i += step_i if across_x else 0
            j += 0 if across_x else step_j
            next_x += span_x if across_x else 0.0
            next_y += 0.0 if across_x else span_y
            borders_x[i], borders_y[j] = next_x, next_y
            at = i * SIDE + j
            floor, ceiling = heights[HEIGHTS * at + FLOOR], heights[HEIGHTS * at + CEILING]
        while low >= high and z + slopes[low] * entered < last_floor:
            t, slope = (last_floor - z) / slopes[low], slopes[low]
            to_i = crossed(borders_x, first_i, step_i, i, int((x + dx * t) * PER_METRE), z, slope, last_floor)
            to_j = crossed(borders_y, first_j, step_j, j, int((y + dy * t) * PER_METRE), z, slope, last_floor)
            depth[low], face[low], cell[low] = t, UPWARDS, float(to_i * SIDE + to_j)
            low -= 1
        while low >= high and z + slopes[high] * entered > last_ceiling:
            t, slope = (last_ceiling - z) / slopes[high], -slopes[high]
            to_i = crossed(borders_x, first_i, step_i, i, int((x + dx * t) * PER_METRE), -z, slope, -last_ceiling)
            to_j = crossed(borders_y, first_j, step_j, j, int((y + dy * t) * PER_METRE), -z, slope, -last_ceiling)
            depth[high], face[high], cell[high] = t, DOWNWARDS, float(to_i * SIDE + to_j)
            high += 1
        side, wall = ACROSS_X if across_x else ACROSS_Y, float(at)
        while low >= high and z + slopes[low] * entered < floor:
            depth[low], face[low], cell[low] = entered, side, wall
            low -= 1
        while low >= high and z + slopes[high] * entered > ceiling:
            depth[high], face[high], cell[high] = entered, side, wall
            high += 1


def coarseness(footprint: float) -> int:
    """Which of a pattern's pictures is no finer than a pixel that covers so many metres; 0: the finest."""
    level, width = 0, TILE / TEXELS
    for _ in range(LEVELS - 1):  # a sum, not a search: nothing to guess wrong
        level += 1 if footprint > width else 0
        width *= 2.0
    return level


def first_texel(pattern: int, level: int) -> int:
    """Where a picture of a pattern begins: behind all finer ones."""
    return PYRAMID * pattern + (4 * TEXELS * TEXELS - (4 * TEXELS * TEXELS >> 2 * level)) // 3


def light_up(materials: Any, lamp: Vector, colours: Any) -> None:
    """Write the colours of all materials, red, green and blue, under that light."""
    for i in range(N_SLOTS):
        for channel in range(3):
            colours[3 * i + channel] = materials[MATERIAL * i + 1 + channel] * lamp[channel]


def byte(x: float) -> float:
    """At most 255."""
    return x if x < 255.0 else 255.0


def picture(state: Vector, tables: Any, frame: Vector, lamp: Vector, out: Any) -> None:
    """What the camera shows, ``frame``: height, width and kind; ``lamp``: the light's red, green and blue."""
    heights, surfaces, materials, patterns = tables[0], tables[1], tables[2], tables[3]
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
    colours = room(N_COLOURS)
    light_up(materials, lamp, colours)
    for column in range(width):
        u = (2.0 * (column + 0.5) / width - 1.0) * TAN_H
        dx, dy = cosine + u * sine, sine - u * cosine
        look(heights, (x, y, z), dx, dy, height, slopes, depth, face, cell)
        stretch_x, stretch_y = pixel_u / max(abs(dx), 1e-9), pixel_u / max(abs(dy), 1e-9)
        last_t, last_cell, last_face = -1.0, -1.0, -1.0
        first, size, column_at, b, per_metre, bright, slot = 0, 1, 0, 0.0, 1.0, 0.0, 0
        for row in range(height):
            t, to = depth[row], (row * width + column) * channels
            if kind == DEPTH:
                out[to] = 255.0 * (t if t < FAR else FAR) / FAR
                continue
            if t != last_t or cell[row] != last_cell or face[row] != last_face:  # else all this is as above
                last_t, last_cell, last_face = t, cell[row], face[row]
                at, side = SURFACES * int(last_cell), last_face
                a, b, spread, shade = x + dx * t, y + dy * t, max(pixel_u, stretch[row]), SHADES[int(side)]
                if side == ACROSS_X:
                    a, spread = b, max(stretch_x, pixel_v)
                elif side == ACROSS_Y:
                    spread = max(stretch_y, pixel_v)
                slot = CEILING_SLOT if side == DOWNWARDS else int(surfaces[at + (TOP if side == UPWARDS else SIDES)])
                level = coarseness(t * spread)
                size, per_metre = TEXELS >> level, (TEXELS >> level) / TILE
                first = first_texel(int(materials[MATERIAL * slot]), level)
                column_at = int(a * per_metre) & (size - 1)
                bright = 255.0 * shade * surfaces[at + LIGHT] / (1.0 + 0.004 * t * t)
            height_at = z + slopes[row] * t if last_face < UPWARDS else b
            brightness = bright * patterns[first + (int(height_at * per_metre) & (size - 1)) * size + column_at]
            red = byte(brightness * colours[3 * slot])
            green = byte(brightness * colours[3 * slot + 1])
            blue = byte(brightness * colours[3 * slot + 2])
            if kind == RGB:
                out[to], out[to + 1], out[to + 2] = red, green, blue
            else:
                out[to] = 0.299 * red + 0.587 * green + 0.114 * blue


def depth_map(state: Vector, heights: Any, depths: Any) -> float:
    """Write the depth map that the reward is measured on, in metres up to `FAR`, row by row; its mean."""
    sine, cosine = sincos(state[3])
    depth, face, cell, slopes = room(MAP_HEIGHT), room(MAP_HEIGHT), room(MAP_HEIGHT), room(MAP_HEIGHT)
    for row in range(MAP_HEIGHT):
        slopes[row] = slope_of(row, MAP_HEIGHT)
    total = 0.0
    for column in range(MAP_WIDTH):
        u = (2.0 * (column + 0.5) / MAP_WIDTH - 1.0) * TAN_H
        dx, dy = cosine + u * sine, sine - u * cosine
        look(heights, (state[0], state[1], state[2]), dx, dy, MAP_HEIGHT, slopes, depth, face, cell)
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


def clearance(state: Vector, heights: Any) -> float:
    """Mean of the nearest 5% of the middle window, over `FAR`: 0 at a wall, 1 where nothing is near."""
    depths, nearest = room(MAP_SIZE), room(NEAREST)
    top, bottom, left, right = window(depth_map(state, heights, depths))
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
