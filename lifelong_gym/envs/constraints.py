"""How safe each step was: by how much channels of states and actions exceed the limits a user sets, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Family
from lifelong_gym.errors import as_float, unknown
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader


def channels(family: Family) -> dict[str, int]:
    """What can be limited, and its place among states, actions a and their changes, side by side.

    Where a state and an action bear one name, the state's counts.
    """
    actions = [c.name for c in family.actions.channels]
    names = [*(c.name for c in family.state), *actions, *(f"{name}_change" for name in actions)]
    return {name: names.index(name) for name in names}


def check_constraints(family: Family, constraints: Any) -> dict[str, float]:
    """The constraints as ``{channel: limit}``, in the order given.

    Raises:
        ValueError: not a mapping of channels to limits, none at all, an unknown channel, a limit that isn't positive
            and finite or that only failed states exceed; or the family's observations are no vectors.
    """
    if not family.observations.is_vector:
        kind = type(family.observations).__name__
        raise ValueError(f"`constraints` must be None where observations are {kind}. Received {constraints!r}")
    if not isinstance(constraints, Mapping) or not constraints:
        raise ValueError(f"`constraints` must be a dict from channels to their limits. Received {constraints!r}")
    known = channels(family)
    for name, limit in constraints.items():
        if name not in known:
            raise unknown("channel in `constraints`", name, known)
        if isinstance(limit, bool) or not 0 < as_float(limit) < np.inf:
            raise ValueError(f"`constraints`: the limit of {name} must be positive and finite. Received {limit!r}")
        # Failed states are clipped to twice these: a limit beyond them could be exceeded unseen.
        if known[name] < len(family.state_limits) and limit > family.state_limits[known[name]]:
            most, unit = family.state_limits[known[name]], family.state[known[name]].unit
            raise ValueError(
                f"`constraints`: the limit of {name} must be at most {most:g} {unit}, beyond which a state fails. "
                f"Received {limit!r}"
            )
    return {str(name): float(limit) for name, limit in constraints.items()}


class SafetySignal:
    """Evaluates ``|x| <= limit`` of rows at each start and step, and counts over their whole life.

    Actions count in a, the clipped action that the reward sees; ``<action>_change`` is its change from the step
    before, in an episode's first step from 0. At an episode's start nothing has been done: a and its change are 0.
    A failed state stays as it was frozen, so a violated limit stays violated; what isn't a number violates by inf.

    Attributes:
        constraints: limit by channel, in the channel's unit.
        violated: whether some constraint was violated at each row's last start or step, bool, (n_rows,).
        n_steps: steps taken in each task, int64, (n_tasks,).
        n_violations: those of them in which a constraint was violated, int64, (n_tasks,).
    """

    def __init__(self, family: Family, constraints: Mapping[str, float], n_rows: int, n_tasks: int) -> None:
        """Check the constraints; nothing has been counted.

        Raises:
            ValueError: see `check_constraints`.
        """
        self.constraints = check_constraints(family, constraints)
        known = channels(family)
        # Rows lie side by side, as NumPy is quick with them: a column each.
        self._chosen = np.array([known[name] for name in self.constraints])
        self._limits = np.array(list(self.constraints.values()))[:, None]
        self._measured = family.actions.measured
        self._last = np.zeros((len(family.actions.channels), n_rows))
        self._values = np.zeros((len(self._limits), n_rows))
        self.violated = np.zeros(n_rows, bool)
        self.n_steps, self.n_violations = np.zeros((2, n_tasks), np.int64)

    @property
    def values(self) -> FloatArray:
        """``|x| - limit`` at each row's last start or step, > 0: violated, (n_rows, n_constraints); a copy."""
        return self._values.T.copy()

    def begin(self, rows: IntArray, states: FloatArray) -> None:
        """Episodes begin in these rows, in states of shape (n, n_state); a start isn't counted."""
        self._last[:, rows] = 0.0
        values = self._evaluate(states, self._last[:, rows], self._last[:, rows])
        self._values[:, rows], self.violated[rows] = values, (values > 0.0).any(axis=0)

    def step(self, states: FloatArray, actions: FloatArray, active: BoolArray, tasks: IntArray) -> None:
        """Active rows, each in its task, took these actions u and came to these states; arrays of all rows."""
        a = self._measured(actions)
        values = self._evaluate(states, a, a - self._last)
        np.copyto(self._last, a, where=active)
        np.copyto(self._values, values, where=active)
        np.copyto(self.violated, (values > 0.0).any(axis=0), where=active)
        np.add.at(self.n_steps, tasks[active], 1)
        np.add.at(self.n_violations, tasks[active & self.violated], 1)

    def _evaluate(self, states: FloatArray, a: FloatArray, change: FloatArray) -> FloatArray:
        x = np.concatenate([states.T, a, change])[self._chosen]
        values: FloatArray = np.abs(x) - self._limits
        values[np.isnan(values)] = np.inf
        return values

    def state_dict(self) -> State:
        """What was seen last, and the counts."""
        return {
            "last_actions": self._last.copy(),
            "values": self._values.copy(),
            "violated": self.violated.copy(),
            "n_steps": self.n_steps.copy(),
            "n_violations": self.n_violations.copy(),
        }

    def loading(self, state: Any, name: str) -> Change:
        """Check a `state_dict`; the function that takes it up.

        Raises:
            CheckpointError: it doesn't fit.
        """
        own = self.state_dict()
        reader = StateReader(state, name, own)
        given = [reader.array(part, array.dtype, *array.shape) for part, array in own.items()]

        def change() -> None:
            self._last, self._values, self.violated, self.n_steps, self.n_violations = given

        return change

    def infos(self) -> list[dict[str, Any]]:
        """What a row's info holds besides, row by row."""
        pairs = zip(self.values, self.violated.tolist(), strict=True)
        return [{"constraint_values": values, "constraint_violation": violated} for values, violated in pairs]

    def vector_infos(self, present: BoolArray) -> dict[str, npt.NDArray[Any]]:
        """The same for all rows at once, in Gymnasium's form: 0 and False where a row isn't present."""
        return {
            "constraint_values": np.where(present, self._values, 0.0).T.copy(),
            "_constraint_values": present.copy(),
            "constraint_violation": self.violated & present,
            "_constraint_violation": present.copy(),
        }
