"""PackNet: tasks that share a network without touching each other's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th
from stable_baselines3 import DQN

from lifelong_gym.agents.contract.checks import count, within
from lifelong_gym.agents.deep.continual.base import Continual, Tensors, label_of

FREE, NOBODY = -1, -2  # owners of weights: not yet; and nobody's


class PackNet(Continual):
    """PackNet (Mallya and Lazebnik, 2018): each task gets a share of the weights that are free, for good.

    A task learns in all weights that no earlier one owns, and uses those of earlier ones as they are. Where it ends,
    the largest of its weights in each layer become its own, the others are set to 0, and it is trained a little more
    in what it owns. So what a task has learned stays as it is, to the bit. Biases are the first task's. Free weights
    begin each task anew, as at first; a task that comes again finds its network, and learns nothing more.

    Args:
        share: of each layer's free weights that a task keeps, in (0, 1].
        retrain: gradient steps on the task's replay after pruning; of PPO none.
    """

    groups = ("start", "full", "owner")
    keeps_policies = True

    def __init__(self, share: float = 0.5, retrain: int = 200) -> None:
        """See the class."""
        super().__init__()
        self.share, self.retrain = within("share", share, 0.0, 1.0), count("retrain", retrain, least=0)
        if self.share == 0.0:
            raise ValueError(f"`share` must be above 0. Received {share!r}")

    def attached(self) -> None:
        """All weights are free."""
        start = self.copies()
        owner = {name: th.full_like(tensor, FREE, dtype=th.int64) for name, tensor in start.items()}
        self.kept.values |= {"start": start, "full": start, "owner": owner, "labels": [], "trained": FREE}

    @property
    def labels(self) -> list[int]:
        """The tasks that own weights, in the order in which they came."""
        labels: list[int] = self.kept.values["labels"]
        return labels

    def on_task_start(self, info: Mapping[str, Any]) -> None:
        """Take up a task's network, or for a new one what is free beside those of all others."""
        label, kept = label_of(self, info), self.kept.values
        if label in self.labels:
            self._put(self.of_task(label))
            kept["trained"] = NOBODY
        else:
            free = {name: owner == FREE for name, owner in kept["owner"].items()}
            self._put({n: th.where(free[n], kept["start"][n], of) for n, of in kept["full"].items()})
            kept["trained"] = FREE
        self.optimiser.state.clear()

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """Prune, train what is kept a little more, and keep it for good."""
        label, kept = label_of(self, info), self.kept.values
        if label in self.labels:
            return
        number = len(self.labels)
        kept["owner"] = {n: self._claimed(n, owner, number) for n, owner in kept["owner"].items()}
        kept["labels"] = [*self.labels, label]
        owned = {name: owner != FREE for name, owner in kept["owner"].items()}
        self._put({name: p * owned[name] for name, p in self.copies().items()})
        kept["trained"] = number
        self.optimiser.state.clear()
        self._retrain()
        kept["full"] = self.copies()
        kept["trained"] = NOBODY

    def of_task(self, label: int) -> Tensors:
        """The parameters of a task's network."""
        number, kept = self.labels.index(label), self.kept.values
        own = {name: (owner >= 0) & (owner <= number) for name, owner in kept["owner"].items()}
        return {name: th.where(own[name], of, th.zeros_like(of)) for name, of in kept["full"].items()}

    def policy_of(self, label: int) -> dict[str, th.Tensor] | None:
        """See `Continual.policy_of`."""
        return {**self.policy.state_dict(), **self.of_task(label)} if label in self.labels else None

    def before_step(self) -> None:
        """Weights that aren't to be trained have no gradient."""
        self._before, mask = self.copies(), self._trained()
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                parameter.grad.mul_(mask[name])

    def after_step(self) -> None:
        """And stay as they are, whatever the optimiser does."""
        mask = self._trained()
        for name, parameter in self.parameters.items():
            parameter.data.copy_(th.where(mask[name], parameter.data, self._before[name]))

    def _trained(self) -> Tensors:
        """Which entries are."""
        owner = self.kept.values["trained"]
        return {name: of == owner for name, of in self.kept.values["owner"].items()}

    def _claimed(self, name: str, owner: th.Tensor, number: int) -> th.Tensor:
        """The owners of one tensor's entries, once a task has taken its share of the free ones."""
        free = owner == FREE
        if owner.ndim < 2:  # biases
            return th.where(free, number, owner)
        n_free = int(free.sum())
        n_kept = min(n_free, max(1, round(self.share * n_free)))
        sizes = th.where(free, self.parameters[name].detach().abs(), -1.0).flatten()
        chosen = owner.flatten().clone()
        chosen[sizes.topk(n_kept).indices] = number
        return chosen.reshape(owner.shape)

    def _retrain(self) -> None:
        model: Any = self.model
        if isinstance(model, DQN) and self.retrain and model.replay_buffer is not None and model.replay_buffer.size():
            updates = model._n_updates
            with self.streams:
                model.train(self.retrain, model.batch_size)
            model._n_updates = updates

    def _put(self, tensors: Tensors) -> None:
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[name])
        self.follow()
