"""What a family may be made with besides its tasks: arguments of its own, such as ``size=`` or ``prices=``."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lifelong_gym.errors import FamilyError, one_of, unexpected

TYPES = (bool, int, float, str, list, dict)
Kind = type[Any]


@dataclass(frozen=True)
class Argument:
    """An argument of a family, the same for all tasks of an env.

    Attributes:
        name: in every interface, beside those that all families share; also of the family's attribute.
        type: ``bool``, ``int``, ``float``, ``str``, ``list`` or ``dict``, or several of them. A float may be given as
            an integer, a list as a tuple or an array; a dict is sorted by its keys.
        default: of one of these types, or None where "not given" has a meaning of its own.
        meaning: one line.
        choices: what there is to choose from, by name: the argument is a ``str``, one of the names, and the family's
            attribute is what it stands for. None: the attribute is the argument itself.
        named: turns what JSON doesn't know, such as a DataFrame, into what it does, and leaves all else as it is; a
            function of a module. None: there is no such thing.
    """

    name: str
    type: Kind | tuple[Kind, ...]
    default: Any
    meaning: str
    choices: Mapping[str, Any] | None = field(default=None, hash=False)
    named: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise FamilyError(f"an argument's name must be an identifier. Received {self.name!r}")
        wrong = [kind for kind in self.types if kind not in TYPES]
        if wrong or not self.types:
            known = ", ".join(kind.__name__ for kind in TYPES)
            raise FamilyError(f"`type` of argument {self.name!r} must be of {known}. Received {self.type!r}")
        if self.choices is not None and self.types != (str,):
            raise FamilyError(f"`type` of argument {self.name!r} must be str, it has choices. Received {self.type!r}")
        try:
            object.__setattr__(self, "default", self.value(self.default))
        except ValueError as error:
            raise FamilyError(f"default of {error}") from None

    @property
    def types(self) -> tuple[Kind, ...]:
        """All that are allowed."""
        return self.type if isinstance(self.type, tuple) else (self.type,)

    @property
    def type_names(self) -> str:
        """For people."""
        return " or ".join([kind.__name__ for kind in self.types] if self.choices is None else map(repr, self.choices))

    def value(self, given: Any) -> Any:
        """What was given, JSON-native.

        Raises:
            ValueError: another type, something in it that JSON doesn't know, such as NaN and infinity, or none of the
                choices; the nearest is suggested.
        """
        if given is None and self.default is None:
            return None
        known = given if self.named is None else self.named(given)
        try:
            plain = _plain(known)
        except ValueError as error:
            raise ValueError(f"`{self.name}` must be {self.type_names}, of what JSON knows: {error}") from None
        for kind in self.types:
            if type(plain) is kind:
                return plain if self.choices is None else one_of(self.name, plain, self.choices)
        if type(plain) is int and float in self.types:
            return float(plain)
        raise ValueError(f"`{self.name}` must be {self.type_names}. Received {given!r}")

    def attribute(self, value: Any) -> Any:
        """What the family's attribute is where the argument has this ``value``."""
        return value if self.choices is None or value is None else self.choices[value]


def _plain(value: Any) -> Any:
    """The same value in the types JSON knows."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    raise ValueError(f"received {value!r}")


def argument_values(
    declared: Sequence[Argument], given: Mapping[str, Any], function: str, beside: Sequence[str] = ()
) -> dict[str, Any]:
    """All arguments of a family by name, given or by default, JSON-native.

    Args:
        declared: by the family.
        given: by name.
        function: who was called with them, for the error.
        beside: other arguments of that function, likewise.

    Raises:
        UnexpectedArgumentError: one that isn't declared; the nearest name is suggested.
        ValueError: one of a wrong type.
    """
    known = {argument.name: argument for argument in declared}
    for name in given:
        if name not in known:
            raise unexpected(function, name, [*beside, *known])
    return {name: argument.value(given.get(name, argument.default)) for name, argument in known.items()}
