"""Names of things as ``module:Name``, and names that are imported when they are asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def load(path: str) -> Any:
    """Import ``module:Name``.

    Raises:
        ValueError: not of that form, or the module has no such name.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f'expected "module:Name". Received {path!r}')
    value = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(value, part):
            raise ValueError(f"module {module!r} has no {name!r}")
        value = getattr(value, part)
    return value


def search_current_folder(*names: str) -> None:
    """Where one of these is ``module:Name``, let its module lie in the current folder.

    It is looked for there last, so that no file among a user's results stands in for a library; and where no name has a
    module, nothing there is ever run.
    """
    here = str(Path.cwd())
    if any(":" in name for name in names) and here not in sys.path:
        sys.path.append(here)


def lazy(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's ``__getattr__``: the module of a name is imported when the name is first asked for.

    Args:
        package: its ``__name__``.
        modules: names by the module, relative to the package, that defines them.
    """
    home = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home[name]}"), name)

    return __getattr__
