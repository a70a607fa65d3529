"""A paper, run again: measure the cells that are missing, then write the page from their files."""

from __future__ import annotations

import tomllib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from lifelong_gym.benchmark.disk import claim_folder
from lifelong_gym.benchmark.locks import locked
from lifelong_gym.benchmark.results import read_result, revision, write_atomically, write_result
from lifelong_gym.benchmark.runner import run_jobs
from lifelong_gym.benchmark.terminal import BOLD, say, working
from lifelong_gym.errors import LifelongGymError, unknown
from lifelong_gym.papers.cells import PaperCell, cells_of, only
from lifelong_gym.papers.code import HERE, Code
from lifelong_gym.papers.numbers import PARTS, Numbers, collected, known
from lifelong_gym.papers.plotting import draw
from lifelong_gym.papers.quantities import TO_LEVEL
from lifelong_gym.papers.schema import Known, PaperError, told
from lifelong_gym.papers.specs import PaperSpec
from lifelong_gym.papers.writing import page

FILE, SUMMARY = "paper.toml", "summary.json"


class MeasurementError(LifelongGymError, RuntimeError):
    """Cells that couldn't be measured."""


def names() -> list[str]:
    """Of the papers that come with the package."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{FILE}"))


def folder_of(paper: str) -> Path:
    """The folder of a paper of the package by its name, or of one's own by its path.

    Raises:
        UnknownNameError: neither.
    """
    if paper in names():
        return HERE / paper
    if Path(paper).is_dir():
        return Path(paper)
    raise unknown("paper", paper, [*names(), f"a folder with a {FILE}"])


def read_paper(folder: Path) -> PaperSpec:
    """What a folder says, checked from end to end.

    Raises:
        PaperError: the message begins with the key.
    """
    path = folder / FILE
    if not path.is_file():
        raise PaperError(f"a paper is a folder with a {FILE}. There is none at {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return PaperSpec.model_validate(content, context=Known(Code(str(folder.resolve()))))
    except ValidationError as error:
        raise told(error, content) from error
    except ValueError as error:  # bytes that aren't UTF-8, too
        raise PaperError(f"{path} is not TOML: {error}") from None


@dataclass(frozen=True)
class Reproduction:
    """A paper at some size, and where its runs lie."""

    paper: PaperSpec  # what its folder says
    code: Code  # its functions
    budget: str  # ``quick``, ``default`` or ``full``
    runs: Path  # folder of the cells' files

    @classmethod
    def of(cls, source: Path, budget: str, folder: Path) -> Reproduction:
        """Read and check a paper's folder; its cells are below ``folder``.

        Raises:
            PaperError: the message begins with the key; nothing has begun.
        """
        return cls(read_paper(source), Code(str(source.resolve())), budget, folder / budget)

    @property
    def cells(self) -> list[PaperCell]:
        """All of them."""
        return cells_of(self.paper, self.code, self.budget)

    @property
    def possible(self) -> list[PaperCell]:
        """All whose systems' packages are installed."""
        return [cell for cell in self.cells if self.paper.systems[cell.place[1]].is_possible]

    def measure(
        self, console: Console, n_processes: int | None = None, wanted: str = "", page: Path | None = None
    ) -> list[PaperCell]:
        """Measure cells that have no file yet, or one with other settings; returns all that are wanted.

        Args:
            console: for progress.
            n_processes: default: the number of cores.
            wanted: ``study/system/method/seed3`` or the beginning of one; empty: all that are `possible`.
            page: folder of a page; what it knows already isn't measured again.

        Raises:
            PaperError: there is no such cell, or a learner can't be made; nothing has begun.
            MeasurementError: some failed; the others are kept.
        """
        cells = only(self.cells, wanted) if wanted else self.possible
        told = known(self.paper, self.cells, self.earlier(page)) if page else ()
        claim_folder(self.runs)
        with locked(self.runs, lambda: console.status("waiting for another command in this folder")):
            left = [cell for cell in cells if cell.place not in told and cell.figures(self.runs) is None]
            for cell in {cell.place: cell for cell in left}.values():
                cell.check()
            say(console, f"{len(cells)} runs, {len(left)} of them to do: ", (self.runs, BOLD))
            for name, system in self.paper.systems.items():
                if not wanted and not system.is_possible:
                    say(console, f"left out, since {system.package} isn't installed: ", (name, BOLD))
            failed = run_jobs(left, self.runs, console, n_processes).failed
        if failed:
            name, why = next(iter(failed.items()))
            raise MeasurementError(f"{len(failed)} of {len(left)} runs failed; {name}: {why}")
        return cells

    def quantities(self, cell: PaperCell) -> dict[str, Any]:
        """What the page shows of one cell; what takes other methods' too is left out."""
        wanted, figures = self.paper.needed().get(cell.place[::2], ()), cell.measured(self.runs)
        return {of: cell.quantity(of, figures) for of in sorted(wanted) if not TO_LEVEL.fullmatch(of)}

    def write(self, folder: Path, console: Console | None = None) -> Path:
        """Write numbers, figures and page into a folder, of all that is measured or that the page there knows.

        Returns:
            The page's path.

        Raises:
            ValueError: the page's numbers, or a cell's file, were edited.
        """
        place = claim_folder(folder / self.code.name) / SUMMARY
        settings = {"paper": self.code.name, "budget": self.budget, "revision": revision()}
        with working(console, "writing the page") if console else nullcontext():
            numbers = collected(self.paper, self.cells, self.runs, self.earlier(folder))
            write_result(place, settings, numbers.content)
            return self.write_page(folder)

    def write_page(self, folder: Path) -> Path:
        """Write page and figures again, from ``summary.json`` alone; returns the page's path.

        Raises:
            ValueError: that file is missing or was edited.
        """
        numbers, path = self.summary(folder), folder / f"{self.code.name}.md"
        drawn = [
            name
            for name, spec in self.paper.figures.items()
            if draw(spec, self.paper, numbers, self.code, folder / self.code.name / f"{name}.png")
        ]
        write_atomically(path, page(self.paper, numbers, self.code, self.budget, drawn))
        return path

    def earlier(self, folder: Path) -> Numbers:
        """The `summary`, or no numbers where there is none."""
        is_there = (folder / self.code.name / SUMMARY).exists()
        return self.summary(folder) if is_there else Numbers({part: {} for part in PARTS})

    def summary(self, folder: Path) -> Numbers:
        """What ``summary.json`` says."""
        return Numbers(read_result(folder / self.code.name / SUMMARY)["figures"])
