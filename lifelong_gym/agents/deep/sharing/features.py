"""Observations as short lists of numbers, by which tasks are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from lifelong_gym.numerics.arrays import FloatArray

SIDE = 21  # pixels to which images are brought
MOST = 4096  # numbers of an observation

Features = Callable[[Any], FloatArray]


def features_of(space: spaces.Space[Any]) -> Features:
    """From observations, (n, ...), to numbers, (n, n_features): one-hot codes, vectors, or images made small.

    Raises:
        ValueError: a space of another kind, or with more numbers than can be sent.
    """
    if isinstance(space, spaces.Discrete) and space.n <= MOST:
        first, codes = int(space.start), np.eye(int(space.n))
        return lambda seen: codes[np.asarray(seen).reshape(len(seen)).astype(np.int64) - first]
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        return _small
    if isinstance(space, spaces.Box) and int(np.prod(space.shape)) <= MOST:
        return lambda seen: np.asarray(seen, np.float64).reshape(len(seen), -1)
    raise ValueError(
        f"`env` must show Discrete({MOST}) at most, images, or vectors of {MOST} numbers at most. Received {space}"
    )


def _small(images: Any) -> FloatArray:
    """Means over channels and blocks of pixels, in [0, 1] where pixels are bytes."""
    pixels = np.asarray(images, np.float64) / (255.0 if np.asarray(images).dtype == np.uint8 else 1.0)
    pixels = pixels.mean(axis=1 if pixels.shape[1] < pixels.shape[3] else 3)
    for axis in (1, 2):
        n = pixels.shape[axis]
        if n > SIDE:
            starts = np.arange(SIDE) * n // SIDE
            sizes = np.diff([*starts, n]).reshape([-1 if a == axis else 1 for a in range(3)])
            pixels = np.add.reduceat(pixels, starts, axis=axis) / sizes
    return pixels.reshape(len(pixels), -1)
