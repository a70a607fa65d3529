"""What tasks have in common: the part of a policy search that makes all policies from where some should go."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import flag
from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.agents.linear.base_learners import BaseLearner
from lifelong_gym.agents.linear.operating_point import ONE_PLACE, OperatingPoint, Pool, pooled
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.numerics.arrays import FloatArray, IntArray

Record = Callable[[str, Any], None]


class Sweep(NamedTuple):
    """What was observed of some tasks.

    Attributes:
        rows: indices of the policies that were run, shape (n,).
        thetas: all policies, shape (n_policies, d).
        statistics: trajectories of each observed task.
    """

    rows: IntArray
    thetas: FloatArray
    statistics: RolloutStatistics


class Sharer:
    """Makes the policies of all tasks from the operating points of those that were observed; here each for itself.

    Attributes:
        pool: where trajectories are.
    """

    pool: Pool = ONE_PLACE

    # What is kept.

    def parts(self) -> dict[str, th.nn.Module]:
        """What was learned besides policies, by the learner's attribute that shows it; there once it is set up."""
        return {}

    def counters(self) -> dict[str, int]:
        """Whole numbers that learning depends on, by the learner's attribute that shows them."""
        return {}

    def totals(self) -> dict[str, int]:
        """What is logged of the whole life."""
        return {}

    # Tasks and their environment.

    def refuse(self, env: VecEnv) -> None:
        """Raise `ValueError` if learning can't go on in this environment."""

    def enter(self, env: VecEnv, roster: Roster, places: IntArray) -> None:
        """Go on in an environment, whose tasks have these places among the known ones."""

    def set_up(self, policy: LinearGaussianPolicy, env: VecEnv | None, roster: Roster, from_file: bool) -> None:
        """Make what is kept, with nothing observed, and give tasks their first policies; a file will replace both."""

    def tasks_a_policy(self, n_tasks: int) -> int:
        """How many of so many tasks have one policy together."""
        return 1

    def rows_of(self, tasks: IntArray) -> IntArray:
        """Indices of the policies of some tasks."""
        return tasks

    def grown(self, thetas: FloatArray, n_tasks: int) -> FloatArray:
        """Make room for so many tasks in all; their policies, (n_tasks, d), the new ones 0."""
        return np.concatenate([thetas, np.zeros((n_tasks - len(thetas), thetas.shape[1]))])

    def settled(self, thetas: FloatArray, given: Set[str]) -> FloatArray:
        """Policies as they follow after tensors of these dotted names were replaced from outside.

        Raises:
            CheckpointError: the tensors don't fit each other.
        """
        return thetas

    # A sweep.

    def allow(self, thetas: FloatArray, tasks: IntArray) -> None:
        """Raise `ValueError` unless the policies of these tasks may be executed."""

    def point(self, improver: BaseLearner, sweep: Sweep, step: float) -> OperatingPoint:
        """Operating points of the policies that were run."""
        return improver.point(sweep.thetas[sweep.rows], sweep.statistics, step)

    def learned(self, sweep: Sweep, point: OperatingPoint, rng: np.random.Generator, record: Record) -> FloatArray:
        """All policies after a sweep, (n_policies, d).

        Args:
            sweep: what was observed.
            point: of the policies that were run.
            rng: for whatever is drawn.
            record: takes names and values for the log.
        """
        thetas = sweep.thetas.copy()
        thetas[sweep.rows] = point.target
        return thetas


@dataclass(frozen=True)
class Taskwise(Sharer):
    """Every task for itself, or one policy for all.

    Attributes:
        shared: learn one policy for all tasks rather than one each; returns are compared within each task.
    """

    shared: bool = False

    def __post_init__(self) -> None:
        check_fields(self, shared=flag)

    def tasks_a_policy(self, n_tasks: int) -> int:
        """All, or one."""
        return n_tasks if self.shared else 1

    def rows_of(self, tasks: IntArray) -> IntArray:
        """The only one, or each task's own."""
        return np.zeros(1, np.int64) if self.shared else tasks

    def grown(self, thetas: FloatArray, n_tasks: int) -> FloatArray:
        """With the policy of all, or 0."""
        return thetas if self.shared else super().grown(thetas, n_tasks)

    def point(self, improver: BaseLearner, sweep: Sweep, step: float) -> OperatingPoint:
        """Of each observed task or, where they share a policy, of all together."""
        if self.shared:
            sweep = sweep._replace(statistics=pooled(sweep.statistics))
        return super().point(improver, sweep, step)
