"""Checks of what users pass to a learner."""

from __future__ import annotations

import math

import numpy as np


def number(name: str, value: object, low: float = 0.0, open_at_low: bool = False) -> float:
    """The finite number of at least (or, if open, above) ``low``, or a `ValueError` that names it."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received {value!r}")
    if value < low or (open_at_low and value == low):
        relation = "above" if open_at_low else "at least"
        raise ValueError(f"`{name}` must be {relation} {low:g}. Received {value!r}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """The truth value, or a `ValueError` that names it."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received {value!r}")
    return bool(value)
