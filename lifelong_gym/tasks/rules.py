"""What must hold among the parameters of one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Rule:
    """A check of a task as a whole.

    >>> rule = Rule(("first_day", "last_day"), "`last_day` must be after `first_day`", np.less)
    >>> rule.kept({"first_day": np.array([3.0, 9.0]), "last_day": np.array([5.0, 5.0])})
    array([ True, False])

    Attributes:
        parameters: names of those it is about.
        says: the rule, as errors state it.
        holds: a function of their columns, each of shape (n_tasks,), in this order: which tasks keep the rule, shape
            (n_tasks,). A function of a module, so that task sets can be pickled.
        valid: another function of a module: of a task that breaks the rule, parameters by name as users see them, what
            would keep it, in words that follow the rule's in an error. None: these say it all.
    """

    parameters: tuple[str, ...]
    says: str
    holds: Callable[..., npt.NDArray[np.bool_]]
    valid: Callable[[Mapping[str, Any]], str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.parameters, str) or len(self.parameters) == 0:
            raise ValueError(f"`parameters` must be a tuple of at least one name. Received {self.parameters!r}")

    def kept(self, columns: Mapping[str, FloatArray]) -> BoolArray:
        """Which tasks keep it, shape (n_tasks,).

        Raises:
            FamilyError: ``holds`` doesn't answer with a bool a task.
        """
        chosen = [columns[name] for name in self.parameters]
        answer = np.asarray(self.holds(*chosen))
        if answer.dtype != bool or answer.shape != chosen[0].shape:
            raise FamilyError(
                f"the rule {self.says!r} must give bools of shape {chosen[0].shape}. "
                f"Received {answer.dtype} of shape {answer.shape}"
            )
        return answer
