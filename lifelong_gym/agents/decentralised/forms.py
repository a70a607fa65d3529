"""How steps and averages go together: what a node sends, and what it makes of the average that comes back."""

from __future__ import annotations

from typing import Protocol

import torch as th

from lifelong_gym.agents.decentralised.shared import Tensors

ESTIMATE = "~"  # behind a parameter's name: the estimate of the mean step


class Form(Protocol):
    """One of the ways; ``start`` and ``end`` are a node's numbers before and after its own step."""

    def sent(self, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """What is averaged."""

    def received(self, mixed: Tensors, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The numbers that the node goes on with; ``kept`` is brought up to date."""


class Adapt:
    """Step, then mix: ``theta_i <- sum_j W_ij (theta_j + step_j)``."""

    def sent(self, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The end."""
        return end

    def received(self, mixed: Tensors, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The average."""
        return mixed


class Literal:
    """The step, taken at one's own parameters, is added to the average: ``theta_i <- sum_j W_ij theta_j + step_i``."""

    def sent(self, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The start."""
        return start

    def received(self, mixed: Tensors, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The average and the step."""
        return {name: mixed[name] + (end[name] - before) for name, before in start.items()}


class Tracking:
    """Gradient tracking: ``y_i <- sum_j W_ij y_j + step_i - last step_i``, ``theta_i <- sum_j W_ij theta_j + y_i``.

    The mean of the estimates y is the mean of the steps, and they agree in the end, so that nodes do not pull apart.
    """

    def sent(self, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The parameters, and the estimate."""
        return {**start, **{f"{name}{ESTIMATE}": _of(kept, f"{name}{ESTIMATE}", start[name]) for name in start}}

    def received(self, mixed: Tensors, start: Tensors, end: Tensors, kept: Tensors) -> Tensors:
        """The average, and the new estimate."""
        found: Tensors = {}
        for name, before in start.items():
            step, estimate = end[name] - before, f"{name}{ESTIMATE}"
            kept[estimate] = mixed[estimate] + step - _of(kept, name, step)
            kept[name] = step
            found[name] = mixed[name] + kept[estimate]
        return found


FORMS: dict[str, Form] = {"adapt": Adapt(), "literal": Literal(), "tracking": Tracking()}


def _of(kept: Tensors, name: str, like: th.Tensor) -> th.Tensor:
    """What is kept, or zeros before anything is."""
    return kept[name] if name in kept else th.zeros_like(like)
