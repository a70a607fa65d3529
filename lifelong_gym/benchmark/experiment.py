"""Experiments as files: which learners, on which families, under which protocol, with which seeds."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from lifelong_gym.benchmark.baselines import measured
from lifelong_gym.benchmark.families import FAMILY_KEYS, N_TASKS, FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import GENERALISE, Protocol
from lifelong_gym.benchmark.run import RunSpec
from lifelong_gym.errors import LifelongGymError, unknown
from lifelong_gym.references.reference import reference_of

N_SEEDS = 10
QUICK: dict[str, Any] = {"n_tasks": 4, "seeds": 2, "episodes_per_task": 30, "n_evaluations": 6, "n_eval_episodes": 4}
QUICK_EVALUATIONS = {"lifelong": 3, "transfer": 6}  # of each task or stage
KEYS = ("learners", "families", "protocol", "seeds", "quick", "tuned")
LEARNER_KEYS = ("class", "arguments", "task_observation", "alone", "norm", "settings", "command")


class ExperimentError(LifelongGymError, ValueError):
    """An experiment that can't be run as it is described; the message begins with the key."""


@dataclass(frozen=True)
class Experiment:
    """A matrix of runs: learners x families x seeds, under one protocol.

    Attributes:
        learners: with different labels.
        families: with different names.
        protocol: the same for all.
        seeds: of the runs.
        tuned: by family's id and learner's label, the table that `lifelong tune` wrote; it holds for learners without
            arguments of their own.
    """

    learners: tuple[LearnerSpec, ...]
    families: tuple[FamilySpec, ...]
    protocol: Protocol = field(default_factory=Protocol)
    seeds: tuple[int, ...] = tuple(range(N_SEEDS))
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Experiment:
        """From a TOML file; see `of_dict`."""
        return cls.of_dict(read_toml(path))

    @classmethod
    def of_dict(cls, content: Mapping[str, Any]) -> Experiment:
        """From what a TOML file says.

        Keys: ``protocol`` (a name, or a table of `Protocol`'s attributes), ``seeds`` (a number, or a list),
        ``quick`` (small budgets where nothing else is said), ``tuned`` (a file that `lifelong tune` wrote, or what it
        says), ``learners.LABEL`` (``class``, ``arguments``,
        ``task_observation``, ``alone``, ``norm``, and what
        `lifelong tune` adds; see `LearnerSpec`) and ``families.ID`` (``preset``, ``n_tasks``,
        ``task_seed``, ``arguments``, ``reward``, ``physics``, ``horizon``, ``constraints``, ``evaluate``; see
        `FamilySpec`), or ``families.LABEL`` with an ``id``; or ``learners`` and ``families`` as plain lists of names.

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
            _tuned(content.get("tuned", {})),
        )

    def learner_on(self, learner: LearnerSpec, family: FamilySpec) -> LearnerSpec:
        """With the settings that were found for a family, where there are any and it has none of its own.

        Raises:
            ExperimentError: they were found for another learner.
        """
        table = self.tuned.get(family.id, {}).get(learner.label)
        if table is None or learner.settings != "default":
            return learner
        (found,) = _each(
            "tuned", {"tuned": {learner.label: table}}, LEARNER_KEYS, lambda name, t: LearnerSpec.of(name, **t)
        )
        plain: LearnerSpec = replace(found, arguments=learner.arguments, command="")
        if plain != learner:
            raise ExperimentError(
                f"tuned.{family.id}.{learner.label}: must be of the learner of that name, {learner.to_dict()}. "
                f"Received {plain.to_dict()}"
            )
        return found

    def __post_init__(self) -> None:
        labels, families = [spec.label for spec in self.learners], [spec.name for spec in self.families]
        for key, names in {"learners": labels, "families": families}.items():
            _check_once(key, names)
        for family in self.families:
            if bool(family.sets) != (self.protocol.name == GENERALISE):
                must = "must name at least one set" if self.protocol.name == GENERALISE else "belongs to `generalise`"
                raise ExperimentError(
                    f"families.{family.name}.evaluate: {must}. Received {list(family.sets)} under "
                    f"{self.protocol.name!r}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Everything, defaults too, JSON-native; `of_dict` reads it back."""
        return {
            "protocol": self.protocol.settings,
            "seeds": list(self.seeds),
            "learners": {
                learner.label: {key: value for key, value in learner.to_dict().items() if key != "label"}
                for learner in self.learners
            },
            "families": {spec.name: spec.to_dict() for spec in self.families},
            **({"tuned": {id: dict(tables) for id, tables in self.tuned.items()}} if self.tuned else {}),
        }

    def part(self, only: Sequence[str] = (), seeds: Sequence[int] | None = None) -> Experiment:
        """A share of it for one of several machines, or the same with other seeds.

        Args:
            only: labels of learners, ids or labels of families; where none of a sort is named, all of it stay.
            seeds: instead of its own; None: those.

        Raises:
            ExperimentError: it has no such learner or family.
        """
        labels, names = [learner.label for learner in self.learners], [family.name for family in self.families]
        for name in only:
            if name not in (*labels, *names):
                raise ExperimentError(f"only: {unknown('learner or family', name, [*labels, *names])}")
        return replace(
            self,
            learners=tuple(learner for learner in self.learners if learner.label in only or not {*labels} & {*only}),
            families=tuple(family for family in self.families if family.name in only or not {*names} & {*only}),
            seeds=self.seeds if seeds is None else tuple(seeds),
        )

    def check(self) -> None:
        """Make every learner for every family, without training.

        Raises:
            ExperimentError: one can't be made.
        """
        for learner, family in product(self.learners, self.families):
            spec = RunSpec(self.learner_on(learner, family), family, family.tasks, self.protocol, 0, None)
            try:
                spec.check()
            except (LifelongGymError, ValueError) as error:
                raise ExperimentError(f"learners.{learner.label} on families.{family.name}: {error}") from error

    def runs(self) -> list[tuple[FamilySpec, RunSpec]]:
        """All runs with their families, those of one seed together; their references are yet to be filled in."""
        drawn = [(family, family.tasks) for family in self.families]
        return [
            (family, RunSpec(self.learner_on(learner, family), family, tasks, self.protocol, seed, None))
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
    known = reference_of(family.family, family.tasks, family.settings.get("reward"), family.horizon)
    if known is None or not known.leaves_room():
        return Levels(None, None)
    references = measured(known, family.id, protocol.n_eval_episodes, protocol.evaluation_seed, family.settings)
    return Levels(references, known.headroom())


def together(family: FamilySpec, levels: Mapping[FamilySpec, Levels]) -> Mapping[str, Any] | None:
    """What a run file holds of references: those of the tasks that are learned, and under ``sets`` of others.

    None where the family names none.
    """
    own = levels[family].references
    if own is None or not family.sets:
        return own
    return {**own, "sets": {name: levels[spec].references for name, spec in family.sets.items()}}


def _check_keys(table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise unknown("key", key, known)


def _check_once(key: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ExperimentError(f"{key}.{name}: named twice; give one another label")


def _each(
    key: str, content: Mapping[str, Any], known: Sequence[str], make: Callable[[str, dict[str, Any]], Any]
) -> tuple[Any, ...]:
    given = content.get(key)
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        _check_once(key, given)
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


def _tuned(given: Any) -> dict[str, dict[str, Any]]:
    """By family's id and learner's label."""
    content = read_toml(Path(given)) if isinstance(given, str) else given
    if not isinstance(content, Mapping) or not all(isinstance(tables, Mapping) for tables in content.values()):
        raise ExperimentError(f"tuned: must be a file that `lifelong tune` wrote, or what it says. Received {given!r}")
    return {id: dict(tables) for id, tables in content.items()}


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
