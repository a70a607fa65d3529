"""Tables of a paper's page, as Markdown."""

from __future__ import annotations

from itertools import product

import numpy as np

from lifelong_gym.measures.intervals import mean_interval, median_time, ratio_interval
from lifelong_gym.measures.statistics import Interval, number
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.specs import PaperSpec, TableSpec
from lifelong_gym.reports.markup import pipe_table
from lifelong_gym.reports.tables import DASH as DASH


def shown(interval: Interval) -> str:
    """As in a table; without brackets where there is one number alone.

    >>> shown(Interval(0.5, 0.4, 0.6)), shown(Interval(2.0, 2.0, 2.0)), shown(Interval(1.0, -np.inf, np.inf))
    ('0.5 [0.4, 0.6]', '2', '1')
    """
    is_alone = interval.low == interval.high or (np.isneginf(interval.low) and np.isposinf(interval.high))
    return number(interval.estimate) if is_alone else str(interval)


def table(spec: TableSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> str:
    """With its caption."""
    systems = numbers.systems(spec.study, spec.systems)
    if ":" in spec.kind:
        head, rows = code.load(spec.kind)(numbers, spec)
    elif len(spec.of) == 1:
        head = ["", *(paper.systems[system].name or system for system in systems)]
        rows = [[m, *(_cell(spec, numbers, s, m, spec.of[0]) for s in systems)] for m in spec.methods]
    else:
        head = ["", *(spec.heads or spec.of)]
        several = len(systems) > 1
        rows = [
            [f"{s}, {m}" if several else m, *(_cell(spec, numbers, s, m, of) for of in spec.of)]
            for s, m in product(systems, spec.methods)
        ]
    return "\n\n".join(part for part in (spec.caption, pipe_table(head, rows)) if part)


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
