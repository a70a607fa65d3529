"""What the constructors of all learners have in common.

Learners hand most arguments on: their signatures and docstrings get them spelled out, each from its one home.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import numpy as np

INDENT = " " * 4


def normalise(kind: type[Any]) -> None:
    """Let a class's constructor receive NumPy's numbers, flags and texts as Python's, also within lists and dicts.

    They are alike in all but that model files can't hold NumPy's.
    """
    if "__init__" not in vars(kind):
        return
    init = vars(kind)["__init__"]

    @functools.wraps(init)
    def normalised(self: Any, *arguments: Any, **named: Any) -> None:
        init(self, *map(_python, arguments), **{name: _python(value) for name, value in named.items()})

    kind.__init__ = normalised


def _python(value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if type(value) is dict:
        return {_python(key): _python(entry) for key, entry in value.items()}
    return type(value)(map(_python, value)) if type(value) in (list, tuple) else value


def spell_out(kind: type[Any]) -> None:
    """Put the arguments that a class hands on to its parent into its signature and docstring.

    A constructor that takes ``**more`` gets the parent's parameters in place of these, with the defaults that the class
    attribute ``defaults`` names; a line ``**more: ...`` under "Args:" becomes the parent's entries.

    Args:
        kind: a class whose parent has been spelled out.
    """
    parent = kind.__mro__[1]
    signature = kind.__signature__ = _signature(kind, parent)
    if kind.__doc__ is not None and parent.__doc__ is not None:
        texts = inspect.cleandoc(kind.__doc__), inspect.cleandoc(parent.__doc__)
        kind.__doc__ = _documented(*texts, order=list(signature.parameters))


def _signature(kind: type[Any], parent: type[Any]) -> inspect.Signature:
    inherited = list(inspect.signature(parent).parameters.values())
    parameters = inherited
    if "__init__" in vars(kind):
        _, *own = inspect.signature(vars(kind)["__init__"]).parameters.values()
        parameters = [p for p in own if p.kind is not p.VAR_KEYWORD]
        if len(parameters) < len(own):
            names = {p.name for p in parameters}
            parameters += [p.replace(kind=p.KEYWORD_ONLY) for p in inherited if p.name not in names]
    defaults = getattr(kind, "defaults", {})
    return inspect.Signature([p.replace(default=defaults.get(p.name, p.default)) for p in parameters])


def _documented(text: str, parent: str, order: list[str]) -> str:
    entries = _entries(text)
    handed_on = [name for name in entries if name.startswith("**")]
    if not handed_on:
        return text
    whole = {**_entries(parent), **entries}
    del whole[handed_on[0]]
    section = [whole[name] for name in order if name in whole]
    return text.replace("\n".join(entries.values()), "\n".join(section))


def _entries(text: str) -> dict[str, str]:
    """What a docstring says under "Args:", by name; each with its name and its own indentation."""
    _, _, section = text.partition("\nArgs:\n")
    lines = section.partition("\n\n")[0]
    found = re.split(rf"^(?={INDENT}\S)", lines, flags=re.MULTILINE)
    return {entry.strip().partition(":")[0]: entry.rstrip("\n") for entry in found if entry.strip()}
