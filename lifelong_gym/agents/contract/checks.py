"""Checks of what users pass to a learner."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import as_float, integer, unknown

MOST = 2**31 - 1  # of whatever is counted


def number(name: str, value: object, low: float = 0.0, open_at_low: bool = False) -> float:
    """The finite number of at least (or, if open, above) ``low``, or a `ValueError` that names it."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool) or not _is_finite(value):
        raise ValueError(f"`{name}` must be a finite number. Received {value!r}")
    if value < low or (open_at_low and value == low):
        relation = "above" if open_at_low else "at least"
        raise ValueError(f"`{name}` must be {relation} {low:g}. Received {value!r}")
    return float(value)


def within(name: str, value: object, low: float, high: float, below: bool = False) -> float:
    """``value`` as a float from ``low`` to ``high``, or below it; a `ValueError` that names the argument otherwise."""
    given = as_float(value)
    if low <= given < high or (given == high and not below):
        return given
    raise ValueError(f"`{name}` must be in [{low:g}, {high:g}{')' if below else ']'}. Received {value!r}")


def _is_finite(value: Any) -> bool:
    """Also of whole numbers, which may be too large to be floating-point ones."""
    return bool(-sys.float_info.max <= value <= sys.float_info.max)


positive = partial(number, open_at_low=True)  # a number above 0


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """The same check, which also lets None pass."""
    return lambda name, value: None if value is None else check(name, value)


def real(name: str, values: object) -> npt.NDArray[np.float64]:
    """An array of numbers, of any shape and also infinite, or a `ValueError` that names it."""
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"`{name}` must be numbers of one shape. Received {values!r}") from error


def count(name: str, value: object, least: int = 1) -> int:
    """The whole number of at least ``least`` and less than 2^31, or a `ValueError` that names it."""
    return integer(name, integer(name, value, least), least, MOST)


def choice(name: str, value: object, among: Iterable[str]) -> str:
    """The name, if it is among these, or an `UnknownNameError` that lists them."""
    names = list(among)
    if not isinstance(value, str) or value not in names:
        raise unknown(name, value, names)
    return value


def finite(what: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values, or a `FloatingPointError` that says what is not finite: numerics have failed, not the caller."""
    if not np.isfinite(values).all():
        raise FloatingPointError(f"{what} are not finite")
    return values


def flag(name: str, value: object) -> bool:
    """The truth value, or a `ValueError` that names it."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received {value!r}")
    return bool(value)
