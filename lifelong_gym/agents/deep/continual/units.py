"""A network's hidden units: what goes into them, what comes out, and how active they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch as th
from torch import nn

LAYERS = (nn.Linear, nn.Conv2d)
Layer = nn.Linear | nn.Conv2d


@dataclass(eq=False)
class Hidden:
    """The units of one layer.

    Attributes:
        layer: that gives them; of convolutions, a channel is a unit.
        following: layers that read them.
        activity: mean size of each one's output, shape (n_units,).
    """

    layer: Layer
    following: list[Layer] = field(default_factory=list)
    activity: th.Tensor = field(default_factory=lambda: th.zeros(0))

    @property
    def scores(self) -> th.Tensor:
        """How active each is, relative to the layer's mean, shape (n_units,)."""
        return self.activity / (self.activity.mean() + 1e-9)


def hidden_units(network: nn.Module, passes: Iterable[Callable[[], Any]]) -> list[Hidden]:
    """The hidden layers of a network, found by watching it.

    Args:
        network: whose layers are watched.
        passes: each a way through it, from observations to an output.
    """
    found: dict[int, Hidden] = {}
    for run in passes:
        calls = _watched(network, run)
        layers = [i for i, (module, _) in enumerate(calls) if isinstance(module, LAYERS)]
        for at, then in pairwise(layers):
            layer: Any = calls[at][0]
            unit = found.setdefault(id(layer), Hidden(layer))
            output = calls[at + 1][1] if then > at + 1 else calls[at][1]  # of the activation behind it
            sizes = output.detach().abs()
            unit.activity = sizes.mean(dim=[d for d in range(sizes.ndim) if d != 1])
            following: Any = calls[then][0]
            if all(following is not known for known in unit.following):
                unit.following.append(following)
    return list(found.values())


def _watched(network: nn.Module, run: Callable[[], Any]) -> list[tuple[nn.Module, th.Tensor]]:
    """Modules without others in them, in the order in which they were called, with what they gave."""
    calls: list[tuple[nn.Module, th.Tensor]] = []
    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(lambda module, _, output: calls.append((module, output))) for leaf in leaves]
    try:
        with th.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def renew(hidden: Hidden, which: th.Tensor, optimiser: th.optim.Optimizer) -> None:
    """Begin units anew: fresh weights go in, nothing comes out, and the optimiser remembers nothing of them.

    Args:
        hidden: of which layer.
        which: of its units, bool, shape (n_units,).
        optimiser: of the network.
    """
    layer: Any = hidden.layer
    fresh = copy.deepcopy(layer)
    fresh.reset_parameters()
    for name in ("weight", "bias"):
        parameter = getattr(layer, name)
        if parameter is not None:
            parameter.data[which] = getattr(fresh, name).data[which]
            _forget(optimiser, parameter, which)
    for reader in hidden.following:
        columns = which.repeat_interleave(reader.weight.shape[1] // len(which))  # flattened channels have several
        reader.weight.data[:, columns] = 0.0
        _forget(optimiser, reader.weight, (slice(None), columns))


def _forget(optimiser: th.optim.Optimizer, parameter: th.Tensor, at: Any) -> None:
    for value in optimiser.state.get(parameter, {}).values():
        if isinstance(value, th.Tensor) and value.shape == parameter.shape:
            value[at] = 0.0
