"""Regularisation towards where a network began."""

from __future__ import annotations

import torch as th

from lifelong_gym.agents.contract.checks import number
from lifelong_gym.agents.deep.continual.base import Continual, add_to_gradients


class L2Init(Continual):
    """Regenerative regularisation (Kumar et al., 2024): parameters that no task needs go back to where they began.

    So a network keeps the ability to learn. The loss gains ``weight / 2 * sum_i (theta_i - theta_0i)^2``.

    Args:
        weight: of the penalty; 0: none.
    """

    groups = ("start",)

    def __init__(self, weight: float = 1e-3) -> None:
        """See the class."""
        super().__init__()
        self.weight = number("weight", weight)

    def attached(self) -> None:
        """Remember the beginning."""
        self.kept.values["start"] = self.copies()

    def before_step(self) -> None:
        """Add the penalty's gradient."""
        add_to_gradients(self, self.gradients())

    def gradients(self) -> dict[str, th.Tensor]:
        """Of the penalty, by parameter."""
        start = self.kept.values["start"]
        return {name: self.weight * (p.detach() - start[name]) for name, p in self.parameters.items()}
