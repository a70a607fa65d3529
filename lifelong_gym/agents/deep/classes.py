"""Classes that policies are made of, by names that files can hold."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lifelong_gym import imports
from lifelong_gym.errors import unknown

# Arguments of policies that are classes, and the modules in which short names of theirs are looked up.
PLACES = {
    "features_extractor_class": ("lifelong_gym.agents.deep.extractors", "stable_baselines3.common.torch_layers"),
    "optimizer_class": ("torch.optim",),
    "activation_fn": ("torch.nn",),
}


def with_classes(policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's arguments, in which classes may be names: short ones, such as ``"SGD"``, or ``module:Class``.

    Raises:
        UnknownNameError: there is no such class.
    """
    return {name: _class(name, value) for name, value in policy_kwargs.items()}


def _class(argument: str, value: Any) -> Any:
    if argument not in PLACES or not isinstance(value, str):
        return value
    if ":" in value:
        return imports.load(value)
    modules = [importlib.import_module(place) for place in PLACES[argument]]
    for module in modules:
        if isinstance(getattr(module, value, None), type):
            return getattr(module, value)
    known = [name for module in modules for name, kind in vars(module).items() if isinstance(kind, type)]
    raise unknown(argument, value, [*sorted(name for name in known if not name.startswith("_")), "module:Class"])
