"""Tables as Markdown, CSV and HTML, and how they are written."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import numpy as np

from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.reports.latex import latex
from lifelong_gym.reports.markup import as_html, as_markdown, pipe_table
from lifelong_gym.reports.tables import DASH, Cell, Column, Table, cell_text, parts

FITS = 2  # columns on a narrow screen


def markdown(table: Table) -> str:
    """GitHub's Markdown: title, table, explanations."""
    best = [table.best(i) for i in range(len(table.columns))]
    rows = []
    for name, row in table.rows.items():
        texts = [_md(cell_text(cell, c.unit)) for cell, c in zip(row, table.columns, strict=True)]
        rows.append([_md(name), *(f"**{x}**" if name in b else x for x, b in zip(texts, best, strict=True))])
    body = pipe_table(["", *(_md(c.name) for c in table.columns)], rows, align="---:")
    notes = "\n".join(f"- {as_markdown(note)}" for note in table.explanations())
    return f"### {_md(table.title)}\n\n{body}\n\n{notes}\n"


def _md(text: str) -> str:
    return re.sub(r"([|*_<>`\\])", r"\\\1", " ".join(text.split()))


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
    notes = "".join(f"<li>{as_html(note)}</li>" for note in table.explanations())
    body = f"<table><thead><tr><td></td>{heading}</tr></thead><tbody>\n{rows}</tbody></table>"
    many = " many" if len(table.columns) > FITS else ""
    return (
        f'<figure class="table{many}"><figcaption>{html.escape(table.title)}</figcaption>{wide(body, table.title)}'
        f"<details><summary>What the columns mean</summary><ul>{notes}</ul></details></figure>\n"
    )


def wide(body: str, name: str) -> str:
    """What scrolls sideways where the screen is narrow, also with the keyboard."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{html.escape(name)}">{body}</div>'


def _td(cell: Cell, column: Column, best: bool) -> str:
    why = f' title="{html.escape(cell.reason)}"' if cell.reason else ""
    if cell.interval is None:
        return f'<td class="text"{why}>{html.escape(cell.text)}</td>'
    estimate, limits = parts(cell, column.unit)
    strong = f"<strong>{estimate}</strong>" if best else estimate
    return f"<td{why}>{strong}{f' <small>{limits}</small>' if limits else ''}</td>"


def write_table(folder: Path, table: Table) -> list[Path]:
    """Write ``NAME.md``, ``NAME.tex`` and ``NAME.csv`` into a folder."""
    written = []
    for suffix, text in ((".md", markdown(table)), (".tex", latex(table)), (".csv", to_csv(table))):
        write_atomically(folder / f"{table.name}{suffix}", text)
        written.append(folder / f"{table.name}{suffix}")
    return written
