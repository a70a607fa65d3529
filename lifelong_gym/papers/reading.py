"""From a paper's folder to what it says, checked from end to end before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lifelong_gym import registry
from lifelong_gym.benchmark.experiment import named
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.errors import integer, unknown
from lifelong_gym.papers.claiming import read_claim, read_expectation
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.known import Known
from lifelong_gym.papers.schema import PaperError, Reader, read_toml
from lifelong_gym.papers.specs import (
    BUDGETS,
    LEARNING,
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
KINDS = ("curves", "bars", "matrix")
MEANS = "means"

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
        self.name, self.file = folder.name, Reader(read_toml(folder / FILE), "")
        self.known = Known(Code(str(folder)), {**VALUES, **self.file.table("values")})

    def paper(self) -> PaperSpec:
        """All of it."""
        file, about = self.file, Reader(self.file.table("paper"), "paper")
        title, authors, where, summary = (about.text(name) for name in ("title", "authors", "where", "summary"))
        about.done()
        settings = tuple(self._setting(name, each) for name, each in file.subtables("settings").items())
        arguments = self._arguments(file, "arguments")
        self.known.systems = {key: self._system(key, each) for key, each in file.subtables("systems").items()}
        self.known.methods = {label: self._method(label, each) for label, each in file.subtables("methods").items()}
        self.known.studies = self._by_name("studies", self._study)
        figures, tables = self._by_name("figures", self._figure), self._by_name("tables", self._table)
        claims = tuple(read_claim(each, self.known, figures) for each in file.tables("claims"))
        expectations = tuple(read_expectation(each, self.known) for each in file.tables("expectations"))
        sections = tuple(self._section(each, figures, tables) for each in file.tables("sections"))
        file.done()
        said = (settings, self.known.values, arguments, self.known.systems, self.known.methods, self.known.studies)
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
        return SystemSpec(key, reader.text("name", key), env, arguments, reader.rest(self.known.values))

    def _method(self, label: str, reader: Reader) -> MethodSpec:
        kind = reader.text("class", "")
        if kind:
            if ":" in kind:
                self.known.load(reader, "class", kind)
            self.known.load(reader, "class", kind, lambda name: learner_class(self.known.code.qualified(name)))
        arguments = self._arguments(reader, "arguments")
        return MethodSpec(label, kind, arguments, only=self._only(reader), values=reader.rest(self.known.values))

    def _only(self, reader: Reader) -> dict[str, Values]:
        found = reader.subtables("only")
        for system in found:
            if system not in self.known.systems:
                raise reader.fail("only", unknown("system", system, self.known.systems))
        return {system: each.rest(self.known.values) for system, each in found.items()}

    def _arguments(self, reader: Reader, key: str) -> dict[str, Any]:
        found = reader.table(key)
        for name in named(found):
            if name.startswith("$") and name[1:] not in self.known.values:
                raise reader.fail(key, unknown("value", name[1:], self.known.values))
        return found

    def _study(self, name: str, reader: Reader) -> StudySpec:
        measure, maker = reader.text("measure", LEARNING), reader.text("maker", "")
        if measure != LEARNING:
            self.known.load(reader, "measure", measure)
        if maker:
            self.known.load(reader, "maker", maker)
        watch = reader.texts("watch", ())
        for each in watch:
            if ":" not in each and each not in WATCHERS:
                raise reader.fail("watch", unknown("watcher", each, WATCHERS))
            if ":" in each:
                self.known.load(reader, "watch", each)
        systems = self.known.names(reader, "systems", self.known.systems, tuple(self.known.systems))
        methods = self.known.names(reader, "methods", self.known.methods, tuple(self.known.methods))
        if measure == LEARNING:
            self._check_learning(reader, systems, methods, watch)
        small = {
            budget: Reader(reader.table(budget), reader.key(budget)).rest(self.known.values)
            for budget in ("quick", "full")
        }
        only = self._only(reader)
        return StudySpec(name, systems, methods, measure, maker, watch, reader.rest(self.known.values), only, **small)

    def _check_learning(
        self, reader: Reader, systems: Iterable[str], methods: Iterable[str], watch: tuple[str, ...]
    ) -> None:
        for system in systems:
            if not self.known.systems[system].env:
                raise reader.fail("systems", f"{system} has no `env` to learn in")
        for method in methods:
            if not self.known.methods[method].kind:
                raise reader.fail("methods", f"{method!r} has no `class` that learns")
        if not watch:
            raise reader.fail("watch", f"must name what is noted of every run. There are: {', '.join(WATCHERS)}")

    def _figure(self, name: str, reader: Reader) -> FigureSpec:
        kind = self.known.kind(reader, "curves", KINDS)
        study, systems = self.known.where(reader)
        methods = self.known.names(reader, "methods", dict.fromkeys(study.methods), study.methods)
        of = self.known.of(reader, "of", ("curve",) if kind == "curves" else ("final",) if kind in KINDS else ())
        texts = (reader.text("caption", ""), reader.text("label", ""), reader.text("across", "sweeps"))
        shown = (of, self.known.also(reader), *texts, reader.take("log", bool, False))
        return FigureSpec(name, kind, study.name, systems, methods, *shown)

    def _table(self, name: str, reader: Reader) -> TableSpec:
        kind = self.known.kind(reader, MEANS, (MEANS,))
        study, systems = self.known.where(reader)
        methods = self.known.names(reader, "methods", dict.fromkeys(study.methods), study.methods)
        of = self.known.of(reader, "of", ("final",) if kind == MEANS else ())
        over = "".join(reader.named("over", study.methods, ()))
        shown = (of, self.known.also(reader), self.known.lasted(reader), over, reader.text("caption", ""))
        return TableSpec(name, kind, study.name, systems, methods, *shown)

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
        of = self.known.systems[system]
        if of.env:
            presets = registry.family(of.env, **of.arguments).parameters.presets
            if values["preset"] not in presets:
                raise PaperError(f"{where}.preset: {unknown('preset', values['preset'], presets)}")
