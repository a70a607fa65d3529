"""Which task comes next: probabilities that follow from what has been measured of each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from lifelong_gym.agents.contract.checks import within
from lifelong_gym.errors import CheckpointError, integer
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.states import Change, State, StateReader

LEAST_SCORE = 1e-12  # a task without any score can still come up


class TaskSampler(ABC):
    """Gives each task a probability; told scores of single tasks as they are measured.

    Args:
        n_tasks: how many there are.

    Attributes:
        measure: what it wants to be told: ``"reward_variance"`` or ``"return"`` of an episode, or ``"advantage"``, the
            mean absolute advantage of a task's steps in a rollout.
    """

    measure: ClassVar[str]

    def __init__(self, n_tasks: int) -> None:
        """See the class."""
        self.n_tasks = integer("n_tasks", n_tasks)

    @abstractmethod
    def probabilities(self) -> FloatArray:
        """Shape (n_tasks,), all positive, of sum 1."""

    @abstractmethod
    def update(self, task: int, score: float) -> None:
        """Take notice of a score."""

    @abstractmethod
    def _arrays(self) -> dict[str, FloatArray]:
        """What it has learned, shapes (n_tasks,), not copied."""

    def parts(self) -> dict[str, FloatArray]:
        """What it has learned, as parts of a learner's state, not copied."""
        return self._arrays()

    def state_dict(self) -> State:
        """What it has learned, as arrays; see `states`."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def loading(self, state: Any, name: str) -> Change:
        """Check a `state_dict`; the function that takes it up.

        Raises:
            CheckpointError: it doesn't fit, or isn't finite.
        """
        own = self._arrays()
        reader = StateReader(state, name, own)
        given = {part: reader.array(part, np.float64, self.n_tasks) for part in own}
        for part, array in given.items():
            if not np.isfinite(array).all():
                raise CheckpointError(f"`{reader.name(part)}` must be finite. Received {array}")

        def change() -> None:
            for part, array in given.items():
                own[part][:] = array

        return change


class UniformSampler(TaskSampler):
    """All tasks alike."""

    measure = "return"

    def probabilities(self) -> FloatArray:
        """Equal ones."""
        return np.full(self.n_tasks, 1.0 / self.n_tasks)

    def update(self, task: int, score: float) -> None:
        """Nothing is learned."""

    def _arrays(self) -> dict[str, FloatArray]:
        return {}


class PrioritizedSampler(TaskSampler):
    """``p_t`` proportional to ``s_t ** alpha``, scores smoothed by ``s_t = gamma s_t + (1 - gamma) score``.

    Args:
        n_tasks: how many there are.
        alpha: at least 0; 0: all tasks alike, ordinary multi-task learning.
        gamma: in [0, 1), how slowly scores change.
        first: positive, all tasks' score at the beginning.

    Raises:
        ValueError: a number out of range.
    """

    measure = "reward_variance"

    def __init__(self, n_tasks: int, alpha: float = 0.5, gamma: float = 0.2, first: float = 1.0) -> None:
        """See the class."""
        super().__init__(n_tasks)
        self.alpha, self.gamma = within("alpha", alpha, 0.0, 100.0), within("gamma", gamma, 0.0, 1.0, below=True)
        self.scores = np.full(self.n_tasks, within("first", first, LEAST_SCORE, 1e100))

    def probabilities(self) -> FloatArray:
        """See the class."""
        return _normalised((self.scores / self.scores.max()) ** self.alpha)

    def update(self, task: int, score: float) -> None:
        """Smooth it."""
        self.scores[task] = max(self.gamma * self.scores[task] + (1.0 - self.gamma) * score, LEAST_SCORE)

    def _arrays(self) -> dict[str, FloatArray]:
        return {"scores": self.scores}


class RegretSampler(TaskSampler):
    """Prioritized level replay: by the rank of the mean absolute advantage, and by how long a task wasn't seen.

    Scores count as ``(1 / rank) ** (1 / temperature)``; tasks that never had one come first. Of the whole,
    ``staleness`` goes to tasks in proportion to the updates since their last, and ``explore`` to all alike.

    Args:
        n_tasks: how many there are.
        temperature: positive; the smaller, the more the first ranks count.
        staleness: in [0, 1].
        explore: in (0, 1].

    Raises:
        ValueError: a number out of range.
    """

    measure = "advantage"

    def __init__(self, n_tasks: int, temperature: float = 0.3, staleness: float = 0.1, explore: float = 0.1) -> None:
        """See the class."""
        super().__init__(n_tasks)
        self.temperature = within("temperature", temperature, 1e-3, 1e3)
        self.staleness = within("staleness", staleness, 0.0, 1.0)
        self.explore = within("explore", explore, 1e-6, 1.0)
        self.scores, self.ages = np.full(self.n_tasks, 1e300), np.zeros(self.n_tasks)

    def probabilities(self) -> FloatArray:
        """See the class."""
        ranks = 1.0 + (self.scores[None] > self.scores[:, None]).sum(axis=1)
        ranked = _normalised(ranks ** (-1.0 / self.temperature))
        stale = _normalised(self.ages) if self.ages.any() else ranked
        mixed = (1.0 - self.staleness) * ranked + self.staleness * stale
        return _with_all(mixed, self.explore)

    def update(self, task: int, score: float) -> None:
        """The task's age begins anew."""
        self.scores[task] = score
        self.ages += 1.0
        self.ages[task] = 0.0

    def _arrays(self) -> dict[str, FloatArray]:
        return {"scores": self.scores, "ages": self.ages}


class ProgressSampler(TaskSampler):
    """By absolute learning progress: the distance between a fast and a slow mean of a task's returns.

    Args:
        n_tasks: how many there are.
        fast: in (0, 1], the weight of a new return in the fast mean.
        slow: in (0, fast], the same in the slow one.
        explore: in (0, 1], the share that goes to all tasks alike.

    Raises:
        ValueError: a number out of range.
    """

    measure = "return"

    def __init__(self, n_tasks: int, fast: float = 0.3, slow: float = 0.05, explore: float = 0.2) -> None:
        """See the class."""
        super().__init__(n_tasks)
        self.fast = within("fast", fast, 1e-6, 1.0)
        self.slow = within("slow", slow, 1e-6, self.fast)
        self.explore = within("explore", explore, 1e-6, 1.0)
        self.quick, self.lasting, self.counts = (np.zeros(self.n_tasks) for _ in range(3))

    def probabilities(self) -> FloatArray:
        """See the class."""
        progress = np.abs(self.quick - self.lasting)
        if not progress.any():
            return np.full(self.n_tasks, 1.0 / self.n_tasks)
        return _with_all(_normalised(progress), self.explore)

    def update(self, task: int, score: float) -> None:
        """Both means begin at the first return."""
        fast, slow = (self.fast, self.slow) if self.counts[task] else (1.0, 1.0)
        self.quick[task] += fast * (score - self.quick[task])
        self.lasting[task] += slow * (score - self.lasting[task])
        self.counts[task] += 1.0

    def _arrays(self) -> dict[str, FloatArray]:
        return {"quick": self.quick, "lasting": self.lasting, "counts": self.counts}


SAMPLERS: dict[str, type[TaskSampler]] = {
    "uniform": UniformSampler,
    "prioritized": PrioritizedSampler,
    "regret": RegretSampler,
    "progress": ProgressSampler,
}


def importance(probabilities: FloatArray, beta: float) -> FloatArray:
    """Weights ``(T p_t) ** -beta``, 0 where p_t is; with beta 1, the sum of ``p_t w_t g_t`` is the mean of all g_t."""
    weights, drawn = np.zeros(len(probabilities)), probabilities > 0
    weights[drawn] = (len(probabilities) * probabilities[drawn]) ** -beta
    return weights


def effective_share(probabilities: FloatArray, weights: FloatArray) -> float:
    """Effective sample size over the number of samples: ``E[w]**2 / E[w**2]``, in (0, 1]."""
    return float((probabilities @ weights) ** 2 / (probabilities @ weights**2))


def _normalised(weights: FloatArray) -> FloatArray:
    return weights / weights.sum()


def _with_all(probabilities: FloatArray, explore: float) -> FloatArray:
    """A share of the whole goes to all alike."""
    return (1.0 - explore) * probabilities + explore / len(probabilities)
