"""Quantities: what one cell's figures come to, as a file names it; docs/papers.md says what each is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from lifelong_gym.benchmark.results import short
from lifelong_gym.errors import one_of, unknown
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


def _curve(values: FloatArray) -> dict[str, Any]:
    at = sorted({round(x) for x in np.linspace(0, len(values) - 1, min(len(values), POINTS))})
    return {"at": at, "values": short(values.mean(axis=1)[at], DIGITS)}


OF_VALUES: Mapping[str, Callable[[FloatArray], Any]] = {
    "curve": _curve,
    "start": lambda values: values[0].mean(),
    "first": lambda values: values[1].mean(),
    "end": lambda values: values[-1].mean(),
    "final": lambda values: metrics.asymptote(values.mean(axis=1), LAST),
    "early": lambda values: metrics.area_under_curve(values.mean(axis=1), max(2, len(values) // 5)),
    "worst tenth": lambda values: np.percentile(values[-LAST:].mean(axis=0), 90),
}
REDUCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "first": itemgetter(0),
    "last": itemgetter(-1),
    **{"max": np.max, "min": np.min, "mean": np.mean, "median": np.median, "sum": np.sum},
}


def check_quantity(of: str, code: Code) -> str:
    """Itself, where it can be asked for.

    Raises:
        ValueError: it can't.
    """
    for part in of.split(" / "):
        if not TO_LEVEL.fullmatch(part):
            _reader(part, code)
    return of


def quantity(of: str, figures: Figures, code: Code) -> Any:
    """What one cell's figures come to, rounded.

    Raises:
        ValueError: the figures have no such key.
    """
    parts = [_reader(part, code)(figures) for part in of.split(" / ")]
    found = parts[0] if len(parts) == 1 else parts[0] / parts[1]
    is_numeric = not isinstance(found, Mapping) and np.asarray(found).dtype.kind in "biuf"
    return short(found, DIGITS) if is_numeric and ":" not in of else found


def _reader(of: str, code: Code) -> Callable[[Figures], Any]:
    """What a name stands for, as a function of the figures."""
    if ":" in of:
        found: Callable[[Figures], Any] = code.load(of)
        return found
    if sweep := SWEEP.fullmatch(of):
        return lambda figures: np.mean(_within("values", figures)[: int(sweep[1]) + 1][-1])
    if of in OF_VALUES:
        own = OF_VALUES[of]
        return lambda f: own(np.asarray(f["values"], np.float64)) if "values" in f else _within(of, f)
    path = PATH.fullmatch(of)
    if path is None:
        raise ValueError(f"must be a quantity. Received {of!r}")
    word, key = path.groups()
    reduced = REDUCTIONS[one_of("word", word, REDUCTIONS)] if word else lambda value: value
    return lambda figures: reduced(_within(key, figures))


def _within(path: str, figures: Figures) -> Any:
    value: Any = figures
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(str(unknown("figure", path, figures)))
        value = value[key]
    return value


def sweeps_to(of: str, by_method: Mapping[str, Sequence[Figures]]) -> dict[str, list[int | None]]:
    """Of all methods' cells in a system, by seed: None is never; of another quantity, no method's."""
    wanted = TO_LEVEL.fullmatch(of)
    if wanted is None:
        return {}
    costs = {m: np.array([np.mean(each["values"], axis=1) for each in cells]) for m, cells in by_method.items()}
    start = float(next(iter(costs.values()))[:, 0].mean())
    best = min(float(metrics.asymptote(cost, LAST).mean()) for cost in costs.values())
    level = start + int(wanted[1]) / 100 * (best - start)
    times = {method: metrics.time_to_threshold(-cost, -level) for method, cost in costs.items()}
    return {method: [None if np.isinf(n) else int(n) for n in found] for method, found in times.items()}
