"""Tables of a paper's file, read key by key, so that every mistake is told with its key before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lifelong_gym.errors import LifelongGymError, as_float, unknown

T = TypeVar("T")
ABSENT: Any = object()
WORDS = {str: "text", bool: "true or false", int: "an integer", Mapping: "a table", list: "a list", object: "given"}


class PaperError(LifelongGymError, ValueError):
    """A paper that can't be run as its folder describes it; the message begins with the key."""


def read_toml(path: Path) -> dict[str, Any]:
    """What a file says.

    Raises:
        PaperError: there is no such file, or it isn't TOML.
    """
    if not path.is_file():
        raise PaperError(f"a paper is a folder with a {path.name}. There is none at {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that aren't UTF-8, too
        raise PaperError(f"{path} is not TOML: {error}") from None


class Reader:
    """A table: keys are taken one after another, and what is left at the end is unknown."""

    def __init__(self, table: Any, where: str) -> None:
        """``where``: the table's own key, as messages begin with it; empty for the whole file."""
        self.where = where
        if not isinstance(table, Mapping):
            raise PaperError(f"{where}: must be a table. Received {table!r}")
        self._table = dict(table)
        self._known: list[str] = []

    def key(self, name: str) -> str:
        """A key with those above it."""
        return f"{self.where}.{name}" if self.where else name

    def fail(self, name: str, why: object) -> PaperError:
        """An error about a key."""
        return PaperError(f"{self.key(name)}: {why}")

    def take(self, name: str, kind: type[T], default: Any = ABSENT) -> T:
        """A value of some kind; ``default`` where there is none, or else it must be there."""
        self._known.append(name)
        value = self._table.pop(name, default)
        if value is ABSENT:
            raise self.fail(name, f"is missing; it must be {WORDS[kind]}")
        is_other = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        if is_other and value is not default:
            raise self.fail(name, f"must be {WORDS[kind]}. Received {value!r}")
        return value

    def text(self, name: str, default: Any = ABSENT) -> str:
        """Some text."""
        return self.take(name, str, default)

    def number(self, name: str, default: Any = ABSENT) -> float:
        """A finite number."""
        self._known.append(name)
        value = self._table.pop(name, default)
        number = as_float(value)
        if isinstance(value, bool) or not abs(number) < float("inf"):
            raise self.fail(name, f"must be a finite number. Received {'nothing' if value is ABSENT else repr(value)}")
        return number

    def texts(self, name: str, default: Any = ABSENT) -> tuple[str, ...]:
        """One text or a list of them."""
        self._known.append(name)
        value = self._table.pop(name, default)
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
            raise self.fail(
                name, f"must be text, or a list of texts. Received {'nothing' if value is ABSENT else value!r}"
            )
        return tuple(given)

    def named(self, name: str, known: Iterable[str], default: Any = ABSENT, kind: str | None = None) -> tuple[str, ...]:
        """Like `texts`, each of which must be known."""
        names, found = list(known), self.texts(name, default)
        for each in found:
            if each not in names:
                raise self.fail(name, unknown(kind or name, each, names))
        return found

    def table(self, name: str) -> dict[str, Any]:
        """A table of free keys; empty where there is none."""
        return dict(self.take(name, Mapping, {}))  # type: ignore[type-abstract]

    def tables(self, name: str) -> list[Reader]:
        """An array of tables, each with its name or number in messages."""
        found = self.take(name, list, [])
        return [Reader(each, f"{self.key(name)}[{_label(each, i)}]") for i, each in enumerate(found)]

    def subtables(self, name: str) -> dict[str, Reader]:
        """Tables by name."""
        return {each: Reader(within, f"{self.key(name)}.{each}") for each, within in self.table(name).items()}

    def has(self, name: str) -> bool:
        """Whether a key is there, and wasn't taken."""
        return name in self._table

    def rest(self, known: Iterable[str]) -> dict[str, Any]:
        """All keys that are left, each of which must be known."""
        names, left = list(known), self._table
        for name in left:
            if name not in names:
                raise self.fail(name, unknown("key", name, sorted({*self._known, *names})))
        self._table = {}
        return left

    def done(self) -> None:
        """There are no other keys."""
        self.rest(())


def _label(table: Any, i: int) -> str:
    name = table.get("name", table.get("text")) if isinstance(table, Mapping) else None
    return name if isinstance(name, str) else str(i)
