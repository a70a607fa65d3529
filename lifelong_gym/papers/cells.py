"""Cells: a study, a system, a method and a seed name one run, whose numbers lie in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong_gym.benchmark.results import file_name, native, read_result, write_result
from lifelong_gym.errors import LifelongGymError, unknown
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.schema import PaperError
from lifelong_gym.papers.specs import LEARNING, PaperSpec, StudySpec, Values
from lifelong_gym.papers.sweeps import Progress

SUFFIX = ".json"

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class PaperCell:
    """One run.

    Attributes:
        code: the paper's own functions.
        settings: JSON-native; they decide the figures, times aside.
    """

    code: Code
    settings: Values

    @property
    def title(self) -> str:
        """As a user names it: ``study/system/method/seed0``."""
        return "/".join((*self.place, f"seed{self.settings['seed']}"))

    @property
    def place(self) -> tuple[str, str, str]:
        """Study, system and method."""
        return self.settings["study"], self.settings["system"], self.settings["method"]

    @property
    def name(self) -> str:
        """Of the file, without its ending, below the folder of all cells."""
        return "/".join(map(file_name, self.title.split("/")))

    @property
    def kind(self) -> tuple[str, str, str]:
        """Cells that take about as long."""
        return self.place

    def check(self) -> None:
        """Make the learner, if it is one that learns, without learning.

        Raises:
            PaperError: it can't be made.
        """
        if self.settings["measure"] != LEARNING:
            return
        try:
            sweeps.SweepRun(self.code, self.settings)
        except (LifelongGymError, TypeError, ValueError) as error:
            raise PaperError(f"methods.{self.place[2]}, in {self.title}: {error}") from error

    def execute(self, folder: Path, progress: Progress) -> Path:
        """Measure and write the file, all of it or nothing."""
        path = folder / f"{self.name}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        measure = self.settings["measure"]
        if measure == LEARNING:
            figures = sweeps.learn(self.code, self.settings, progress)
        else:
            figures = self.code.load(measure)(self.settings, progress)
        write_result(path, self.settings, figures)
        return path

    def figures(self, folder: Path) -> Figures | None:
        """What an earlier call wrote; None where there is none, or one with other settings.

        Raises:
            ValueError: the file was edited.
        """
        path = folder / f"{self.name}{SUFFIX}"
        if not path.exists():
            return None
        content = read_result(path)
        return content["figures"] if content["settings"] == self.settings else None


def cells_of(paper: PaperSpec, code: Code, budget: str) -> list[PaperCell]:
    """All cells of a version, those of one study together.

    Raises:
        PaperError: two of them would share a file.
    """
    cells = [cell for study in paper.studies.values() for cell in _of_study(paper, code, study, budget)]
    by_name: dict[str, PaperCell] = {}
    for cell in cells:
        other = by_name.setdefault(cell.name.lower(), cell)
        if other is not cell:
            raise PaperError(f"methods: {cell.title!r} and {other.title!r} would share a file: name one otherwise")
    return cells


def _of_study(paper: PaperSpec, code: Code, study: StudySpec, budget: str) -> Iterator[PaperCell]:
    for system in study.systems:
        for method in study.methods:
            settings = settings_of(paper, study, system, method, budget)
            n_seeds = settings.pop("seeds")
            for seed in range(n_seeds):
                yield PaperCell(code, {**settings, "seed": seed})


def settings_of(paper: PaperSpec, study: StudySpec, system: str, method: str, budget: str) -> dict[str, Any]:
    """What decides a run, but for its seed; and ``seeds``, how many there are."""
    values = paper.resolved(study, system, method, budget)
    where, who = paper.systems[system], paper.methods[method]
    arguments = {**(paper.arguments if who.kind else {}), **who.arguments}
    settings = {
        **values,
        "study": study.name,
        "system": system,
        "method": method,
        "measure": study.measure,
        "env": where.env,
        "env_arguments": where.arguments,
        "learner": {"class": who.kind, "arguments": {name: _value(of, values) for name, of in arguments.items()}},
        "maker": study.maker,
        "watch": study.watch,
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=native))
    return plain


def _value(argument: Any, values: Values) -> Any:
    """``"$name"`` stands for a value; within tables too."""
    if isinstance(argument, str) and argument.startswith("$"):
        return values[argument[1:]]
    if isinstance(argument, Mapping):
        return {name: _value(within, values) for name, within in argument.items()}
    return [_value(within, values) for within in argument] if isinstance(argument, list) else argument


def only(cells: Sequence[PaperCell], wanted: str) -> list[PaperCell]:
    """The cells that ``study/system/method/seed3`` names, or all below ``study/system``.

    Raises:
        PaperError: none has that name.
    """
    found = [cell for cell in cells if cell.title == wanted or cell.title.startswith(f"{wanted.rstrip('/')}/")]
    if not found:
        titles = [cell.title for cell in cells]
        depth = wanted.count("/") + 1
        near = list(dict.fromkeys("/".join(title.split("/")[:depth]) for title in titles))
        raise PaperError(f"only: {unknown('cell', wanted, near)}")
    return found
