"""A learner's state: the tensors of its modules, by dotted name."""

from __future__ import annotations

from typing import Any, Protocol

import torch as th


class Stateful(Protocol):
    """What holds all it learned in tensors; SB3's algorithms do."""

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """The tensors, by module and name."""


def copied(model: Stateful) -> dict[str, th.Tensor]:
    """Copies of a model's tensors, by dotted name."""
    return {name: tensor.clone() for name, tensor in tensors(model).items()}


def tensors(model: Stateful) -> dict[str, th.Tensor]:
    """A model's tensors, by dotted name, to be written to."""
    states = model.get_parameters().items()
    return {f"{module}.{name}": tensor.detach() for module, state in states for name, tensor in state.items()}


def put_back(model: Stateful, before: dict[str, th.Tensor]) -> None:
    """Write what `copied` gave into the model's tensors."""
    for name, tensor in tensors(model).items():
        tensor.copy_(before[name])


def not_finite(model: Stateful) -> str | None:
    """Which of a model's tensors holds values that are not finite, in words."""
    names = (name for name, tensor in tensors(model).items() if not bool(th.isfinite(tensor).all()))
    return next((f"{name!r} holds values that are not finite" for name in names), None)
