"""The command: measure what is missing, and write the page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lifelong_gym.benchmark.reproductions.zhan2017 import plan
from lifelong_gym.benchmark.reproductions.zhan2017.jobs import missing
from lifelong_gym.benchmark.reproductions.zhan2017.page import FIGURES, written
from lifelong_gym.benchmark.reproductions.zhan2017.plan import FULL, QUICK, Budget
from lifelong_gym.benchmark.reproductions.zhan2017.summary import collected, summarised
from lifelong_gym.benchmark.results import read_result, revision, write_atomically, write_result
from lifelong_gym.benchmark.runner import run_jobs
from lifelong_gym.errors import LifelongGymError

PAGE, SUMMARY = "zhan2017.md", "summary.json"


class ReproductionError(LifelongGymError, RuntimeError):
    """Measurements that failed."""


def reproduce(
    folder: Path,
    quick: bool,
    console: Console,
    page_folder: Path | None = None,
    n_processes: int | None = None,
    budget: Budget | None = None,
) -> Path:
    """Measure everything, and write the page that says what came out.

    Measurements that are there already, with the same settings, are kept: after an interruption the same call goes on.

    Args:
        folder: for the measurements, in ``quick`` or ``full``.
        quick: a look at everything within two minutes, instead of the full version, which takes about 15 on two cores.
        console: for progress.
        page_folder: for ``zhan2017.md`` and the folder ``zhan2017`` with figures and numbers; default: ``folder``.
        n_processes: default: the number of cores.
        budget: another one than those two.

    Returns:
        Path of the page.

    Raises:
        ReproductionError: a measurement failed; the others are kept.
    """
    budget = budget or (QUICK if quick else FULL)
    runs = folder / ("quick" if quick else "full")
    jobs = plan.jobs(budget)
    left = missing(jobs, runs)
    console.print(f"{len(jobs)} measurements, {len(left)} of them to do: [bold]{runs}[/bold]")
    outcome = run_jobs(left, runs, console, n_processes)
    if outcome.failed:
        name, why = next(iter(outcome.failed.items()))
        raise ReproductionError(f"{len(outcome.failed)} of {len(left)} measurements failed; {name}: {why}")
    pages = page_folder or folder
    with console.status("writing the page"):
        (pages / FIGURES).mkdir(parents=True, exist_ok=True)
        result = pages / FIGURES / SUMMARY
        settings = {"budget": asdict(budget), "revision": revision()}
        write_result(result, settings, summarised(collected(jobs, runs)))
        page = write_page(result, pages)
    console.print(f"Written: [bold]{escape(str(page))}[/bold], its figures and {escape(str(result))}")
    return page


def write_page(result: Path, folder: Path) -> Path:
    """Write page and figures again from the numbers alone.

    Args:
        result: ``summary.json`` of an earlier run.
        folder: for ``zhan2017.md`` and the folder ``zhan2017``.

    Returns:
        Path of the page.

    Raises:
        ValueError: a result file that was edited.
    """
    from lifelong_gym.benchmark.reproductions.zhan2017.pictures import draw_all

    content = read_result(result)
    draw_all(content["figures"], folder / FIGURES)
    page = folder / PAGE
    write_atomically(page, written(content["figures"], content["settings"]["budget"]))
    return page
