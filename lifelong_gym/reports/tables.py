"""Tables of estimates with intervals: what stands in them, and which figures are the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.reports.markup import plain

DASH = "–"
DAGGER = "†"
PREFIXES = ("", " k", " M", " G", " T")


class Column(NamedTuple):
    """What stands in a column.

    Attributes:
        name: its heading.
        unit: ``performance`` or ``1`` (plain numbers), ``return``, ``steps``, ``bytes``, ``messages``, ``rounds``,
            ``share``.
        higher_is_better: or lower, or neither (None).
        estimator: in words, or the formula.
        par: what doing nothing, or learning from scratch, comes to; whoever is worse is never among the best.
    """

    name: str
    unit: str = "performance"
    higher_is_better: bool | None = True
    estimator: str = ""
    par: float | None = None


class Cell(NamedTuple):
    """An estimate, with its limits where there is an interval; or a text.

    Attributes:
        interval: limits are NaN where there is none; None for a text or an undefined value.
        text: that stands instead.
        reason: why there is no number, or not of all runs.
    """

    interval: Interval | None = None
    text: str = DASH
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        name: of its files.
        title: above it.
        columns: of the cells.
        rows: by learner, a cell a column.
        notes: below it.
        outside: rows that are there for comparison, and never count as best.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Mapping[str, Sequence[Cell]]
    notes: Sequence[str] = ()
    outside: Sequence[str] = ()

    def best(self, column: int) -> set[str]:
        """The learner with the best estimate, and those that are no worse within the one's or the other's interval.

        None in a column without a better side, with fewer than two numbers, or where nobody reached anything.
        """
        sign = {True: 1.0, False: -1.0, None: 0.0}[self.columns[column].higher_is_better]
        cells = {name: row[column].interval for name, row in self.rows.items() if name not in self.outside}
        ends = {name: _ends(interval, sign) for name, interval in cells.items() if interval is not None}
        if sign == 0 or len(ends) < 2:
            return set()
        least_of_best, first, _ = max(ends.values(), key=lambda end: end[1])
        par = self.columns[column].par
        return {
            name
            for name, (_, estimate, most) in ends.items()
            if np.isfinite(estimate)
            and (par is None or estimate >= sign * par)
            and (most >= first or estimate >= least_of_best)
        }

    def explanations(self) -> list[str]:
        """A line a column, what it is and in which unit; then reasons for dashes and daggers, then the notes.

        In the Markdown of `markup`.
        """
        named = ((plain(column.name), column) for column in self.columns)
        lines = [f"{name}: {c.estimator}{_unit(c)}{_arrow(c)}." for name, c in named if c.estimator or _unit(c)]
        reasons: dict[tuple[str, str], dict[str, list[str]]] = {}
        for name, row in self.rows.items():
            for column, cell in zip(self.columns, row, strict=True):
                if cell.reason:
                    why = DASH if cell.interval is None else DAGGER, cell.reason
                    reasons.setdefault(why, {}).setdefault(name, []).append(column.name)
        marks = [
            f"{mark} in {'; '.join(plain(', '.join([name, *columns])) for name, columns in where.items())}: {reason}."
            for (mark, reason), where in reasons.items()
        ]
        return [*lines, *marks, *self.notes]


def _ends(interval: Interval, sign: float) -> tuple[float, float, float]:
    """The worst end, the estimate and the best end, so that more is better; all the same where there is no interval."""
    low, high = sorted(sign * (interval.estimate if np.isnan(x) else x) for x in (interval.low, interval.high))
    return low, sign * interval.estimate, high


def _unit(column: Column) -> str:
    plain_units = {"performance": "", "1": "", "share": ", as a share", "return": ", in raw returns"}
    return plain_units.get(column.unit, f", in {column.unit}")


def _arrow(column: Column) -> str:
    return {True: "; higher is better", False: "; lower is better", None: ""}[column.higher_is_better]


def number(x: float, unit: str = "performance") -> str:
    """For people: ``0.81``, ``120 k``, ``1.5 MB``; ``never`` for an infinite time.

    >>> number(-0.001), number(123_456, "steps"), number(1_500_000, "bytes"), number(float("inf"), "steps")
    ('0.00', '123 k', '1.5 MB', 'never')
    """
    if np.isinf(x):
        return "never"
    if unit in ("performance", "1", "share") and abs(x) < 999.5:
        return minus(f"{x:.2f}")
    power = 0
    while abs(x) >= 999.5 and power < len(PREFIXES) - 1:
        x, power = x / 1000, power + 1
    suffix = PREFIXES[power] + ("B" if power else " B") if unit == "bytes" else PREFIXES[power]
    return minus(f"{x:.3g}{suffix}")


def short(x: float) -> str:
    """For a small place: as `number`, with three digits where there would be more.

    >>> short(-7.491), short(-12.345), short(12_345)
    ('−7.49', '−12.3', '12.3 k')
    """
    return number(x) if abs(x) < 9.995 else number(x, "return")


def minus(text: str) -> str:
    """With one sign for all negative numbers, and none for zero."""
    return (text if text.strip("-0.") else text.lstrip("-")).replace("-", "−")


def parts(cell: Cell, unit: str) -> tuple[str, str]:
    """The estimate, and its limits in brackets; these are empty for single runs and for counts that never vary."""
    if cell.interval is None:
        return cell.text, ""
    estimate, low, high = (number(x, unit) for x in cell.interval)
    constant = cell.interval.low == cell.interval.high and unit not in ("performance", "1", "share", "return")
    limits = "" if constant or np.isnan(cell.interval.low) else f"[{low}, {high}]"
    return estimate + (DAGGER if cell.reason else ""), limits


def cell_text(cell: Cell, unit: str) -> str:
    """As ``0.81 [0.77, 0.85]``; without brackets where there is no interval."""
    return " ".join(parts(cell, unit)).rstrip()


def interval_text(interval: Interval, unit: str = "performance") -> str:
    """As `cell_text`."""
    return cell_text(Cell(interval), unit)
