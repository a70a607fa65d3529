"""The page of a paper, the same template for all: from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lifelong_gym.measures.statistics import number
from lifelong_gym.measures.verdicts import EXPECTATIONS, MET, RULE, Bound, Evidence, counted
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.judging import Judged, judge
from lifelong_gym.papers.numbers import SHOWN, Numbers
from lifelong_gym.papers.specs import (
    DEFAULT,
    PAPER,
    US,
    AboutSpec,
    ClaimSpec,
    ExpectationSpec,
    FigureSpec,
    PaperSpec,
    SectionSpec,
)
from lifelong_gym.papers.tabulating import DASH, shown, table
from lifelong_gym.reports.markup import pipe_table

SILENT = "not printed"
MANY = 4  # numbers that are said one by one even where they are the same
INTERVALS = (
    "Brackets hold 95% intervals over seeds: Student's t for means; for ratios on logarithms, paired by seed; Kaplan "
    "and Meier's for what may never come. In simulations, with 3 seeds as with 20, about 95% of them hold the truth."
)
WARNINGS = {"quick": "**This is the quick version: too few runs, and too short ones, for conclusions.**"}


def page(paper: PaperSpec, numbers: Numbers, code: Code, budget: str) -> str:
    """The page's Markdown."""
    judged = [judge(claim, numbers, code) for claim in paper.claims]
    checked = [judge(each, numbers, code) for each in paper.expectations]
    theirs_and_ours = [(name, s.theirs or SILENT, s.ours or DASH, s.why) for name, s in paper.settings.items()]
    parts = (
        _opening(paper.about, code.name, budget),
        _claims("What the paper claims", [each for each in judged if each.said.by == PAPER], code.name),
        _claims("Controls that the paper lacks", [each for each in judged if each.said.by == US], code.name),
        RULE if judged else "",
        INTERVALS,
        _expectations(checked),
        _chapter("Theirs and ours", ("", "the paper's", "ours", "why"), theirs_and_ours),
        _chapter(
            "What was run",
            ("study", "systems", "seeds", "tasks", "sweeps", "preset"),
            _runs(numbers),
            _left_out(paper, numbers),
        ),
        *(_section(each, paper, numbers, code) for each in paper.sections or _whole(paper)),
        _details(judged, checked),
    )
    return _joined(*parts) + "\n"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _chapter(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], said: str = "") -> str:
    """A heading, what is said first, and a table; nothing where that has no rows."""
    return _joined(f"## {title}", said, pipe_table(head, rows)) if rows else ""


def _opening(about: AboutSpec, name: str, budget: str) -> str:
    option = "" if budget == DEFAULT else f" --{budget}"
    return _joined(
        f"# {about.title}, run again",
        f"{about.authors}, *{about.title}*, {about.where}. This page, its figures and "
        f"[its numbers]({name}/summary.json) are written by",
        f"    lifelong reproduce {name}{option}",
        WARNINGS.get(budget, ""),
        about.summary.strip(),
    )


def _claims(title: str, judged: Sequence[Judged[ClaimSpec]], folder: str) -> str:
    rows = []
    for said, evidence, verdict in judged:
        figure = f"[{said.figure}]({folder}/{said.figure}.png)" if said.figure else DASH
        opposite = f" ({', '.join(verdict.opposite)})" if verdict.opposite else ""
        word = f"**{verdict.word}**{opposite}{f'. {said.remark}' if said.remark else ''}"
        rows.append((said.text, said.where or DASH, _brief(evidence), word, figure))
    counts = ", ".join(f"{word} {n}" for word, n in counted(each.verdict.word for each in judged).items())
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
    counts = ", ".join(f"{words.count(word)} {word}" for word in EXPECTATIONS)
    rows = [
        (said.text, _brief(evidence), word, said.remark if word != MET else "") for said, evidence, (word, _) in checked
    ]
    said = f"Written down before the runs: {counts}."
    return _chapter("What was expected", ("expected", "measured", "", "beside it"), rows, said)


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


def _left_out(paper: PaperSpec, numbers: Numbers) -> str:
    """Systems whose package was missing."""
    found = [
        f"{system} of {study.name} (needs {paper.systems[system].package})"
        for study in paper.studies.values()
        for system in study.systems
        if not numbers.systems(study.name, [system])
    ]
    return f"Not run, since a package was missing: {', '.join(found)}." if found else ""


def _whole(paper: PaperSpec) -> list[SectionSpec]:
    """Without sections: all figures, then all tables."""
    shown: dict[str, Any] = {"figures": tuple(paper.figures), "tables": tuple(paper.tables)}
    return [SectionSpec.model_construct(title="Figures and tables", **shown)] if any(shown.values()) else []


def _section(section: SectionSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> str:
    figures = [_picture(paper.figures[name], code.name) for name in section.figures]
    tables = [table(paper.tables[name], paper, numbers, code) for name in section.tables]
    return _joined(f"## {section.title}", section.text.strip(), *figures, *tables)


def _picture(figure: FigureSpec, folder: str) -> str:
    return _joined(f"![{figure.caption or figure.name}]({folder}/{figure.name}.png)", figure.caption)


def _details(judged: Sequence[Judged[ClaimSpec]], checked: Sequence[Judged[ExpectationSpec]]) -> str:
    """Every number behind a verdict, with its interval."""
    found = [(each.said.text, e, e.found) for each in judged for e in each.evidence]
    found += [(each.said.text, e, DASH) for each in checked for e in each.evidence]
    rows = [(text, e.system, shown(e.interval), _bound(e.bound), word) for text, e, word in found]
    return _chapter(
        "The numbers behind the verdicts", ("claim or expectation", "system", "measured", "bound", ""), rows
    )


def _bound(bound: Bound) -> str:
    return f"{bound.side} {bound.at:g}" + (f" to {bound.to:g}" if bound.to != bound.at else "")
