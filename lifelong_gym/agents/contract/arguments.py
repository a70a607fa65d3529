"""Arguments of learners: each is written once, in the settings class of its level, with default, check and meaning.

A level is a frozen dataclass: its fields hold defaults, its ``__post_init__`` checks (see `check_fields`), its
docstring meanings. A learner's constructor and docstring repeat names, types, defaults and meanings, to be read by
people, editors and type checkers; `tests/test_arguments.py` holds the two against each other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th

from lifelong_gym.agents.contract.checks import count
from lifelong_gym.errors import integer

MOST_SEED = 2**32 - 1  # what NumPy's global generator takes, which SB3 seeds too


def check_fields(settings: Any, **checks: Callable[[str, Any], Any]) -> None:
    """Put what the checks make of a frozen dataclass's fields in their place; each gets a name and a value."""
    for name, checked in checks.items():
        object.__setattr__(settings, name, checked(name, getattr(settings, name)))


@dataclass(frozen=True)
class CommonSettings:
    """Arguments of all learners.

    Attributes:
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; see the policy for what it computes with.
    """

    tensorboard_log: str | None = None
    verbose: int = 0
    seed: int | None = None
    device: th.device | str = "auto"
    _init_setup_model: bool = True

    def __post_init__(self) -> None:
        check_fields(self, verbose=_level, seed=_seed)


def _level(name: str, value: Any) -> int:
    return count(name, int(value) if isinstance(value, bool) else value, least=0)


def _seed(name: str, value: Any) -> int | None:
    return None if value is None else integer(name, value, least=0, most=MOST_SEED)


def argument_names(kind: type[Any]) -> list[str]:
    """Arguments of a class's constructor, then, where it hands on ``**more``, those of the constructors above it."""
    names: dict[str, None] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {p.name: None for p in parameters if p.kind is not p.VAR_KEYWORD}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return list(names)


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
