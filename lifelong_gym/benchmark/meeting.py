"""Meetings: before agents that know no tasks are measured in one, each may look at it for so many steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lifelong_gym.benchmark.acting import Met
from lifelong_gym.benchmark.referee import BudgetError
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.wrappers import CoreVecEnv, HiddenTasks


def met(learner: Any, rooms: Iterable[CoreVecEnv]) -> tuple[Met, IntArray]:
    """Let every agent of a learner meet a task.

    Args:
        learner: whose method ``meet(env, agent)`` is called.
        rooms: for each agent an env of one row in that task, with a budget.

    Returns:
        The learner as it acts in that task from now on, and the steps that each agent took, shape (n_agents,).

    Raises:
        BudgetError: an agent asked for more steps than there are.
        TypeError: a meeting returned what can't act.
    """
    policies, taken = [], []
    for agent, env in enumerate(rooms):
        policies.append(_meeting(learner, env, agent))
        assert env.budget is not None
        taken.append(int(env.budget.taken.sum()))
        env.close()
    return Met(learner, policies), np.array(taken, np.int64)


def _meeting(learner: Any, env: CoreVecEnv, agent: int) -> Any:
    budget = env.budget
    assert budget is not None
    n_steps = int(budget.left.sum())

    def count(_: int) -> None:
        if budget.is_over:
            raise BudgetError(
                f"`meet` must take at most {n_steps} steps, `meeting_steps`: `steps_left(env)` says how many are left. "
                f"Agent {agent} asked for {n_steps + 1}"
            )

    env.before_steps = count
    policy = learner.meet(HiddenTasks(env), agent)
    if policy is not None and not callable(getattr(policy, "predict", None)):
        raise TypeError(f"`meet` must return a policy with a method `predict`, or None. Received {policy!r}")
    return policy
