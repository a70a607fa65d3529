"""The paper's closed forms with the weights as they are printed, to see what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import RewardWeighted
from lifelong_gym.agents.linear.operating_point import ONE_PLACE, Pool
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Taskwise
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


def printed_weights(rewards: FloatArray, alive: BoolArray, pool: Pool = ONE_PLACE) -> FloatArray:
    """Each trajectory's mean reward R over all of them, with mean 1: where R < 0, the worst weigh most.

    The printed H = sum R F is negative definite then, and so is H / sum R positive definite; the solution of the
    linear system is the same.

    Args:
        rewards: shape (n_tasks, n_trajectories, horizon).
        alive: the same shape.
        pool: where the trajectories are.
    """
    returns = rewards.sum(axis=2)
    weights: FloatArray = (returns / (pool.total(returns) / returns.shape[1]))[..., None] * alive
    return weights


class _Printed(RewardWeighted):
    """Reward-weighted regression, weighted by the reward itself."""

    def credit(self, pool: Pool) -> Callable[[FloatArray, BoolArray], FloatArray]:
        """The printed weights."""
        return lambda rewards, alive: printed_weights(rewards, alive, pool)


class PrintedRWR(PolicySearch):
    """`RWR` with the printed weights, and the same cap on its steps. With negative rewards it gets worse."""

    def __init__(
        self,
        policy: Any,
        env: Any,
        n_trajectories: int = 5,
        sigma: float = 0.6,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        """Arguments as of `RWR`."""
        sampler, common = Sampler(n_trajectories, sigma, bias), CommonSettings(seed=seed)
        super().__init__(policy, env, None, _Printed(), Taskwise(), sampler, common)
