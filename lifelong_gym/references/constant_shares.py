"""The best of constant shares: of a family whose actions are shares of a whole, and which says what may be good."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family
from lifelong_gym.envs.settings import Settings
from lifelong_gym.envs.spaces import Simplex
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.reference import Reference
from lifelong_gym.tasks.task_set import TaskSet

N_EPISODES = 2  # in which candidates are compared
SEED = 2**40  # of these, far from those that learners are trained and evaluated on


@final
class ConstantShares(Reference):
    """In each task the best of the family's candidates, all of which are tried in a few episodes.

    The family has a method ``constant_shares(parameters)``, which gives the candidates of each task, shape
    (n_tasks, n_candidates, m), from columns of parameters, each of shape (n_tasks,). The first ones are doing nothing.

    Attributes:
        shares: the best of each task, shape (n_tasks, m).
    """

    how = "best constant shares"

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Try the candidates, each task's in episodes of the same noise.

        Raises:
            FamilyError: actions that aren't shares, no method ``constant_shares``, or candidates of another shape.
        """
        super().__init__(family, tasks, reward)
        candidates = _candidates(family, tasks)
        earned = np.stack([self._returns(candidates[:, i]) for i in range(candidates.shape[1])], axis=1)
        best = earned.sum(axis=2).argmax(axis=1)
        every = np.arange(len(tasks))
        self.shares: FloatArray = candidates[every, best]
        self._leaves_room = bool((earned[every, best] > earned[:, 0]).all())

    def leaves_room(self) -> bool:
        """Whether the best candidate earned more than doing nothing in every episode of every task."""
        return self._leaves_room

    def predict(self, observations: Any) -> Any:
        """The best constant action of each row, of which the i-th is in task ``i mod n_tasks``."""
        rows = self.shares[np.arange(len(observations)) % len(self.tasks)]
        return _actions(self.family).asking_for(rows)

    def _returns(self, shares: FloatArray) -> FloatArray:
        """What constant shares, a row a task, earn in each episode, shape (n_tasks, n_episodes)."""
        n = len(shares)
        core = Core(self.family, n, Settings(tasks=self.tasks, reward=self.reward))
        rows, seen, everybody = np.arange(n), core.empty_observations(), np.ones(n, bool)
        actions = core.check_actions(_actions(self.family).asking_for(shares), n)
        core.seed(rows, [SEED + row for row in range(n)])
        earned = np.zeros((n, N_EPISODES))
        for episode in range(N_EPISODES):
            core.begin(rows, seen, tasks=rows)
            active = everybody.copy()
            while active.any():
                results, _ = core.step(actions, active)
                earned[:, episode] += results.rewards
                active &= ~(results.terminated | results.truncated)
        core.close()
        return earned


def _actions(family: Family) -> Simplex:
    if not isinstance(family.actions, Simplex):
        raise FamilyError(f"{type(family).__name__}: constant shares need Simplex actions. Received {family.actions}")
    return family.actions


def _candidates(family: Family, tasks: TaskSet) -> FloatArray:
    m, stated = _actions(family).m, getattr(family, "constant_shares", None)
    if not callable(stated):
        raise FamilyError(f"{type(family).__name__} must have a method `constant_shares(parameters)`")
    found = np.asarray(stated(family.parameters.columns(tasks.values)), np.float64)
    if found.ndim != 3 or found.shape[::2] != (len(tasks), m) or found.shape[1] == 0:
        raise FamilyError(
            f"{type(family).__name__}: `constant_shares` must give shape ({len(tasks)}, n_candidates, {m}). "
            f"Received {found.shape}"
        )
    return found
