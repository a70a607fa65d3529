"""Names of things as ``module:Name``."""

from __future__ import annotations

import importlib
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
