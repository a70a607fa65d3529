"""Checks of what users pass to a learner."""

from __future__ import annotations

import math

import numpy as np


def integer(name: str, value: object, at_least: int, at_most: int | None = None) -> int:
    """The integer, or a `ValueError` that names it and what it must be."""
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < at_least or (at_most is not None and value > at_most):  # type: ignore[operator]
        limit = "" if at_most is None else f" and at most {at_most}"
        raise ValueError(f"`{name}` must be an integer of at least {at_least}{limit}. Received {value!r}")
    return int(value)  # type: ignore[call-overload]


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
