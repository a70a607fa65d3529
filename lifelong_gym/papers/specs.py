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
    """A setting of the paper's beside ours.

    Attributes:
        name: for people.
        theirs: what the paper prints; empty: nothing.
        ours: what is run.
        why: where they differ.
    """

    name: str
    theirs: str
    ours: str
    why: str


@dataclass(frozen=True)
class SystemSpec:
    """What is learned in.

    Attributes:
        key: short name.
        name: for people.
        env: id of the environment; empty where studies have measurements of their own.
        arguments: of the family itself.
        values: what its runs differ in.
    """

    key: str
    name: str
    env: str
    arguments: Values
    values: Values


@dataclass(frozen=True)
class MethodSpec:
    """Who learns, or whatever else is compared.

    Attributes:
        label: for people and files.
        kind: class of the learner, by name or ``module:Class``; empty where there is none.
        arguments: of its constructor; ``"$name"`` is a value's.
        values: what its runs differ in.
        only: values by system.
    """

    label: str
    kind: str
    arguments: Values
    values: Values
    only: Mapping[str, Values]


@dataclass(frozen=True)
class StudySpec:
    """Methods side by side in systems.

    Attributes:
        name: of files and pages.
        systems: keys.
        methods: labels.
        measure: ``learning``, or ``module:function`` from settings and progress to figures.
        make: ``module:function`` from the run to its learner; empty: made as benchmarks make it.
        watch: what is noted of a run after every sweep, by name or ``module:Class``.
        values: what its runs differ in.
        only: values by system.
        quick: values of the quick version.
        full: values of the full version.
    """

    name: str
    systems: tuple[str, ...]
    methods: tuple[str, ...]
    measure: str
    make: str
    watch: tuple[str, ...]
    values: Values
    only: Mapping[str, Values]
    quick: Values
    full: Values


@dataclass(frozen=True)
class ComparisonSpec:
    """A number that something is said of.

    Attributes:
        kind: one of `COMPARISONS`.
        first: methods, or what ``function`` is.
        second: methods that they are compared with.
        of: which quantity, see `quantities`.
        study: in which study.
        bounds: what is said of it, by system.
        scale: on which ties are measured: ``ratio``, ``difference`` or ``count``.
        spans: of that of differences, by system: from doing nothing to the reference.
        effect: that the paper prints, a share.
        needs: least values of a run; below them nothing was tested.
        lasted: of a median: the value that says how long was waited.
    """

    kind: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    of: tuple[str, ...]
    study: str
    bounds: Mapping[str, Bound]
    scale: str
    spans: Mapping[str, float]
    effect: float
    needs: Values
    lasted: str


@dataclass(frozen=True)
class ClaimSpec:
    """What is claimed, by the paper or by us.

    Attributes:
        text: in words.
        by: ``paper``, or ``us``: a control.
        where: in the paper.
        parts: that must all be seen.
        figure: name of ours that shows it; empty: none.
        remark: what belongs beside the verdict.
    """

    text: str
    by: str
    where: str
    parts: tuple[ComparisonSpec, ...]
    figure: str
    remark: str


@dataclass(frozen=True)
class ExpectationSpec:
    """What was expected before the runs.

    Attributes:
        text: in words.
        parts: of which the worst counts.
        remark: what explains the difference where it isn't met.
    """

    text: str
    parts: tuple[ComparisonSpec, ...]
    remark: str


@dataclass(frozen=True)
class FigureSpec:
    """A picture.

    Attributes:
        name: of its file.
        kind: ``curves``, ``bars``, ``matrix`` or ``module:function`` from the numbers to a Matplotlib figure.
        study: that it shows.
        systems: that it shows.
        methods: that it shows.
        of: quantities; those that a function asks for.
        also: quantities of other studies that a function asks for.
        caption: below it.
        label: of the y axis.
        log: whether that is logarithmic.
    """

    name: str
    kind: str
    study: str
    systems: tuple[str, ...]
    methods: tuple[str, ...]
    of: tuple[str, ...]
    also: Mapping[str, tuple[str, ...]]
    caption: str
    label: str
    log: bool


@dataclass(frozen=True)
class TableSpec:
    """Numbers.

    Attributes:
        name: that sections call it.
        kind: ``means``, or ``module:function`` from the numbers to a heading and rows of texts.
        study: that it shows.
        systems: its columns, or its rows where there are several quantities.
        methods: its rows.
        of: quantities: with one, systems are columns; with several, these are.
        also: quantities of other studies that a function asks for.
        lasted: of times that may never come: the value that says how long was waited.
        over: a method whose numbers the others are divided by; empty: none.
        caption: above it.
    """

    name: str
    kind: str
    study: str
    systems: tuple[str, ...]
    methods: tuple[str, ...]
    of: tuple[str, ...]
    also: Mapping[str, tuple[str, ...]]
    lasted: str
    over: str
    caption: str


@dataclass(frozen=True)
class SectionSpec:
    """A part of the page.

    Attributes:
        title: its heading.
        text: Markdown.
        figures: names, in order.
        tables: names, in order, below the figures.
    """

    title: str
    text: str
    figures: tuple[str, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True)
class PaperSpec:
    """A paper's experiments.

    Attributes:
        name: of its page, and of the folder with figures and numbers.
        title: the paper's.
        authors: its.
        where: it appeared.
        summary: what a reader remembers.
        settings: theirs and ours.
        values: what runs differ in, with what holds where nothing else is said.
        arguments: of every learner's constructor.
        systems, methods, studies: what is run.
        claims, expectations: what is said of it.
        figures, tables, sections: what the page shows.
    """

    name: str
    title: str
    authors: str
    where: str
    summary: str
    settings: tuple[SettingSpec, ...]
    values: Values
    arguments: Values
    systems: Mapping[str, SystemSpec]
    methods: Mapping[str, MethodSpec]
    studies: Mapping[str, StudySpec]
    claims: tuple[ClaimSpec, ...]
    expectations: tuple[ExpectationSpec, ...]
    figures: Mapping[str, FigureSpec]
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
