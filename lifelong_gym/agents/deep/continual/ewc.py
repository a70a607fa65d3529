"""Elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th

from lifelong_gym.agents.contract.checks import count, number
from lifelong_gym.agents.deep.continual.base import Continual, add_to_gradients
from lifelong_gym.agents.deep.continual.fisher import fisher


class EWC(Continual):
    """Elastic weight consolidation (Kirkpatrick et al., 2017): parameters are held where earlier tasks need them.

    The loss gains ``weight / 2 * sum_k sum_i F_ki (theta_i - theta*_ki)^2``, over all tasks k that have ended, of
    which only the sums of F and of F theta* are kept.

    Args:
        weight: of the penalty; 0: none.
        n_samples: steps of the task that F is estimated from.
    """

    groups = ("fisher", "pull")

    def __init__(self, weight: float = 1e3, n_samples: int = 200) -> None:
        """See the class."""
        super().__init__()
        self.weight, self.n_samples = number("weight", weight), count("n_samples", n_samples)

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """Hold on to what this task needs."""
        with self.streams:
            found = fisher(self.model, self.parameters, self.n_samples)  # type: ignore[arg-type]
        kept = self.kept.values
        for group, of in (("fisher", found), ("pull", {n: found[n] * p for n, p in self.copies().items()})):
            before = kept.get(group)
            kept[group] = of if before is None else {name: before[name] + of[name] for name in of}

    def before_step(self) -> None:
        """Add the penalty's gradient."""
        add_to_gradients(self, self.gradients())

    def gradients(self) -> dict[str, th.Tensor]:
        """Of the penalty, by parameter."""
        kept = self.kept.values
        if "fisher" not in kept:
            return {name: th.zeros_like(p) for name, p in self.parameters.items()}
        fishers, pulls = kept["fisher"], kept["pull"]
        return {n: self.weight * (fishers[n] * p.detach() - pulls[n]) for n, p in self.parameters.items()}
