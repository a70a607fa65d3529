"""What a paper's file has named so far, and keys that must name some of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lifelong_gym.errors import unknown
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.quantities import check_quantity
from lifelong_gym.papers.schema import Reader
from lifelong_gym.papers.specs import MethodSpec, StudySpec, SystemSpec, Values

ALL = "all"


@dataclass
class Known:
    """Names, and what they stand for."""

    code: Code
    values: Values
    systems: dict[str, SystemSpec] = field(default_factory=dict)
    methods: dict[str, MethodSpec] = field(default_factory=dict)
    studies: dict[str, StudySpec] = field(default_factory=dict)

    def names(self, reader: Reader, key: str, known: Mapping[str, Any], default: tuple[str, ...]) -> tuple[str, ...]:
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

    def load(self, reader: Reader, key: str, name: str, load: Callable[[str], Any] | None = None) -> Any:
        """A function or class of the folder's, or of a library's."""
        try:
            found = (load or self.code.load)(name)
        except Exception as error:  # whatever a user's own file raises while it is imported
            raise reader.fail(key, error) from error
        if not callable(found):
            raise reader.fail(key, f"{name!r} must be a function or class. Received {found!r}")
        return found

    def where(self, reader: Reader) -> tuple[StudySpec, tuple[str, ...]]:
        """The study that a figure, table or claim is about, and its systems."""
        name = reader.text("study")
        if name not in self.studies:
            raise reader.fail("study", unknown("study", name, self.studies))
        study = self.studies[name]
        systems = self.names(reader, "systems", dict.fromkeys(study.systems), study.systems)
        return study, systems

    def of(self, reader: Reader, key: str, default: Any) -> tuple[str, ...]:
        """Quantities that can be asked for."""
        found = reader.texts(key, default)
        for each in found:
            try:
                check_quantity(each, self.code)
            except ValueError as error:
                raise reader.fail(key, error) from error
        return found

    def also(self, reader: Reader) -> dict[str, tuple[str, ...]]:
        """Quantities of other studies."""
        within = Reader(reader.table("also"), reader.key("also"))
        found = {study: self.of(within, study, ()) for study in self.studies}
        within.done()
        return {study: of for study, of in found.items() if of}

    def lasted(self, reader: Reader) -> str:
        """A value that says how long was waited."""
        name = reader.text("lasted", "sweeps")
        if name not in self.values:
            raise reader.fail("lasted", unknown("value", name, self.values))
        return name

    def kind(self, reader: Reader, default: str, known: tuple[str, ...]) -> str:
        """One of those that are known, or a function."""
        kind = reader.text("kind", default)
        if ":" in kind:
            self.load(reader, "kind", kind)
        elif kind not in known:
            raise reader.fail("kind", unknown("kind", kind, [*known, "module:function"]))
        return kind
