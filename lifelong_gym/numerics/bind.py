"""Binding: the functions of a family, cloned for a backend.

A clone runs the same code with other globals: names of `scalar` become the backend's own, helper functions are
cloned in turn (from whichever module they come), numbers are copied. A family's *roles* receive a fixed argument
list; each role names only the arguments it needs, among them the groups of constants that the family declares.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

from lifelong_gym.errors import FamilyError

ROLES: Mapping[str, tuple[str, ...]] = {
    "initial": ("noise",),
    "transition": ("state", "action", "noise"),
    "reward": ("state", "action", "next_state", "noise"),
    "failed": ("state",),
    "terminated": ("state",),
    "observation": ("state",),
}


class Binder:
    """Clones functions for one backend.

    Args:
        names: the backend's replacement for functions of `scalar` and `philox`, by the original function.
        wrap: applied to every clone (for instance ``numba.njit``).
        module: ``__name__`` of the clones; compiled code is cached under it, so it must be importable.
    """

    def __init__(
        self,
        names: Mapping[Callable[..., Any], Any],
        wrap: Callable[[Any], Any] = lambda function: function,
        module: str = __name__,
    ) -> None:
        """See the class."""
        self._names = names
        self._wrap = wrap
        self._module = module
        self._clones: dict[Any, Any] = {}
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Hash of the text of everything bound so far: compiled code is valid as long as it stays the same."""
        return self._digest.hexdigest()[:16]

    def raw(self, function: Callable[..., Any], given: Mapping[str, Any] | None = None) -> types.FunctionType:
        """Clone ``function``, not wrapped; ``given`` provides (or overrides) some of its global names."""
        assert isinstance(function, types.FunctionType)
        code = function.__code__
        scope: dict[str, Any] = {"__name__": self._module, "__builtins__": __builtins__}
        for name in sorted(_global_names(code)):
            if given is not None and name in given:
                scope[name] = self._noted(given[name])
            elif name in function.__globals__:
                scope[name] = self._value(function.__globals__[name])
        self._digest.update(_text(function).encode())
        clone = types.FunctionType(code, scope, function.__name__, function.__defaults__, function.__closure__)
        clone.__module__ = self._module
        return clone

    def bind(self, function: Callable[..., Any], given: Mapping[str, Any] | None = None) -> Any:
        """Clone ``function`` and everything it calls."""
        return self._wrap(self.raw(function, given))

    def replace(self, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
        """Bind ``function`` with some of its global names replaced, now and wherever it is called."""
        self._clones[function] = self.bind(function, given)

    def _value(self, value: Any) -> Any:
        if isinstance(value, types.FunctionType):
            if value in self._names:
                return self._names[value]
            if value not in self._clones:
                self._clones[value] = self.bind(value)
            return self._clones[value]
        return self._noted(value)

    def _noted(self, value: Any) -> Any:
        if isinstance(value, (int, float, tuple)):
            self._digest.update(repr(value).encode())
        return value

    def role(
        self, function: types.FunctionType, arguments: tuple[str, ...], groups: Mapping[str, slice], family: str
    ) -> Any:
        """``function`` with the argument list ``(*arguments, k)``; ``groups`` say where a named group lies in k."""
        passed = []
        for name in inspect.signature(function).parameters:
            if name in arguments:
                passed.append(name)
            elif name in groups:
                passed.append(f"k[{groups[name].start}:{groups[name].stop}]")
            else:
                known = ", ".join([*arguments, *groups])
                raise FamilyError(f"{family}: `{function.__name__}` asks for `{name}`; there are: {known}")
        scope = {"function": self._value(function), "__name__": self._module}
        source = f"def {function.__name__}({', '.join(arguments)}, k):\n    return function({', '.join(passed)})\n"
        self._digest.update(source.encode())
        exec(source, scope)
        adapter = scope[function.__name__]
        assert isinstance(adapter, types.FunctionType)
        return self._wrap(adapter)


def _global_names(code: types.CodeType) -> set[str]:
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _text(function: types.FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except OSError:  # defined in an interactive session
        return repr((function.__code__.co_code, function.__code__.co_names, function.__code__.co_consts))
