"""What every paper's reproduction does: measure what is missing, then write the page from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lifelong_gym.benchmark.disk import claim_folder
from lifelong_gym.benchmark.results import read_result, revision, write_atomically, write_result
from lifelong_gym.benchmark.runner import run_jobs
from lifelong_gym.benchmark.terminal import BOLD, say
from lifelong_gym.errors import LifelongGymError
from lifelong_gym.imports import load
from lifelong_gym.papers.jobs import Collected, Measurement, collected, missing

SUMMARY = "summary.json"

Summary = Mapping[str, Any]


class ReproductionError(LifelongGymError, RuntimeError):
    """Measurements that failed."""


@dataclass(frozen=True)
class Paper:
    """A paper's experiments.

    Attributes:
        name: of its page, and of the folder with figures and numbers.
        full: how much is run, a dataclass.
        quick: the same for a look at everything within two minutes.
        jobs: all measurements of a budget.
        summarised: from all results to what page and figures show.
        written: the page's Markdown, from the summary and the budget's attributes.
        pictures: ``module:function`` that draws all figures of a summary into a folder.
    """

    name: str
    full: Any
    quick: Any
    jobs: Callable[[Any], list[Measurement]]
    summarised: Callable[[Collected], dict[str, Any]]
    written: Callable[[Summary, Mapping[str, Any]], str]
    pictures: str

    @property
    def page(self) -> str:
        """The page's file name."""
        return f"{self.name}.md"

    def reproduce(
        self,
        folder: Path,
        quick: bool,
        console: Console,
        page_folder: Path | None = None,
        n_processes: int | None = None,
        budget: Any = None,
    ) -> Path:
        """Measure everything, and write the page that says what came out.

        Measurements that are there already, with the same settings, are kept: after an interruption the same call goes
        on.

        Args:
            folder: for the measurements, in ``quick`` or ``full``.
            quick: a look at everything within two minutes, instead of the full version.
            console: for progress.
            page_folder: for the page and the folder with its figures and numbers; default: ``folder``.
            n_processes: default: the number of cores.
            budget: another one than those two.

        Returns:
            Path of the page.

        Raises:
            ReproductionError: a measurement failed; the others are kept.
        """
        budget = budget or (self.quick if quick else self.full)
        runs = folder / ("quick" if quick else "full")
        jobs = self.jobs(budget)
        left = missing(jobs, runs)
        pages = page_folder or folder
        claim_folder(pages / self.name)
        say(console, f"{len(jobs)} measurements, {len(left)} of them to do: ", (runs, BOLD))
        outcome = run_jobs(left, runs, console, n_processes)
        if outcome.failed:
            name, why = next(iter(outcome.failed.items()))
            raise ReproductionError(f"{len(outcome.failed)} of {len(left)} measurements failed; {name}: {why}")
        with console.status("writing the page"):
            result = pages / self.name / SUMMARY
            settings = {"budget": asdict(budget), "revision": revision()}
            write_result(result, settings, self.summarised(collected(jobs, runs)))
            page = self.write_page(result, pages)
        say(console, "Written: ", (page, BOLD), ", its figures and ", result)
        return page

    def write_page(self, result: Path, folder: Path) -> Path:
        """Write page and figures again from the numbers alone.

        Args:
            result: ``summary.json`` of an earlier run.
            folder: for the page and the folder with its figures.

        Returns:
            Path of the page.

        Raises:
            ValueError: a result file that was edited.
        """
        content = read_result(result)
        load(self.pictures)(content["figures"], folder / self.name)
        page = folder / self.page
        write_atomically(page, self.written(content["figures"], content["settings"]["budget"]))
        return page
