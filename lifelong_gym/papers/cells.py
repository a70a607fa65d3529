"""Cells: a study, a system, a method and a seed name one run, whose numbers lie in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from lifelong_gym.benchmark.results import file_name, native, read_result, write_result
from lifelong_gym.errors import LifelongGymError, unknown
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.quantities import Figures, quantity
from lifelong_gym.papers.schema import PaperError
from lifelong_gym.papers.specs import LEARNING, PaperSpec, StudySpec
from lifelong_gym.papers.sweeps import Progress, Values

Place = tuple[str, ...]  # study, system and method; or the beginning of one


@dataclass(frozen=True)
class PaperCell:
    """One run."""

    code: Code  # the paper's own functions
    settings: Values  # JSON-native; they decide the figures, times aside

    @property
    def title(self) -> str:
        """As a user names it: ``study/system/method/seed0``."""
        return "/".join((*self.place, f"seed{self.settings['seed']}"))

    @property
    def place(self) -> tuple[str, str, str]:
        """Study, system and method."""
        return self.settings["study"], self.settings["system"], self.settings["method"]

    kind = place  # cells of one place take about as long

    @property
    def name(self) -> str:
        """Of the file, without its ending, below the folder of all cells."""
        return "/".join(map(file_name, self.title.split("/")))

    def check(self) -> None:
        """Make the learner, if it is one that learns, without learning.

        Raises:
            PaperError: it can't be made.
        """
        try:
            if self.settings["measure"] == LEARNING:
                sweeps.SweepRun(self.code, self.settings)
        except (LifelongGymError, TypeError, ValueError) as error:
            raise PaperError(f"methods.{self.place[2]}, in {self.title}: {error}") from error

    def execute(self, folder: Path, progress: Progress) -> Path:
        """Measure and write the file, all of it or nothing."""
        path, measure = folder / f"{self.name}.json", self.settings["measure"]
        path.parent.mkdir(parents=True, exist_ok=True)
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
        path = folder / f"{self.name}.json"
        content = read_result(path) if path.exists() else {"settings": None}
        return content["figures"] if content["settings"] == self.settings else None

    def measured(self, folder: Path) -> Figures:
        """The same.

        Raises:
            ValueError: there is none.
        """
        figures = self.figures(folder)
        if figures is None:
            raise ValueError(f"{folder} has no numbers of {self.title}")
        return figures

    def quantity(self, of: str, figures: Figures) -> Any:
        """What its figures come to.

        Raises:
            ValueError: they don't have it.
        """
        try:
            return quantity(of, figures, self.code)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(f"{self.title}: {of!r} can't be had: {error}") from error


def cells_of(paper: PaperSpec, code: Code, budget: str) -> list[PaperCell]:
    """All cells of a version, those of one study together.

    Raises:
        PaperError: two of them would share a file.
    """
    by_file: dict[str, PaperCell] = {}
    for study in paper.studies.values():
        for system, method in product(study.systems, study.methods):
            settings = settings_of(paper, study, system, method, budget)
            for seed in range(settings.pop("seeds")):
                cell = PaperCell(code, {**settings, "seed": seed})
                other = by_file.setdefault(cell.name.lower(), cell)
                if other is not cell:
                    raise PaperError(f"methods: {cell.title!r} and {other.title!r} would share a file: rename one")
    return list(by_file.values())


def settings_of(paper: PaperSpec, study: StudySpec, system: str, method: str, budget: str) -> dict[str, Any]:
    """What decides a run, but for its seed; and ``seeds``, how many there are."""
    values = paper.resolved(study, system, method, budget)
    where, who = paper.systems[system], paper.methods[method]
    arguments = _put_in({**(paper.arguments if who.kind else {}), **who.arguments}, values)
    place = {"study": study.name, "system": system, "method": method}
    run = {"env": where.env, "env_arguments": where.arguments, "measure": who.measure or study.measure}
    learner = {"learner": {"class": who.kind, "arguments": arguments}, "maker": study.maker, "watch": study.watch}
    plain: dict[str, Any] = json.loads(json.dumps({**values, **place, **run, **learner}, default=native))
    return plain


def _put_in(given: Any, values: Values) -> Any:
    """``"$name"`` stands for a value; within tables too."""
    if isinstance(given, str) and given.startswith("$"):
        return values[given[1:]]
    if isinstance(given, Mapping):
        return {name: _put_in(within, values) for name, within in given.items()}
    return [_put_in(within, values) for within in given] if isinstance(given, list) else given


def only(cells: Sequence[PaperCell], wanted: str) -> list[PaperCell]:
    """The cells that ``study/system/method/seed3`` names, or all below ``study/system``.

    Raises:
        PaperError: none has that name.
    """
    found = [cell for cell in cells if f"{cell.title}/".startswith(f"{wanted.rstrip('/')}/")]
    if not found:
        depth = wanted.count("/") + 1
        near = dict.fromkeys("/".join(cell.title.split("/")[:depth]) for cell in cells)
        raise PaperError(f"only: {unknown('cell', wanted, near)}")
    return found
