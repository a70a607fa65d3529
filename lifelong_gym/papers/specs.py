"""What a paper's file says, as data: systems, methods, studies, claims, figures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifelong_gym.measures.verdicts import Bound

Values = Mapping[str, Any]

PAPER, US = "paper", "us"
QUICK, DEFAULT, FULL = "quick", "default", "full"
BUDGETS = (QUICK, DEFAULT, FULL)
LEARNING = "learning"  # the measured run, see `sweeps`
RATIO, DIFFERENCE, MEAN, MEDIAN, COUNT, FUNCTION = "ratio", "difference", "mean", "median", "count", "function"
COMPARISONS = (RATIO, DIFFERENCE, MEAN, MEDIAN, COUNT, FUNCTION)


@dataclass(frozen=True)
class SettingSpec:
    """A setting of the paper's beside ours."""

    name: str  # for people
    theirs: str  # what the paper prints; empty: nothing
    ours: str  # what is run
    why: str  # where they differ


@dataclass(frozen=True)
class SystemSpec:
    """What is learned in."""

    key: str  # short name
    name: str  # for people
    env: str  # id of the environment; empty where studies have measurements of their own
    arguments: Values  # of the family itself
    values: Values  # what its runs differ in


@dataclass(frozen=True)
class MethodSpec:
    """Who learns, or whatever else is compared."""

    label: str  # for people and files
    kind: str  # class of the learner, by name or ``module:Class``; empty where there is none
    arguments: Values  # of its constructor; ``"$name"`` is a value's
    values: Values  # what its runs differ in
    only: Mapping[str, Values]  # values by system


@dataclass(frozen=True)
class StudySpec:
    """Methods side by side in systems."""

    name: str  # of files and pages
    systems: tuple[str, ...]  # keys
    methods: tuple[str, ...]  # labels
    measure: str  # ``learning``, or ``module:function`` from settings and progress to figures
    maker: str  # ``module:function`` from the run to its learner; empty: made as benchmarks make it
    watch: tuple[str, ...]  # what is noted of a run after every sweep, by name or ``module:Class``
    values: Values  # what its runs differ in
    only: Mapping[str, Values]  # values by system
    quick: Values  # values of the quick version
    full: Values  # values of the full version


@dataclass(frozen=True)
class ComparisonSpec:
    """A number that something is said of."""

    kind: str  # one of `COMPARISONS`
    first: tuple[str, ...]  # methods, or what ``function`` is
    second: tuple[str, ...]  # methods that they are compared with
    of: tuple[str, ...]  # which quantity, see `quantities`
    study: str  # in which study
    bounds: Mapping[str, Bound]  # what is said of it, by system
    scale: str  # on which ties are measured: ``ratio``, ``difference`` or ``count``
    spans: Mapping[str, float]  # of that of differences, by system: from doing nothing to the reference
    effect: float  # that the paper prints, a share
    needs: Values  # least values of a run; below them nothing was tested
    lasted: str  # of a median: the value that says how long was waited


@dataclass(frozen=True)
class ClaimSpec:
    """What is claimed, by the paper or by us."""

    text: str  # in words
    by: str  # ``paper``, or ``us``: a control
    where: str  # in the paper
    parts: tuple[ComparisonSpec, ...]  # that must all be seen
    figure: str  # name of ours that shows it; empty: none
    remark: str  # what belongs beside the verdict


@dataclass(frozen=True)
class ExpectationSpec:
    """What was expected before the runs."""

    text: str  # in words
    parts: tuple[ComparisonSpec, ...]  # of which the worst counts
    remark: str  # what explains the difference where it isn't met


@dataclass(frozen=True)
class FigureSpec:
    """A picture."""

    name: str  # of its file
    kind: str  # ``curves``, ``bars``, ``matrix`` or ``module:function`` from the numbers to a Matplotlib figure
    study: str  # that it shows
    systems: tuple[str, ...]  # that it shows
    methods: tuple[str, ...]  # that it shows
    of: tuple[str, ...]  # quantities; those that a function asks for
    also: Mapping[str, tuple[str, ...]]  # quantities of other studies that a function asks for
    caption: str  # below it
    label: str  # of the y axis
    across: str  # label of the x axis of curves
    log: bool  # whether axes are logarithmic, that of x only where it doesn't begin at 0


@dataclass(frozen=True)
class TableSpec:
    """Numbers."""

    name: str  # that sections call it
    kind: str  # ``means``, or ``module:function`` from the numbers to a heading and rows of texts
    study: str  # that it shows
    systems: tuple[str, ...]  # its columns, or its rows where there are several quantities
    methods: tuple[str, ...]  # its rows
    of: tuple[str, ...]  # quantities: with one, systems are columns; with several, these are
    also: Mapping[str, tuple[str, ...]]  # quantities of other studies that a function asks for
    lasted: str  # of times that may never come: the value that says how long was waited
    over: str  # a method whose numbers the others are divided by; empty: none
    caption: str  # above it


@dataclass(frozen=True)
class SectionSpec:
    """A part of the page."""

    title: str  # its heading
    text: str  # Markdown
    figures: tuple[str, ...]  # names, in order
    tables: tuple[str, ...]  # names, in order, below the figures


@dataclass(frozen=True)
class PaperSpec:
    """A paper's experiments."""

    name: str  # of its page, and of the folder with figures and numbers
    title: str  # the paper's
    authors: str  # its
    where: str  # it appeared
    summary: str  # what a reader remembers
    settings: tuple[SettingSpec, ...]  # theirs and ours
    values: Values  # what runs differ in, with what holds where nothing else is said
    arguments: Values  # of every learner's constructor
    systems: Mapping[str, SystemSpec]  # what is run
    methods: Mapping[str, MethodSpec]
    studies: Mapping[str, StudySpec]
    claims: tuple[ClaimSpec, ...]  # what is said of it
    expectations: tuple[ExpectationSpec, ...]
    figures: Mapping[str, FigureSpec]  # what the page shows
    tables: Mapping[str, TableSpec]
    sections: tuple[SectionSpec, ...]

    def resolved(self, study: StudySpec, system: str, method: str, budget: str) -> dict[str, Any]:
        """The values of a run: the paper's, the system's, the study's, the method's and the budget's; the last wins."""
        who, where = self.methods[method], self.systems[system]
        small = {QUICK: study.quick, DEFAULT: {}, FULL: study.full}[budget]
        own = (study.only.get(system, {}), who.values, who.only.get(system, {}), small)
        return {
            name: value for level in (self.values, where.values, study.values, *own) for name, value in level.items()
        }

    def needed(self) -> dict[tuple[str, str], set[str]]:
        """Quantities that the page shows, by study and method."""
        found: dict[tuple[str, str], set[str]] = {}
        for study, methods, of in self._asked():
            for method in methods or self.studies[study].methods:
                found.setdefault((study, method), set()).update(of)
        return found

    def _asked(self) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
        """Study, methods (none: all of it) and quantities."""
        for part in self.comparisons():
            first = () if part.kind == FUNCTION else part.first
            yield part.study, first, part.of if part.first == part.second or not part.second else part.of[:1]
            if part.second:
                yield part.study, part.second, part.of[-1:]
        shown: Sequence[FigureSpec | TableSpec] = (*self.figures.values(), *self.tables.values())
        for each in shown:
            yield each.study, each.methods, each.of
            yield from ((study, (), of) for study, of in each.also.items())
        for table in self.tables.values():
            if table.over:
                yield table.study, (table.over,), table.of

    def comparisons(self) -> Iterator[ComparisonSpec]:
        """All that is compared, of claims and of expectations."""
        for claim in self.claims:
            yield from claim.parts
        for expectation in self.expectations:
            yield from expectation.parts
