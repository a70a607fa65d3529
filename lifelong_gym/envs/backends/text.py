"""What a backend takes from a family: the text that it binds and compiles, and the data that the code runs on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lifelong_gym.envs.backends.table_views import ArrayTable, array_tables
from lifelong_gym.envs.family import Constants, KernelFamily, has_role, role_of
from lifelong_gym.envs.spaces.codecs import ActionText
from lifelong_gym.envs.tables import Tables
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.bind import ROLES, Binder
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import TaskSet


@dataclass(frozen=True)
class Text:
    """All that code takes from a family: families, instances and data that agree in it share compiled code.

    Attributes:
        name: of the family, for errors.
        roles: the family's functions by role.
        groups: name, first and last index (exclusive) of each group of constants in k.
        n_state, n_constants, n_observation, n_action, n_initial_noise, n_noise, n_measures: sizes.
        is_image: whether observations are pixels.
        seen: text of the actions' codec, and the values of its names.
        valid: see `ActionCodec`.
        bound: see `ActionCodec`; a linear policy's actions are divided by it.
        limits: what a failing state is clipped to; empty: nothing fails.
        failure_cost: of every step from the failing one on.
        ends_on_failure: whether a failure ends the episode rather than freezes it.
        feature_scale: per observation, the scale c of a linear policy's features.
        tables: types of the tables, such as ``"float32"``.
    """

    name: str = field(compare=False)
    roles: tuple[tuple[str, Any], ...]
    groups: tuple[tuple[str, int, int], ...]
    n_state: int
    n_constants: int
    n_observation: int
    n_action: int
    n_initial_noise: int
    n_noise: int
    n_measures: int
    is_image: bool
    seen: tuple[ActionText, tuple[tuple[str, Any], ...]]
    valid: tuple[float, float] | None
    bound: Vector
    limits: Vector
    failure_cost: float
    ends_on_failure: bool
    feature_scale: Vector
    tables: tuple[str, ...]

    @classmethod
    def of(
        cls,
        family: KernelFamily,
        constants: Constants,
        tables: Tables,
        reward_name: str | None = None,
        terminate_on_failure: bool = False,
    ) -> Text:
        """Read it off an instance, whose attributes need not be its class's.

        Args:
            family: the family.
            constants: of any of its tasks.
            tables: of any of its tasks.
            reward_name: key of ``family.rewards``; None: the default.
            terminate_on_failure: end the episode at a failure rather than freeze it.
        """
        n_observation, is_image = family.observations.size, family.observations.is_image
        seen, given = family.actions.text()
        return cls(
            name=type(family).__name__,
            roles=tuple((role, role_of(family, role, reward_name)) for role in ROLES if has_role(family, role)),
            groups=tuple((name, at.start, at.stop) for name, at in constants.groups.items()),
            n_state=len(family.state),
            n_constants=constants.table.shape[1],
            n_observation=n_observation,
            n_action=family.actions.size,
            n_initial_noise=family.n_initial_noise,
            n_noise=family.n_noise,
            n_measures=family.n_measures if has_role(family, "measure") else 0,
            is_image=is_image,
            seen=(seen, tuple(sorted(given.items()))),
            valid=family.actions.valid,
            bound=tuple(map(float, family.actions.bound)),
            limits=tuple(2.0 * float(limit) for limit in family.state_limits),
            failure_cost=float(family.cost_of_failing(reward_name)),
            ends_on_failure=terminate_on_failure,
            feature_scale=tuple(map(float, family.feature_scale)) or (1.0,) * (0 if is_image else n_observation),
            tables=tuple(str(array.dtype) for array in tables.arrays),
        )

    @property
    def writes(self) -> bool:
        """Whether the observation is written rather than returned."""
        return "out" in inspect.signature(dict(self.roles)["observation"]).parameters

    @property
    def alone(self) -> dict[str, int]:
        """Roles that have one row to themselves, and how many numbers they write."""
        image = {"observation": self.n_observation} if self.is_image and self.writes else {}
        return {**image, **({"measure": self.n_measures} if self.n_measures else {})}

    def arguments(self, role: str) -> tuple[str, ...]:
        """What a bound role is called with."""
        return tuple(name for name in ROLES[role] if name != "out" or role == "measure" or self.writes)

    def bound_roles(self, binder: Binder) -> dict[str, Any]:
        """The family's functions by role, bound to a backend; each is called with its `arguments`."""
        groups = {name: slice(first, last) for name, first, last in self.groups}
        hidden = {"k", *(() if self.tables else ("tables",)), *(() if self.n_measures else ("measured",))}
        return {
            role: binder.role(function, self.arguments(role), hidden, groups, self.name)
            for role, function in self.roles
        }


@dataclass(frozen=True, eq=False)
class Program:
    """A family's text, and the data of some tasks that it runs on.

    Attributes:
        text: what code is made from.
        tables: of the tasks.
        constants: k of each slot of the tables, shape (n_slots, n_constants).
    """

    text: Text
    tables: Tables
    constants: FloatArray

    @classmethod
    def of(
        cls, family: KernelFamily, tasks: TaskSet, reward: str | None = None, terminate_on_failure: bool = False
    ) -> Program:
        """Evaluate what the family derives from the tasks; see `Text.of` for the other arguments."""
        constants, tables = Constants.of(family, tasks.values), Tables.of(family, tasks)
        text = Text.of(family, constants, tables, reward, terminate_on_failure)
        return cls(text, tables, np.ascontiguousarray(constants.table[tables.firsts]))

    def on_arrays(self, slots: IntArray) -> tuple[tuple[FloatArray, ...], tuple[ArrayTable, ...]]:
        """``k`` and ``tables`` of rows in these slots, arrays of the shape of ``slots``."""
        return tuple(np.moveaxis(self.constants[slots], -1, 0)), array_tables(self.tables, slots)

    @property
    def groups(self) -> dict[str, slice]:
        """Where each named group of constants lies in k."""
        return {name: slice(first, last) for name, first, last in self.text.groups}
