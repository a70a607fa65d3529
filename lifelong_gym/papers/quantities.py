"""Quantities: what one cell's figures come to, as a file names it.

=========================  =============================================================================================
name                       of ``values``, costs, (n_sweeps + 1, n_tasks)
=========================  =============================================================================================
``curve``                  mean over tasks before learning and after each sweep, at most 61: ``at`` and ``values``
``start``, ``first``       that before learning, and after the first sweep
``sweep N``                after N sweeps, or the last if there are fewer
``end``, ``final``         after the last sweep; the mean of the last five evaluations
``early``                  mean over the first fifth of the sweeps
``worst tenth``            of the tasks: the 90th percentile of their final values
``sweeps to 90%``          until the mean over tasks has made 90% of the way from the start to the best method's end
=========================  =============================================================================================

Anything else is a key of the figures (``checked``, ``errors.distance``), where a list needs a word before it: ``last``,
``first``, ``max``, ``min``, ``mean``, ``median``, ``sum``. Or a function, ``science:name``, of the figures, that may
return anything JSON can hold. ``a / b`` is one quantity over another of the same cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.benchmark.results import short
from lifelong_gym.errors import unknown
from lifelong_gym.measures import metrics
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.code import Code

LAST = 5  # evaluations that make a final value
POINTS = 61  # of a curve
DIGITS = 6
TO_LEVEL = re.compile(r"sweeps to (\d+)%")
SWEEP = re.compile(r"sweep (\d+)")
PATH = re.compile(r"(?:(\w+) )?([A-Za-z_][\w.]*)")

Figures = Mapping[str, Any]

OF_VALUES: Mapping[str, Callable[[FloatArray], Any]] = {
    "start": lambda values: values[0].mean(),
    "first": lambda values: values[1].mean(),
    "end": lambda values: values[-1].mean(),
    "final": lambda values: metrics.asymptote(values.mean(axis=1), LAST),
    "early": lambda values: metrics.area_under_curve(values.mean(axis=1), max(2, len(values) // 5)),
    "worst tenth": lambda values: np.percentile(values[-LAST:].mean(axis=0), 90),
}
CURVE = "curve"
REDUCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "last": lambda values: values[-1],
    "first": lambda values: values[0],
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "median": np.median,
    "sum": np.sum,
}


def check_quantity(of: str, code: Code) -> None:
    """See that a quantity can be asked for.

    Raises:
        ValueError: it can't.
    """
    for part in _parts(of):
        if ":" in part:
            code.load(part)
        elif not (part in OF_VALUES or part == CURVE or SWEEP.fullmatch(part) or TO_LEVEL.fullmatch(part)):
            found = PATH.fullmatch(part)
            if found is None:
                raise ValueError(f"must be a quantity. Received {part!r}")
            if found[1] is not None and found[1] not in REDUCTIONS:
                raise unknown("word", found[1], REDUCTIONS)


def quantity(of: str, figures: Figures, code: Code) -> Any:
    """What one cell's figures come to, rounded.

    Raises:
        ValueError: the figures have no such key.
    """
    parts = [_one(part, figures, code) for part in _parts(of)]
    found = parts[0] if len(parts) == 1 else parts[0] / parts[1]
    return found if ":" in of or not _is_numeric(found) else short(found, DIGITS)


def _is_numeric(value: Any) -> bool:
    return not isinstance(value, Mapping) and np.asarray(value).dtype.kind in "biuf"


def _parts(of: str) -> list[str]:
    return of.split(" / ")


def _one(of: str, figures: Figures, code: Code) -> Any:
    if ":" in of:
        return code.load(of)(figures)
    values = np.asarray(figures.get("values", []), np.float64)
    if of in OF_VALUES and len(values):
        return OF_VALUES[of](values)
    if of == CURVE and len(values):
        at = shown_sweeps(len(values) - 1)
        return {"at": at, "values": short(values.mean(axis=1)[at], DIGITS)}
    sweep = SWEEP.fullmatch(of)
    if sweep is not None:
        return values[min(int(sweep[1]), len(values) - 1)].mean()
    return _within(of, figures)


def shown_sweeps(n_sweeps: int) -> list[int]:
    """After which sweeps a curve has a point.

    >>> shown_sweeps(3)
    [0, 1, 2, 3]
    """
    return sorted({round(x) for x in np.linspace(0, n_sweeps, min(n_sweeps + 1, POINTS))})


def _within(of: str, figures: Figures) -> Any:
    found = PATH.fullmatch(of)
    assert found is not None, "checked when the file was read"
    value: Any = figures
    for key in found[2].split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(str(unknown("figure", found[2], figures)))
        value = value[key]
    return REDUCTIONS[found[1]](value) if found[1] else value


def sweeps_to(of: str, by_method: Mapping[str, Sequence[Figures]]) -> dict[str, list[int | None]] | None:
    """Of all methods' cells in a system, by seed: None is never; None altogether where it isn't that quantity."""
    wanted = TO_LEVEL.fullmatch(of)
    if wanted is None:
        return None
    costs = {
        method: np.array([np.mean(each["values"], axis=1) for each in cells]) for method, cells in by_method.items()
    }
    start = float(next(iter(costs.values()))[:, 0].mean())
    best = min(float(metrics.asymptote(cost, LAST).mean()) for cost in costs.values())
    level = start + int(wanted[1]) / 100 * (best - start)
    times = {method: metrics.time_to_threshold(-cost, -level) for method, cost in costs.items()}
    return {method: [None if np.isinf(n) else int(n) for n in found] for method, found in times.items()}
