"""The package's own exceptions, and the helper that suggests a name on a typo."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

INT64 = 2**63 - 1  # what counters and compiled code hold
MOST_NAMES = 64  # that an error lists


class LifelongGymError(Exception):
    """Base class of the package's exceptions."""


class UnknownNameError(LifelongGymError, ValueError):
    """An id, task, agent, parameter, preset or option that doesn't exist."""


class UnexpectedArgumentError(UnknownNameError, TypeError):
    """A keyword argument that doesn't exist; a `TypeError`, as Python's own."""


class FamilyError(LifelongGymError, TypeError):
    """A task family that doesn't declare what the protocol asks for."""


class CheckpointError(LifelongGymError, ValueError):
    """A model file, or a state, that is truncated, foreign or doesn't fit."""


class SharingError(LifelongGymError, RuntimeError):
    """A message between agents that can't be delivered."""


class InfeasibleConstraintsError(LifelongGymError, ValueError):
    """A safe set that is empty, or too thin for a policy to be strictly inside.

    Attributes:
        task: index of the task, or None where the constraints belong to none yet.
        radius: of the largest ball in the set; where negative, each constraint would have to give way by so much.
        conflict: names of the smallest set of constraints that leave no room.
        relaxation: by how much each named constraint would have to give way, the total being least.
    """

    def __init__(
        self, task: int | None, radius: float, conflict: tuple[str, ...], relaxation: Mapping[str, float]
    ) -> None:
        """Say what is in conflict and what would resolve it."""
        self.task, self.radius = task, radius
        self.conflict, self.relaxation = conflict, dict(relaxation)
        least = ", ".join(f"{name} by {amount:.3g}" for name, amount in relaxation.items())
        super().__init__(
            f"the safe set{'' if task is None else f' of task {task}'} is empty or has no interior (radius "
            f"{radius:.3g}). In conflict: {'; '.join(conflict)}. Least relaxation: {least or 'any'}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.task, self.radius, self.conflict, self.relaxation)


class ProjectionError(LifelongGymError, RuntimeError):
    """A projection onto safe sets that didn't reach the accuracy it has to; the parameters before it stay valid."""


class MissingLibraryError(LifelongGymError, ImportError):
    """A library isn't installed."""

    def __init__(self, library: str, requirement: str) -> None:
        """Name the library and what pip has to install to get it."""
        super().__init__(f"`{library}` is not installed. Install it with: pip install {requirement}")


class MissingExtraError(MissingLibraryError):
    """A library of an optional extra isn't installed."""

    def __init__(self, library: str, extra: str, constraints: str | None = None) -> None:
        """Name the library, the extra that brings it and, where the usual ones don't fit, the file of constraints."""
        super().__init__(library, f"{f'-c {constraints} ' if constraints else ''}'lifelong-gym[{extra}]'")


def integer(name: str, value: object, least: int = 1, most: int | None = INT64) -> int:
    """``value`` as an int, or a `ValueError` that names the argument; ``most=None``: of any length, as seeds are.

    >>> integer("n_tasks", 3)
    3
    """
    number = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None
    if number is not None and least <= number and (most is None or number <= most):
        return number
    said = most is not None and (most != INT64 or (number is not None and number > most))
    limit = f" and at most {most}" if said else ""
    raise ValueError(f"`{name}` must be an integer of at least {least}{limit}. Received {value!r}")


def as_float(value: object) -> float:
    """``value`` as a float: NaN where it is no number, infinite where a float can't be so large.

    >>> as_float(10**400), as_float("1")
    (inf, nan)
    """
    if not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf


def flag(name: str, value: object) -> bool:
    """``value`` as a bool, or a `ValueError` that names the argument.

    >>> flag("bias", True)
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received {value!r}")
    return bool(value)


def floats(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``values`` as an array of float64, or a `ValueError` that names the argument.

    >>> floats("theta", [1, 2])
    array([1., 2.])
    """
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"`{name}` must be numbers within the range of a float. Received {values!r}") from None


def one_of(kind: str, name: object, known: Iterable[str]) -> str:
    """``name`` where it is one of the ``known`` ones, or else what `unknown` says.

    >>> one_of("unit", "kg", ["kg", "m"])
    'kg'
    """
    names = list(known)
    if not isinstance(name, str) or name not in names:
        raise unknown(kind, name, names)
    return name


def unknown(kind: str, name: object, known: Iterable[object]) -> UnknownNameError:
    """An error that names what was asked for, the nearest existing name and all that exist.

    >>> print(unknown("unit", "kgg", ["kg", "m"]))
    unknown unit 'kgg'. Did you mean 'kg'? There are: kg, m
    """
    return UnknownNameError(f"unknown {kind} {name!r}.{_suggestion(name, known)}")


def unexpected(function: str, name: str, known: Iterable[str]) -> UnexpectedArgumentError:
    """An error in Python's words, which clients look for, and behind them what `unknown` says.

    >>> print(unexpected("f", "kgg", ["kg", "m"]))
    f() got an unexpected keyword argument 'kgg'. Did you mean 'kg'? There are: kg, m
    """
    return UnexpectedArgumentError(
        f"{function}() got an unexpected keyword argument {name!r}.{_suggestion(name, known)}"
    )


def _suggestion(name: object, known: Iterable[object]) -> str:
    names = [str(item) for item in known]
    close = difflib.get_close_matches(str(name), names, n=1)
    return (f" Did you mean {close[0]!r}?" if close else "") + f" There are: {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """Names one after another; of very many, the first.

    >>> listed(["kg", "m"]), listed([])
    ('kg, m', 'none')
    """
    more = len(names) - MOST_NAMES
    return ", ".join([*names[:MOST_NAMES], *([f"and {more} more"] if more > 0 else [])]) or "none"
