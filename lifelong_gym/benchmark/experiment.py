"""Experiments as files: which learners, on which families, under which protocol, with which seeds."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from lifelong_gym import registry
from lifelong_gym.benchmark.baselines import measured
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.run import RunSpec
from lifelong_gym.envs.family import Family
from lifelong_gym.errors import LifelongGymError, integer, unknown
from lifelong_gym.references.reference import reference_of
from lifelong_gym.tasks.task_set import TaskSet

N_TASKS, N_SEEDS = 20, 10
QUICK: dict[str, Any] = {"n_tasks": 4, "seeds": 2, "episodes_per_task": 30, "n_evaluations": 6, "n_eval_episodes": 4}
QUICK_EVALUATIONS = {"lifelong": 3, "transfer": 6}  # of each task or stage
HETERO = "hetero"
KEYS = ("learners", "families", "protocol", "seeds", "quick")
LEARNER_KEYS = ("class", "arguments", "task_observation", "alone")
FAMILY_KEYS = ("preset", "n_tasks", "task_seed", "arguments")


class ExperimentError(LifelongGymError, ValueError):
    """An experiment that can't be run as it is described; the message begins with the key."""


@dataclass(frozen=True)
class FamilySpec:
    """Tasks to learn.

    Attributes:
        id: of the environment, as `lifelong_gym.registry.resolve` names it: others find it too.
        preset: what the tasks are drawn from.
        n_tasks: how many.
        task_seed: of the draw.
        arguments: of the family itself, those that differ from their defaults.
    """

    id: str
    preset: str
    n_tasks: int
    task_seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        id: str,
        n_tasks: int = N_TASKS,
        preset: str | None = None,
        task_seed: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ) -> FamilySpec:
        """Of an id, ``module:Id`` or ``module:Class``; with the preset ``hetero`` if there is one.

        Raises:
            ValueError: no such id, preset or argument, or a number out of range.
        """
        if not isinstance(arguments, Mapping | None):
            raise ValueError(f"`arguments` must be a table. Received {arguments!r}")
        kind = registry.family(id, **(arguments or {}))
        presets = kind.parameters.presets
        id = registry.resolve(id)
        if preset is None:
            preset = HETERO if HETERO in presets else "default"
        if preset not in presets:
            raise unknown("preset", preset, presets)
        n_tasks, task_seed = integer("n_tasks", n_tasks), integer("task_seed", task_seed, least=0, most=None)
        return cls(id, preset, n_tasks, task_seed, kind.given_arguments)

    @property
    def family(self) -> Family:
        """Made with these arguments."""
        return registry.family(self.id, **self.arguments)

    @property
    def tasks(self) -> TaskSet:
        """What these settings draw."""
        return self.family.parameters.sample(self.n_tasks, self.task_seed, self.preset)

    def to_dict(self) -> dict[str, Any]:
        """All but the id, JSON-native; arguments where there are any."""
        drawn = {"preset": self.preset, "n_tasks": self.n_tasks, "task_seed": self.task_seed}
        return {**drawn, **({"arguments": dict(self.arguments)} if self.arguments else {})}

    def run(self, learner: LearnerSpec, protocol: Protocol, seed: int, tasks: TaskSet) -> RunSpec:
        """A learner's in these tasks; its references are yet to be filled in."""
        drawn = (self.id, self.preset, self.task_seed, tasks)
        return RunSpec(learner, *drawn, protocol, seed, {}, arguments=self.arguments)


@dataclass(frozen=True)
class Experiment:
    """A matrix of runs: learners x families x seeds, under one protocol.

    Attributes:
        learners: with different labels.
        families: with different ids or presets.
        protocol: the same for all.
        seeds: of the runs.
    """

    learners: tuple[LearnerSpec, ...]
    families: tuple[FamilySpec, ...]
    protocol: Protocol = field(default_factory=Protocol)
    seeds: tuple[int, ...] = tuple(range(N_SEEDS))

    @classmethod
    def read(cls, path: Path) -> Experiment:
        """From a TOML file; see `of_dict`."""
        return cls.of_dict(read_toml(path))

    @classmethod
    def of_dict(cls, content: Mapping[str, Any]) -> Experiment:
        """From what a TOML file says.

        Keys: ``protocol`` (a name, or a table of `Protocol`'s attributes), ``seeds`` (a number, or a list),
        ``quick`` (small budgets where nothing else is said), ``learners.LABEL`` (``class``, ``arguments``,
        ``task_observation``, ``alone``; see `LearnerSpec`) and ``families.ID`` (``preset``, ``n_tasks``,
        ``task_seed``, ``arguments``); or ``learners`` and ``families`` as plain lists of names.

        Raises:
            ExperimentError: the message names the key.
        """
        try:
            _check_keys(content, KEYS)
        except ValueError as error:
            raise ExperimentError(str(error)) from None
        quick = content.get("quick", False)
        if not isinstance(quick, bool):
            raise ExperimentError(f"quick: must be true or false. Received {quick!r}")
        drawn = {"n_tasks": QUICK["n_tasks"] if quick else N_TASKS}
        return cls(
            _each("learners", content, LEARNER_KEYS, lambda name, table: LearnerSpec.of(name, **table)),
            _each("families", content, FAMILY_KEYS, lambda id, table: FamilySpec.of(id, **{**drawn, **table})),
            _protocol(content.get("protocol", {}), quick),
            _seeds(content.get("seeds", QUICK["seeds"] if quick else N_SEEDS)),
        )

    def __post_init__(self) -> None:
        names = [learner.label for learner in self.learners]
        for name in names:
            if names.count(name) > 1:
                raise ExperimentError(f"learners.{name}: named twice; give one another label")
        drawn = [(family.id, family.preset) for family in self.families]
        for id, preset in drawn:
            if drawn.count((id, preset)) > 1:
                raise ExperimentError(f"families.{id}: named twice with the preset {preset!r}")

    def to_dict(self) -> dict[str, Any]:
        """Everything, defaults too, JSON-native; `of_dict` reads it back."""
        return {
            "protocol": {name: getattr(self.protocol, name) for name in Protocol.__dataclass_fields__},
            "seeds": list(self.seeds),
            "learners": {
                learner.label: {key: value for key, value in learner.to_dict().items() if key != "label"}
                for learner in self.learners
            },
            "families": {spec.id: spec.to_dict() for spec in self.families},
        }

    def part(self, only: Sequence[str] = (), seeds: Sequence[int] | None = None) -> Experiment:
        """A share of it for one of several machines, or the same with other seeds.

        Args:
            only: labels of learners and ids of families; where none of a sort is named, all of it stay.
            seeds: instead of its own; None: those.

        Raises:
            ExperimentError: it has no such learner or family.
        """
        labels, ids = [learner.label for learner in self.learners], [family.id for family in self.families]
        for name in only:
            if name not in (*labels, *ids):
                raise ExperimentError(f"only: {unknown('learner or family', name, [*labels, *ids])}")
        return replace(
            self,
            learners=tuple(learner for learner in self.learners if learner.label in only or not {*labels} & {*only}),
            families=tuple(family for family in self.families if family.id in only or not {*ids} & {*only}),
            seeds=self.seeds if seeds is None else tuple(seeds),
        )

    def check(self) -> None:
        """Make every learner for every family, without training.

        Raises:
            ExperimentError: one can't be made.
        """
        for learner, family in product(self.learners, self.families):
            spec = family.run(learner, self.protocol, 0, family.tasks)
            try:
                spec.check()
            except (LifelongGymError, ValueError) as error:
                raise ExperimentError(f"learners.{learner.label} on families.{family.id}: {error}") from error

    def runs(self) -> list[tuple[FamilySpec, RunSpec]]:
        """All runs with their families, those of one seed together; their references are yet to be filled in."""
        drawn = [(family, family.tasks) for family in self.families]
        return [
            (family, family.run(learner, self.protocol, seed, tasks))
            for seed, (family, tasks), learner in product(self.seeds, drawn, self.learners)
        ]


def read_toml(path: Path) -> dict[str, Any]:
    """What a file says that describes an experiment.

    Raises:
        ExperimentError: there is no such file, or it isn't TOML.
    """
    if not path.is_file():
        raise ExperimentError(f"`experiment` must be a TOML file. There is none at {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that aren't UTF-8, too
        raise ExperimentError(f"{path} is not TOML: {error}") from None


def named(content: Any) -> Iterator[str]:
    """All texts in what a file says, keys too; ``module:Name`` is among them where it names one."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield key
            yield from named(value)
    elif isinstance(content, Sequence):
        for value in content:
            yield from named(value)


class Levels(NamedTuple):
    """What returns are compared with, and whether sharing can pay at all.

    Attributes:
        references: see `measured`; None where the family names none.
        headroom: see `Reference.headroom`; None where it isn't known.
    """

    references: Mapping[str, Any] | None
    headroom: float | None


def levels_of(family: FamilySpec, protocol: Protocol) -> Levels:
    """Solve a family's tasks, once, and measure what that is worth; takes seconds."""
    known = reference_of(family.family, family.tasks)
    if known is None:
        return Levels(None, None)
    references = measured(known, family.id, protocol.n_eval_episodes, protocol.evaluation_seed)
    return Levels(references, known.headroom())


def _check_keys(table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise unknown("key", key, known)


def _each(
    key: str, content: Mapping[str, Any], known: Sequence[str], make: Callable[[str, dict[str, Any]], Any]
) -> tuple[Any, ...]:
    given = content.get(key)
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        given = {name: {} for name in given}
    if not isinstance(given, Mapping) or not given:
        raise ExperimentError(f"{key}: must name at least one. Received {given!r}")
    made = []
    for name, table in given.items():
        if not isinstance(table, Mapping):
            raise ExperimentError(f"{key}.{name}: must be a table. Received {table!r}")
        try:
            _check_keys(table, known)
            made.append(make(name, dict(table)))
        except (LifelongGymError, TypeError, ValueError, ImportError) as error:
            raise ExperimentError(f"{key}.{name}: {error}") from error
    return tuple(made)


def _protocol(given: Any, quick: bool) -> Protocol:
    if not isinstance(given, str | Mapping):
        raise ExperimentError(f"protocol: must be a name or a table. Received {given!r}")
    table = {"name": given} if isinstance(given, str) else dict(given)
    small: dict[str, Any] = {}
    if quick:
        small = {name: QUICK[name] for name in ("episodes_per_task", "n_evaluations", "n_eval_episodes")}
        small["n_evaluations"] = QUICK_EVALUATIONS.get(table.get("name", ""), small["n_evaluations"])
    try:
        return Protocol.of(**{**small, **table})
    except (LifelongGymError, TypeError, ValueError) as error:
        raise ExperimentError(f"protocol: {error}") from error


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds as a command names them: how many, a range without its end, or a list.

    >>> seeds_of("3"), seeds_of("5:8"), seeds_of("3,5")
    ((0, 1, 2), (5, 6, 7), (3, 5))

    Raises:
        ExperimentError: none of these.
    """
    begin, colon, end = text.partition(":")
    try:
        if colon:
            return _seeds(list(range(int(begin or 0), int(end))))
        numbers = [int(part) for part in text.split(",")]
        return _seeds(numbers if "," in text else numbers[0])
    except ValueError:
        forms = "a number of at least 1, a range like 5:10, or a list like 3,5"
        raise ExperimentError(f"seeds: must be {forms}. Received {text!r}") from None


def _seeds(given: Any) -> tuple[int, ...]:
    seeds = list(range(given)) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ExperimentError(f"seeds: must be a number of at least 1, or a list of integers. Received {given!r}")
    if len(set(seeds)) < len(seeds):
        raise ExperimentError(f"seeds: must all be different. Received {given!r}")
    return tuple(seeds)
