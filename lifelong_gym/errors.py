"""The package's own exceptions, and the helper that suggests a name on a typo."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any


class LifelongGymError(Exception):
    """Base class of the package's exceptions."""


class UnknownNameError(LifelongGymError, ValueError):
    """An id, task, agent, parameter, preset or option that doesn't exist."""


class FamilyError(LifelongGymError, TypeError):
    """A task family that doesn't declare what the protocol asks for."""


class CheckpointError(LifelongGymError, ValueError):
    """A model file that is truncated, foreign or doesn't fit."""


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

    def __init__(self, library: str, extra: str) -> None:
        """Name the library and the extra that brings it."""
        super().__init__(library, f"'lifelong-gym[{extra}]'")


def integer(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """``value`` as an int, or a `ValueError` that names the argument.

    >>> integer("n_tasks", 3)
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least or _beyond(value, most):
        limit = "" if most is None else f" and at most {most}"
        raise ValueError(f"`{name}` must be an integer of at least {least}{limit}. Received {value!r}")
    return int(value)


def _beyond(value: numbers.Integral, most: int | None) -> bool:
    return most is not None and int(value) > most


def unknown(kind: str, name: object, known: Iterable[object]) -> UnknownNameError:
    """An error that names what was asked for, the nearest existing name and all that exist.

    >>> print(unknown("unit", "kgg", ["kg", "m"]))
    unknown unit 'kgg'. Did you mean 'kg'? There are: kg, m
    """
    names = [str(item) for item in known]
    close = difflib.get_close_matches(str(name), names, n=1)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{suggestion} There are: {', '.join(names)}")
