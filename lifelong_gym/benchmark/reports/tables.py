"""Tables of estimates with intervals, as Markdown, LaTeX (booktabs), CSV and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.benchmark.statistics import Interval

DASH = "–"
PREFIXES = ("", " k", " M", " G", " T")


class Column(NamedTuple):
    """What stands in a column.

    Attributes:
        name: its heading.
        unit: ``performance`` or ``1`` (plain numbers), ``steps``, ``bytes``, ``messages``, ``rounds``, ``share``.
        higher_is_better: or lower, or neither (None).
        estimator: in words, or the formula.
    """

    name: str
    unit: str = "performance"
    higher_is_better: bool | None = True
    estimator: str = ""


class Cell(NamedTuple):
    """An estimate, with its limits where there is an interval; or a text.

    Attributes:
        interval: limits are NaN where there is none; None for a text or an undefined value.
        text: that stands instead.
        reason: why there is no number.
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
        """The learner with the best estimate, and those whose interval overlaps with its own.

        None in a column without a better side, with fewer than two numbers, or where nobody reached anything.
        """
        sign = {True: 1.0, False: -1.0, None: 0.0}[self.columns[column].higher_is_better]
        intervals = {name: row[column].interval for name, row in self.rows.items() if name not in self.outside}
        ends = {name: sorted(_ends(i, sign)) for name, i in intervals.items() if i is not None}
        if sign == 0 or len(ends) < 2:
            return set()
        first = max(ends, key=lambda name: sign * _estimate(intervals[name]))
        if np.isinf(_estimate(intervals[first])):
            return set()  # nobody got there
        return {name for name, (_, high) in ends.items() if high >= ends[first][0]}

    def explanations(self) -> list[str]:
        """A line a column, what it is and in which unit; then reasons for dashes, then the notes."""
        lines = [f"{c.name}: {c.estimator}{_unit(c)}{_arrow(c)}." for c in self.columns if c.estimator or _unit(c)]
        reasons: dict[str, dict[str, list[str]]] = {}
        for name, row in self.rows.items():
            for column, cell in zip(self.columns, row, strict=True):
                if cell.reason:
                    reasons.setdefault(cell.reason, {}).setdefault(name, []).append(column.name)
        dashes = [
            f"{DASH} in {'; '.join(f'{name}, {_listed(columns)}' for name, columns in where.items())}: {reason}."
            for reason, where in reasons.items()
        ]
        return [*lines, *dashes, *self.notes]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _ends(interval: Interval, sign: float) -> tuple[float, float]:
    low, high = (interval.estimate if np.isnan(x) else x for x in (interval.low, interval.high))
    return sign * low, sign * high


def _estimate(interval: Interval | None) -> float:
    assert interval is not None
    return interval.estimate


def _unit(column: Column) -> str:
    return {"performance": "", "1": "", "share": ", as a share"}.get(column.unit, f", in {column.unit}")


def _arrow(column: Column) -> str:
    return {True: "; higher is better", False: "; lower is better", None: ""}[column.higher_is_better]


def number(x: float, unit: str = "performance") -> str:
    """For people: ``0.81``, ``120 k``, ``1.5 MB``; ``never`` for an infinite time.

    >>> number(-0.001), number(123_456, "steps"), number(1_500_000, "bytes"), number(float("inf"), "steps")
    ('0.00', '123 k', '1.5 MB', 'never')
    """
    if np.isinf(x):
        return "never"
    if unit in ("performance", "1", "share"):
        return f"{x:.2f}".replace("-0.00", "0.00").replace("-", "−")
    power = 0
    while abs(x) >= 999.5 and power < len(PREFIXES) - 1:
        x, power = x / 1000, power + 1
    suffix = PREFIXES[power] + ("B" if power else " B") if unit == "bytes" else PREFIXES[power]
    return f"{x:.3g}{suffix}".replace("-", "−")


def cell_text(cell: Cell, unit: str) -> str:
    """As ``0.81 [0.77, 0.85]``; without brackets where there is no interval."""
    if cell.interval is None:
        return cell.text
    return interval_text(cell.interval, unit)


def interval_text(interval: Interval, unit: str = "performance") -> str:
    """As ``0.81 [0.77, 0.85]``; without brackets where there is no interval."""
    estimate, limits = parts(interval, unit)
    return f"{estimate} {limits}".rstrip()


def parts(interval: Interval, unit: str) -> tuple[str, str]:
    """The estimate, and its limits in brackets; these are empty for single runs and for counts that never vary."""
    estimate, low, high = (number(x, unit) for x in interval)
    constant = interval.low == interval.high and unit not in ("performance", "1", "share")
    return estimate, "" if constant or np.isnan(interval.low) else f"[{low}, {high}]"


def markdown(table: Table) -> str:
    """GitHub's Markdown: title, table, explanations."""
    lines = [[*row] for row in _texts(table, lambda text, best: f"**{_md(text)}**" if best else _md(text))]
    heading = ["", *(_md(c.name) for c in table.columns)]
    rule = ["---", *("---:" for _ in table.columns)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in [heading, rule, *lines])
    return f"### {table.title}\n\n{body}\n\n" + "\n".join(f"- {_md(note)}" for note in table.explanations()) + "\n"


def _md(text: str) -> str:
    return re.sub(r"([|*_<>\\])", r"\\\1", text) if "``" not in text else text.replace("``", "`")


def latex(table: Table) -> str:
    """A ``table`` environment for the package booktabs, explanations as comments."""
    rows = _texts(table, lambda text, best: rf"\textbf{{{_tex(text)}}}" if best else _tex(text))
    heading = " & ".join(["", *(_tex(c.name) for c in table.columns)])
    body = "\n".join("  " + " & ".join(row) + r" \\" for row in rows)
    comments = "\n".join(f"% {note}" for note in table.explanations())
    return (
        f"% Needs \\usepackage{{booktabs}}.\n{comments}\n\\begin{{table}}\n  \\centering\n"
        f"  \\caption{{{_tex(table.title)}.}}\n  \\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n"
        f"  \\toprule\n  {heading} \\\\\n  \\midrule\n{body}\n  \\bottomrule\n  \\end{{tabular}}\n\\end{{table}}\n"
    )


TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", DASH: "--", "−": "$-$"}


def _tex(text: str) -> str:
    return "".join(TEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _texts(table: Table, write: Callable[[str, bool], str]) -> list[list[str]]:
    """Every row, its name first; ``write`` is given a text, and whether it is among the best."""
    best = [table.best(i) for i in range(len(table.columns))]
    return [
        [write(name, False)]
        + [write(cell_text(cell, c.unit), name in b) for cell, c, b in zip(row, table.columns, best, strict=True)]
        for name, row in table.rows.items()
    ]


def to_csv(table: Table) -> str:
    """Plain numbers: a column an estimate, and two for its limits; empty where undefined."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = (c.name for c in table.columns)
    writer.writerow(["learner", *(name + end for name in names for end in ("", " low", " high"))])
    for name, row in table.rows.items():
        writer.writerow([name, *(x for cell in row for x in _plain(cell))])
    return out.getvalue()


def _plain(cell: Cell) -> list[str]:
    if cell.interval is None:
        return ["" if cell.text == DASH else cell.text, "", ""]
    return ["" if np.isnan(x) else repr(float(x)) for x in cell.interval]


def to_html(table: Table) -> str:
    """A ``figure`` with caption, table, and the explanations folded away."""
    best = [table.best(i) for i in range(len(table.columns))]
    heading = "".join(f'<th scope="col">{html.escape(c.name)}</th>' for c in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(_td(cell, c, name in b) for cell, c, b in zip(row, table.columns, best, strict=True))
        + "</tr>\n"
        for name, row in table.rows.items()
    )
    notes = "".join(f"<li>{code(note)}</li>" for note in table.explanations())
    return (
        f'<figure class="table"><figcaption>{html.escape(table.title)}</figcaption><div class="wide">'
        f"<table><thead><tr><td></td>{heading}</tr></thead><tbody>\n{rows}</tbody></table></div>"
        f"<details><summary>What the columns mean</summary><ul>{notes}</ul></details></figure>\n"
    )


def code(text: str) -> str:
    """Escaped for HTML, with double backticks as ``code``."""
    return re.sub("`+([^`]*)`+", r"<code>\1</code>", html.escape(text))


def _td(cell: Cell, column: Column, best: bool) -> str:
    if cell.interval is None:
        return f'<td class="text" title="{html.escape(cell.reason)}">{html.escape(cell.text)}</td>'
    estimate, limits = parts(cell.interval, column.unit)
    strong = f"<strong>{estimate}</strong>" if best else estimate
    return f"<td>{strong}{f' <small>{limits}</small>' if limits else ''}</td>"


def write_table(folder: Path, table: Table) -> list[Path]:
    """Write ``NAME.md``, ``NAME.tex`` and ``NAME.csv`` into a folder."""
    written = []
    for suffix, text in ((".md", markdown(table)), (".tex", latex(table)), (".csv", to_csv(table))):
        write_atomically(folder / f"{table.name}{suffix}", text)
        written.append(folder / f"{table.name}{suffix}")
    return written
