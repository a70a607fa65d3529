"""What consecutive steps of a task score: how much there may be to learn from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch as th


@dataclass(frozen=True)
class Batch:
    """What scorers see of consecutive steps of one task.

    Attributes:
        shares: (n, m).
        present: 1 where an entity is there, else 0, (n, m).
        rewards: (n,).
        gradient_norm: Euclidean norm of the gradient of the mean reward.
    """

    shares: th.Tensor
    present: th.Tensor
    rewards: th.Tensor
    gradient_norm: float

    @property
    def deviations(self) -> th.Tensor:
        """Distance of each share from an equal one, (n, m); 0 of the absent."""
        equal = self.present / self.present.sum(1, keepdim=True)
        return (self.shares - equal).abs()


def deviation(batch: Batch) -> float:
    """The largest distance of a share from an equal one."""
    return float(batch.deviations.max())


def mean_deviation(batch: Batch) -> float:
    """The mean distance of shares from equal ones."""
    return float(batch.deviations.sum() / batch.present.sum())


def reward_variance(batch: Batch) -> float:
    """Of the batch's rewards."""
    return float(batch.rewards.var(correction=0))


def gradient_norm(batch: Batch) -> float:
    """Of the mean reward's gradient."""
    return batch.gradient_norm


SCORERS = {scorer.__name__: scorer for scorer in (deviation, mean_deviation, reward_variance, gradient_norm)}
