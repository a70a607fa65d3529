"""Tables of a paper's page, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lifelong_gym.measures.intervals import mean_interval, median_time, ratio_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.specs import PaperSpec, TableSpec

DASH = "–"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table; bars in cells are escaped.

    >>> print(markdown(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def shown(interval: Interval) -> str:
    """As in a table; without brackets where there is one number alone.

    >>> shown(Interval(0.5, 0.4, 0.6)), shown(Interval(2.0, 2.0, 2.0)), shown(Interval(1.0, -np.inf, np.inf))
    ('0.5 [0.4, 0.6]', '2', '1')
    """
    is_alone = interval.low == interval.high or (np.isneginf(interval.low) and np.isposinf(interval.high))
    return f"{interval.estimate:.3g}".replace("inf", "never") if is_alone else str(interval)


def table(spec: TableSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> str:
    """With its caption."""
    if ":" in spec.kind:
        head, rows = code.load(spec.kind)(numbers, spec)
    elif len(spec.of) == 1:
        head = ["", *(paper.systems[system].name for system in spec.systems)]
        rows = [[m, *(_cell(spec, numbers, s, m, spec.of[0]) for s in spec.systems)] for m in spec.methods]
    else:
        head = ["", *spec.of]
        several = len(spec.systems) > 1
        rows = [
            [
                f"{system}, {method}" if several else method,
                *(_cell(spec, numbers, system, method, of) for of in spec.of),
            ]
            for system in spec.systems
            for method in spec.methods
        ]
    return "\n\n".join(part for part in (spec.caption, markdown(head, rows)) if part)


def _cell(spec: TableSpec, numbers: Numbers, system: str, method: str, of: str) -> str:
    values = numbers.by_seed(spec.study, system, method, of)
    if any(isinstance(value, dict | str) for value in values):
        raise ValueError(f"tables[{spec.name}]: {of!r} must be numbers. Received {values[0]!r}")
    if spec.over:
        return shown(ratio_interval(values, numbers.by_seed(spec.study, system, spec.over, of)))
    if of.startswith("sweeps to") or any(isinstance(value, list | None) for value in values):
        lasted = float(numbers.values(spec.study, system, method)[spec.lasted])
        return shown(median_time(flat_times(values), lasted))
    return shown(mean_interval(values))
