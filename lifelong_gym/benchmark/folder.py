"""What a folder of runs knows besides them: what was asked for, and the references that belong to it.

A folder takes further seeds, learners, families and protocols. Files of several machines can be copied together: names
say what a file is about, wherever it was written.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, Levels, levels_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.lines import MALFORMED, parsed
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.results import content_hash, file_name, read_result, write_atomically, write_result
from lifelong_gym.benchmark.workers import TRACE, Workers
from lifelong_gym.benchmark.writer import SUFFIX
from lifelong_gym.references.reference import reference_class

EXPERIMENT = "experiment{}.toml"
GROWING = ("seeds", "learners", "families")
PLURAL = {"learner": "learners", "family": "families"}
BESIDE = ("label", "tasks", "evaluate")  # what doesn't tell a label's learner or family from another's
POLL_SECONDS = 0.2


def refuse_other_labels(folder: Path, experiment: Experiment) -> None:
    """A label stands for one learner in a folder, and that of a family for one family with its tasks.

    Raises:
        ExperimentError: a run there is of another learner or family with the same label.
    """
    families = {spec.label: {"id": spec.id, **spec.world} for spec in experiment.families if spec.label}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            header = parsed(file.readline()) or {}
        given = json.loads(json.dumps({"learner": _learners(experiment, header), "family": families}))
        for sort, named in given.items():
            try:
                there = {key: value for key, value in header["settings"][sort].items() if key not in BESIDE}
                label = header["settings"][sort].get("label")
                asked = {key: value for key, value in named[label].items() if key not in BESIDE}
            except MALFORMED:
                continue  # it is set aside, or belongs to somebody else, or isn't asked for
            if asked != there:
                keys = [key for key in {**asked, **there} if asked.get(key) != there.get(key)]
                differing = ", ".join(f"{key} {there.get(key)!r}" for key in keys)
                raise ExperimentError(
                    f"{PLURAL[sort]}.{label}: {path} is a run of another {sort} of that name ({differing}). "
                    "Give this one another label, or choose another folder"
                )


def _learners(experiment: Experiment, header: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By label, as they are on the family of a run file."""
    try:
        id, is_tuned = header["settings"]["family"]["id"], "command" in header["settings"]["learner"]
    except MALFORMED:
        return {}
    family = next((spec for spec in experiment.families if spec.id == id), None)
    if family is None:  # settings that were found for it say nothing of others
        return {} if is_tuned else {spec.label: spec.to_dict() for spec in experiment.learners}
    return {spec.label: experiment.learner_on(spec, family).to_dict() for spec in experiment.learners}


def sweep(folder: Path) -> None:
    """Remove what kills during a save have left of files that belong to no run; only who has the folder locked may."""
    for pattern in ("experiment*.toml.*.part", "references--*.part"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def describe(folder: Path, experiment: Experiment) -> None:
    """Write down what is asked for.

    Into ``experiment.toml``, or into that of an earlier call if the two differ in nothing but seeds, or learners, or
    families; else into a file of its own.
    """
    content = experiment.to_dict()
    for path in sorted(folder.glob(EXPERIMENT.format("*")), key=lambda path: (len(path.name), path.name)):
        try:
            together = _together(tomllib.loads(path.read_text(encoding="utf-8")), content)
        except MALFORMED:  # somebody's own file
            continue
        if together is not None:
            write_atomically(path, tomli_w.dumps(together))
            return
    is_first = not (folder / EXPERIMENT.format("")).exists()
    name = EXPERIMENT.format("" if is_first else f"-{content_hash(content)[:8]}")
    write_atomically(folder / name, tomli_w.dumps(content))


def _together(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any] | None:
    """One description of both, or None where it would promise runs that nobody asked for."""
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if not differing:
        return dict(new)
    (key, *others) = differing
    if others or key not in GROWING:
        return None
    if key == "seeds":
        return {**new, key: sorted({*old[key], *new[key]})}
    both = {**old[key], **new[key]}
    return {**new, key: both} if {**both, **old[key]} == both else None


class References:
    """Those of a folder under one protocol: measured once, whoever asks for them."""

    def __init__(self, folder: Path, protocol: Protocol) -> None:
        """Nothing is read yet."""
        self._folder, self._protocol = folder, protocol

    def measured(self, families: Sequence[FamilySpec], workers: Workers) -> dict[FamilySpec, Levels]:
        """What the folder knows; what it doesn't is measured in parallel and kept.

        Raises:
            ExperimentError: measuring failed.
        """
        known = {family: self._read(family) for family in families}
        left = [family for family, levels in known.items() if levels is None]
        for number, family in enumerate(left):
            workers.submit(number, _measure, family, self._protocol)
        while any(known[family] is None for family in left):
            for event in workers.events(POLL_SECONDS):
                family = left[event.number]
                if event.error is not None:
                    why = event.why(self._path(family).with_suffix(TRACE))
                    raise ExperimentError(f"families.{family.name}: measuring its references failed: {why}")
                if event.is_over:
                    known[family] = event.value
                    write_result(self._path(family), self._settings(family), event.value._asdict())
        return {family: levels for family, levels in known.items() if levels is not None}

    def _settings(self, family: FamilySpec) -> dict[str, Any]:
        reference = reference_class(family.family)
        return {
            "family": {"id": family.id, **family.world},
            "tasks_hash": family.tasks.hash,
            "n_eval_episodes": self._protocol.n_eval_episodes,
            "evaluation_seed": self._protocol.evaluation_seed,
            "version": None if reference is None else reference.version,
        }

    def _path(self, family: FamilySpec) -> Path:
        settings = self._settings(family)
        return self._folder / f"{file_name('references', family.id, family.preset)}--{content_hash(settings)[:8]}.json"

    def _read(self, family: FamilySpec) -> Levels | None:
        """What was measured; None where nothing was, or the file is damaged."""
        try:
            content = read_result(self._path(family))
            return Levels(**content["figures"]) if content["settings"] == self._settings(family) else None
        except (OSError, TypeError, ValueError):
            return None


def _measure(family: FamilySpec, protocol: Protocol, progress: Any) -> Levels:
    """In a worker."""
    return levels_of(family, protocol)
