"""What a page says of a paper's claims, and of figures that were expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.compare import FAILS, HOLDS, MET, MISSED, PARTLY, RULES, UNSURE, met, shown, worst

FEW_SEEDS = 5
QUICK_WARNING = "**This is the quick version: too few seeds and sweeps for conclusions.** "
FEW_WARNING = "**These are too few seeds for conclusions.** "


class Claim(NamedTuple):
    """A row of the table.

    Attributes:
        text: what the paper says.
        where: in the paper.
        measured: what we see, with intervals.
        word: the verdict.
        figure: which of ours shows it; empty: none.
    """

    text: str
    where: str
    measured: str
    word: str
    figure: str


class Expectation(NamedTuple):
    """A row of the table.

    Attributes:
        text: what was expected.
        measured: what we see, with intervals.
        word: whether it is met.
        note: what explains the difference where it isn't.
    """

    text: str
    measured: str
    word: str
    note: str = ""


class Part(NamedTuple):
    """Of an expectation: a name, what was measured, and whether that is as expected."""

    name: str
    interval: Interval
    word: str


def at_most(name: str, interval: Interval, most: float) -> Part:
    """Expected to be so large at most."""
    return Part(name, interval, met(interval, most))


def at_least(name: str, interval: Interval, least: float) -> Part:
    """Expected to be so large at least."""
    turned = Interval(-interval.estimate, -interval.high, -interval.low)
    return Part(name, interval, met(turned, -least))


def expectation(text: str, parts: Iterable[Part], note: str = "") -> Expectation:
    """Of its parts the worst counts; the note is for those that aren't met."""
    found = list(parts)
    word = worst(part.word for part in found)
    measured = listed((part.name, part.interval) for part in found)
    return Expectation(text, measured, word, "" if word == MET else note)


def listed(intervals: Iterable[tuple[str, Interval]]) -> str:
    """Name and interval of each."""
    return "; ".join(f"{name} {shown(interval)}" for name, interval in intervals)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def warning(quick: bool, n_seeds: int) -> str:
    """A sentence for the page's introduction, or nothing."""
    return QUICK_WARNING if quick else FEW_WARNING if n_seeds < FEW_SEEDS else ""


def claims_section(rows: Sequence[Claim], figures: str, n_seeds: int) -> str:
    """How many hold, by which rules, and the table.

    Args:
        rows: the claims.
        figures: folder of the figures, relative to the page.
        n_seeds: of the runs.
    """
    found = Counter(row.word for row in rows)
    counts = ", ".join(f"{word} {found[word]}" for word in (HOLDS, PARTLY, FAILS))
    verdict = "verdict (too few runs)" if n_seeds < FEW_SEEDS else "verdict"
    cells = [
        (
            row.text,
            row.where,
            row.measured,
            f"**{row.word}**",
            f"[{row.figure}]({figures}/{row.figure}.png)" if row.figure else "-",
        )
        for row in rows
    ]
    table = markdown(("the paper claims", "where", "measured", verdict, "figure"), cells)
    return f"## What the paper claims, and what holds\n\n{len(rows)} claims: {counts}. {RULES}\n\n{table}\n"


def expectations_section(rows: Sequence[Expectation]) -> str:
    """How many are met, and the table."""
    found = Counter(row.word for row in rows)
    table = markdown(("expected", "measured", "", "beside it"), rows)
    return (
        "## What was expected\n\nExpectations from prototypes of the same methods, written down before these runs: "
        f"{found[MET]} met, {found[UNSURE]} met but not surely, {found[MISSED]} not met.\n\n{table}\n"
    )
