"""Recycling of units that have fallen silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch as th
from stable_baselines3 import DQN

from lifelong_gym.agents.contract.checks import count, number
from lifelong_gym.agents.deep.continual.base import Continual
from lifelong_gym.agents.deep.continual.fisher import drawn
from lifelong_gym.agents.deep.continual.units import Hidden, hidden_units, renew


class ReDo(Continual):
    """ReDo (Sokar et al., 2023): units that have gone dormant get fresh weights, so that a network can go on learning.

    A hidden unit is dormant where its mean activity is at most ``threshold`` times its layer's. Every ``period``
    gradient steps, dormant ones are recycled: what goes in is drawn anew, what comes out is 0, the optimiser's moments
    of both are 0.

    Args:
        threshold: of activity, relative to the layer's mean; 0: those that are never active.
        period: gradient steps from one recycling to the next.
        n_samples: observations by which activity is measured.

    Attributes:
        n_recycled: units so far.
    """

    def __init__(self, threshold: float = 0.025, period: int = 1000, n_samples: int = 64) -> None:
        """See the class."""
        super().__init__()
        self.threshold, self.period = number("threshold", threshold), count("period", period)
        self.n_samples = count("n_samples", n_samples)

    def attached(self) -> None:
        """Count from 0."""
        self.kept.values |= {"n_steps": 0, "n_recycled": 0}

    @property
    def n_recycled(self) -> int:
        """Units so far."""
        return int(self.kept.values["n_recycled"])

    def after_step(self) -> None:
        """From time to time, recycle."""
        self.kept.values["n_steps"] += 1
        if self.kept.values["n_steps"] % self.period == 0:
            self.recycle()

    def dormant(self) -> list[tuple[Hidden, th.Tensor]]:
        """The hidden layers of the network, and which of their units are dormant, on the algorithm's own data."""
        batches = drawn(self.model, self.n_samples)
        if not batches:
            return []
        seen = th.cat([batch[0] for batch in batches])
        training = self.policy.training
        self.policy.set_training_mode(False)
        found = hidden_units(self.policy, self._passes(seen))
        self.policy.set_training_mode(training)
        return [(hidden, hidden.scores <= self.threshold) for hidden in found]

    def recycle(self) -> None:
        """Begin dormant units anew."""
        with self.streams:
            for hidden, which in self.dormant():
                if bool(which.any()):
                    renew(hidden, which, self.optimiser)
                    self.kept.values["n_recycled"] += int(which.sum())

    def _passes(self, seen: th.Tensor) -> list[Callable[[], Any]]:
        policy = self.policy
        if isinstance(self.model, DQN):
            return [lambda: policy.q_net(seen)]
        return [lambda: policy.get_distribution(seen), lambda: policy.predict_values(seen)]
