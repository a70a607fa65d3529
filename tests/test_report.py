"""Reports: the numbers are those of the metrics, the words claim no more, and the page stands alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lifelong_gym.benchmark.records import read_runs
from lifelong_gym.benchmark.writer import RunWriter
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.reports import figures, heatmaps
from lifelong_gym.reports.about import LOAD
from lifelong_gym.reports.formats import markdown, to_csv, to_html
from lifelong_gym.reports.latex import latex
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.overall import all_improvements, pooled
from lifelong_gym.reports.plots import styles
from lifelong_gym.reports.report import write_report
from lifelong_gym.reports.study import Study, studies
from lifelong_gym.reports.tables import Cell, Column, Table
from lifelong_gym.reports.words import verdict, verdict_overall
from tests.synthetic_runs import (
    distributed,
    header,
    lifelong,
    lifelong_alone,
    multi_task,
    rising,
    settings,
    transfer,
    write,
)

SEEDS = range(5)
CART_POLE, DOUBLE_MASS = "LifelongCartPole-v0", "LifelongDoubleMass-v0"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs under all protocols, of two families, with what can be missing or broken."""
    folder = tmp_path_factory.mktemp("runs")
    for family in (CART_POLE, DOUBLE_MASS):
        multi_task(folder, "PPO", SEEDS, family, speed=3.0)
        multi_task(folder, "PPO+scratch", SEEDS, family, speed=1.5, alone=True)
    multi_task(folder, "<b>A|B_C</b> & co", SEEDS, top=0.5)
    multi_task(folder, "random", SEEDS, top=-0.1)
    lifelong(folder, "EWC", range(3), kept=0.95)
    lifelong(folder, "PPO", range(3), kept=0.3)
    lifelong_alone(folder, "PPO+scratch", range(3))
    transfer(folder, "PPO", range(2), start=0.5)
    transfer(folder, "PPO+scratch", range(2), start=0.0, alone=True)
    distributed(folder, "DCPG", range(1), bytes_per_step=40)
    distributed(folder, "DCPG+scratch", range(1), bytes_per_step=None, alone=True)
    RunWriter(folder / "late.jsonl", header(settings())).close()
    (folder / "broken.jsonl").write_text('{"schema": 2}\n')
    return folder


@pytest.fixture(scope="module")
def report(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of `everything`; the folder."""
    folder = tmp_path_factory.mktemp("report")
    write_report(everything, folder)
    return folder


class Page(HTMLParser):
    """What is in a page; raises where elements aren't closed in order."""

    VOID = ("meta", "path", "use", "rect", "circle", "image", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids and links."""
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._note(dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As above, without an end."""
        self.tags.add(tag)
        self._note(dict(attrs))

    def _note(self, attributes: Mapping[str, str | None]) -> None:
        self.ids += [str(attributes["id"])] if "id" in attributes else []
        self.links += [str(attributes[name]) for name in ("href", "xlink:href", "src") if name in attributes]

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened last."""
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Visible text."""
        self.text += data


def study_of(folder: Path) -> Study:
    """The only study in a folder."""
    (study,), left_out = studies(read_runs(folder))
    assert left_out == []
    return study


def numbers(table: Table) -> dict[str, dict[str, Any]]:
    """Estimates, by learner and column; None for dashes."""
    return {
        name: {c.name: cell.interval and cell.interval.estimate for c, cell in zip(table.columns, row, strict=True)}
        for name, row in table.rows.items()
    }


def test_the_page_stands_alone(report: Path) -> None:
    """Well-formed, nothing from elsewhere, no scripts, every link leads somewhere, ids are unique."""
    page = Page((report / "report.html").read_text())
    assert page.open == []
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object"})
    links = {link for link in page.links if not link.startswith("data:image/png;")}  # the colour bars
    assert links <= {f"#{id}" for id in page.ids}
    assert len(page.ids) == len(set(page.ids))
    assert (report / "report.html").read_text().count("<svg ") == len(list((report / "figures").glob("*.svg")))


def test_the_page_says_what_was_compared_and_what_is_missing(report: Path) -> None:
    """Learners, families, budgets, seeds; unfinished and broken files by name."""
    text = Page((report / "report.html").read_text()).text
    assert (
        "LifelongCartPole-v0 (hetero), multi-task protocol: 3 learners, and random for comparison, on 4 tasks" in text
    )
    assert "100 k environment steps a run, 11 evaluations with 3 episodes a task." in text
    assert "<b>A|B_C</b> & co" in text  # as text, not as markup
    assert "late.jsonl.part is unfinished" in text
    assert "broken.jsonl is truncated" in text
    assert "Left out: <b>A|B_C</b> & co: no runs on LifelongDoubleMass-v0 (hetero)." in text
    assert "One seed gives no interval" in text
    assert "2 seeds are few" in text


def test_tables_come_in_three_forms(report: Path) -> None:
    """Each as Markdown, LaTeX and CSV, with the same rows."""
    stems = {path.stem for path in (report / "tables").glob("*.csv")}
    assert {f"multi_task-{CART_POLE}-hetero-metrics", "overall-multi_task-aggregates"} <= stems
    for stem in stems:
        rows = list(csv.reader((report / "tables" / f"{stem}.csv").read_text().splitlines()))
        assert len({len(row) for row in rows}) == 1
        body = (report / "tables" / f"{stem}.md").read_text().partition("---:")[2]
        assert len([line for line in body.splitlines() if line.startswith("| ")]) == len(rows) - 1
        tex = (report / "tables" / f"{stem}.tex").read_text().partition(r"\midrule")
        lines = [line for line in tex[2].splitlines() if line.endswith(r"\\") and not line.startswith("   &")]
        assert len(lines) == len(rows) - 1
        assert r"\toprule" in tex[0]
        assert r"\bottomrule" in tex[2]


def test_a_report_is_the_same_when_written_again(tmp_path: Path) -> None:
    """Byte for byte; so that it can be kept under version control."""
    transfer(tmp_path / "runs", "PPO", range(2), start=0.5)
    for name in "ab":
        write_report(tmp_path / "runs", tmp_path / name / "report", tmp_path / name / "page.html")
    written = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert {path.suffix for path in written} == {".html", ".svg", ".pdf", ".png", ".md", ".tex", ".csv"}
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in written)


def test_the_code_for_loading_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands in the page."""
    multi_task(tmp_path, "PPO", SEEDS)
    exec(LOAD.format(folder=str(tmp_path), column="normalised"), {})
    assert "PPO" in capsys.readouterr().out


def test_without_runs_there_is_no_report(tmp_path: Path) -> None:
    """An error, and nothing is written."""
    with pytest.raises(FileNotFoundError, match="none at"):
        write_report(tmp_path / "nothing")
    RunWriter(tmp_path / "late.jsonl", header(settings())).close()
    with pytest.raises(ValueError, match="holds no finished run \\(1 unfinished\\)"):
        write_report(tmp_path)
    (tmp_path / "bad.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"bad\.jsonl is not a run file"):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_multi_task_metrics_by_hand(tmp_path: Path) -> None:
    """Two tasks, six evaluations: a straight line to 1 in one task, half of that in the other."""
    line = np.linspace(0, 1, 6)
    for seed in (0, 1):
        write(tmp_path, settings("A", n_tasks=2, seed=seed), np.stack([line, line / 2], axis=1))
        write(tmp_path, settings("A+scratch", n_tasks=2, seed=seed, alone=True), np.stack([line, line], axis=1) / 2)
    metrics, scratch = (numbers(table)["A"] for table in tables(study_of(tmp_path)))
    expected = {
        "final performance": 0.75,  # the last fifth of five evaluations is one
        "area under the curve": 0.375,
        "early area": 0.075,  # of the first two evaluations: 0 and 0.15
        "worst task": 0.5,
        "optimality gap": 0.25,
        "time to 0.9": np.inf,
        "failures": 0.25,
    }
    assert metrics == pytest.approx(expected)
    assert scratch == pytest.approx({"jump-start": 0.05, "asymptotic gain": 0.25, "transfer ratio": 0.5})


def test_lifelong_metrics_by_hand(tmp_path: Path) -> None:
    """Each run in an order of its own: what is learned first is lost by half."""
    for seed, order in enumerate(([0, 1], [1, 0])):
        history = np.zeros((3, 2))
        history[1, order[0]], history[2, order[0]] = 0.8, 0.4
        history[1, order[1]], history[2, order[1]] = 0.1, 0.6
        write(tmp_path, settings("A", protocol="lifelong", n_tasks=2, seed=seed, order=order), history, [0, 0, 1])
        alone = settings("A+scratch", protocol="lifelong", n_tasks=2, seed=seed, order=order, alone=True)
        write(tmp_path, alone, np.array([[0.0, 0.0], [0.5, 0.5]]), [0, 0])
    (table,) = tables(study_of(tmp_path))
    found = numbers(table)
    assert found["A"] == pytest.approx(
        {
            "average performance": 0.5,
            "forgetting": 0.2,
            "BWT (GEM)": -0.4,
            "FWT (GEM)": 0.1,
            "forward transfer": ((0.8 - 0.5) / 0.5 + (0.6 - 0.5) / 0.5) / 2,
            "forward difference": 0.2,
            "failures": 0.5,
        }
    )
    assert found["A+scratch"]["average performance"] == pytest.approx(0.5)
    assert found["A+scratch"]["forgetting"] is None
    assert "it learned every task on its own" in " ".join(table.explanations())


def test_transfer_metrics_by_hand(tmp_path: Path) -> None:
    """The novel task is the last in order, and its curve begins before its training."""
    history = np.array([[0.0, 0.0], [0.2, 0.7], [0.6, 0.6], [1.0, 0.5]])
    alone = np.array([[0.0, 0.0], [0.4, 0.0], [0.8, 0.0]])
    for seed, order in enumerate(([1, 0], [0, 1])):
        column = slice(None, None, 1 if order[-1] == 0 else -1)
        run = settings("A", protocol="transfer", n_tasks=2, seed=seed, order=order)
        write(tmp_path, run, history[:, column], [0, 0, 1, 1], times=[0, 100, 200, 300])
        run = settings("A+scratch", protocol="transfer", n_tasks=2, seed=seed, order=order, alone=True)
        write(tmp_path, run, alone[:, column], [0, 0, 0], times=[0, 100, 200])
    (table,) = tables(study_of(tmp_path))
    assert numbers(table)["A"] == pytest.approx(
        {
            "area": 0.6,
            "jump-start": 0.2,
            "asymptotic gain": 0.2,
            "transfer ratio": (0.6 - 0.4) / 0.4,
            "time to 0.9": 200,
            "old tasks": 0.5,
        }
    )


def test_distributed_metrics_by_hand(tmp_path: Path) -> None:
    """Messages are counted, and 1 is the agent that learned alone."""
    line = np.linspace(0, 0.9, 6)[:, None] * np.ones(2)
    for seed in (0, 1):
        write(tmp_path, settings("D", protocol="distributed", n_tasks=2, seed=seed), line, bytes_per_step=8)
        alone = settings("D+scratch", protocol="distributed", n_tasks=2, seed=seed, alone=True)
        write(tmp_path, alone, line / 2)
    found = numbers(tables(study_of(tmp_path))[0])
    assert found["D"]["rounds"] == 50
    assert found["D"]["messages"] == 200
    assert found["D"]["bytes"] == 800_000
    # Random is 20 below zero, zero to best is 180: (0.9 * 180 + 20) / (0.45 * 180 + 20).
    assert found["D"]["agent reward"] == pytest.approx(182 / 101)
    assert found["D+scratch"]["bytes"] is None


def test_an_undefined_ratio_is_a_dash_with_its_reason(tmp_path: Path) -> None:
    """A learner from scratch that learns nothing leaves no denominator in one of two runs."""
    for seed, top in enumerate((0.0, 0.8)):
        line = np.linspace(0, 1, 6)[:, None] * np.ones(2)
        write(tmp_path, settings("A", n_tasks=2, seed=seed), line)
        write(tmp_path, settings("A+scratch", n_tasks=2, seed=seed, alone=True), top * line)
    _, table = tables(study_of(tmp_path))
    assert "transfer ratio" not in numbers(table)["A"]
    reason = "the denominator of the ratio is too small in 1 of 2 runs"
    assert f"transfer ratio is undefined for all: {reason}." in table.explanations()


@pytest.mark.parametrize(
    ("tops", "n_seeds", "said"),
    [
        ((0.9, 0.5), 5, "**A** is clearly ahead of **B**"),
        ((0.9, 0.9), 5, "There is no clear difference between **"),
        ((0.9, 0.5), 3, "Next comes **B**"),
        ((0.9, 0.5), 3, "3 seeds are few"),
        ((0.9, 0.5), 1, "One seed gives no interval"),
        ((0.1, 0.05), 5, "No learner reaches 0.20: within this budget, little is learned here"),
    ],
)
def test_the_verdict_claims_what_the_intervals_allow(
    tmp_path: Path, tops: tuple[float, float], n_seeds: int, said: str
) -> None:
    """Clear differences with enough seeds, and no others."""
    for seed in range(n_seeds):
        for label, top, shift in zip("AB", tops, (0, 100), strict=True):
            write(tmp_path, settings(label, seed=seed), rising(11, 4, seed + shift, top=top))
    text = " ".join(verdict(study_of(tmp_path)))
    assert said in text
    assert ("clearly ahead" in text) == (n_seeds >= 5 and tops[0] - tops[1] > 0.03)


def test_a_budget_that_is_too_small_is_told(tmp_path: Path) -> None:
    """Of a learner whose policy never changes in any run, and of no other."""
    for seed in range(2):
        write(tmp_path, settings("A", seed=seed), rising(11, 4, seed))
        write(tmp_path, settings("B", seed=seed), np.full((11, 4), 0.1 * seed))
    text = " ".join(verdict(study_of(tmp_path)))
    assert "The budget was too small for **B**" in text
    assert "The budget was too small for **A**" not in text


def test_what_may_not_learn_at_all_is_not_told_that_its_budget_was_too_small(tmp_path: Path) -> None:
    """A class of somebody's may be a fixed policy."""
    for seed in range(2):
        write(tmp_path, settings("mine:Fixed", seed=seed), np.full((11, 4), 0.1 * seed))
    text = " ".join(verdict(study_of(tmp_path)))
    assert "**mine:Fixed** did the same at every evaluation: it doesn't learn, or the budget was too small" in text
    assert "The budget was too small for" not in text


def test_what_does_not_learn_is_not_ranked(tmp_path: Path) -> None:
    """The reference is best and random worst, in a sentence of their own, and neither is bold."""
    multi_task(tmp_path, "A", SEEDS, top=0.8)
    multi_task(tmp_path, "B", SEEDS, top=0.5)
    multi_task(tmp_path, "reference", SEEDS, top=1.0, speed=100.0)
    multi_task(tmp_path, "random", SEEDS, top=-0.1)
    study = study_of(tmp_path)
    text = " ".join(verdict(study))
    assert text.startswith("**A** has the highest final performance")
    assert re.search(r"For comparison: reference \d\.\d\d and random −0\.\d\d\.", text)
    assert list(study.runs) == ["A", "B", "reference", "random"]
    assert tables(study)[0].best(0) == {"A"}


def test_only_learners_with_all_families_are_pooled(tmp_path: Path) -> None:
    """And of those, the seeds that they have everywhere."""
    multi_task(tmp_path, "A", SEEDS, CART_POLE)
    multi_task(tmp_path, "A", range(3, 8), DOUBLE_MASS)
    multi_task(tmp_path, "B", SEEDS, CART_POLE)
    both, _ = studies(read_runs(tmp_path))
    scores, missing = pooled(both)
    assert missing == ["B: no runs on LifelongDoubleMass-v0 (hetero)"]
    assert scores["A"].shape == (2, 8)
    expected = [both[0].scores("A")[[3, 4]], both[1].scores("A")[[0, 1]]]
    assert np.array_equal(scores["A"], np.concatenate(expected, axis=1))
    assert verdict_overall(scores, ["x", "y"], "score") == []


def test_runs_are_compared_only_with_their_like(tmp_path: Path) -> None:
    """Budgets make studies, settings of a learner make rows, and the same run counts once."""
    curve = rising(11, 4, 0)
    write(tmp_path / "a", settings("A", arguments={"gamma": 0.9}), curve)
    write(tmp_path / "b", settings("A", arguments={"gamma": 0.99}), curve)
    write(tmp_path / "c", settings("A", arguments={"gamma": 0.9}), curve)
    write(tmp_path / "d", settings("A", total_timesteps=500) | {"seed": 1}, curve)
    found, (left_out,) = studies(read_runs(tmp_path))
    assert [list(study.runs) for study in found] == [["A (gamma=0.9)", "A (gamma=0.99)"], ["A"]]
    assert len({study.name for study in found}) == 2
    assert "c/A-" in left_out
    assert "which alone counts" in left_out


def test_a_run_that_lacks_its_stage_is_left_out(tmp_path: Path) -> None:
    """And doesn't take the report of the others with it."""
    write(tmp_path, settings("A", protocol="transfer", order=[0, 1, 2, 3]), rising(5, 4, 0), [0] * 5)
    multi_task(tmp_path, "A", range(2))
    found, (left_out,) = studies(read_runs(tmp_path))
    assert [study.protocol for study in found] == ["multi_task"]
    assert "no evaluation on the novel task" in left_out


def test_every_learner_has_a_look_of_its_own() -> None:
    """More learners than colours get other lines; what doesn't learn is grey."""
    looks = styles([*map(str, range(14)), "random"], ["random"])
    assert len(set(looks.values())) == 15
    assert looks["random"].colour not in {looks[str(i)].colour for i in range(14)}


def drawn(study: Study) -> dict[str, Figure | None]:
    """All figures of a study."""
    looks = styles(list(study.runs))
    scores, _ = pooled([study])
    return {
        "learning": figures.learning(study, looks),
        "tasks": heatmaps.task_matrix(study),
        "matrices": heatmaps.evaluation_matrices(study) if study.protocol == "lifelong" else None,
        "communication": figures.communication(study, looks),
        "profiles": figures.profiles(scores, looks, study.score_name),
        "improvement": heatmaps.improvement_matrix(all_improvements(scores)),
    }


def crowded(folder: Path) -> None:
    """Many learners with long names on many tasks."""
    for i in range(9):
        multi_task(folder, f"a learner with a long name, number {i}", range(2), n_tasks=40)


def sequences(folder: Path) -> None:
    """Four lifelong learners, one of them from scratch."""
    for i in range(4):
        lifelong(folder, f"learner {i}", range(2), n_tasks=12)
    lifelong_alone(folder, "learner+scratch", range(2), n_tasks=12)


def talkers(folder: Path) -> None:
    """A cheap one and a costly one, and one seed."""
    distributed(folder, "DCPG", range(1), bytes_per_step=4)
    distributed(folder, "FedAvg", range(1), bytes_per_step=40_000)


@pytest.mark.parametrize("make", [crowded, sequences, talkers])
def test_nothing_is_cut_off_in_figures(tmp_path: Path, make: Any) -> None:
    """All text lies within the figure, and tick labels of an axis don't overlap."""
    make(tmp_path)
    for name, figure in drawn(study_of(tmp_path)).items():
        if figure is None:
            continue
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        box = figure.get_tightbbox(renderer)
        width, height = figure.get_size_inches()
        assert box.x0 > -0.02 and box.y0 > -0.02, name  # noqa: PT018
        assert box.x1 < width + 0.02 and box.y1 < height + 0.02, name  # noqa: PT018
        for axes in figure.axes:
            if axes.get_visible() and name != "improvement":
                labels = [t.get_window_extent(renderer) for t in axes.get_xticklabels() if t.get_text()]
                ends = [(a.x1, b.x0) for a, b in pairwise(labels)]
                assert all(left <= right for left, right in ends), name


def odd_table() -> Table:
    """Of texts that mean something in each of the formats."""
    cells = [Cell(Interval(-0.5, np.nan, np.nan)), Cell(Interval(1500.0, 1200.0, np.inf)), Cell(reason="it is odd")]
    good = [Cell(Interval(0.25, 0.125, 0.5)), Cell(Interval(1500.0, 1500.0, 1500.0)), Cell(text="50% & more")]
    columns = [Column("score"), Column("time_to", "steps", False), Column("x|y", "1", None)]
    return Table("odd", "A & B", columns, {"a_b|<i>": cells, "[c]": good})


def test_formats_escape_what_they_must() -> None:
    """Labels are text in each of them."""
    table = odd_table()
    assert r"| a\_b\|\<i\> | −0.50 | **1.5 k [1.2 k, never]** | – |" in markdown(table)
    assert r"a\_b\textbar{}\textless{}i\textgreater{} & $-$0.50 & \textbf{1.5 k} & -- \\" in latex(table)
    assert r"   &  & \scriptsize [1.2 k, never] &  \\" in latex(table)
    assert r"{}[c] & \textbf{0.25} & \textbf{1.5 k} & 50\% \& more \\" in latex(table)
    assert list(csv.reader(to_csv(table).splitlines()))[1:] == [
        ["a_b|<i>", "-0.5", "", "", "1500.0", "1200.0", "inf", "", "", ""],
        ["[c]", "0.25", "0.125", "0.5", "1500.0", "1500.0", "1500.0", "50% & more", "", ""],
    ]
    page = Page(to_html(table))
    assert page.open == []
    assert "a_b|<i>" in page.text
    assert "– in a_b|<i>, x|y: it is odd." in page.text


def test_nobody_is_best_where_nobody_arrived() -> None:
    """Of times that are all infinite, none is bold; where one isn't, it is."""
    never, once = Interval(np.inf, np.inf, np.inf), Interval(5.0, 4.0, 6.0)
    column = [Column("time", "steps", False)]
    assert Table("t", "t", column, {"a": [Cell(never)], "b": [Cell(never)]}).best(0) == set()
    assert Table("t", "t", column, {"a": [Cell(never)], "b": [Cell(once)]}).best(0) == {"b"}
    assert Table("t", "t", column, {"a": [Cell(never)], "b": [Cell(once)]}, outside=["b"]).best(0) == set()


@pytest.mark.parametrize("label", ["A", "random"])
@pytest.mark.parametrize("n_evaluations", [1, 2])
def test_the_least_that_can_be_reported(tmp_path: Path, label: str, n_evaluations: int) -> None:
    """One run of one learner, or of none, on one task, evaluated once or twice."""
    write(tmp_path, settings(label, n_tasks=1), rising(n_evaluations, 1, 0))
    page, *_ = write_report(tmp_path)
    text = Page(page.read_text()).text
    assert f"{label} has a final performance of" in text
    assert "no other learner was run" in text
    assert "The budget was too small" not in text
