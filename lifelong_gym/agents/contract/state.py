"""A learner's state: named parts, each of a kind that knows how to tell it, to check it and to take it up again.

A part is a module, an optimiser, an array or tensor, a generator, one of SB3's buffers, `Attributes` of an object, or
anything with ``state_dict`` and ``load_state_dict``, such as a VecEnv of ours or a `Channel`. A mapping, or an object
with a method ``parts``, stands for the parts in it, whose names its own name and a dot precede.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch as th

from lifelong_gym.agents.contract.kinds import State, kind_of
from lifelong_gym.errors import CheckpointError

Parts = Mapping[str, Any]


class Stateful(Protocol):
    """What holds all that learning depends on in named parts, besides its arguments and counters."""

    def _parts(self) -> Parts: ...


@runtime_checkable
class Composite(Protocol):
    """What consists of parts."""

    def parts(self) -> Parts:
        """By name."""


def named_parts(model: Stateful) -> dict[str, Any]:
    """A model's parts, none of which consists of others, by dotted name.

    Raises:
        TypeError: something that has no state to be told.
    """
    found = dict(_leaves(model._parts(), ""))
    for name, part in found.items():
        if not isinstance(part, th.nn.Module) and kind_of(part) is None:
            raise TypeError(
                f"part {name!r} must be a module, an optimiser, an array, a generator, a buffer of SB3's, or have "
                f"`state_dict` and `load_state_dict`. Received {type(part)}"
            )
    return found


def _leaves(parts: Parts, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, part in parts.items():
        # Once a sweep for every part: asking for the method is tenfold faster than the protocol's `isinstance`.
        inner = part.parts() if hasattr(part, "parts") and not isinstance(part, type) else part
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def modules(model: Stateful) -> dict[str, th.nn.Module]:
    """A model's modules."""
    return {name: part for name, part in named_parts(model).items() if isinstance(part, th.nn.Module)}


def others(model: Stateful) -> dict[str, Any]:
    """A model's parts that are no modules."""
    return {name: part for name, part in named_parts(model).items() if not isinstance(part, th.nn.Module)}


def optimisers(model: Stateful) -> dict[str, Any]:
    """A model's optimisers."""
    return {name: part for name, part in named_parts(model).items() if isinstance(part, th.optim.Optimizer)}


def tensors(model: Stateful) -> dict[str, th.Tensor]:
    """The tensors of a model's modules, by dotted name, to be written to."""
    states = ((module, part.state_dict()) for module, part in modules(model).items())
    return {f"{module}.{name}": tensor.detach() for module, state in states for name, tensor in state.items()}


def told(parts: Parts) -> dict[str, State]:
    """The states of parts that are no modules; they may share memory with the parts."""
    return {name: _kind(part).state(part) for name, part in parts.items()}


def check(parts: Parts, states: Mapping[str, State]) -> None:
    """Raise `CheckpointError` unless each state fits its part, as far as can be said without changing it."""
    for name, state in states.items():
        try:
            _kind(parts[name]).check(parts[name], state)
        except CheckpointError as error:
            raise CheckpointError(f"part {name!r}: {error}") from error


def take_up(parts: Parts, states: Mapping[str, State]) -> None:
    """Give parts these states, checked by `check`: all or, where one refuses its own, none.

    Raises:
        CheckpointError: a part's ``load_state_dict`` raised.
    """
    unsure = [name for name in states if not _kind(parts[name]).is_sure]
    before = copy.deepcopy(told({name: parts[name] for name in unsure}))
    done: list[str] = []
    for name in [*unsure, *(name for name in states if name not in unsure)]:
        try:
            _kind(parts[name]).load(parts[name], states[name])
        except Exception as error:
            for earlier in done:
                _kind(parts[earlier]).load(parts[earlier], before[earlier])
            raise CheckpointError(f"part {name!r} doesn't take its state: {error}") from error
        done.append(name)


def _kind(part: Any) -> Any:
    kind = kind_of(part)
    assert kind is not None
    return kind


@dataclass(frozen=True)
class Copies:
    """What training changes.

    Attributes:
        tensors: of a model's modules.
        states: of its optimisers.
    """

    tensors: dict[str, th.Tensor]
    states: dict[str, State]


def copied(model: Stateful) -> Copies:
    """Copies of what training changes."""
    return Copies({n: tensor.clone() for n, tensor in tensors(model).items()}, copy.deepcopy(told(optimisers(model))))


def put_back(model: Stateful, before: Copies) -> None:
    """Write what `copied` gave into the model."""
    for name, tensor in tensors(model).items():
        tensor.copy_(before.tensors[name])
    take_up(optimisers(model), before.states)


def not_finite(model: Stateful) -> str | None:
    """Which of a model's tensors, or of what an optimiser keeps, isn't finite, in words."""
    names = (name for name, tensor in tensors(model).items() if not bool(th.isfinite(tensor).all()))
    for name in names:
        return f"{name!r} holds values that are not finite"
    for name, optimiser in optimisers(model).items():
        kept = (value for entry in optimiser.state.values() for value in entry.values() if isinstance(value, th.Tensor))
        if not all(bool(th.isfinite(value).all()) for value in kept):
            return f"{name!r} keeps values that are not finite"
    return None
