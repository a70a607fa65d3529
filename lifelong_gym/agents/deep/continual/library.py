"""A network of its own for each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th

from lifelong_gym.agents.deep.continual.base import Continual, label_of


class Library(Continual):
    """One network a task: nothing is forgotten, and nothing carried over.

    A new task's network begins as the first one did, whatever was learned meanwhile; one that comes again goes on from
    where it was. The optimiser's moments begin anew.
    """

    keeps_policies = True

    def attached(self) -> None:
        """Remember the beginning."""
        self.kept.values |= {"start": self._copy(), "shelf": {}}

    def on_task_start(self, info: Mapping[str, Any]) -> None:
        """Take this task's network."""
        label = label_of(self, info)
        self._put(self.kept.values["shelf"].get(label, self.kept.values["start"]))
        self.optimiser.state.clear()

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """Put it on the shelf."""
        self.kept.values["shelf"][label_of(self, info)] = self._copy()

    def policy_of(self, label: int) -> dict[str, th.Tensor] | None:
        """See `Continual.policy_of`: as it was put on the shelf."""
        found: dict[str, th.Tensor] | None = self.kept.values["shelf"].get(label)
        return found

    def _copy(self) -> dict[str, th.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.policy.state_dict().items()}

    def _put(self, tensors: Mapping[str, th.Tensor]) -> None:
        self.policy.load_state_dict(tensors)
        self.follow()
