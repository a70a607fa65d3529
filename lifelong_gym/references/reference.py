"""What a family's learners are measured against: doing nothing, and the best policy that is known."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from lifelong_gym.envs.family import Family, reward_name
from lifelong_gym.errors import FamilyError
from lifelong_gym.imports import load
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet

Measure = Callable[[Any], FloatArray]


class Reference(ABC):
    """The best policy that is known of each task: the 1 of a benchmark's scale, whose 0 is doing nothing.

    A family names its own by ``reference = "module:Class"``; learners on a family without one are compared by raw
    returns. A reference is made once for a set of tasks, and solves them then.

    Attributes:
        how: how the best policies were found, in a few words.
        version: raised whenever returns would change.
        family: the tasks' family.
        tasks: the tasks.
        reward: name of the family's reward.
    """

    how: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Keep what is to be solved."""
        self.family, self.tasks, self.reward = family, tasks, reward

    @abstractmethod
    def predict(self, observations: Any) -> Any:
        """The best action of each row of a batch, of which the i-th is in task ``i mod n_tasks``."""

    def best(self, measure: Measure) -> FloatArray:
        """What the best policy earns in an episode of each task, shape (n_tasks,); by default what `predict` does.

        Args:
            measure: the mean returns, shape (n_tasks,), of anything with a method `predict`, in the very episodes
                that learners are evaluated on.
        """
        return measure(self)

    def zero(self, measure: Measure) -> FloatArray | None:
        """What doing nothing earns, shape (n_tasks,), with ``measure`` as above.

        None, the default: the action 0, or acting at random where actions are discrete.
        """
        return None

    def leaves_room(self) -> bool:
        """Whether the best policy is better than doing nothing in every task, by default taken for granted.

        Where it isn't, there is no scale, and learners are compared by raw returns.
        """
        return True

    def headroom(self) -> float | None:
        """How far the best single policy for all tasks stays below each task's best, as a share of what can be gained.

        None, the default, where nobody has searched for shared policies, or no policy is better than doing nothing.
        """
        return None


def reference_of(
    family: Family, tasks: TaskSet, reward: str | None = None, horizon: int | None = None
) -> Reference | None:
    """The best policies known of these tasks, solved here; None where the family names no reference.

    Args:
        family: the tasks' family.
        tasks: the tasks.
        reward: its name; default: the preset's, or else the family's first.
        horizon: of the episodes that are to be solved, as the reference's ``family.horizon`` then says; default: the
            family's.

    Raises:
        FamilyError: see `reference_class`, or a family that its reference can't solve.
        ValueError: no such reward.
    """
    kind = reference_class(family)
    if horizon not in (None, family.horizon):
        family = copy.copy(family)
        family.horizon = horizon
    return None if kind is None else kind(family, tasks, reward_name(family, tasks.preset, reward))


def reference_class(family: Family) -> type[Reference] | None:
    """The class that a family names; None where it names none.

    Raises:
        FamilyError: what it names isn't a `Reference`, or doesn't say how it finds the best.
    """
    if family.reference is None:
        return None
    kind = load(family.reference)
    if not (isinstance(kind, type) and issubclass(kind, Reference)):
        raise FamilyError(f"`reference` must name a subclass of Reference. Received {family.reference!r}: {kind!r}")
    if not isinstance(getattr(kind, "how", None), str):
        raise FamilyError(f"{family.reference} must say in `how` by which means it finds the best policies")
    return kind
