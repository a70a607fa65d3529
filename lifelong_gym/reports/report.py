"""From a folder of runs: figures, tables, and one page that says what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from lifelong_gym.benchmark.disk import claim_file, claim_folder
from lifelong_gym.benchmark.records import Found, find_runs
from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.reports import figures, heatmaps, words
from lifelong_gym.reports.about import details, setting, whereabouts
from lifelong_gym.reports.formats import to_html, write_table
from lifelong_gym.reports.markup import code, plain
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.overall import aggregates, all_improvements, improvements, pooled
from lifelong_gym.reports.page import Section, heading, items, page, picture, prose
from lifelong_gym.reports.plots import Style, save, styles
from lifelong_gym.reports.study import Study, studies
from lifelong_gym.reports.tables import Table

CURVES = "Learning curves: mean over tasks and seeds, with 95% bootstrap intervals over seeds."
LOOKS = {
    "lifelong": " Dotted lines: the task changes. Learners from scratch are left out: their time is another.",
    "transfer": " The novel task only, from the last evaluation before it on.",
    "generalise": " In the tasks that were not learned.",
}


@dataclass
class _Output:
    """Where figures and tables go, and what was written."""

    folder: Path
    styles: dict[str, Style]
    paths: list[Path] = field(default_factory=list)

    def figure(self, figure: Figure | None, name: str, caption: str) -> str:
        if figure is None:
            return ""
        drawn = save(figure, self.folder / "figures", name)
        self.paths += drawn.paths
        return picture(drawn.svg, caption, figure.get_figwidth() / 8)

    def table(self, table: Table) -> str:
        self.paths += write_table(self.folder / "tables", table)
        return to_html(table)


def write_report(runs_folder: Path | str, out_folder: Path | None = None, html: Path | None = None) -> list[Path]:
    """Write a report of all finished runs below a folder.

    Args:
        runs_folder: with run files, in folders of any depth.
        out_folder: gets ``figures/`` (SVG, PDF, PNG) and ``tables/`` (Markdown, LaTeX, CSV); default: ``report`` among
            the runs. Files of an earlier report are replaced.
        html: the page, which says where the others are; default: ``report.html`` in the output folder.

    Returns:
        What was written, the page first.

    Raises:
        FileNotFoundError: there is no such folder of runs.
        ValueError: it holds no finished run that can be read.
        DiskError: nothing can be written where the report is to go.
    """
    runs_folder = Path(runs_folder)
    found = find_runs(runs_folder)
    if not found.runs:
        why = found.broken[0] if found.broken else f"{len(found.unfinished)} unfinished"
        raise ValueError(f"{runs_folder} holds no finished run ({why})")
    folder = Path(out_folder or runs_folder / "report")
    target = Path(html or folder / "report.html")
    for needed in (folder / "figures", folder / "tables", claim_file(target).parent):
        claim_folder(needed)
    compared, left_out = studies(found.runs)
    names = list(dict.fromkeys(name for study in compared for name in study.runs))
    fixed = [name for name in names if any(name in study.runs and study.fixed(name) for study in compared)]
    output = _Output(folder, styles(names, fixed))
    write_atomically(target, _page(compared, left_out, found, runs_folder, output, whereabouts(folder, target)))
    return [target, *output.paths]


def _page(
    compared: Sequence[Study], left_out: list[str], found: Found, runs_folder: Path, output: _Output, where: str
) -> str:
    summary, sections = "", [setting(compared, output.styles)]
    for _, group in groupby(compared, key=lambda study: study.protocol):
        together = list(group)
        pooled_ones = [study for study in together if not study.raw]
        if len(pooled_ones) > 1:
            said, section = _overall(pooled_ones, output)
            summary += said
            sections.append(section)
        for study in together:
            title = f"{study.family}, {words.protocol_name(study)}"
            summary += heading(title, study.name) + prose(words.verdict(study))
            alone = "" if study in pooled_ones and len(pooled_ones) > 1 else _together([study], output)
            sections.append(Section(study.name, title, _study(study, output) + alone))
    sections.append(details(compared, found.runs, runs_folder, where))
    gaps = _gaps(left_out, found, runs_folder)
    if gaps:
        sections.append(Section("left-out", "What is not in this report", items(gaps)))
    return page(_title(compared), _lead(compared), summary, sections)


def _title(compared: Sequence[Study]) -> str:
    learners = {name for study in compared for name in study.learners}
    families = list(dict.fromkeys(study.any.family for study in compared))
    many = words.listed(families) if len(families) < 4 else f"{len(families)} families"
    return f"{words.plural(len(learners), 'learner')} on {many}"


def _lead(compared: Sequence[Study]) -> str:
    protocols = dict.fromkeys(words.protocol_name(study) for study in compared)
    n_runs = sum(len(runs) for study in compared for runs in study.runs.values())
    several = "s" * (len(protocols) > 1)
    return f"A benchmark of {words.plural(n_runs, 'run')} under the {words.listed(protocols)} protocol{several}."


def _overall(together: Sequence[Study], output: _Output) -> tuple[str, Section]:
    """A summary and a section about all families under one protocol."""
    scores, _ = pooled(together)
    families = list(dict.fromkeys(study.family for study in together))
    title = f"All families, {words.protocol_name(together[0])}"
    name = f"overall-{together[0].protocol}"
    learners = {name: array for name, array in scores.items() if not together[0].fixed(name)}
    said = words.verdict_overall(learners, families, together[0].score_name)
    return heading(title, name) + prose(said) if said else "", Section(name, title, _together(together, output))


def _together(together: Sequence[Study], output: _Output) -> str:
    """Aggregates, profiles and probabilities over the tasks of one or several studies."""
    scores, missing = pooled(together)
    if not scores:
        return items(missing)
    what, raw = together[0].score_name, together[0].raw
    name = together[0].name if len(together) == 1 else f"overall-{together[0].protocol}"
    families = words.listed(dict.fromkeys(study.family for study in together))
    notes = [f"Left out: {line}." for line in missing]
    fixed = [learner for learner in scores if together[0].fixed(learner)]
    body = output.table(aggregates(f"{name}-aggregates", f"{families}: {what}, aggregated", scores, notes, fixed, raw))
    caption = (
        f"Performance profiles: in how large a share of runs and tasks the {what} is above each level, with 95% "
        "bootstrap bands. Higher is better; where curves cross, one is better in good tasks, another in bad ones."
    )
    body += output.figure(figures.profiles(scores, output.styles, what, raw), f"{name}-profiles", caption)
    if len(scores) > 1:
        chances = all_improvements(scores)
        caption = f"How probable it is that a run of one learner has a higher {what} than one of another."
        drawn = heatmaps.improvement_matrix(chances) if len(scores) > 2 else None
        body += output.figure(drawn, f"{name}-improvement", caption)
        body += output.table(improvements(f"{name}-improvement", f"{families}: probability of improvement", chances))
    return body


def _study(study: Study, output: _Output) -> str:
    caption = CURVES + LOOKS.get(study.protocol, "")
    body = output.figure(figures.learning(study, output.styles), f"{study.name}-curves", caption)
    body += "".join(output.table(table) for table in tables(study))
    caption = "Performance against communication, with 95% bootstrap intervals over seeds."
    body += output.figure(figures.communication(study, output.styles), f"{study.name}-communication", caption)
    if study.protocol == "lifelong":
        caption = (
            "Evaluation matrices, mean over seeds: a row after each learned task, a column a task, in learned order. "
            "Orange frames: just learned. Above, what earlier tasks are worth for a task; below, what is kept of it."
        )
        body += output.figure(heatmaps.evaluation_matrices(study), f"{study.name}-matrices", caption)
    shades = "" if study.raw else f" Blue is the best known policy, white {study.zero}, red less than that."
    caption = f"{study.score_name.capitalize()} in every task, mean over seeds.{shades}"
    return body + output.figure(heatmaps.task_matrix(study), f"{study.name}-tasks", caption)


def _gaps(left_out: list[str], found: Found, runs_folder: Path) -> list[str]:
    unfinished = [
        f"{code(str(path))} is unfinished: run it again, and it continues where it stopped."
        for path in found.unfinished
    ]
    lines = [*(f"{plain(line)}." for line in left_out), *unfinished, *(f"{plain(line)}." for line in found.broken)]
    return [line.replace(f"{plain(str(runs_folder))}/", "") for line in lines]
