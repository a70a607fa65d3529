"""How worlds look: procedural patterns, each in ever smaller pictures for what is far away, and the tints of materials.

Everything is computed, nothing is loaded. A pattern is grey; a material's tint makes the colour.
"""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.navigation.columns import MATERIAL, PYRAMID, TEXELS
from lifelong_gym.numerics.arrays import FloatArray

PLASTER, BRICK, PLANK, TILE, PAPER, BOOKS, METAL, CARPET, MARBLE, CONCRETE, PANEL, POSTER = range(12)
N_PATTERNS = 12
SLOTS = ("wall", "ground", "ceiling", "thing", "top")
WALL, GROUND, CEILING, THING, LID = range(len(SLOTS))

Tint = tuple[float, float, float]
# Per world its materials in the order of `SLOTS`: pattern and tint; then the colour of its light, and how light the
# dark between the lamps is.
LOOKS: dict[str, tuple[list[tuple[int, Tint]], Tint, float]] = {
    "long": (
        [
            (BRICK, (0.80, 0.42, 0.30)),
            (CONCRETE, (0.60, 0.60, 0.62)),
            (PANEL, (0.55, 0.52, 0.46)),
            (METAL, (0.35, 0.45, 0.50)),
            (PANEL, (0.50, 0.40, 0.25)),
        ],
        (1.0, 0.82, 0.55),
        0.7,
    ),
    "cloud": (
        [
            (PAPER, (0.75, 0.85, 0.95)),
            (PLANK, (0.85, 0.62, 0.38)),
            (PLASTER, (0.97, 0.97, 0.95)),
            (BOOKS, (0.90, 0.70, 0.50)),
            (CARPET, (0.62, 0.25, 0.28)),
        ],
        (1.0, 0.97, 0.9),
        0.85,
    ),
    "frogeyes": (
        [
            (PLASTER, (0.35, 0.62, 0.45)),
            (TILE, (0.30, 0.35, 0.55)),
            (PANEL, (0.70, 0.65, 0.30)),
            (MARBLE, (0.92, 0.90, 0.80)),
            (MARBLE, (0.92, 0.90, 0.80)),
        ],
        (0.75, 0.9, 1.0),
        0.8,
    ),
    "pyramid": (
        [
            (PANEL, (0.72, 0.50, 0.78)),
            (CARPET, (0.50, 0.50, 0.28)),
            (POSTER, (0.30, 0.30, 0.34)),
            (CONCRETE, (0.90, 0.80, 0.55)),
            (TILE, (0.80, 0.70, 0.45)),
        ],
        (1.0, 0.75, 0.95),
        0.65,
    ),
}


def patterns() -> npt.NDArray[np.float32]:
    """All pictures of all patterns, 0 to 1, flat: per pattern 64 x 64 texels, 32 x 32, ... 1 x 1."""
    finest = np.clip(_finest(), 0.0, 1.0)
    levels: list[npt.NDArray[np.floating[Any]]] = []
    level: npt.NDArray[np.floating[Any]] = finest
    while True:
        levels.append(level.reshape(len(finest), -1))
        if level.shape[1] == 1:
            break
        half = level.shape[1] // 2
        level = level.reshape(len(finest), half, 2, half, 2).mean((2, 4))
    pictures = np.concatenate(levels, 1).astype(np.float32)
    assert pictures.shape[1] == PYRAMID
    return pictures.reshape(-1)


def _finest() -> FloatArray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:TEXELS, 0:TEXELS]

    def blocks(size: int) -> FloatArray:
        return np.asarray(np.kron(rng.random((TEXELS // size, TEXELS // size)), np.ones((size, size))), np.float64)

    def wave(angle: Any) -> FloatArray:
        made: FloatArray = np.sin(2.0 * np.pi * angle)
        return made

    noise, result = rng.random((TEXELS, TEXELS)), np.empty((N_PATTERNS, TEXELS, TEXELS))
    joint = (y % 8 == 0) | ((x + 8 * (y // 8 % 2)) % 16 == 0)
    board = x // 8
    result[PLASTER] = 0.86 + 0.08 * blocks(8) + 0.06 * noise
    result[BRICK] = np.where(joint, 0.95, 0.55 + 0.25 * blocks(8) + 0.1 * noise)
    result[PLANK] = 0.62 + 0.25 * rng.random(8)[board] + 0.05 * wave(y / 32 + board / 3) + 0.06 * noise
    result[PLANK][x % 8 == 0] = 0.45
    result[TILE] = 0.8 + 0.15 * ((x // 16 + y // 16) % 2) + 0.04 * noise
    result[TILE][(x % 16 == 0) | (y % 16 == 0)] = 0.35
    result[PAPER] = 0.7 + 0.2 * (wave(x / 8) > 0.0) + 0.1 * (wave(x / 16) * wave(y / 16) > 0.6)
    result[BOOKS] = np.where(y % 16 < 2, 0.3, 0.35 + 0.65 * rng.random((4, TEXELS // 2))[y // 16, x // 2])
    result[METAL] = 0.7 + 0.06 * wave(y / 8) + 0.08 * noise
    result[CARPET] = 0.55 + 0.35 * noise
    result[MARBLE] = 0.75 + 0.2 * wave(x / 32 + 0.6 * blocks(16) + y / 64)
    result[CONCRETE] = 0.6 + 0.15 * blocks(4) + 0.12 * noise
    result[PANEL] = np.where((x % 32 < 2) | (y % 32 < 2), 0.45, 0.75 + 0.08 * noise)
    result[POSTER] = np.where((x % 32 < 4) | (y % 32 < 4), 0.9, 0.2 + 0.7 * blocks(4))
    return result


def materials(world: str, hue: float, textures: int) -> npt.NDArray[np.float32]:
    """A task's materials, a row a slot: pattern, red, green, blue.

    Args:
        world: whose own look it begins with.
        hue: turn of all tints, 0 to 1; 0: none.
        textures: 0: the world's own patterns; else a seed, by which each slot draws one.
    """
    own, _, _ = LOOKS[world]
    drawn = np.random.default_rng(textures).choice(N_PATTERNS, len(SLOTS), replace=False)
    table = np.zeros((len(SLOTS), MATERIAL), np.float32)
    for slot, (pattern, tint) in enumerate(own):
        h, lightness, saturation = colorsys.rgb_to_hls(*tint)
        turned = colorsys.hls_to_rgb((h + hue) % 1.0, lightness, saturation) if hue else tint
        table[slot] = pattern if textures == 0 else drawn[slot], *turned
    return table
