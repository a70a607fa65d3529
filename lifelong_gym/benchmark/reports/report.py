"""From a folder of runs: figures, tables, and one page that says what came out."""

from __future__ import annotations

import html as escaping
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lifelong_gym.benchmark import metrics
from lifelong_gym.benchmark.plots import Style, save, styles
from lifelong_gym.benchmark.records import Found, Run, find_runs
from lifelong_gym.benchmark.reports import figures, words
from lifelong_gym.benchmark.reports.metric_tables import tables
from lifelong_gym.benchmark.reports.overall import aggregates, all_improvements, improvements, pooled
from lifelong_gym.benchmark.reports.page import Section, facts, heading, items, page, picture, prose
from lifelong_gym.benchmark.reports.page import words as word_table
from lifelong_gym.benchmark.reports.study import Study, studies
from lifelong_gym.benchmark.reports.tables import DASH, Table, number, to_html, write_table
from lifelong_gym.benchmark.results import write_atomically

CURVES = (
    "Learning curves: mean over tasks and seeds, with 95% bootstrap intervals over seeds. "
    f"What lies below {number(figures.LOWEST)} is cut off."
)
LOOKS = {
    "multi_task": "",
    "lifelong": " Dotted lines: the task changes. Learners from scratch are left out: their time is another.",
    "transfer": " The novel task only, from the last evaluation before it on.",
    "distributed": "",
}
LOAD = """from lifelong_gym import benchmark

frame = benchmark.load({folder!r})  # a row a run, evaluation and task; needs pandas
runs = ["protocol", "family", "learner", "seed"]
final = frame[frame.num_timesteps == frame.groupby(runs).num_timesteps.transform("max")]
print(final.groupby(runs[:3])["normalised"].describe())"""


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
        return picture(drawn.svg, caption, f"{100 * figure.get_figwidth() / 8:.0f}%")

    def table(self, table: Table) -> str:
        self.paths += write_table(self.folder / "tables", table)
        return to_html(table)


def write_report(runs_folder: Path | str, out_folder: Path | None = None, html: Path | None = None) -> list[Path]:
    """Write a report of all finished runs below a folder.

    Args:
        runs_folder: with run files, in folders of any depth.
        out_folder: gets ``figures/`` (SVG, PNG) and ``tables/`` (Markdown, LaTeX, CSV); default: ``report`` among the
            runs. Files of an earlier report are replaced.
        html: the page; default: ``report.html`` in the output folder.

    Returns:
        What was written, the page first.

    Raises:
        FileNotFoundError: there is no such folder of runs.
        ValueError: it holds no finished run that can be read.
    """
    runs_folder = Path(runs_folder)
    found = find_runs(runs_folder)
    if not found.runs:
        why = found.broken[0] if found.broken else f"{len(found.unfinished)} unfinished"
        raise ValueError(f"{runs_folder} holds no finished run ({why})")
    folder = Path(out_folder or runs_folder / "report")
    target = Path(html or folder / "report.html")
    for needed in (folder / "figures", folder / "tables", target.parent):
        needed.mkdir(parents=True, exist_ok=True)
    compared, left_out = studies(found.runs)
    names = list(dict.fromkeys(name for study in compared for name in study.runs))
    fixed = [name for name in names if any(name in study.runs and study.fixed(name) for study in compared)]
    output = _Output(folder, styles(names, fixed))
    write_atomically(target, _page(compared, left_out, found, runs_folder, output))
    return [target, *output.paths]


def _page(compared: Sequence[Study], left_out: list[str], found: Found, runs_folder: Path, output: _Output) -> str:
    summary, sections = "", [_setting(compared, output)]
    for _, group in groupby(compared, key=lambda study: study.protocol):
        together = list(group)
        if len(together) > 1:
            said, section = _overall(together, output)
            summary += said
            sections.append(section)
        for study in together:
            title = f"{study.family}, {words.protocol_name(study)}"
            summary += heading(title, study.name) + prose(words.verdict(study))
            alone = _together([study], output) if len(together) == 1 else ""
            sections.append(Section(study.name, title, _study(study, output) + alone))
    sections.append(_details(compared, found.runs, runs_folder))
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


def _setting(compared: Sequence[Study], output: _Output) -> Section:
    zeros = " or ".join(dict.fromkeys(study.zero for study in compared))
    scale = (
        f"Performance is normalised per task: 0 is the return of {zeros}, 1 that of the best policy known for this "
        "very task. It can be negative, and above 1. Every learner is evaluated on the same tasks and episodes, in "
        "environments of their own, by raw rewards."
    )
    entries: dict[str, list[Run]] = {}
    for study in compared:
        for name, runs in study.runs.items():
            entries.setdefault(name, []).extend(runs)
    rows = [_learner(name, runs) for name, runs in entries.items()]
    table = word_table(["learner", "class", "task in the observation", "settings", "seeds"], rows, output.styles)
    return Section("compared", "What was compared", items(map(words.compared, compared)) + prose([scale]) + table)


def _learner(name: str, runs: Sequence[Run]) -> list[str]:
    learner = runs[0].settings["learner"]
    arguments = dict.fromkeys(_settings(run.settings["learner"].get("arguments", {})) for run in runs)
    kind = f"``{learner.get('class', name)}``" + (", a fresh one per task" if learner.get("alone") else "")
    sees = {"hide": "nothing", "append": "its parameters", "one_hot": "its number"}
    observation = str(learner.get("task_observation", DASH))
    return [name, kind, sees.get(observation, observation), " or ".join(arguments), words.seeds_of(runs)]


def _settings(arguments: dict[str, Any]) -> str:
    return ", ".join(f"``{name}={json.dumps(value)}``" for name, value in arguments.items()) or "defaults"


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
    what = together[0].score_name
    name = together[0].name if len(together) == 1 else f"overall-{together[0].protocol}"
    families = words.listed(dict.fromkeys(study.family for study in together))
    notes = [f"Left out: {line}." for line in missing]
    fixed = [learner for learner in scores if together[0].fixed(learner)]
    body = output.table(aggregates(f"{name}-aggregates", f"{families}: {what}, aggregated", scores, notes, fixed))
    caption = (
        f"Performance profiles: in how large a share of runs and tasks the {what} is above each level, with 95% "
        "bootstrap bands. Higher is better; where curves cross, one is better in good tasks, another in bad ones."
    )
    body += output.figure(figures.profiles(scores, output.styles, what), f"{name}-profiles", caption)
    if len(scores) > 1:
        chances = all_improvements(scores)
        caption = f"How probable it is that a run of one learner has a higher {what} than one of another."
        drawn = figures.improvement_matrix(chances) if len(scores) > 2 else None
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
        body += output.figure(figures.evaluation_matrices(study), f"{study.name}-matrices", caption)
    caption = f"{study.score_name.capitalize()} in every task, mean over seeds. Yellow is the best known policy."
    return body + output.figure(figures.task_matrix(study), f"{study.name}-tasks", caption)


def _details(compared: Sequence[Study], runs: Sequence[Run], runs_folder: Path) -> Section:
    rows = [(name, _distinct(run.header["versions"].get(name) for run in runs)) for name in runs[0].header["versions"]]
    rows.append(("revision", _distinct(run.header["revision"] or "not run from a checkout" for run in runs)))
    rows.append(("machine", _distinct(json.dumps(run.header["machine"]) for run in runs)))
    tasks = [
        [
            f"{study.family}, {words.protocol_name(study)}",
            f"``{study.any.header['tasks_hash']}``",
            str(study.any.header["references"]["version"]),
            _protocol(study.any),
        ]
        for study in compared
    ]
    notes = [
        "Intervals are 95% percentile bootstraps over seeds. Those of few runs are too narrow: of 3 normal runs "
        "they hold the true mean in 74% of studies, of 5 in 83%, of 10 in 90%. They are not corrected for several "
        "comparisons.",
        "Where several tasks are pooled, whole runs are resampled, because the tasks of a run share its luck.",
        "The run files hold the raw returns of every evaluation episode, and the returns of the references.",
        *(f"{name.capitalize()}: {text}." for name, text in runs[0].header["estimators"].items()),
        "Sources: " + " ".join((metrics.__doc__ or "").partition("Sources: ")[2].split()),
    ]
    body = heading("Estimators") + items(notes) + heading("Tasks and budgets")
    body += word_table(["study", "hash of the tasks", "references", "protocol"], tasks)
    body += heading("Versions") + facts(rows) + heading("Your own figures")
    return Section("details", "Details", body + f"<pre>{escaping.escape(LOAD.format(folder=str(runs_folder)))}</pre>\n")


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def _protocol(run: Run) -> str:
    shown = {name: value for name, value in run.settings["protocol"].items() if name != "name"}
    return ", ".join(f"``{name}={json.dumps(value)}``" for name, value in shown.items())


def _gaps(left_out: list[str], found: Found, runs_folder: Path) -> list[str]:
    unfinished = [
        f"``{path}`` is unfinished: run it again, and it continues where it stopped." for path in found.unfinished
    ]
    lines = [*(f"{line}." for line in left_out), *unfinished, *(f"{line}." for line in found.broken)]
    return [line.replace(f"{runs_folder}/", "") for line in lines]
