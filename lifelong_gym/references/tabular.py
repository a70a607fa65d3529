"""Exact optima of tasks with few states: of one task, and of one policy that serves several at once.

A family whose tasks can be written as tables has a method ``model(task)`` that returns a `TabularModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Family, reward_of
from lifelong_gym.envs.spaces import Discrete
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import first_best
from lifelong_gym.references.reference import Measure, Reference
from lifelong_gym.tasks.task_set import TaskSet

TOLERANCE = 1e-13
MAX_TASKS = 16

Expectation = Callable[[FloatArray], FloatArray]


class TabularModel(Protocol):
    """A task as tables over n states; states are numbered as they are observed."""

    @property
    def reward(self) -> FloatArray:
        """For arriving in a state, shape (n,)."""

    @property
    def ends(self) -> npt.NDArray[np.bool_]:
        """Whether arriving in a state ends the episode, shape (n,)."""

    @property
    def start(self) -> int:
        """The state that episodes start from."""

    def expected(self, values: FloatArray) -> FloatArray:
        """The expectation over next states of ``values``, shape (n,), per action and state: (n_actions, n)."""


def optimal_values(model: TabularModel, gamma: float = 0.99) -> FloatArray:
    """Largest expected discounted return of a task, without a time limit, by the state an episode starts in.

    Args:
        model: the task.
        gamma: discount, in [0, 1).

    Returns:
        Shape (n_states,). The first reward isn't discounted.

    Raises:
        ValueError: ``gamma`` is out of range.
    """
    _check_discount(gamma)
    return _fixed_point(model.expected, model.reward, np.where(model.ends, 0.0, gamma))


def optimal_actions(model: TabularModel, gamma: float = 0.99) -> IntArray:
    """The best action in every state for the discounted return, without a time limit; arguments as above.

    Returns:
        Shape (n_states,); of equally good actions the first.
    """
    values = optimal_values(model, gamma)
    return first_best(model.expected(model.reward + np.where(model.ends, 0.0, gamma * values)), axis=0)


def optimal_return(model: TabularModel, horizon: int) -> float:
    """Largest expected sum of rewards over ``horizon`` steps from the start, by backward induction."""
    values = np.zeros(len(model.reward))
    for _ in range(horizon):
        values = model.expected(model.reward + np.where(model.ends, 0.0, values)).max(axis=0)
    return float(values[model.start])


@final
class ValueIteration(Reference):
    """The optimal policies of a family that has a method ``model(task)``, which returns a `TabularModel`.

    Actions are best for the return discounted by 0.99, so that shorter ways are preferred; the best return is the
    exact expectation.
    """

    how = "value iteration"

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Solve every task.

        Raises:
            FamilyError: actions or observations that aren't Discrete, or no method ``model``.
        """
        super().__init__(family, tasks, reward)
        reward_of(family, reward)
        model = getattr(family, "model", None)
        spaces = family.actions, family.observations
        if model is None or not all(isinstance(space, Discrete) for space in spaces):
            kind = type(family).__name__
            raise FamilyError(f"{kind} must have Discrete actions and observations, and a method `model(task)`")
        self._models: list[TabularModel] = [model(task) for task in tasks]
        self._actions = np.array([optimal_actions(each) for each in self._models])

    def predict(self, observations: Any) -> IntArray:
        """The best action of each row, of which the i-th is in task ``i mod n_tasks``."""
        best: IntArray = self._actions[np.arange(len(observations)) % len(self._actions), observations]
        return best

    def best(self, measure: Measure) -> FloatArray:
        """The exact expectation."""
        return np.array([optimal_return(model, self.family.horizon) for model in self._models])


def joint_optimum(models: Sequence[TabularModel], gamma: float = 0.99) -> float:
    """Largest sum of discounted returns that one policy, blind to the task, earns in several tasks.

    Where nothing is left to chance and the tasks share their moves, all of them go through the same states, each
    until its own end. Value iteration therefore runs over pairs of a state and the set of tasks still alive. Where
    the best path visits no state twice, a policy that sees only the state attains the optimum.

    Args:
        models: at most 16, with the same start, and the same moves wherever none has ended.
        gamma: discount, in [0, 1).

    Raises:
        ValueError: the tasks are none or too many, start apart or at an end, or leave something to chance.
    """
    _check_discount(gamma)
    start = _common_start(models)
    rewards = np.array([model.reward for model in models])
    flags = np.array([model.ends * 2**i for i, model in enumerate(models)]).sum(axis=0)
    values = np.zeros((2 ** len(models), rewards.shape[1]))
    for alive in range(1, len(values)):
        members = np.array([alive >> i & 1 for i in range(len(models))])
        remaining = alive & ~flags
        leaves = remaining < alive
        arrival: FloatArray = members.astype(np.float64) @ rewards
        arrival[leaves] += gamma * values[remaining[leaves], np.flatnonzero(leaves)]
        one = models[int(members.argmax())]
        values[alive] = _fixed_point(one.expected, arrival, np.where(leaves, 0.0, gamma))
    return float(values[-1, start])


def _fixed_point(expected: Expectation, arrival: FloatArray, discount: FloatArray) -> FloatArray:
    """Solve ``V = max_a E[arrival + discount V]`` at the next state, shape (n_states,)."""
    values = np.zeros(len(arrival))
    while True:
        improved: FloatArray = expected(arrival + discount * values).max(axis=0)
        if np.abs(improved - values).max() < TOLERANCE:
            return improved
        values = improved


def _check_discount(gamma: float) -> None:
    if not 0.0 <= gamma < 1.0:
        raise ValueError(f"`gamma` must be in [0, 1). Received {gamma}")


def _common_start(models: Sequence[TabularModel]) -> int:
    if not 1 <= len(models) <= MAX_TASKS:
        raise ValueError(f"`models` must be 1 to {MAX_TASKS}. Received {len(models)}")
    starts = {model.start for model in models}
    if len(starts) > 1:
        raise ValueError(f"`models` must start in one state. Received states {sorted(starts)}")
    chance = [i for i, model in enumerate(models) if not _is_certain(model)]
    if chance:
        raise ValueError(f"`models` must leave nothing to chance. Received chance in tasks {chance}")
    (start,) = starts
    if any(model.ends[start] for model in models):
        raise ValueError(f"`models` must not start where an episode ends. Received start {start}")
    return start


def _is_certain(model: TabularModel) -> bool:
    """Whether the number of the next state has no variance."""
    numbers = np.arange(len(model.reward), dtype=np.float64)
    return np.array_equal(model.expected(numbers**2), model.expected(numbers) ** 2)
