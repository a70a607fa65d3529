"""What a paper's file says, as data: systems, methods, studies, claims, figures and tables."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from itertools import product
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator
from pydantic import ValidationInfo as Info

from lifelong_gym import registry
from lifelong_gym.errors import integer, one_of, unknown
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import COUNT, DIFFERENCE, EFFECT, RATIO, Bound, Evidence
from lifelong_gym.papers import schema
from lifelong_gym.papers.schema import KeyMistakeError, Known, own_or
from lifelong_gym.papers.sweeps import WATCHERS

PAPER, US = "paper", "us"
BUDGETS = QUICK, DEFAULT, FULL = "quick", "default", "full"
FILM = ".webp"
LEARNING = "learning"  # the measured run, see `sweeps`
MEAN, MEDIAN, FUNCTION = "mean", "median", "function"
COMPARISONS = (RATIO, DIFFERENCE, MEAN, MEDIAN, COUNT, FUNCTION)
CLAIMED, EXPECTED = ("below", "above", "within"), ("at_most", "at_least", "within")


class Spec(BaseModel):
    """A table of the file, all of whose keys are known."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, table: Any, info: Info[Known]) -> Any:
        if not isinstance(table, Mapping):
            raise ValueError(f"must be a table. Received {table!r}")
        known = [each.alias or name for name, each in cls.model_fields.items()]
        known += info.context.values if cls.model_config.get("extra") == "allow" else ()
        for key in table:
            if key not in known:
                raise KeyMistakeError(unknown("key", key, known), key)
        return table


class AboutSpec(Spec):
    """What is run again."""

    title: str  # the paper's
    authors: str  # its
    where: str  # it appeared
    summary: str  # what a reader remembers


class SettingSpec(Spec):
    """A setting of the paper's beside ours."""

    theirs: schema.Anything = ""  # what the paper prints; empty: nothing
    ours: schema.Anything = ""  # what is run
    why: schema.Anything = ""  # where they differ


class SystemSpec(Spec, extra="allow"):
    """What is learned in; and what its runs differ in."""

    name: str = ""  # for people
    arguments: dict[str, Any] = {}  # of the family itself
    env: schema.Environment = ""  # its id; empty where studies have measurements of their own
    package: str = ""  # that pip installs; where it is missing, the system is left out

    @property
    def is_possible(self) -> bool:
        """Whether its package is installed."""
        return not self.package or any(metadata.distributions(name=self.package))


class MethodSpec(Spec, extra="allow"):
    """Who learns, or whatever else is compared; and what its runs differ in."""

    kind: schema.Learner = Field("", alias="class")  # by name or ``module:Class``; empty where nobody learns
    arguments: schema.Arguments = {}  # of its constructor; ``"$name"`` is a value's
    measure: Annotated[str, own_or("measure")] = ""  # in place of the study's
    only: schema.BySystem = {}  # values by system


class StudySpec(Spec, extra="allow"):
    """Methods side by side in systems; and what all their runs have in common."""

    name: str  # of files and pages
    systems: schema.Systems = schema.EVERY  # by key
    methods: schema.Methods = schema.EVERY
    measure: Annotated[str, own_or("measure", LEARNING)] = LEARNING  # else from settings and progress to figures
    maker: Annotated[str, own_or("maker")] = ""  # from the run to its learner; empty: made as benchmarks make it
    watch: schema.Watchers = ()  # what is noted of a run after every sweep, by name or ``module:Class``
    only: schema.BySystem = {}  # values by system
    quick: schema.SomeValues = {}  # values of the quick version
    full: schema.SomeValues = {}  # values of the full version


class ComparisonSpec(Spec):
    """A number that something is said of: one of `COMPARISONS`, and one of `CLAIMED` or `EXPECTED`."""

    study: schema.Study  # in which study
    systems: schema.Systems = schema.EVERY  # of it
    ratio: schema.Pair = None
    difference: schema.Pair = None
    mean: schema.SomeMethods | None = None
    median: schema.SomeMethods | None = None
    count: schema.SomeMethods | None = None
    function: Annotated[str, own_or("function")] | None = None
    of: schema.Quantities = ()  # which quantity, see `quantities`
    below: schema.Below = None
    above: schema.Above = None
    within: schema.Within = None
    at_most: schema.Below = None
    at_least: schema.Above = None
    scale: schema.Scale = ""  # on which ties are measured; empty: as usual for what is compared
    span: schema.Spans = {}  # of differences: from doing nothing to the reference
    effect: schema.Number = EFFECT  # that the paper prints, a share
    needs: schema.SomeValues = {}  # least values of a run; below them nothing was tested
    lasted: schema.Value = "sweeps"  # of a median: the value that says how long was waited
    label: str = ""  # what tells parts apart

    @property
    def kind(self) -> str:
        """One of `COMPARISONS`."""
        return self._one_of(COMPARISONS)

    @property
    def methods(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those that are compared, and those with which: none with a number, none at all by a ``function``."""
        given = getattr(self, self.kind)
        return given if self.kind in (RATIO, DIFFERENCE) else ((), ()) if self.kind == FUNCTION else (given, ())

    @property
    def bounds(self) -> Mapping[str, Bound]:
        """What is said of it, by system."""
        found: Mapping[str, Bound] = getattr(self, self._one_of(list(dict.fromkeys(CLAIMED + EXPECTED))))
        return found

    def checked(self, sides: Sequence[str]) -> ComparisonSpec:
        """Itself, where it says one thing that can be told.

        Raises:
            KeyMistakeError: it doesn't.
        """
        self._one_of(sides)
        if self.kind == DIFFERENCE and not self.span:
            raise KeyMistakeError("is missing: the way from doing nothing to the reference", "span")
        try:
            for system in self.bounds:
                self.evidence(system, system, Interval(0.0, -math.inf, math.inf))
        except ValueError as error:
            raise KeyMistakeError(error, self.kind) from error
        return self

    def evidence(self, system: str, name: str, interval: Interval, is_tested: bool = True) -> Evidence:
        """What an interval says in a system.

        Raises:
            ValueError: it could say nothing, whatever it is.
        """
        usual = COUNT if self.kind in (COUNT, FUNCTION) else DIFFERENCE if self.span else RATIO
        span = self.span.get(system, math.nan) if self.span else 1.0
        name = f"{self.label}, {name}" if self.label else name
        return Evidence(name, interval, self.bounds[system], self.scale or usual, span, self.effect, is_tested)

    def _one_of(self, keys: Sequence[str]) -> str:
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) != 1:
            raise KeyMistakeError(f"there must be one of {', '.join(keys)}. Received {given or 'none'}", keys[0])
        return given[0]


class SaidSpec(Spec):
    """What is said of numbers; what stands in its own table is a part, too."""

    text: str  # in words
    remark: str = ""  # what belongs beside the verdict, or explains why an expectation isn't met

    @model_validator(mode="before")
    @classmethod
    def _has_parts(cls, table: Any) -> Any:
        if not isinstance(table, Mapping) or "parts" in table:
            return table
        part = {key: value for key, value in table.items() if key not in cls.model_fields}
        return {**{key: value for key, value in table.items() if key not in part}, "parts": [part]}


class ClaimSpec(SaidSpec):
    """What is claimed, by the paper or by us."""

    by: Literal["paper", "us"] = "paper"  # ours are controls
    where: str = ""  # in the paper
    parts: schema.Parts[Annotated[ComparisonSpec, AfterValidator(lambda part: part.checked(CLAIMED))]]  # all are seen
    figure: schema.Figure = ""  # name of ours that shows it; empty: none

    @model_validator(mode="after")
    def _says_where(self) -> ClaimSpec:
        if self.by == PAPER and not self.where:
            raise KeyMistakeError("must say where the paper claims it", "where")
        return self


class ExpectationSpec(SaidSpec):
    """What was expected before the runs."""

    parts: schema.Parts[Annotated[ComparisonSpec, AfterValidator(lambda part: part.checked(EXPECTED))]]  # worst counts


Said = TypeVar("Said", ClaimSpec, ExpectationSpec)
Shown = TypeVar("Shown", bound="ShownSpec")


class ShownSpec(Spec):
    """What a page shows of a study."""

    name: str  # of its file, and as sections call it
    study: schema.Study
    systems: schema.Systems = schema.EVERY  # columns of a table; its rows where there are several quantities
    methods: schema.Methods = schema.EVERY  # rows of a table
    caption: str = ""  # below a figure, above a table
    also: schema.ByStudy = {}  # quantities of other studies that a function asks for


class FigureSpec(ShownSpec):
    """A picture."""

    kind: Annotated[str, own_or("kind", "curves", "bars", "matrix")] = "curves"  # own: from numbers to a figure
    of: schema.Quantities = ()  # quantities; those that a function asks for
    film: Annotated[str, own_or("film")] = ""  # shown below it: from numbers to frames, (n, height, width, 3) uint8
    label: str = ""  # of the y axis
    across: str = "sweeps"  # label of the x axis of curves
    cut: StrictBool = True  # whether curves that rise far above their start, as costs shouldn't, are cut off
    log: StrictBool = False  # whether axes are logarithmic, that of x only where it doesn't begin at 0


class TableSpec(ShownSpec):
    """Numbers."""

    kind: Annotated[str, own_or("kind", "means")] = "means"  # own: from numbers to a heading and rows of texts
    of: schema.Quantities = ()  # quantities: with one, systems are columns; with several, these are
    heads: tuple[str, ...] = ()  # of several quantities' columns; default: the quantities
    lasted: schema.Value = "sweeps"  # of times that may never come: the value that says how long was waited
    over: schema.Method = ""  # a method whose numbers the others are divided by; empty: none


class SectionSpec(Spec):
    """A part of the page."""

    title: str  # its heading
    text: str = ""  # Markdown
    figures: schema.Some[schema.Figure] = ()  # names, in order
    tables: schema.Some[schema.Table] = ()  # names, in order, below the figures


class PaperSpec(Spec):
    """A paper's experiments; what is below may name what is above."""

    about: AboutSpec = Field(alias="paper")
    settings: dict[str, SettingSpec] = {}  # theirs and ours
    values: schema.Values = {}  # what runs differ in, with what holds where nothing else is said
    arguments: schema.Arguments = {}  # of every learner's constructor
    systems: dict[str, SystemSpec] = {}  # what is run
    methods: dict[str, MethodSpec] = {}
    studies: Annotated[dict[str, StudySpec], schema.BY_NAME] = {}
    figures: Annotated[dict[str, FigureSpec], schema.BY_NAME] = {}  # what the page shows
    tables: Annotated[dict[str, TableSpec], schema.BY_NAME] = {}
    claims: tuple[ClaimSpec, ...] = ()  # what is said of it
    expectations: tuple[ExpectationSpec, ...] = ()
    sections: tuple[SectionSpec, ...] = ()

    @field_validator("values", "systems", "methods", "studies", "figures", "tables")
    @classmethod
    def _is_known_below(cls, named: Mapping[str, Any], info: Info[Known]) -> Mapping[str, Any]:
        setattr(info.context, str(info.field_name), named)
        return named

    @model_validator(mode="after")
    def _can_run(self) -> PaperSpec:
        """Every run in every version."""
        for name, study in self.studies.items():
            for budget, system, method in product(BUDGETS, study.systems, study.methods):
                try:
                    self._check_run(study, system, method, budget)
                except ValueError as error:
                    raise KeyMistakeError(error, "studies", name, *getattr(error, "keys", ())) from None
        return self

    def _check_run(self, study: StudySpec, system: str, method: str, budget: str) -> None:
        """Numbers of runs, tasks and sweeps, presets, and who learns what in which environment."""
        values, where = self.resolved(study, system, method, budget), self.systems[system]
        for each, least in {"seeds": 1, "n_tasks": 1, "sweeps": 1, "n_starts": 1, "task_seed": 0}.items():
            integer(each, values[each], least)
        if where.env:
            one_of("preset", values["preset"], registry.family(where.env, **where.arguments).parameters.presets)
        if study.measure == LEARNING:
            if not where.env:
                raise KeyMistakeError(f"{system} has no `env` to learn in", "systems")
            if not (self.methods[method].kind or self.methods[method].measure):
                raise KeyMistakeError(f"{method!r} has no `class` that learns, and no `measure`", "methods")
            if not study.watch:
                raise KeyMistakeError(f"must name what is noted of every run: {', '.join(WATCHERS)}", "watch")

    def resolved(self, study: StudySpec, system: str, method: str, budget: str) -> dict[str, Any]:
        """The values of a run: the paper's, the system's, the study's, the method's and the budget's; the last wins."""
        who, where = self.methods[method], self.systems[system]
        small = {QUICK: study.quick, DEFAULT: {}, FULL: study.full}[budget]
        own = (study.only.get(system), who.model_extra, who.only.get(system), small)
        levels = (self.values, where.model_extra, study.model_extra, *own)
        return {name: value for level in levels for name, value in (level or {}).items()}

    def needed(self) -> Mapping[tuple[str, str], set[str]]:
        """Quantities that the page shows, by study and method."""
        found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

        def ask(study: str, methods: Sequence[str], of: Sequence[str]) -> None:
            for method in methods:
                found[study, method].update(of)

        for part in self.comparisons():
            first, second = part.methods
            own = part.of if first == second or not second else part.of[:1]
            ask(part.study, first or self.compared(part), own)
            ask(part.study, second, part.of[-1:])
        shown: Sequence[FigureSpec | TableSpec] = (*self.figures.values(), *self.tables.values())
        for each in shown:
            over = (each.over,) if isinstance(each, TableSpec) and each.over else ()
            ask(each.study, (*each.methods, *over), each.of)
            for study, of in each.also.items():
                ask(study, self.studies[study].methods, of)
        return found

    def compared(self, part: ComparisonSpec) -> Sequence[str]:
        """Methods that it is about: a function may ask for all of the study."""
        first, second = part.methods
        return (*first, *second) or self.studies[part.study].methods

    def comparisons(self) -> Iterator[ComparisonSpec]:
        """All that is compared, of claims and of expectations."""
        said: Sequence[ClaimSpec | ExpectationSpec] = (*self.claims, *self.expectations)
        return (part for each in said for part in each.parts)
