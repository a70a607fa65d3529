"""Policies whose entropy is the relative entropy that the theory of policy gradients regularises by."""

from __future__ import annotations

import functools
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule


class UniformReference(CategoricalDistribution):
    """A choice whose entropy is ``mean_a log pi(a | s)``: minus its divergence from uniform choice, but for a constant.

    It goes to minus infinity as a probability goes to 0, where entropy stays finite.
    """

    def entropy(self) -> th.Tensor:
        """See the class."""
        logits: th.Tensor = self.distribution.logits
        return logits.mean(dim=-1)


class RelativeEntropy(ActorCriticPolicy):
    """What SB3's losses take with weight ``ent_coef`` is relative entropy, on the states that were visited."""

    def _build(self, lr_schedule: Schedule) -> None:
        assert isinstance(self.action_space, spaces.Discrete)
        self.action_dist = UniformReference(int(self.action_space.n))
        super()._build(lr_schedule)


@functools.cache
def with_relative_entropy(kind: type[ActorCriticPolicy]) -> type[ActorCriticPolicy]:
    """The same policy, with relative entropy."""
    return type(f"RelativeEntropy{kind.__name__}", (RelativeEntropy, kind), {})


def check_discrete(space: spaces.Space[Any]) -> None:
    """Raise `ValueError` unless actions are Discrete, of which there is a uniform choice."""
    if not isinstance(space, spaces.Discrete):
        raise ValueError(f"`relative_entropy` must be 0 where actions aren't Discrete. The action space is {space}")
