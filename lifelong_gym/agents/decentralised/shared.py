"""What an agent shares: some of its network's numbers, by name, and what its optimiser keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import torch as th

from lifelong_gym.errors import unknown

Tensors = dict[str, th.Tensor]
Share = str | Sequence[str]

SHARES = ("policy", "all", "features")
CRITIC = ("vf_features_extractor.", "mlp_extractor.value_net.", "value_net.", "lstm_critic.", "critic.")
HEADS = ("action_net.", "log_std")


def numbers_of(network: th.nn.Module) -> Tensors:
    """All parameters and floating-point buffers, by name, to be written to."""
    named = chain(network.named_parameters(), network.named_buffers())
    return {name: tensor.detach() for name, tensor in named if tensor.is_floating_point()}


def check_share(share: Any) -> Share:
    """Raise `ValueError` unless it can say what is shared."""
    if isinstance(share, str):
        if share not in SHARES:
            raise unknown("share", share, [*SHARES, "a list of patterns"])
        return share
    if not isinstance(share, list | tuple) or not share or not all(isinstance(pattern, str) for pattern in share):
        raise ValueError(f"`share` must be one of {', '.join(SHARES)}, or a list of patterns. Received {share!r}")
    return list(share)


def shared_names(network: th.nn.Module, share: Share) -> list[str]:
    """Which numbers of a network are shared.

    Raises:
        ValueError: none, or a pattern that matches none.
    """
    names = list(numbers_of(network))
    if not isinstance(share, str):
        for pattern in share:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(f"`share`: {pattern!r} matches no parameter. There are: {', '.join(names)}")
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in share)]
    kept = {"all": (), "policy": CRITIC, "features": CRITIC + HEADS}[share]
    found = [name for name in names if not name.startswith(kept)]
    if not found:
        raise ValueError(f"`share={share!r}` must leave something to be shared. There are: {', '.join(names)}")
    return found


def check_alike(networks: Mapping[Any, th.nn.Module], names: Sequence[str]) -> None:
    """Raise `ValueError` unless all nodes' networks have these numbers in the same shapes."""
    (first, one), *others = networks.items()
    own = numbers_of(one)
    for node, network in others:
        theirs = numbers_of(network)
        for name in names:
            shapes = tuple(own[name].shape), tuple(theirs[name].shape) if name in theirs else None
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"networks of nodes {first!r} and {node!r} must be alike. {name!r} has shape {shapes[0]} and "
                    f"{shapes[1] or 'is missing'}"
                )


def moments_of(network: th.nn.Module, names: Sequence[str]) -> Tensors:
    """What a network's optimiser keeps of these parameters, such as Adam's moments, to be written to."""
    optimiser: Any = getattr(network, "optimizer", None)
    parameters = dict(network.named_parameters())
    found: Tensors = {}
    for name in names if optimiser is not None else ():
        kept = optimiser.state.get(parameters.get(name), {})
        for key, value in kept.items():
            if isinstance(value, th.Tensor) and value.shape == parameters[name].shape and value.ndim:
                found[f"{name}@{key}"] = value
    return found


def copies(tensors: Tensors) -> Tensors:
    """Of one's own."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def not_finite(tensors: Tensors) -> str | None:
    """The name of one that isn't finite."""
    return next((name for name, tensor in tensors.items() if not bool(th.isfinite(tensor).all())), None)


class NamedTensors:
    """Tensors by name as a part of a learner's state.

    Attributes:
        tensors: as they are now.
    """

    def __init__(self) -> None:
        """None yet."""
        self.tensors: Tensors = {}

    def state_dict(self) -> Tensors:
        """Copies."""
        return copies(self.tensors)

    def load_state_dict(self, state: Tensors) -> None:
        """Go on from a `state_dict`."""
        self.tensors = copies(state)
