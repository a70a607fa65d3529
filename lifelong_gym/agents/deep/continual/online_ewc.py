"""Elastic weight consolidation with one running penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th

from lifelong_gym.agents.contract.checks import count, number, within
from lifelong_gym.agents.deep.continual.base import Continual, add_to_gradients
from lifelong_gym.agents.deep.continual.fisher import fisher


class OnlineEWC(Continual):
    """Online EWC (Schwarz et al., 2018): parameters are held where they were last, and what tasks need fades.

    The loss gains ``weight / 2 * sum_i F_i (theta_i - theta*_i)^2``; where a task ends, ``F <- decay F + F_k`` and
    theta* is theta.

    Args:
        weight: of the penalty; 0: none.
        decay: of F from task to task, in [0, 1].
        n_samples: steps of the task that F_k is estimated from.
    """

    groups = ("fisher", "anchor")

    def __init__(self, weight: float = 1e3, decay: float = 0.95, n_samples: int = 200) -> None:
        """See the class."""
        super().__init__()
        self.weight, self.decay = number("weight", weight), within("decay", decay, 0.0, 1.0)
        self.n_samples = count("n_samples", n_samples)

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """Hold on to what this task needs, and a little less to what others did."""
        with self.streams:
            found = fisher(self.model, self.parameters, self.n_samples)  # type: ignore[arg-type]
        before = self.kept.values.get("fisher")
        if before is not None:
            found = {name: self.decay * before[name] + of for name, of in found.items()}
        self.kept.values |= {"fisher": found, "anchor": self.copies()}

    def before_step(self) -> None:
        """Add the penalty's gradient."""
        add_to_gradients(self, self.gradients())

    def gradients(self) -> dict[str, th.Tensor]:
        """Of the penalty, by parameter."""
        kept = self.kept.values
        if "fisher" not in kept:
            return {name: th.zeros_like(p) for name, p in self.parameters.items()}
        fishers, anchors = kept["fisher"], kept["anchor"]
        return {n: self.weight * fishers[n] * (p.detach() - anchors[n]) for n, p in self.parameters.items()}
