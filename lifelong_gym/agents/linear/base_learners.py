"""Single-task base learners: how one task's policy improves from its own trajectories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, flag, positive
from lifelong_gym.agents.linear.operating_point import (
    ONE_PLACE,
    Equations,
    OperatingPoint,
    Pool,
    capped,
    fisher_information,
    shared_sum,
    solved,
    trace_normalised,
)
from lifelong_gym.agents.linear.sampling import Credit, ReturnCredit, StepCredit
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.errors import unknown
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray

ROUNDING = 1e-12  # relative to the mean: returns that differ by less are equal
MOST_EXPONENT = 500.0  # of weights, which would overflow beyond


class BaseLearner(ABC):
    """How one task's policy improves from its own trajectories.

    A learner weighs the steps of a trajectory (`credit`), compares returns (`compared`), adds trajectories up to a
    linear system (`equations`), and turns its solution into a step (`move`). As trajectories only add up, they may lie
    in different places.

    Attributes:
        learning_rate: the step size that suits it.
    """

    learning_rate: ClassVar[float]

    def credit(self, pool: Pool) -> Credit | None:
        """How it weighs the steps of a trajectory, see `sampling.sample`; None: all alike."""
        del pool
        return None

    @abstractmethod
    def check(self, n_trajectories: int, d: int) -> None:
        """Raise `ValueError` unless so many trajectories determine a step of d parameters."""

    def suffices(self, n_trajectories: int, d: int) -> bool:
        """Whether so many trajectories pass `check`."""
        try:
            self.check(n_trajectories, d)
        except ValueError:
            return False
        return True

    def compared(self, statistics: RolloutStatistics, pool: Pool) -> RolloutStatistics:
        """The same trajectories with returns as `equations` needs them."""
        del pool
        return statistics

    @abstractmethod
    def equations(self, statistics: RolloutStatistics, share: FloatArray | None = None) -> Equations:
        """The system of the given trajectories, of which each counts ``share`` times, (n_tasks, n_trajectories)."""

    @abstractmethod
    def move(self, solution: FloatArray, fisher: FloatArray, step: float) -> FloatArray:
        """The steps of n tasks, (n, d), from solutions, (n, k), and the curvature of a living step, (n, d, d)."""

    def point(self, theta: FloatArray, statistics: RolloutStatistics, step: float) -> OperatingPoint:
        """The operating points at ``theta``, shape (n_tasks, d)."""
        matrix, vector, curvature, weight = self.equations(self.compared(statistics, ONE_PLACE))
        return self.arrive(theta, solved(matrix, vector), curvature, weight, step)

    def arrive(
        self, theta: FloatArray, solution: FloatArray, curvature: FloatArray, weight: FloatArray, step: float
    ) -> OperatingPoint:
        """The operating points, from sums over all trajectories."""
        target = theta + self.move(solution, curvature / weight[:, None, None], step)
        return OperatingPoint(target, trace_normalised(curvature))


def advantage_to_go(rewards: FloatArray, alive: BoolArray, pool: Pool = ONE_PLACE) -> FloatArray:
    """What a living step earned from there on, less the mean over the task's trajectories at that time.

    Args:
        rewards: shape (n_tasks, n_trajectories, horizon).
        alive: the same shape.
        pool: where the trajectories are.
    """
    to_go = rewards_to_go(rewards)
    mean = pool.total(to_go) / to_go.shape[1]
    advantage = to_go - mean
    # A step of fixed length would make much of the rounding that equal trajectories differ by from their mean.
    return advantage * (np.abs(advantage) > ROUNDING * np.abs(mean)) * alive


def rewards_to_go(rewards: FloatArray) -> FloatArray:
    """Sums of this and all later rewards."""
    to_go: FloatArray = np.cumsum(rewards[..., ::-1], axis=-1)[..., ::-1]
    return to_go


def exponential_weights(returns: FloatArray, alive: BoolArray, beta: float, pool: Pool = ONE_PLACE) -> FloatArray:
    """``w_it ~ exp(beta (R_it - max_t) / std_t)``, with maximum, deviation and norm over those still alive at step t.

    At each step they have mean 1 over the living, so that the few that live longest don't outweigh all others. The
    mean takes the place of the maximum, to which normalised weights don't react.

    Args:
        returns: R, shape (n_tasks, n_trajectories, horizon).
        alive: the same shape.
        beta: inverse temperature; 0: all alike.
        pool: where the trajectories are.
    """
    n, total = pool.total(np.stack([alive, returns * alive], axis=-1)).transpose(3, 0, 1, 2)
    n = np.maximum(n, 1.0)
    mean = total / n
    deviation = (returns - mean) * alive
    std = np.sqrt(np.maximum(pool.total(deviation**2), 0.0) / n)  # which noise in messages can make negative
    score = np.divide(deviation, std, out=np.zeros_like(deviation), where=std > ROUNDING * np.abs(mean))
    weights = np.exp(np.minimum(beta * score, MOST_EXPONENT)) * alive
    sums = pool.total(weights)
    return weights * np.divide(n, sums, out=np.zeros_like(sums), where=sums > 0)


@dataclass(frozen=True)
class Reinforce(BaseLearner):
    """A step of fixed Euclidean length along the gradient, with the batch mean of each time step as baseline.

    Such a step maximises ``g'(x - theta) - |g| / (2 step) |x - theta|^2``, so its curvature is the identity. (With
    the Fisher information instead, which failing trajectories dominate, PG-ELLA learns no faster than alone.)
    """

    learning_rate: ClassVar[float] = 0.1

    def credit(self, pool: Pool) -> Credit:
        """The advantage to go."""
        return StepCredit(partial(advantage_to_go, pool=pool), pool.sends)

    def check(self, n_trajectories: int, d: int) -> None:
        """At least 2 trajectories: one alone is its own baseline."""
        _at_least_two(n_trajectories)

    def equations(self, statistics: RolloutStatistics, share: FloatArray | None = None) -> Equations:
        """The solution is the mean score."""
        n = shared_sum(np.ones(statistics.returns.shape), share)
        score = shared_sum(statistics.score, share)
        matrix = n[:, None, None] * np.eye(score.shape[1])
        return Equations(matrix, score, matrix, n)

    def move(self, solution: FloatArray, fisher: FloatArray, step: float) -> FloatArray:
        """``step g / |g|``; where all trajectories are equally good, no step."""
        length = np.linalg.norm(solution, axis=1, keepdims=True)
        return step * np.divide(solution, length, out=np.zeros_like(solution), where=length > 0)


@dataclass(frozen=True)
class NaturalActorCritic(BaseLearner):
    """Episodic natural actor-critic: least squares of standardised returns on ``[psi, 1]``.

    Attributes:
        max_kl: cap on ``delta' F delta / 2``, with F the Fisher information of a living step.
    """

    learning_rate: ClassVar[float] = 5.0
    max_kl: float = 0.03

    def __post_init__(self) -> None:
        check_fields(self, max_kl=positive)

    def check(self, n_trajectories: int, d: int) -> None:
        """More trajectories than unknowns."""
        if n_trajectories <= d + 1:
            raise ValueError(
                f"the episodic natural actor-critic needs more trajectories than unknowns: at least {d + 2}, for "
                f"{d} policy parameters and a baseline. Received {n_trajectories} (see `n_trajectories`)"
            )

    def compared(self, statistics: RolloutStatistics, pool: Pool) -> RolloutStatistics:
        """With standardised returns."""
        return replace(statistics, returns=_standardised(statistics.returns, pool))

    def equations(self, statistics: RolloutStatistics, share: FloatArray | None = None) -> Equations:
        """Normal equations of the regression; the curvature is the Fisher information."""
        design = np.concatenate([statistics.score, np.ones((*statistics.returns.shape, 1))], axis=2)
        own = design if share is None else design * share[..., None]
        transposed = own.transpose(0, 2, 1)
        return Equations(
            transposed @ design,
            (transposed @ statistics.returns[..., None])[..., 0],
            fisher_information(statistics, share),
            shared_sum(statistics.steps.astype(np.float64), share),
        )

    def move(self, solution: FloatArray, fisher: FloatArray, step: float) -> FloatArray:
        """Along the coefficients of psi, as far as the cap allows."""
        return capped(step * solution[:, :-1], fisher, self.max_kl)


def _standardised(returns: FloatArray, pool: Pool) -> FloatArray:
    n = returns.shape[1]
    mean = pool.total(returns) / n
    deviation = returns - mean
    spread = np.sqrt(np.maximum(pool.total(deviation**2), 0.0) / n)  # which noise in messages can make negative
    is_spread = spread > ROUNDING * np.abs(mean)
    standardised: FloatArray = np.divide(deviation, spread, out=np.zeros_like(deviation), where=is_spread)
    return standardised


@dataclass(frozen=True)
class RewardWeighted(BaseLearner):
    """Reward-weighted regression: the policy is fitted to its own steps, those of better trajectories counting more.

    With weights w (see `exponential_weights`) the step is ``delta = (sum w F)^-1 sum w psi``, which maximises the
    weighted log-likelihood exactly, and its curvature is ``sum w F``. Weights don't react to the rewards' scale.

    Attributes:
        beta: inverse temperature of the weights.
        reward_to_go: weigh a step by the reward still to come rather than by its trajectory's return.
        max_kl: cap on ``delta' F delta / 2``, with F the Fisher information of a living step.
    """

    learning_rate: ClassVar[float] = 1.0
    beta: float = 3.0
    reward_to_go: bool = False
    max_kl: float = 0.03

    def __post_init__(self) -> None:
        check_fields(self, beta=positive, reward_to_go=flag, max_kl=positive)

    def credit(self, pool: Pool) -> Credit:
        """Exponential weights."""
        if self.reward_to_go:
            return StepCredit(partial(self._by_rewards_to_go, pool=pool), pool.sends)
        return ReturnCredit(self._by_returns, partial(_told, pool=pool))

    def _by_rewards_to_go(self, rewards: FloatArray, alive: BoolArray, pool: Pool) -> FloatArray:
        return exponential_weights(rewards_to_go(rewards), alive, self.beta, pool)

    def _by_returns(self, returns: FloatArray, steps: IntArray, horizon: int) -> FloatArray:
        alive = np.arange(horizon) < steps[..., None]
        return exponential_weights(np.broadcast_to(returns[..., None], alive.shape), alive, self.beta)

    def check(self, n_trajectories: int, d: int) -> None:
        """At least 2 trajectories, to be compared."""
        _at_least_two(n_trajectories)

    def equations(self, statistics: RolloutStatistics, share: FloatArray | None = None) -> Equations:
        """Those of the weighted least squares; the matrix is the curvature."""
        fisher = fisher_information(statistics, share)
        steps = shared_sum(statistics.steps.astype(np.float64), share)
        return Equations(fisher, shared_sum(statistics.score, share), fisher, steps)

    def move(self, solution: FloatArray, fisher: FloatArray, step: float) -> FloatArray:
        """Along the solution, as far as the cap allows."""
        return capped(step * solution, fisher, self.max_kl)


def _told(returns: FloatArray, steps: IntArray, pool: Pool) -> tuple[FloatArray, IntArray]:
    """Everyone's returns and lengths: they say all, in fewer numbers than sums at each step."""
    known = pool.gathered(np.stack([returns, steps], axis=2))
    return known[..., 0], np.rint(known[..., 1]).astype(np.int64)  # lengths are whole, whatever noise there was


def _at_least_two(n_trajectories: int) -> None:
    if n_trajectories < 2:
        raise ValueError(f"`n_trajectories` must be at least 2 to compare them. Received {n_trajectories}")


BASES: dict[str, type[BaseLearner]] = {
    "reinforce": Reinforce,
    "enac": NaturalActorCritic,
    "rwr": RewardWeighted,
}


def base_learner(name: str, settings: Mapping[str, Any] | None = None) -> BaseLearner:
    """A base learner by name.

    Args:
        name: ``"reinforce"``, ``"enac"`` or ``"rwr"``.
        settings: its attributes where they shall not be the default ones.

    Raises:
        UnknownNameError: no such learner or setting.
        ValueError: a bad value.
    """
    kind: Any = BASES[choice("base", name, BASES)]
    known = [field.name for field in fields(kind)]
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"`base_settings` must be a mapping from name to value, or None. Received {settings!r}")
    for setting in settings or {}:
        if setting not in known:
            raise unknown(f"setting of {name!r}", setting, known)
    base: BaseLearner = kind(**(settings or {}))
    return base


@dataclass(frozen=True)
class BaseSettings:
    """Which base learner; raises as `base_learner` does.

    Attributes:
        base: ``"reinforce"``, ``"enac"`` or ``"rwr"``; see `REINFORCE`, `ENAC` and `RWR`.
        base_settings: the base learner's own arguments, such as ``{"max_kl": 0.1}``.
    """

    base: str = "reinforce"
    base_settings: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        learner = self.learner
        check_fields(self, base_settings=lambda _, given: {name: getattr(learner, name) for name in given or {}})

    @property
    def learner(self) -> BaseLearner:
        """The base learner."""
        return base_learner(self.base, self.base_settings)
