"""From a paper's folder to what it says, checked from end to end before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lifelong_gym import registry
from lifelong_gym.benchmark.experiment import named
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.errors import integer, unknown
from lifelong_gym.measures import verdicts
from lifelong_gym.measures.verdicts import ABOVE, BELOW, EFFECT, WITHIN, Bound, Evidence
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.quantities import check_quantity
from lifelong_gym.papers.schema import PaperError, Reader, read_toml
from lifelong_gym.papers.specs import (
    BUDGETS,
    COMPARISONS,
    COUNT,
    DIFFERENCE,
    FUNCTION,
    LEARNING,
    PAPER,
    RATIO,
    US,
    ClaimSpec,
    ComparisonSpec,
    ExpectationSpec,
    FigureSpec,
    MethodSpec,
    PaperSpec,
    SectionSpec,
    SettingSpec,
    StudySpec,
    SystemSpec,
    TableSpec,
    Values,
)
from lifelong_gym.papers.sweeps import VALUES, WATCHERS

FILE = "paper.toml"
ALL = "all"
KINDS = ("curves", "bars", "matrix")
MEANS = "means"
NAME = re.compile(r"[\w][\w.+-]*")
CLAIM_SIDES = {"below": BELOW, "above": ABOVE, "within": WITHIN}
EXPECTED_SIDES = {"at_most": BELOW, "at_least": ABOVE, "within": WITHIN}

Named = TypeVar("Named")


def read_paper(folder: Path) -> PaperSpec:
    """What a folder says.

    Raises:
        PaperError: the message begins with the key.
    """
    return _PaperReader(folder.resolve()).paper()


class _PaperReader:
    """Reads a file from top to bottom; what is below may name what is above."""

    def __init__(self, folder: Path) -> None:
        self.code, self.name = Code(str(folder)), folder.name
        self.file = Reader(read_toml(folder / FILE), "")
        self.systems: dict[str, SystemSpec] = {}
        self.methods: dict[str, MethodSpec] = {}
        self.studies: dict[str, StudySpec] = {}
        self.values: Values = {}

    def paper(self) -> PaperSpec:
        """All of it."""
        file, about = self.file, Reader(self.file.table("paper"), "paper")
        title, authors, where, summary = (about.text(name) for name in ("title", "authors", "where", "summary"))
        about.done()
        settings = tuple(self._setting(name, each) for name, each in file.subtables("settings").items())
        self.values = {**VALUES, **file.table("values")}
        arguments = self._arguments(file, "arguments")
        self.systems = {key: self._system(key, each) for key, each in file.subtables("systems").items()}
        self.methods = {label: self._method(label, each) for label, each in file.subtables("methods").items()}
        self.studies = self._by_name("studies", self._study)
        figures, tables = self._by_name("figures", self._figure), self._by_name("tables", self._table)
        claims = tuple(self._claim(each, figures) for each in file.tables("claims"))
        expectations = tuple(self._expectation(each) for each in file.tables("expectations"))
        sections = tuple(self._section(each, figures, tables) for each in file.tables("sections"))
        file.done()
        said = (settings, self.values, arguments, self.systems, self.methods, self.studies)
        shown = (claims, expectations, figures, tables, sections)
        spec = PaperSpec(self.name, title, authors, where, summary, *said, *shown)
        self._check_values(spec)
        return spec

    def _by_name(self, key: str, read: Callable[[str, Reader], Named]) -> dict[str, Named]:
        found: dict[str, Named] = {}
        for each in self.file.tables(key):
            name = each.text("name")
            if name in found:
                raise each.fail("name", f"must differ from the others'. Received {name!r} twice")
            found[name] = read(name, each)
            each.done()
        return found

    def _setting(self, name: str, reader: Reader) -> SettingSpec:
        texts = {key: reader.take(key, object, "") for key in ("theirs", "ours", "why")}
        reader.done()
        return SettingSpec(name, **{key: str(value) for key, value in texts.items()})

    def _system(self, key: str, reader: Reader) -> SystemSpec:
        env, arguments = reader.text("env", ""), reader.table("arguments")
        if env:
            try:
                registry.family(env, **arguments)
                env = registry.resolve(env)
            except (ValueError, TypeError, ImportError) as error:
                raise reader.fail("env", error) from error
        return SystemSpec(key, reader.text("name", key), env, arguments, reader.rest(self.values))

    def _method(self, label: str, reader: Reader) -> MethodSpec:
        kind = reader.text("class", "")
        if kind:
            if ":" in kind:
                self._load(reader, "class", kind)
            self._load(reader, "class", kind, lambda name: learner_class(self.code.qualified(name)))
        arguments = self._arguments(reader, "arguments")
        return MethodSpec(label, kind, arguments, only=self._only(reader), values=reader.rest(self.values))

    def _only(self, reader: Reader) -> dict[str, Values]:
        found = reader.subtables("only")
        for system in found:
            if system not in self.systems:
                raise reader.fail("only", unknown("system", system, self.systems))
        return {system: each.rest(self.values) for system, each in found.items()}

    def _arguments(self, reader: Reader, key: str) -> dict[str, Any]:
        found = reader.table(key)
        for name in named(found):
            if name.startswith("$") and name[1:] not in self.values:
                raise reader.fail(key, unknown("value", name[1:], self.values))
        return found

    def _study(self, name: str, reader: Reader) -> StudySpec:
        measure, maker = reader.text("measure", LEARNING), reader.text("maker", "")
        if measure != LEARNING:
            self._load(reader, "measure", measure)
        if maker:
            self._load(reader, "maker", maker)
        watch = reader.texts("watch", ())
        for each in watch:
            if ":" not in each and each not in WATCHERS:
                raise reader.fail("watch", unknown("watcher", each, WATCHERS))
            if ":" in each:
                self._load(reader, "watch", each)
        systems = self._names(reader, "systems", self.systems, tuple(self.systems))
        methods = self._names(reader, "methods", self.methods, tuple(self.methods))
        if measure == LEARNING:
            self._check_learning(reader, systems, methods, watch)
        small = {
            budget: Reader(reader.table(budget), reader.key(budget)).rest(self.values) for budget in ("quick", "full")
        }
        only = self._only(reader)
        return StudySpec(name, systems, methods, measure, maker, watch, reader.rest(self.values), only, **small)

    def _check_learning(
        self, reader: Reader, systems: Iterable[str], methods: Iterable[str], watch: tuple[str, ...]
    ) -> None:
        for system in systems:
            if not self.systems[system].env:
                raise reader.fail("systems", f"{system} has no `env` to learn in")
        for method in methods:
            if not self.methods[method].kind:
                raise reader.fail("methods", f"{method!r} has no `class` that learns")
        if not watch:
            raise reader.fail("watch", f"must name what is noted of every run. There are: {', '.join(WATCHERS)}")

    def _names(self, reader: Reader, key: str, known: Mapping[str, Any], default: tuple[str, ...]) -> tuple[str, ...]:
        """Some of those that are known; ``all`` is the default."""
        if not known:
            raise reader.fail(key, "the file names none")
        given = reader.texts(key, default)
        if given == (ALL,):
            return default
        for name in given:
            if name not in known:
                raise reader.fail(key, unknown(key.removesuffix("s"), name, known))
        if not given or len(set(given)) < len(given):
            raise reader.fail(key, f"must name some, each once. Received {list(given)}")
        return given

    def _load(self, reader: Reader, key: str, name: str, load: Callable[[str], Any] | None = None) -> Any:
        try:
            found = (load or self.code.load)(name)
        except Exception as error:  # whatever a user's own file raises while it is imported
            raise reader.fail(key, error) from error
        if not callable(found):
            raise reader.fail(key, f"{name!r} must be a function or class. Received {found!r}")
        return found

    def _where(self, reader: Reader) -> tuple[StudySpec, tuple[str, ...]]:
        """The study that a figure, table or claim is about, and its systems."""
        name = reader.text("study")
        if name not in self.studies:
            raise reader.fail("study", unknown("study", name, self.studies))
        study = self.studies[name]
        systems = self._names(reader, "systems", dict.fromkeys(study.systems), study.systems)
        return study, systems

    def _of(self, reader: Reader, key: str, default: Any) -> tuple[str, ...]:
        found = reader.texts(key, default)
        for each in found:
            try:
                check_quantity(each, self.code)
            except ValueError as error:
                raise reader.fail(key, error) from error
        return found

    def _comparison(self, reader: Reader, sides: Mapping[str, str]) -> ComparisonSpec:
        kinds = [kind for kind in COMPARISONS if reader.has(kind)]
        if len(kinds) != 1:
            raise reader.fail("ratio", f"there must be one of {', '.join(COMPARISONS)}. Received {kinds or 'none'}")
        (kind,) = kinds
        study, systems = self._where(reader)
        pair = self._compared(reader, kind, study)
        bounds = self._bounds(reader, sides, systems)
        spans = self._by_system(reader, "span", systems) if kind == DIFFERENCE or reader.has("span") else {}
        scale = self._scale(reader, kind, bool(spans))
        effect, lasted = reader.number("effect", EFFECT), self._lasted(reader)
        needs = Reader(reader.table("needs"), reader.key("needs")).rest(self.values)
        of = self._of(reader, "of", () if kind == FUNCTION else ("final",))
        for system, bound in bounds.items():
            try:
                Evidence(system, None, bound, scale, spans.get(system, 1.0), effect)
            except ValueError as error:
                raise reader.fail(kind, error) from error
        return ComparisonSpec(kind, *pair, of, study.name, bounds, scale, spans, effect, needs, lasted)

    def _scale(self, reader: Reader, kind: str, has_spans: bool) -> str:
        if kind == FUNCTION:
            return reader.text("scale", verdicts.COUNT)
        if kind == COUNT:
            return verdicts.COUNT
        return verdicts.DIFFERENCE if has_spans else verdicts.RATIO

    def _compared(self, reader: Reader, kind: str, study: StudySpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
        given = reader.take(kind, object)
        if kind == FUNCTION:
            self._load(reader, kind, str(given))
            return (str(given),), ()
        sides = given if kind in (RATIO, DIFFERENCE) else [given, []]
        if not isinstance(sides, list) or len(sides) != 2:
            raise reader.fail(kind, f"must be a pair, each a method or a list of methods. Received {given!r}")
        known = dict.fromkeys(study.methods)
        first, second = (
            self._names(Reader({kind: side}, reader.where), kind, known, ()) if side != [] else () for side in sides
        )
        return first, second

    def _bounds(self, reader: Reader, sides: Mapping[str, str], systems: tuple[str, ...]) -> dict[str, Bound]:
        given = [key for key in sides if reader.has(key)]
        if len(given) != 1:
            raise reader.fail(next(iter(sides)), f"there must be one of {', '.join(sides)}. Received {given or 'none'}")
        (key,) = given
        value = reader.take(key, object)
        by_system = dict(value) if isinstance(value, Mapping) else dict.fromkeys(systems, value)
        found = {}
        for system, bound in by_system.items():
            if system not in systems:
                raise reader.fail(key, unknown("system", system, systems))
            numbers: list[Any] = bound if isinstance(bound, list) else [bound]
            try:
                found[system] = Bound.of(sides[key], *(float(number) for number in numbers))
            except (TypeError, ValueError) as error:
                raise reader.fail(key, error) from error
        return found

    def _by_system(self, reader: Reader, key: str, systems: tuple[str, ...]) -> dict[str, float]:
        table = reader.take(key, object)
        given = table if isinstance(table, Mapping) else dict.fromkeys(systems, table)
        within = Reader(given, reader.key(key))
        return {system: within.number(system) for system in systems}

    def _parts(self, reader: Reader, sides: Mapping[str, str]) -> tuple[ComparisonSpec, ...]:
        parts = reader.tables("parts")
        if not parts:
            return (self._comparison(reader, sides),)
        found = tuple(self._comparison(each, sides) for each in parts)
        for each in parts:
            each.done()
        return found

    def _claim(self, reader: Reader, figures: Mapping[str, FigureSpec]) -> ClaimSpec:
        text, where, remark = reader.text("text"), reader.text("where", ""), reader.text("remark", "")
        (by,) = reader.named("by", (PAPER, US), (PAPER,))
        if by == PAPER and not where:
            raise reader.fail("where", "must say where the paper claims it")
        figure = "".join(reader.named("figure", figures, ()))
        parts = self._parts(reader, CLAIM_SIDES)
        reader.done()
        return ClaimSpec(text, by, where, parts, figure, remark)

    def _expectation(self, reader: Reader) -> ExpectationSpec:
        text, remark = reader.text("text"), reader.text("remark", "")
        parts = self._parts(reader, EXPECTED_SIDES)
        reader.done()
        return ExpectationSpec(text, parts, remark)

    def _figure(self, name: str, reader: Reader) -> FigureSpec:
        kind = self._kind(reader, "curves", KINDS)
        study, systems = self._where(reader)
        methods = self._names(reader, "methods", dict.fromkeys(study.methods), study.methods)
        of = self._of(reader, "of", ("curve",) if kind == "curves" else ("final",) if kind in KINDS else ())
        texts = (reader.text("caption", ""), reader.text("label", ""))
        shown = (of, self._also(reader), *texts, reader.take("log", bool, False))
        return FigureSpec(name, kind, study.name, systems, methods, *shown)

    def _table(self, name: str, reader: Reader) -> TableSpec:
        kind = self._kind(reader, MEANS, (MEANS,))
        study, systems = self._where(reader)
        methods = self._names(reader, "methods", dict.fromkeys(study.methods), study.methods)
        of = self._of(reader, "of", ("final",) if kind == MEANS else ())
        over = "".join(reader.named("over", study.methods, ()))
        shown = (of, self._also(reader), self._lasted(reader), over, reader.text("caption", ""))
        return TableSpec(name, kind, study.name, systems, methods, *shown)

    def _also(self, reader: Reader) -> dict[str, tuple[str, ...]]:
        within = Reader(reader.table("also"), reader.key("also"))
        found = {study: self._of(within, study, ()) for study in self.studies}
        within.done()
        return {study: of for study, of in found.items() if of}

    def _lasted(self, reader: Reader) -> str:
        name = reader.text("lasted", "sweeps")
        if name not in self.values:
            raise reader.fail("lasted", unknown("value", name, self.values))
        return name

    def _kind(self, reader: Reader, default: str, known: tuple[str, ...]) -> str:
        kind = reader.text("kind", default)
        if ":" in kind:
            self._load(reader, "kind", kind)
        elif kind not in known:
            raise reader.fail("kind", unknown("kind", kind, [*known, "module:function"]))
        return kind

    def _section(
        self, reader: Reader, figures: Mapping[str, FigureSpec], tables: Mapping[str, TableSpec]
    ) -> SectionSpec:
        shown = (reader.named("figures", figures, ()), reader.named("tables", tables, ()))
        section = SectionSpec(reader.text("title"), reader.text("text", ""), *shown)
        reader.done()
        return section

    def _check_values(self, paper: PaperSpec) -> None:
        """Numbers of runs, tasks and sweeps, and presets, of every run in every version."""
        for study in paper.studies.values():
            for budget in BUDGETS:
                for system in study.systems:
                    values = [paper.resolved(study, system, method, budget) for method in study.methods]
                    for each in values:
                        self._check_run(study, system, each)

    def _check_run(self, study: StudySpec, system: str, values: Values) -> None:
        where = f"studies[{study.name}]"
        try:
            for name in ("seeds", "n_tasks", "sweeps", "n_starts"):
                integer(name, values[name])
            integer("task_seed", values["task_seed"], least=0)
        except ValueError as error:
            raise PaperError(f"{where}: {error}") from None
        of = self.systems[system]
        if of.env:
            presets = registry.family(of.env, **of.arguments).parameters.presets
            if values["preset"] not in presets:
                raise PaperError(f"{where}.preset: {unknown('preset', values['preset'], presets)}")
