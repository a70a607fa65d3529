"""Tables for papers: booktabs, a label, and never wider than the text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from lifelong_gym.reports.markup import bare
from lifelong_gym.reports.tables import DAGGER, DASH, Cell, Table, parts

COLUMN = 234.0  # points: a column of ICML; those of IEEE and ACM are wider
CHARACTER = 4.4  # points, on average, at 9 points; 0.78 of it at 7
GAP = 8.0  # points, between columns
HEADING = 11  # characters of a heading's line
SYMBOLS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", DASH: "--", "−": "$-$", DAGGER: r"$^\dagger$",
}  # fmt: skip


def latex(table: Table) -> str:
    """A ``table``, or over two columns a ``table*``, with caption, label and intervals below their estimates.

    Explanations stand before it as comments. What is too wide for the text all the same is scaled down to it.
    """
    best = [table.best(i) for i in range(len(table.columns))]
    rows = "\n".join(_row(table, name, [name in names for names in best]) for name in table.rows)
    heading = " & ".join(["", *(_heading(column.name) for column in table.columns)])
    kind = "table" if width(table) <= COLUMN else "table*"
    comments = "\n".join(f"% {bare(note)}" for note in table.explanations())
    return (
        f"% Needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}.\n{comments}\n"
        f"\\begin{{{kind}}}\n  \\centering\n"
        f"  \\caption{{{escape(table.title)}.}}\n  \\label{{{label(table)}}}\n"
        f"  \\small\\setlength{{\\tabcolsep}}{{{GAP / 2:g}pt}}\n"
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"  \\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}\n"
        f"  \\toprule\n  {heading} \\\\\n  \\midrule\n{rows}\n  \\bottomrule\n  \\end{{tabular}}}}\n\\end{{{kind}}}\n"
    )


def label(table: Table) -> str:
    """What its references name."""
    return "tab:" + re.sub(r"[^A-Za-z0-9_.:-]+", "-", table.name)


def width(table: Table) -> float:
    """Of the table in points, roughly."""
    names = CHARACTER * max(map(len, table.rows))
    columns = zip(table.columns, zip(*table.rows.values(), strict=True), strict=True)
    return names + sum(GAP + max(_widths(column.name, column.unit, cells)) for column, cells in columns)


def _widths(heading: str, unit: str, cells: Sequence[Cell]) -> Iterable[float]:
    yield from (CHARACTER * len(line) for line in _lines(heading))
    for cell in cells:
        estimate, limits = parts(cell, unit)
        yield from (CHARACTER * len(estimate), 0.78 * CHARACTER * len(limits))


def _lines(heading: str) -> list[str]:
    return textwrap.wrap(heading, HEADING, break_long_words=False, break_on_hyphens=False)


def _heading(text: str) -> str:
    lines = [escape(line) for line in _lines(text)]
    return lines[0] if len(lines) == 1 else r"\shortstack[r]{\strut " + r"\\\strut ".join(lines) + "}"


def _row(table: Table, name: str, best: Sequence[bool]) -> str:
    """Of estimates; below, where there are any, of their limits."""
    texts = [parts(cell, column.unit) for cell, column in zip(table.rows[name], table.columns, strict=True)]
    shown = [rf"\textbf{{{escape(x)}}}" if strong else escape(x) for (x, _), strong in zip(texts, best, strict=True)]
    lines = [" & ".join([_first(name), *shown])]
    if any(limits for _, limits in texts):
        lines.append(" & ".join(["", *(rf"\scriptsize {escape(limits)}" if limits else "" for _, limits in texts)]))
    return "\n".join(f"  {line} \\\\" for line in lines)


def _first(name: str) -> str:
    """A bracket or a star would be taken for an argument of the line's end before it."""
    return ("{}" if name.startswith(("[", "*")) else "") + escape(name)


def escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(SYMBOLS.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
