"""Families in experiments: which tasks are drawn, what their envs are made with, and where else learners act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lifelong_gym import registry
from lifelong_gym.envs.constraints import check_constraints
from lifelong_gym.envs.family import Family, reward_name
from lifelong_gym.errors import integer, one_of, unknown
from lifelong_gym.tasks.task_set import TaskSet

N_TASKS = 20
HETERO = "hetero"
KERNEL = "kernel"
TRAINING = "training"
DRAWN = ("preset", "n_tasks", "task_seed")
SETTINGS = ("reward", "physics", "horizon", "constraints")
FAMILY_KEYS = ("id", *DRAWN, "arguments", *SETTINGS, "evaluate")
SET_KEYS = (*DRAWN, "arguments", *SETTINGS)


@dataclass(frozen=True)
class FamilySpec:
    """Tasks to learn, and what their envs are made with.

    Attributes:
        id: of the environment, as `lifelong_gym.registry.resolve` names it: others find it too.
        preset: what the tasks are drawn from.
        n_tasks: how many.
        task_seed: of the draw.
        arguments: of the family itself, those that differ from their defaults.
        label: what tables, figures and files call it, where it isn't the id.
        settings: ``reward``, ``physics``, ``horizon`` and ``constraints`` of all envs, those that differ from what
            they would be.
        sets: where else learners are evaluated, by name; see protocol ``generalise``.
    """

    id: str
    preset: str
    n_tasks: int
    task_seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    label: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sets: Mapping[str, FamilySpec] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        name: str,
        n_tasks: int = N_TASKS,
        preset: str | None = None,
        task_seed: int = 0,
        arguments: Mapping[str, Any] | None = None,
        id: str | None = None,
        evaluate: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> FamilySpec:
        """Of an id, ``module:Id`` or ``module:Class``; with the preset ``hetero`` if there is one.

        Args:
            name: the same, or a label where ``id`` is given.
            n_tasks: see the class.
            preset: see the class.
            task_seed: see the class.
            arguments: see the class.
            id: of which family.
            evaluate: of each set, what differs from the tasks that are learned: ``preset``, ``n_tasks``,
                ``task_seed``, ``arguments`` and ``settings``.
            **settings: see the class.

        Raises:
            ValueError: no such id, preset, argument or setting, or a value out of range.
        """
        if not isinstance(arguments, Mapping | None):
            raise ValueError(f"`arguments` must be a table. Received {arguments!r}")
        if not isinstance(id, str | None):
            raise ValueError(f"`id` must be the id of an environment. Received {id!r}")
        found = name if id is None else id
        kind = registry.family(found, **(arguments or {}))
        presets = kind.parameters.presets
        if preset is None:
            preset = HETERO if HETERO in presets else "default"
        if preset not in presets:
            raise unknown("preset", preset, presets)
        n_tasks, task_seed = integer("n_tasks", n_tasks), integer("task_seed", task_seed, least=0, most=None)
        settings = _settings(kind, preset, settings)
        resolved = registry.resolve(found)
        label = None if id is None or name == resolved else name
        made = cls(resolved, preset, n_tasks, task_seed, kind.given_arguments, label, settings)
        return replace(made, sets=made._sets(evaluate))

    def _sets(self, evaluate: Any) -> dict[str, FamilySpec]:
        """What learners also act in, after the tables of a file."""
        if not isinstance(evaluate, Mapping | None):
            raise ValueError(f"`evaluate` must be a table of tables. Received {evaluate!r}")
        own = {**{key: getattr(self, key) for key in DRAWN}, **self.settings}
        own["reward"] = self._usual["reward"]
        sets = {}
        for name, table in (evaluate or {}).items():
            if name == TRAINING:
                raise ValueError(f"`evaluate.{name}` must have another name: this one is that of the tasks learned")
            if not isinstance(table, Mapping):
                raise ValueError(f"`evaluate.{name}` must be a table. Received {table!r}")
            for key in table:
                if key not in SET_KEYS:
                    raise unknown(f"key in `evaluate.{name}`", key, SET_KEYS)
            arguments = table.get("arguments", {})
            if isinstance(arguments, Mapping):
                arguments = {**self.arguments, **arguments}
            try:
                sets[name] = FamilySpec.of(self.id, **{**own, **table, "arguments": arguments})
            except ValueError as error:
                raise ValueError(f"`evaluate.{name}`: {error}") from error
        return sets

    @property
    def name(self) -> str:
        """The label, or else the id."""
        return self.label or self.id

    @property
    def family(self) -> Family:
        """Made with these arguments."""
        return registry.family(self.id, **self.arguments)

    @property
    def tasks(self) -> TaskSet:
        """What these settings draw."""
        return self.family.parameters.sample(self.n_tasks, self.task_seed, self.preset)

    @property
    def horizon(self) -> int:
        """Steps after which an episode is truncated."""
        return int(self.settings.get("horizon", self.family.horizon))

    @property
    def made_with(self) -> dict[str, Any]:
        """Keyword arguments of its envs, but for the tasks."""
        return {**self.settings, **self.arguments}

    @property
    def world(self) -> dict[str, Any]:
        """What decides the episodes, JSON-native; arguments and settings where there are any."""
        drawn = {key: getattr(self, key) for key in DRAWN}
        return {**drawn, **({"arguments": dict(self.arguments)} if self.arguments else {}), **self.settings}

    def to_dict(self) -> dict[str, Any]:
        """All that an experiment's file says of it below its name, JSON-native."""
        named = {} if self.label is None else {"id": self.id}
        sets = {name: {**other.world, **self._overridden(other)} for name, other in self.sets.items()}
        return {**named, **self.world, **({"evaluate": sets} if sets else {})}

    def _overridden(self, other: FamilySpec) -> dict[str, Any]:
        """What a set has the default of where the tasks learned, from which it inherits, have not."""
        usual = {name: value for name, value in other._usual.items() if self._usual[name] != value}
        values = {name: other.family.argument_values[name] for name in self.arguments}
        return {**usual, **({"arguments": {**values, **other.arguments}} if values else {})}

    @property
    def _usual(self) -> dict[str, Any]:
        """Settings that all have, whether or not these are the defaults."""
        reward = reward_name(self.family, self.preset, self.settings.get("reward"))
        return {"reward": reward, "physics": self.settings.get("physics", KERNEL), "horizon": self.horizon}


def _settings(kind: Family, preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that differ from what they would be, JSON-native and in one order, whatever the order they came in."""
    for name in given:
        if name not in SETTINGS:
            raise unknown("key", name, FAMILY_KEYS)
    usual = {"reward": reward_name(kind, preset, None), "physics": KERNEL, "horizon": kind.horizon, "constraints": None}
    checked = dict(usual)
    if given.get("reward") is not None:
        checked["reward"] = reward_name(kind, preset, given["reward"])
    if given.get("physics") is not None:
        checked["physics"] = one_of("physics", given["physics"], [KERNEL, *kind.simulators])
    if given.get("horizon") is not None:
        checked["horizon"] = integer("horizon", given["horizon"])
    if given.get("constraints") is not None:
        checked["constraints"] = check_constraints(kind, given["constraints"])
    return {name: value for name, value in checked.items() if value != usual[name]}
