"""Binding: the functions of a family, cloned for a backend.

A clone runs the same code with other globals: names of `scalar` become the backend's own, helper functions are
cloned in turn (from whichever module or closure they come), numbers are copied. A family's *roles* receive a fixed
argument list; each role names only the arguments it needs, among them the groups of constants that the family
declares.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any

import numpy as np

from lifelong_gym.errors import FamilyError

ROLES: Mapping[str, tuple[str, ...]] = {
    "initial": ("noise", "k", "tables"),
    "exogenous": ("state", "k", "tables"),
    "present": ("state", "k", "tables"),
    "transition": ("state", "action", "noise", "k", "tables"),
    "measure": ("state", "k", "tables", "out"),
    "reward": ("state", "action", "next_state", "noise", "k", "tables", "measured"),
    "failed": ("state", "k", "tables"),
    "terminated": ("state", "k", "tables", "measured"),
    "observation": ("state", "k", "tables", "out"),
}


class Binder:
    """Clones functions for one backend.

    Args:
        names: the backend's replacement for functions of `scalar` and `philox`, by the original function.
        wrap: applied to every clone (for instance ``numba.njit``).
        module: ``__name__`` of the clones; compiled code is cached under it, so it must be importable.
        builtins: the backend's replacement for Python's own functions, by name.
    """

    def __init__(
        self,
        names: Mapping[Callable[..., Any], Any],
        wrap: Callable[[Any], Any] = lambda function: function,
        module: str = __name__,
        builtins: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """See the class."""
        self._builtins = builtins
        self._names = names
        self._wrap = wrap
        self._module = module
        self._clones: dict[Any, Any] = {}
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Hash of the text of everything bound so far: compiled code is valid as long as it stays the same."""
        return self._digest.hexdigest()[:16]

    def copy(self) -> Binder:
        """One that has what is bound so far and goes on alone."""
        result = copy(self)
        result._clones, result._digest = dict(self._clones), self._digest.copy()
        return result

    def note(self, text: str) -> None:
        """Let the digest depend on ``text`` too."""
        self._digest.update(f"{len(text)}:{text}".encode())

    def raw(self, function: Callable[..., Any], given: Mapping[str, Any] | None = None) -> types.FunctionType:
        """Clone ``function``, not wrapped; ``given`` provides (or overrides) some of its global names."""
        assert isinstance(function, types.FunctionType)
        code = function.__code__
        self.note(_described(code))
        scope: dict[str, Any] = {"__name__": self._module, "__builtins__": __builtins__}
        for name in sorted(_global_names(code)):
            if given is not None and name in given:
                scope[name] = given[name]
                self.note(f"{name} = {_described(given[name])}")
            elif name in function.__globals__:
                scope[name] = self._value(name, function.__globals__[name])
            elif name in self._builtins:
                scope[name] = self._builtins[name]
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        closure = tuple([types.CellType(self._value(name, cell.cell_contents)) for name, cell in cells])
        self.note(_described((function.__defaults__, tuple((function.__kwdefaults__ or {}).items()))))
        clone = types.FunctionType(code, scope, function.__name__, function.__defaults__, closure)
        clone.__kwdefaults__ = function.__kwdefaults__
        clone.__module__ = self._module
        return clone

    def bind(self, function: Callable[..., Any], given: Mapping[str, Any] | None = None) -> Any:
        """Clone ``function`` and everything it calls."""
        return self._wrap(self.raw(function, given))

    def replace(self, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
        """Bind ``function`` with some of its global names replaced, now and wherever it is called."""
        self._clones[function] = self.bind(function, given)

    def _value(self, name: str, value: Any) -> Any:
        """What a clone has under ``name`` where the original has ``value``."""
        if not isinstance(value, types.FunctionType):
            self.note(f"{name} = {_described(value)}")
            return value
        if value in self._names:
            self.note(f"{name} = {value.__module__}.{value.__qualname__}")
            return self._names[value]
        if value not in self._clones:
            self._clones[value] = self.bind(value)
        self.note(f"{name} = clone {list(self._clones).index(value)}")
        return self._clones[value]

    def role(
        self,
        function: types.FunctionType,
        arguments: tuple[str, ...],
        hidden: Collection[str],
        groups: Mapping[str, slice],
        family: str,
    ) -> Any:
        """``function`` with these arguments, of which it takes what it names.

        Args:
            function: of the family.
            arguments: of the result.
            hidden: those of them that the function can't ask for.
            groups: names for parts of the argument k.
            family: its name, for errors.

        Raises:
            FamilyError: it asks for what is neither an argument nor a group.
        """
        at_hand = {name: name for name in arguments if name not in hidden}
        at_hand |= {name: f"k[{at.start}:{at.stop}]" for name, at in groups.items()}
        wanted = list(inspect.signature(function).parameters)
        for name in wanted:
            if name not in at_hand:
                known = ", ".join(at_hand)
                raise FamilyError(f"{family}: `{function.__name__}` asks for `{name}`; there are: {known}")
        name, passed = f"role_{function.__name__.strip('<>')}", ", ".join(at_hand[name] for name in wanted)
        source = f"def {name}({', '.join(arguments)}):\n    return function({passed})\n"
        scope = {"function": self._value("function", function), "__name__": self._module}
        self.note(source)
        exec(source, scope)
        adapter = scope[name]
        assert isinstance(adapter, types.FunctionType)
        return self._wrap(adapter)


def _global_names(code: types.CodeType) -> set[str]:
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _described(value: Any) -> str:
    """A value that code may hold, so that another value reads otherwise; what has a name is known by it."""
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(_described, value))})"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if value is None or isinstance(value, (int, float, complex, str, bytes, np.generic)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, frozenset):
        return f"frozenset({', '.join(sorted(map(_described, value)))})"
    if isinstance(value, types.CodeType):
        names = value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
        return f"{value.co_code.hex()} {value.co_flags} {value.co_argcount} {names} {_described(value.co_consts)}"
    if isinstance(value, types.FunctionType):
        return _described(value.__code__)
    name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
    return f"{type(value).__name__} {name}"
