"""What a report says about itself: what was compared, how it was estimated, and where everything is."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures import metrics
from lifelong_gym.reports import words
from lifelong_gym.reports.markup import bold, code, plain
from lifelong_gym.reports.page import Section, facts, heading, items, prose
from lifelong_gym.reports.page import words as word_table
from lifelong_gym.reports.plots import Style
from lifelong_gym.reports.study import Study
from lifelong_gym.reports.tables import DASH

LOAD = """from lifelong_gym import benchmark

frame = benchmark.load({folder!r})  # a row a run, evaluation and task; needs pandas
runs = ["protocol", "family", "learner", "seed"]
final = frame[frame.num_timesteps == frame.groupby(runs).num_timesteps.transform("max")]
print(final.groupby(runs[:3])[{column!r}].describe())"""


def setting(compared: Sequence[Study], styles: dict[str, Style]) -> Section:
    """Families, protocols, budgets, the scale, and the learners."""
    entries: dict[str, list[Run]] = {}
    for study in compared:
        for name, runs in study.runs.items():
            entries.setdefault(name, []).extend(runs)
    table = word_table(
        "learners",
        ["learner", "class", "task in the observation", "settings", "seeds"],
        [_learner(name, runs) for name, runs in entries.items()],
        styles,
    )
    body = items(map(words.compared, compared)) + prose(_scales(compared)) + table
    return Section("compared", "What was compared", body)


def _scales(compared: Sequence[Study]) -> list[str]:
    """What figures mean, of families that name references and of those that name none."""
    sentences = []
    zeros = dict.fromkeys(study.zero for study in compared if not study.raw)
    if zeros:
        sentences.append(
            f"Performance is normalised per task: 0 is the return of {' or '.join(zeros)}, 1 that of the best policy "
            "known for this very task. It can be negative, and above 1."
        )
    raw = list(dict.fromkeys(study.family for study in compared if study.raw))
    if raw:
        names, form = words.listed(map(bold, raw)), "s" if len(raw) == 1 else ""
        sentences.append(
            f"{names} name{form} no references, so nothing says what could be reached there: the figures are raw "
            "returns, undiscounted sums of rewards, and means over tasks weigh tasks by the size of their returns."
        )
    return [
        *sentences,
        "Every learner is evaluated on the same tasks and episodes, in environments of their own, by raw rewards.",
    ]


def _learner(name: str, runs: Sequence[Run]) -> list[str]:
    learner = runs[0].settings["learner"]
    arguments = dict.fromkeys(_settings(run.settings["learner"]) for run in runs)
    kind = code(str(learner.get("class", name))) + (", a fresh one per task" if learner.get("alone") else "")
    kind += ", observations and rewards normalised" if learner.get("norm") else ""
    seen = _observation(str(learner.get("task_observation", DASH)))
    return [plain(name), kind, seen, " or ".join(arguments), words.seeds_of(runs)]


def _observation(seen: str) -> str:
    kind, _, preset = seen.partition(":")
    kinds = {
        "hide": "nothing",
        "append": "its parameters",
        "standardised": "its parameters, standardised",
        "one_hot": "its number",
    }
    return kinds.get(kind, seen) + (f" as {code(preset)} draws them" if preset else "")


def _settings(learner: dict[str, Any]) -> str:
    """Its arguments, and where they come from: a search, whoever asked for them, or its class."""
    arguments = learner.get("arguments", {})
    shown = ", ".join(code(f"{name}={json.dumps(value)}") for name, value in arguments.items()) or "defaults"
    if learner.get("command"):
        return f"tuned by {code(learner['command'])}: {shown}"
    return f"given: {shown}" if arguments else shown


def details(compared: Sequence[Study], runs: Sequence[Run], runs_folder: Path, where: str) -> Section:
    """Estimators, tasks, versions, and how to go on; ``where`` says where tables and figures are."""
    rows = [(name, _distinct(run.header["versions"].get(name) for run in runs)) for name in runs[0].header["versions"]]
    rows.append(("revision", _distinct(run.header["revision"] or "not run from a checkout" for run in runs)))
    rows.append(("machine", _distinct(json.dumps(run.header["machine"]) for run in runs)))
    tasks = [
        [
            plain(f"{study.family}, {words.protocol_name(study)}"),
            code(study.any.header["tasks_hash"]),
            "none" if study.raw else str(study.any.header["references"]["version"]),
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
    load = LOAD.format(folder=str(runs_folder), column="return" if any(s.raw for s in compared) else "normalised")
    body = heading("Files") + prose([where]) + heading("Estimators") + items(notes) + heading("Tasks and budgets")
    body += word_table("tasks and budgets", ["study", "hash of the tasks", "references", "protocol"], tasks)
    body += heading("Versions") + facts(rows) + heading("Your own figures")
    return Section("details", "Details", body + f"<pre>{html.escape(load)}</pre>\n")


def whereabouts(folder: Path, page: Path) -> str:
    """Where tables and figures are, seen from the page."""
    relative = os.path.relpath(folder, page.parent)
    tables, figures = (code(f"{Path(relative, name).as_posix()}/") for name in ("tables", "figures"))
    return (
        f"Every table is also in {tables} as CSV, LaTeX and Markdown, and every figure in {figures} as PDF, SVG and "
        "PNG; these paths begin at this page."
    )


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def _protocol(run: Run) -> str:
    shown = {name: value for name, value in run.settings["protocol"].items() if name != "name"}
    return ", ".join(code(f"{name}={json.dumps(value)}") for name, value in shown.items())
