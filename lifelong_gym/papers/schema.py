"""What keys of a paper's file hold, checked against what stands above them, and how a mistake is told by its key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError
from pydantic import ValidationInfo as Info

from lifelong_gym import registry
from lifelong_gym.benchmark.experiment import named
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.errors import LifelongGymError, as_float, one_of
from lifelong_gym.measures.verdicts import ABOVE, BELOW, COUNT, DIFFERENCE, RATIO, WITHIN, Bound
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.quantities import check_quantity
from lifelong_gym.papers.sweeps import VALUES, WATCHERS


class PaperError(LifelongGymError, ValueError):
    """A paper that can't be run as its folder describes it; the message begins with the key."""


class KeyMistakeError(ValueError):
    """Something is wrong with a key of the table that is being read, or of a table in it."""

    def __init__(self, why: object, *keys: str | int) -> None:
        super().__init__(str(why))
        self.keys = keys


@dataclass
class Known:
    """What a file has named so far; whatever is below may name it."""

    code: Code
    values: Mapping[str, Any] = field(default_factory=lambda: VALUES)
    systems: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)
    studies: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)


def told(error: ValidationError, content: Mapping[str, Any]) -> PaperError:
    """The first mistake in a file, with its key as the file has it: tables of an array by their name or text."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    why = first["msg"].replace("Input should", "must").replace("Field required", "is missing")
    if cause is None and first["type"] != "missing":
        why += f". Received {first['input']!r}"
    node: Any = content
    said, keys = "", (*first["loc"], *getattr(cause, "keys", ()))
    for i, key in enumerate(keys):
        if isinstance(node, list):
            labels = {str(_label(each) or n): each for n, each in enumerate(node)}
            label = list(labels)[key] if isinstance(key, int) and key < len(labels) else str(key)
            said, node = f"{said}[{label}]", labels.get(label)
        elif isinstance(node, dict) and key != "[key]" and (key in node or i == len(keys) - 1):
            said, node = f"{said}.{key}", node.get(key)
    return PaperError(f"{said.removeprefix('.')}: {why if cause is None else cause}")


def _label(table: Any) -> Any:
    return table.get("name", table.get("text")) if isinstance(table, dict) else None


def _loaded(name: str, load: Callable[[str], Any]) -> str:
    """See that a name is a function's or class's; whatever goes wrong in a user's own file is a mistake of the key."""
    try:
        found = load(name)
    except Exception as error:
        raise ValueError(str(error)) from error
    if not callable(found):
        raise ValueError(f"{name!r} must be a function or class. Received {found!r}")
    return name


def own_or(kind: str, *known: str) -> AfterValidator:
    """One of these, or a function or class of the folder's own."""

    def check(name: str, info: Info[Known]) -> str:
        is_own = ":" in name or not known
        return _loaded(name, info.context.code.load) if is_own else one_of(kind, name, (*known, "module:name"))

    return AfterValidator(check)


def _named_above(of: str, kind: str) -> AfterValidator:
    return AfterValidator(lambda name, info: one_of(kind, name, getattr(info.context, of)))


def _of_study(of: str, info: Info[Known]) -> list[str]:
    """Systems or methods of the study that the table is about; of all, where it is a study."""
    return list(getattr(info.context.studies.get(info.data.get("study", ""), info.context), of))


def _each_once(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given or len(set(given)) < len(given):
        raise ValueError(f"must name some, each once. Received {list(given)}")
    return given


def _usual(given: tuple[str, ...], info: Info[Known]) -> tuple[str, ...]:
    """Curves show curves, and all others final values, but for functions."""
    kind = info.data.get("kind") or info.data.get("function") or ""
    return given or (() if ":" in kind else ("curve",) if kind == "curves" else ("final",))


def _by_system(make: Callable[..., Any]) -> PlainValidator:
    """A number, or numbers, for all systems or by system."""

    def read(given: Any, info: Info[Known]) -> dict[str, Any]:
        systems = info.data.get("systems", ())
        table = given if isinstance(given, dict) else dict.fromkeys(systems, given)
        lists = {one_of("system", each, systems): of if isinstance(of, list) else [of] for each, of in table.items()}
        return {system: make(*map(as_float, numbers)) for system, numbers in lists.items()}

    return PlainValidator(read)


def _environment(env: str, info: Info[Known]) -> str:
    try:
        registry.family(env, **info.data.get("arguments", {}))
    except (TypeError, ImportError) as error:
        raise ValueError(str(error)) from error
    return registry.resolve(env)


def _learner(name: str, info: Info[Known]) -> str:
    code = info.context.code
    if ":" in name:
        _loaded(name, code.load)
    return _loaded(name, lambda name: learner_class(code.qualified(name)))


def _arguments(table: dict[str, Any], info: Info[Known]) -> dict[str, Any]:
    for name in named(table):
        if name.startswith("$"):
            one_of("value", name[1:], info.context.values)
    return table


def _by_name(tables: Any) -> dict[str, Any]:
    """An array of tables, by their ``name``."""
    if not isinstance(tables, list):
        raise ValueError(f"must be an array of tables. Received {tables!r}")
    found: dict[str, Any] = {}
    for i, table in enumerate(tables):
        name = str(_label(table) or i)
        if name in found:
            raise KeyMistakeError(f"must differ from the others'. Received {name!r} twice", name, "name")
        found[name] = table
    return found


T = TypeVar("T")
EVERY: Any = None  # the default of what follows the study
BY_NAME = BeforeValidator(_by_name)
ALWAYS = Field(validate_default=True)
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Anything = Annotated[str, BeforeValidator(str)]
Some = Annotated[tuple[T, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
Parts = Annotated[tuple[T, ...], Field(min_length=1)]

Values = Annotated[dict[str, Any], AfterValidator(lambda given: {**VALUES, **given}), ALWAYS]
Value = Annotated[str, _named_above("values", "value")]
SomeValues = dict[Value, Any]
Arguments = Annotated[dict[str, Any], AfterValidator(_arguments)]
Environment = Annotated[str, AfterValidator(_environment)]
BySystem = dict[Annotated[str, _named_above("systems", "system")], SomeValues]
Learner = Annotated[str, AfterValidator(_learner)]
Watchers = Some[Annotated[str, own_or("watcher", *WATCHERS)]]

Study = Annotated[str, _named_above("studies", "study")]
System = Annotated[str, AfterValidator(lambda name, info: one_of("system", name, _of_study("systems", info)))]
Method = Annotated[str, AfterValidator(lambda name, info: one_of("method", name, _of_study("methods", info)))]
SomeMethods = Annotated[Some[Method], AfterValidator(_each_once)]
Pair = tuple[SomeMethods, SomeMethods] | None
_every_system, _every_method = (
    BeforeValidator(lambda given, info, of=of: _of_study(of, info) if given is None else given)
    for of in ("systems", "methods")
)
Methods = Annotated[SomeMethods, _every_method, ALWAYS]
Systems = Annotated[Some[System], AfterValidator(_each_once), _every_system, ALWAYS]
Quantity = Annotated[str, AfterValidator(lambda of, info: check_quantity(of, info.context.code))]
Quantities = Annotated[Some[Quantity], AfterValidator(_usual), ALWAYS]
ByStudy = dict[Study, Some[Quantity]]
Below = Annotated[dict[str, Bound] | None, _by_system(partial(Bound.of, BELOW))]
Above = Annotated[dict[str, Bound] | None, _by_system(partial(Bound.of, ABOVE))]
Within = Annotated[dict[str, Bound] | None, _by_system(partial(Bound.of, WITHIN))]
Scale = Annotated[str, AfterValidator(lambda scale: one_of("scale", scale, (RATIO, DIFFERENCE, COUNT)))]
Spans = Annotated[dict[str, float], _by_system(lambda *numbers: numbers[0] if len(numbers) == 1 else math.nan)]
Figure = Annotated[str, _named_above("figures", "figure")]
Table = Annotated[str, _named_above("tables", "table")]
