"""The page of a paper and its tables, the same template for all: from the numbers alone."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from lifelong_gym.measures.intervals import mean_interval, median_time, ratio_interval
from lifelong_gym.measures.statistics import Interval, number
from lifelong_gym.measures.verdicts import EXPECTATIONS, MET, NOT_TESTED, RULE, VERDICTS, Evidence
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import SHOWN, Judged, NotRunError, Numbers, flat_times, judge
from lifelong_gym.papers.specs import (
    DEFAULT,
    FILM,
    PAPER,
    US,
    ClaimSpec,
    ExpectationSpec,
    FigureSpec,
    PaperSpec,
    SectionSpec,
    TableSpec,
)
from lifelong_gym.reports.markup import pipe_table
from lifelong_gym.reports.tables import DASH as DASH

Rows = tuple[list[str], list[list[str]]]  # the head of a table, and what is below

SILENT = "not printed"
MANY = 4  # numbers that are said one by one even where they are the same
INTERVALS = (
    "Brackets hold 95% intervals over seeds: Student's t for means; for ratios on logarithms, paired by seed; Kaplan "
    "and Meier's for what may never come. In simulations, with 3 seeds as with 20, about 95% of them hold the truth."
)
WARNINGS = {"quick": "**This is the quick version: too few runs, and too short ones, for conclusions.**"}


def page(paper: PaperSpec, numbers: Numbers, code: Code, budget: str, drawn: Container[str]) -> str:
    """The page's Markdown; figures that aren't drawn are left out."""
    about, option = paper.about, "" if budget == DEFAULT else f" --{budget}"
    judged = [judge(claim, paper, numbers, code) for claim in paper.claims]
    checked = [judge(each, paper, numbers, code) for each in paper.expectations]
    settings = [(name, s.theirs or SILENT, s.ours or DASH, s.why) for name, s in paper.settings.items()]
    heads = ("study", "systems", "seeds", "tasks", "sweeps", "preset")
    everything: dict[str, Any] = {"figures": tuple(paper.figures), "tables": tuple(paper.tables)}
    whole = [SectionSpec.model_construct(title="Figures and tables", **everything)] if any(everything.values()) else []
    command = f"lifelong reproduce {code.name}{option}"
    parts = (
        f"# {about.title}, run again",
        f"{about.authors}, *{about.title}*, {about.where}. This page, its figures and "
        f"[its numbers]({code.name}/summary.json) are written by",
        f"    {command}",
        WARNINGS.get(budget, ""),
        _not_run(paper, numbers, command),
        about.summary.strip(),
        _claims("What the paper claims", [each for each in judged if each.said.by == PAPER], code.name, drawn),
        _claims("Controls that the paper lacks", [each for each in judged if each.said.by == US], code.name, drawn),
        RULE if judged else "",
        INTERVALS,
        _expectations(checked),
        _chapter("Theirs and ours", ("", "the paper's", "ours", "why"), settings),
        _chapter("What was run", heads, _runs(numbers)),
        *(_section(each, paper, numbers, code, drawn) for each in paper.sections or whole),
        _details(judged, checked),
    )
    return _joined(*parts) + "\n"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _chapter(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], said: str = "") -> str:
    """A heading, what is said first, and a table; nothing where that has no rows."""
    return _joined(f"## {title}", said, pipe_table(head, rows)) if rows else ""


def _not_run(paper: PaperSpec, numbers: Numbers, command: str) -> str:
    """What is missing, and how to add it."""
    found = []
    for place in numbers.missing(p for s in paper.studies.values() for p in product([s.name], s.systems, s.methods)):
        systems = place[1:2] or paper.studies[place[0]].systems
        packages = sorted({paper.systems[system].package for system in systems} - {""})
        found.append("/".join(place) + (f" (needs {', '.join(packages)})" if packages else ""))
    how = f"`{command} --page-folder FOLDER` measures it and adds it to the page in that folder"
    return f"**Not run yet: {', '.join(found)}.** {how}." if found else ""


def _beside(judged: Judged[Any]) -> str:
    """What a verdict stands on."""
    missing = ", ".join("/".join(place) for place in judged.missing)
    named = f"not run yet: {missing}" if missing else ", ".join(judged.verdict.opposite)
    return f" ({named})" if named else ""


def _claims(title: str, judged: Sequence[Judged[ClaimSpec]], folder: str, drawn: Container[str]) -> str:
    rows = []
    for each in judged:
        said = each.said
        figure = f"[{said.figure}]({folder}/{said.figure}.png)" if said.figure in drawn else DASH
        remark = f". {said.remark}" if said.remark and not each.missing else ""
        word = f"**{each.verdict.word}**{_beside(each)}{remark}"
        rows.append((said.text, said.where or DASH, _brief(each.evidence), word, figure))
    words = [each.verdict.word for each in judged]
    counts = ", ".join(f"{word} {words.count(word)}" for word in VERDICTS if word in words)
    return _chapter(title, ("claim", "where", "measured", "verdict", "figure"), rows, f"{counts}.")


def _brief(evidence: Iterable[Evidence]) -> str:
    """Estimates alone: intervals stand at the end of the page. Of many that are the same it is said once.

    >>> from lifelong_gym.measures.verdicts import Bound, Interval
    >>> zero = Evidence("SM", Interval(0.0, 0.0, 0.0), Bound("below", 1.0, 1.0), "count")
    >>> _brief([zero]), _brief([zero] * 5)
    ('SM 0', '0 in all 5')
    """
    found = [(each.system, number(each.interval.estimate)) for each in evidence]
    if len(found) > MANY and len({said for _, said in found}) == 1:
        return f"{found[0][1]} in all {len(found)}"
    return ", ".join(dict.fromkeys(f"{system} {said}" for system, said in found))


def _expectations(checked: Sequence[Judged[ExpectationSpec]]) -> str:
    words = [each.verdict.word for each in checked]
    counts = ", ".join(f"{words.count(word)} {word}" for word in (*EXPECTATIONS, *{*words} - {*EXPECTATIONS}))
    rows = [
        (
            e.said.text,
            _brief(e.evidence),
            e.verdict.word + _beside(e),
            "" if word in (MET, NOT_TESTED) else e.said.remark,
        )
        for e, word in zip(checked, words, strict=True)
    ]
    head = ("expected", "measured", "", "beside it")
    return _chapter("What was expected", head, rows, f"Written down before the runs: {counts}.")


def _runs(numbers: Numbers) -> list[tuple[str, ...]]:
    """Systems in which the same was run stand together."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for study, systems in numbers.content["values"].items():
        for system, methods in systems.items():
            learn = [values for values in methods.values() if "preset" in values]
            for values in learn or methods.values():  # what is beside learners has their values
                shown = SHOWN if "preset" in values else ()  # others measure something of their own
                rest = [str(values[name]) if name in shown else DASH for name in SHOWN]
                found = rows.setdefault((study, str(values["seeds"]), *rest), [])
                if system not in found:
                    found.append(system)
    return [(study, ", ".join(systems), *rest) for (study, *rest), systems in rows.items()]


def _section(section: SectionSpec, paper: PaperSpec, numbers: Numbers, code: Code, drawn: Container[str]) -> str:
    figures = [_figure(paper.figures[name], code.name) for name in section.figures if name in drawn]
    tables = [table(paper.tables[name], paper, numbers, code) for name in section.tables]
    return _joined(f"## {section.title}", section.text.strip(), *figures, *tables)


def _figure(spec: FigureSpec, folder: str) -> str:
    shown = [f"{spec.name}.png", *([f"{spec.name}{FILM}"] if spec.film else [])]
    return _joined(*(f"![{spec.caption or spec.name}]({folder}/{file})" for file in shown), spec.caption)


def _details(judged: Sequence[Judged[ClaimSpec]], checked: Sequence[Judged[ExpectationSpec]]) -> str:
    """Every number behind a verdict, with its interval."""
    found = [(each.said.text, e, e.found) for each in judged for e in each.evidence]
    found += [(each.said.text, e, DASH) for each in checked for e in each.evidence]
    rows = []
    for text, e, word in found:
        to = f" to {e.bound.to:g}" if e.bound.to != e.bound.at else ""
        rows.append((text, e.system, shown(e.interval), f"{e.bound.side} {e.bound.at:g}{to}", word))
    head = ("claim or expectation", "system", "measured", "bound", "")
    return _chapter("The numbers behind the verdicts", head, rows)


def shown(interval: Interval) -> str:
    """As in a table; without brackets where there is one number alone.

    >>> shown(Interval(0.5, 0.4, 0.6)), shown(Interval(2.0, 2.0, 2.0)), shown(Interval(1.0, -np.inf, np.inf))
    ('0.5 [0.4, 0.6]', '2', '1')
    """
    is_alone = interval.low == interval.high or (np.isneginf(interval.low) and np.isposinf(interval.high))
    return number(interval.estimate) if is_alone else str(interval)


def table(whole: TableSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> str:
    """With its caption; empty where what it shows wasn't run."""
    spec = numbers.part_of(whole)
    try:
        return _joined(spec.caption, pipe_table(*_rows(spec, paper, numbers, code))) if spec else ""
    except NotRunError:
        return ""


def _rows(spec: TableSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> Rows:
    systems = spec.systems
    if ":" in spec.kind:
        own: Rows = code.load(spec.kind)(numbers, spec)
        return own
    if len(spec.of) == 1:
        head = ["", *(paper.systems[system].name or system for system in systems)]
        rows = [[m, *(_cell(spec, numbers, s, m, spec.of[0]) for s in systems)] for m in spec.methods]
    else:
        head = ["", *(spec.heads or spec.of)]
        several = len(systems) > 1
        rows = [
            [f"{s}, {m}" if several else m, *(_cell(spec, numbers, s, m, of) for of in spec.of)]
            for s, m in product(systems, spec.methods)
        ]
    return head, rows


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
