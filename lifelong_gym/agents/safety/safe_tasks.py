"""The safe sets of a learner's tasks: how they are stated, and what model files hold of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, optional, real
from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projection import SafeSets
from lifelong_gym.numerics.arrays import FloatArray

WIDEST = 100.0  # largest |theta_i| where no constraints are stated
REGULATORS = ("discrete", "continuous")

OneTask = PolicyConstraints | Mapping[str, Any]
Stated = OneTask | Sequence[OneTask]


@dataclass(frozen=True)
class SafeSettings:
    """What is safe, and where learning begins.

    Attributes:
        constraints: `PolicyConstraints`, or a dict with their ``matrix`` and ``bound``, or with ``low`` and ``high`` of
            theta; for all tasks, or a list of one each. The model keeps their JSON form. None: ``|theta_i| <= 100``,
            which hardly constrains anything; anchors that aren't given are then 0 and not tried.
        nominal: the regulator of the family's nominal task that is among the anchors' candidates: ``"discrete"`` or
            ``"continuous"``, as for the paper's quadrotors; None: none.
        anchors: policies to begin with and to vary about, strictly inside the safe sets, such as `lqr_policies` gives:
            one for all tasks, shape (d,), or one each, (n_tasks, d). The model keeps them as lists. None: chosen.
    """

    constraints: Stated | None = None
    nominal: str | None = "discrete"
    anchors: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            constraints=lambda _, stated: to_json(stated),
            nominal=optional(partial(choice, among=REGULATORS)),
            anchors=optional(lambda name, values: real(name, values).tolist()),
        )


def _json(constraints: OneTask) -> dict[str, Any]:
    made = _constraints(constraints)
    return {"matrix": made.matrix.tolist(), "bound": made.bound.tolist(), "names": list(made.names)}


def _constraints(given: Any) -> PolicyConstraints:
    if isinstance(given, PolicyConstraints):
        return given
    if isinstance(given, Mapping) and given.keys() == {"low", "high"}:
        return PolicyConstraints.gains(**given)
    if isinstance(given, Mapping) and {"matrix", "bound"} <= given.keys() <= {"matrix", "bound", "names"}:
        return PolicyConstraints.polytope(**given)
    raise ValueError(
        "`constraints` must be PolicyConstraints or a dict with `matrix` and `bound`, or with `low` and `high`; for "
        f"all tasks, or a list of one each. Received {given!r}"
    )


def to_json(stated: Stated | None) -> Any:
    """Constraints as a model file holds them: a dict for all tasks, or a list of one each; None stays None.

    Raises:
        ValueError: neither constraints nor their JSON form, or bad numbers.
    """
    if stated is None:
        return None
    return [_json(one) for one in stated] if isinstance(stated, (list, tuple)) else _json(stated)  # type: ignore[arg-type]


def constraints_of(json: Any, n_tasks: int, d: int) -> list[PolicyConstraints]:
    """One a task, from their JSON form.

    Raises:
        ValueError: not as many as tasks, or on another number of parameters than d.
    """
    if json is None:
        return [PolicyConstraints.gains(np.full(d, -WIDEST), np.full(d, WIDEST))] * n_tasks
    made = [_constraints(one) for one in json] if isinstance(json, list) else [_constraints(json)] * n_tasks
    if len(made) != n_tasks:
        raise ValueError(f"`constraints` must be one for all tasks, or one for each of {n_tasks}. Received {len(made)}")
    for task, one in enumerate(made):
        if one.d != d:
            raise ValueError(
                f"`constraints` of task {task} must be on {d} parameters, a policy's. Received a matrix of shape "
                f"{one.matrix.shape}"
            )
    return made


def centres(constraints: Sequence[PolicyConstraints], first: int = 0) -> FloatArray:
    """Chebyshev centres of the sets of these tasks, the first of which has the index ``first``: (n_tasks, d)."""
    centres: dict[int, FloatArray] = {}  # tasks may share their constraints
    for task, one in enumerate(constraints, first):
        if id(one) not in centres:
            centres[id(one)] = one.centre(task)[0]
    return np.stack([centres[id(one)] for one in constraints])


class SafeTasks(th.nn.Module):
    """Safe sets, whose anchors are a tensor, as a learner's files hold them; all else follows from its constraints."""

    def __init__(self, n_tasks: int, d: int) -> None:
        """No task is registered yet."""
        super().__init__()
        self._sets = SafeSets(n_tasks, d)
        self.register_buffer("anchors", th.from_numpy(self._sets.anchors))

    @property
    def sets(self) -> SafeSets:
        """The sets, with the tensor's anchors."""
        self._sets.anchors = self.get_buffer("anchors").numpy()
        return self._sets

    def register(self, constraints: Sequence[PolicyConstraints], anchors: FloatArray) -> None:
        """Register the last tasks."""
        sets = self.sets
        first = len(sets.registered) - len(constraints)
        for i, (one, anchor) in enumerate(zip(constraints, anchors, strict=True)):
            sets.register(first + i, one, anchor)

    def grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all, the new ones not registered."""
        self.sets.grow(n_tasks)
        self.register_buffer("anchors", th.from_numpy(self._sets.anchors))
