"""The page of a paper, the same template for all: from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lifelong_gym.measures.verdicts import EXPECTATIONS, RULE, Evidence, counted
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.judging import Checked, Judged, check, judge
from lifelong_gym.papers.numbers import SHOWN, Numbers
from lifelong_gym.papers.specs import DEFAULT, PAPER, US, FigureSpec, PaperSpec, SectionSpec
from lifelong_gym.papers.tabulating import DASH, markdown, shown, table

SILENT = "not printed"
INTERVALS = (
    "Brackets hold 95% intervals over seeds: Student's t for means; for ratios on logarithms, paired by seed; Kaplan "
    "and Meier's for what may never come. In simulations, with 3 seeds as with 20, about 95% of them hold the truth."
)
WARNINGS = {"quick": "**This is the quick version: too few runs, and too short ones, for conclusions.**"}


def page(paper: PaperSpec, numbers: Numbers, code: Code, budget: str) -> str:
    """The page's Markdown."""
    judged = [judge(claim, numbers, code) for claim in paper.claims]
    checked = [check(each, numbers, code) for each in paper.expectations]
    parts = [
        _opening(paper, budget),
        _claims("What the paper claims", [each for each in judged if each.claim.by == PAPER], paper.name),
        _claims("Controls that the paper lacks", [each for each in judged if each.claim.by == US], paper.name),
        f"{RULE}\n\n{INTERVALS}" if judged else INTERVALS,
        _expectations(checked),
        _settings(paper),
        _runs(numbers),
        *(_section(each, paper, numbers, code) for each in paper.sections or _whole(paper)),
        _details(judged, checked),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(paper: PaperSpec, budget: str) -> str:
    option = "" if budget == DEFAULT else f" --{budget}"
    return "\n\n".join(
        part
        for part in (
            f"# {paper.title}, run again",
            f"{paper.authors}, *{paper.title}*, {paper.where}. This page, its figures and "
            f"[its numbers]({paper.name}/summary.json) are written by",
            f"    lifelong reproduce {paper.name}{option}",
            WARNINGS.get(budget, ""),
            paper.summary.strip(),
        )
        if part
    )


def _claims(title: str, rows: Sequence[Judged], folder: str) -> str:
    if not rows:
        return ""
    found = ", ".join(f"{word} {n}" for word, n in counted(row.verdict.word for row in rows).items())
    cells = [
        (
            row.claim.text,
            row.claim.where or DASH,
            _brief(row.evidence),
            _word(row),
            f"[{row.claim.figure}]({folder}/{row.claim.figure}.png)" if row.claim.figure else DASH,
        )
        for row in rows
    ]
    return f"## {title}\n\n{found}.\n\n{markdown(('claim', 'where', 'measured', 'verdict', 'figure'), cells)}"


def _word(row: Judged) -> str:
    where = f" ({', '.join(row.verdict.opposite)})" if row.verdict.opposite else ""
    return f"**{row.verdict.word}**{where}{f'. {row.claim.remark}' if row.claim.remark else ''}"


def _brief(evidence: Iterable[Evidence]) -> str:
    """Estimates alone: intervals stand at the end of the page."""
    said = (f"{each.system} {each.interval.estimate:.3g}".replace(" inf", " never") for each in evidence)
    return ", ".join(dict.fromkeys(said))


def _expectations(rows: Sequence[Checked]) -> str:
    if not rows:
        return ""
    words = [row.word for row in rows]
    counts = ", ".join(f"{words.count(word)} {word}" for word in EXPECTATIONS)
    cells = [
        (row.expectation.text, _brief(row.evidence), row.word, row.expectation.remark if row.word != "met" else "")
        for row in rows
    ]
    table = markdown(("expected", "measured", "", "beside it"), cells)
    return f"## What was expected\n\nWritten down before the runs: {counts}.\n\n{table}"


def _settings(paper: PaperSpec) -> str:
    if not paper.settings:
        return ""
    rows = [(each.name, each.theirs or SILENT, each.ours or DASH, each.why) for each in paper.settings]
    return "## Theirs and ours\n\n" + markdown(("", "the paper's", "ours", "why"), rows)


def _runs(numbers: Numbers) -> str:
    rows: dict[tuple[str, ...], list[str]] = {}
    for study, systems in numbers.content["values"].items():
        for system, methods in systems.items():
            for values in methods.values():
                shown = SHOWN if "preset" in values else ()  # others measure something of their own
                rest = [str(values[name]) if name in shown else DASH for name in SHOWN]
                key = (study, str(values["seeds"]), *rest)
                if system not in rows.setdefault(key, []):
                    rows[key].append(system)
    cells = [(study, ", ".join(systems), *rest) for (study, *rest), systems in rows.items()]
    head = ("study", "systems", "seeds", "tasks", "sweeps", "preset")
    return "## What was run\n\n" + markdown(head, cells)


def _whole(paper: PaperSpec) -> list[SectionSpec]:
    """Without sections: all figures, then all tables."""
    return [SectionSpec("Figures and tables", "", tuple(paper.figures), tuple(paper.tables))]


def _section(section: SectionSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> str:
    parts = [
        f"## {section.title}",
        section.text.strip(),
        *(_picture(paper.figures[name], paper.name) for name in section.figures),
        *(table(paper.tables[name], paper, numbers, code) for name in section.tables),
    ]
    return "\n\n".join(part for part in parts if part) if len(parts) > 2 or section.text else ""


def _picture(figure: FigureSpec, folder: str) -> str:
    picture = f"![{figure.caption or figure.name}]({folder}/{figure.name}.png)"
    return f"{picture}\n\n{figure.caption}" if figure.caption else picture


def _details(judged: Sequence[Judged], checked: Sequence[Checked]) -> str:
    """Every number behind a verdict, with its interval."""
    rows = [(row.claim.text, e.system, shown(e.interval), _bound(e), e.found) for row in judged for e in row.evidence]
    rows += [
        (row.expectation.text, e.system, shown(e.interval), _bound(e), DASH) for row in checked for e in row.evidence
    ]
    if not rows:
        return ""
    head = ("claim or expectation", "system", "measured", "bound", "")
    return "## The numbers behind the verdicts\n\n" + markdown(head, rows)


def _bound(evidence: Evidence) -> str:
    bound = evidence.bound
    return f"{bound.side} {bound.at:g}" + (f" to {bound.to:g}" if bound.to != bound.at else "")
