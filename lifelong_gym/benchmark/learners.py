"""Finding learners by name: the entry-point group ``lifelong_gym.agents``, or ``module:Class``."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import Any

from lifelong_gym.errors import unknown
from lifelong_gym.imports import load

GROUP = "lifelong_gym.agents"


def registered() -> dict[str, str]:
    """Name and ``module:Class`` of every registered learner, ours and others'."""
    return {point.name: point.value for point in sorted(entry_points(group=GROUP))}


def learner_class(name: str) -> type[Any]:
    """The class behind a registered name or ``module:Class``.

    Raises:
        UnknownNameError: no such name; the nearest is suggested.
        ValueError: the module has no such class.
    """
    known = registered()
    if name not in known and ":" not in name:
        raise unknown("agent", name, known)
    kind = load(known.get(name, name))
    if not inspect.isclass(kind):
        raise ValueError(f"{name!r} must name a class. Received {kind!r}")
    return kind


def first_line(kind: type[Any]) -> str:
    """What a class says it is."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]
