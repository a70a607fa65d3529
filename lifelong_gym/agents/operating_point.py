"""Single-task base learners: from a task's trajectories to where its policy should go, and how sure that is.

Multi-task methods such as PG-ELLA fit shared structure to what these return. Everything is batched over tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from lifelong_gym.agents.sampling import STATISTICS, BoolArray, Credit
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.tasks import FloatArray


class OperatingPoint(NamedTuple):
    """The maximiser and the curvature of each task's local model of its objective.

    Attributes:
        target: theta~, shape (n_tasks, d).
        curvature: H, symmetric, positive and scaled to trace d, so that no task outweighs another; (n_tasks, d, d).
    """

    target: FloatArray
    curvature: FloatArray


class BaseLearner(ABC):
    """How one task's policy improves from its own trajectories.

    Attributes:
        learning_rate: the step size that suits it.
        credit: how it weighs the steps of a trajectory; see `lifelong_gym.agents.sampling.sample`.
    """

    learning_rate: ClassVar[float]
    credit: Credit | None = None

    @abstractmethod
    def check(self, n_trajectories: int, d: int) -> None:
        """Raise `ValueError` unless so many trajectories determine a step of d parameters."""

    @abstractmethod
    def point(self, theta: FloatArray, statistics: RolloutStatistics, step: float) -> OperatingPoint:
        """The operating points at ``theta``, shape (n_tasks, d)."""


def advantage_to_go(rewards: FloatArray, alive: BoolArray) -> FloatArray:
    """What a living step earned from there on, less the mean over the task's trajectories at that time.

    Args:
        rewards: shape (n_tasks, n_trajectories, horizon).
        alive: the same shape.
    """
    to_go = np.cumsum(rewards[..., ::-1], axis=-1)[..., ::-1]
    return (to_go - to_go.mean(axis=1, keepdims=True)) * alive


class Reinforce(BaseLearner):
    """A step of fixed Euclidean length along the gradient, with the batch mean of each time step as baseline.

    Such a step maximises ``g'(x - theta) - |g| / (2 step) |x - theta|^2``, so its curvature is the identity. (With
    the Fisher information instead, which failing trajectories dominate, PG-ELLA learns no faster than alone.)
    """

    learning_rate = 0.1

    def __init__(self) -> None:
        """Credit is the advantage to go."""
        self.credit = advantage_to_go

    def check(self, n_trajectories: int, d: int) -> None:
        """At least 2 trajectories: one alone is its own baseline."""
        if n_trajectories < 2:
            raise ValueError(f"`n_trajectories` must be at least 2 to compare them. Received {n_trajectories}")

    def point(self, theta: FloatArray, statistics: RolloutStatistics, step: float) -> OperatingPoint:
        """``theta + step g / |g|``; where all trajectories are equally good, theta itself."""
        gradient = statistics.score.mean(axis=1)
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        direction = np.divide(gradient, length, out=np.zeros_like(gradient), where=length > 0)
        n_tasks, d = theta.shape
        return OperatingPoint(theta + step * direction, np.broadcast_to(np.eye(d), (n_tasks, d, d)))


@dataclass(frozen=True)
class NaturalActorCritic(BaseLearner):
    """Episodic natural actor-critic: least squares of standardised returns on ``[psi, 1]``.

    Attributes:
        max_kl: cap on ``delta' F delta / 2``, with F the Fisher information of a living step.
    """

    learning_rate: ClassVar[float] = 5.0
    max_kl: float = 0.03

    def check(self, n_trajectories: int, d: int) -> None:
        """More trajectories than unknowns."""
        if n_trajectories <= d + 1:
            raise ValueError(
                f"the episodic natural actor-critic needs more trajectories than unknowns: at least {d + 2}, for "
                f"{d} policy parameters and a baseline. Received {n_trajectories} (see `n_trajectories`)"
            )

    def point(self, theta: FloatArray, statistics: RolloutStatistics, step: float) -> OperatingPoint:
        """``theta + delta``, with delta cut to the cap, and the mean Fisher information of a trajectory."""
        delta = step * _regression(statistics)
        fisher = statistics.fisher_matrix().sum(axis=1)
        per_step = fisher / statistics.steps.sum(axis=1)[:, None, None]
        kl = 0.5 * np.einsum("ni,nij,nj->n", delta, per_step, delta)
        shrink = np.sqrt(self.max_kl / np.maximum(kl, self.max_kl))
        return OperatingPoint(theta + shrink[:, None] * delta, trace_normalised(fisher))


def _regression(statistics: RolloutStatistics) -> FloatArray:
    """Coefficients of psi, shape (n_tasks, d)."""
    returns = statistics.returns - statistics.returns.mean(axis=1, keepdims=True)
    spread = returns.std(axis=1, keepdims=True)
    standardised = np.divide(returns, spread, out=np.zeros_like(returns), where=spread > 0)
    score = statistics.score
    design = np.concatenate([score, np.ones((*score.shape[:2], 1))], axis=2)
    solution: FloatArray = (np.linalg.pinv(design) @ standardised[:, :, None])[:, :-1, 0]
    return solution


def trace_normalised(curvature: FloatArray) -> FloatArray:
    """``d H / tr H`` of each task; the identity where H is zero."""
    d = curvature.shape[-1]
    trace = np.trace(curvature, axis1=1, axis2=2)
    zero = trace <= 0
    scaled: FloatArray = curvature * (d / np.where(zero, 1.0, trace))[:, None, None]
    scaled[zero] = np.eye(d)
    return scaled


def pooled(statistics: RolloutStatistics) -> RolloutStatistics:
    """All trajectories as if of one task, their returns compared with those of their own task."""
    s = statistics
    relative = replace(s, returns=s.returns - s.returns.mean(axis=1, keepdims=True))
    flat = {name: getattr(relative, name) for name in STATISTICS}
    return replace(s, **{name: array.reshape(1, -1, *array.shape[2:]) for name, array in flat.items()})
