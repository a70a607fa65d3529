"""Tables of a report: who is marked as best, what stands in them when something is missing, and how they fit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font
from typer.testing import CliRunner

from lifelong_gym.benchmark.records import read_runs
from lifelong_gym.cli.main import app
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.reports.formats import FITS, to_html
from lifelong_gym.reports.latex import COLUMN, latex, width
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.page import STYLE
from lifelong_gym.reports.report import write_report
from lifelong_gym.reports.study import studies
from lifelong_gym.reports.tables import Cell, Column, Table, number
from tests.synthetic_runs import lifelong, lifelong_alone, multi_task, rising, settings, write


def tables_of(folder: Path) -> list[Table]:
    """Of the only study in a folder."""
    (study,), _ = studies(read_runs(folder))
    return tables(study)


def estimates(table: Table, column: str) -> dict[str, float | None]:
    """By learner; None for dashes."""
    i = [c.name for c in table.columns].index(column)
    cells = {name: row[i].interval for name, row in table.rows.items()}
    return {name: None if interval is None else interval.estimate for name, interval in cells.items()}


@pytest.mark.parametrize(
    ("others", "marked"),
    [
        ({"b": (0.78, 0.74, 0.82)}, {"a", "b"}),  # reaches the best estimate
        ({"b": (0.77, 0.77, 0.77)}, {"a", "b"}),  # lies in the best one's interval
        ({"b": (0.70, 0.66, 0.77)}, {"a"}),  # overlaps with it, and is clearly worse
        ({"b": (0.80, np.nan, np.nan), "c": (0.5, np.nan, np.nan)}, {"a", "b"}),  # single runs are points
    ],
)
def test_bold_is_no_worse_than_the_best(others: dict[str, tuple[float, float, float]], marked: set[str]) -> None:
    """Within the interval of the one or the other; where intervals merely overlap, their difference is clear."""
    rows = {name: [Cell(Interval(*x))] for name, x in {"a": (0.8, 0.76, 0.84), **others}.items()}
    assert Table("t", "t", [Column("x")], rows).best(0) == marked
    negated = {name: [Cell(Interval(-x[0], -x[2], -x[1]))] for name, x in {"a": (0.8, 0.76, 0.84), **others}.items()}
    assert Table("t", "t", [Column("x", higher_is_better=False)], negated).best(0) == marked


def test_nobody_is_best_at_losing() -> None:
    """Where all are worse than doing nothing, or than learning from scratch, none is bold; nor is who never arrives."""
    low = {"a": [Cell(Interval(-0.1, -0.2, 0.1))], "b": [Cell(Interval(-0.5, -0.6, -0.4))]}
    assert Table("t", "t", [Column("gain", par=0)], low).best(0) == set()
    assert Table("t", "t", [Column("return", "return")], low).best(0) == {"a"}
    late = {"a": [Cell(Interval(9.0, 5.0, 12.0))], "b": [Cell(Interval(np.inf, 5.0, np.inf))]}
    assert Table("t", "t", [Column("time", "steps", False)], late).best(0) == {"a"}


def test_who_loses_against_scratch_is_never_bold(tmp_path: Path) -> None:
    """Though it is the best of those that are compared with it."""
    multi_task(tmp_path, "A", range(5), top=0.5)
    multi_task(tmp_path, "B", range(5), top=0.3)
    multi_task(tmp_path, "A+scratch", range(5), top=0.9, alone=True)
    metrics, scratch = tables_of(tmp_path)
    assert metrics.best(0) == {"A+scratch"}
    assert {name for i in range(len(scratch.columns)) for name in scratch.best(i)} == set()


@pytest.mark.parametrize("protocol", ["multi_task", "lifelong"])
def test_one_missing_seed_from_scratch_leaves_the_others(tmp_path: Path, protocol: str) -> None:
    """The runs that have a twin count, marked and explained, and give the numbers that they alone give."""
    if protocol == "multi_task":
        multi_task(tmp_path / "a", "A", range(5))
        multi_task(tmp_path / "b", "A+scratch", range(4), alone=True, speed=2.0)
    else:
        lifelong(tmp_path / "a", "A", range(5))
        lifelong_alone(tmp_path / "b", "A+scratch", range(4))
    some = tables_of(tmp_path)
    for path in (tmp_path / "a").glob("*seed4*"):
        path.unlink()
    whole = tables_of(tmp_path)
    if protocol == "lifelong":  # there, scratch is averaged over its runs
        assert estimates(some[0], "forward transfer")["A"] is not None
        return
    assert [c.name for c in some[1].columns] == ["jump-start", "asymptotic gain", "transfer ratio"]
    for column in ("jump-start", "asymptotic gain", "transfer ratio"):
        assert estimates(some[1], column) == estimates(whole[1], column)
    where = "† in A, jump-start, asymptotic gain, transfer ratio"
    assert f"{where}: 4 of 5 runs count; there is no run from scratch with seed 4." in some[1].explanations()
    assert not any("†" in line for line in whole[1].explanations())
    assert "†</strong>" in to_html(some[1]) or "† <small>" in to_html(some[1])


def test_empty_tables_do_not_appear(tmp_path: Path) -> None:
    """Without any twin from scratch there is no such table, in no form, and the metrics say why."""
    multi_task(tmp_path, "A", range(3))
    multi_task(tmp_path, "A+scratch", range(10, 13), alone=True)
    (metrics,) = tables_of(tmp_path)
    assert any(line.startswith("jump-start is undefined for all: there is no run") for line in metrics.explanations())
    page, *written = write_report(tmp_path)
    assert not [path for path in written if path.stem.endswith("-scratch")]
    assert "against learning every task" not in page.read_text(encoding="utf-8")
    assert all(
        len(path.read_text(encoding="utf-8").splitlines()[0].split(",")) > 1
        for path in written
        if path.suffix == ".csv"
    )


def test_one_minus_sign_for_people_and_another_for_machines(tmp_path: Path) -> None:
    """In the page, Markdown, and text of figures it is U+2212, in LaTeX it is math, in CSV it is ASCII."""
    multi_task(tmp_path, "A", range(3), top=0.6)
    multi_task(tmp_path, "B", range(3), top=-3.0)
    page, *written = write_report(tmp_path)
    text = re.sub(
        r"<style.*?</style>|<code>.*?</code>|<pre>.*?</pre>|<path.*?/>|<[^>]*>",
        " ",
        page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    negative = re.compile(r"(?<![\w.-])-\d")
    assert not negative.search(text)
    assert len(re.findall(r"−\d", text)) > 20
    for path in written:
        if path.suffix in (".md", ".svg"):
            content = path.read_text(encoding="utf-8")
            shown = re.findall("<!-- (.*?) -->", content) if path.suffix == ".svg" else [content]
            assert not any(map(negative.search, shown)), path
        if path.suffix == ".tex":
            assert "−" not in path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            assert "−" not in path.read_text(encoding="utf-8")
            assert "metrics" not in path.stem or negative.search(path.read_text(encoding="utf-8"))


def test_numbers_are_short_however_large() -> None:
    """A learner that diverged doesn't widen its column."""
    assert [number(x) for x in (-0.001, -12.345, -1234.5, -2.5e7)] == ["0.00", "−12.35", "−1.23 k", "−25 M"]
    assert number(-1234.5, "return") == "−1.23 k"


def points(text: str, size: float) -> float:
    """Width of a text in LaTeX's font, in points."""
    font = FT2Font(f"{get_data_path()}/fonts/ttf/cmr10.ttf")
    font.set_size(size, 72)
    font.set_text(text.replace("−", "-"))
    return font.get_width_height()[0] / 64


def test_latex_tables_have_labels_and_fit(tmp_path: Path) -> None:
    """A narrow one in a column; a wide one over both, where it is as wide as the text at most."""
    multi_task(tmp_path, "PPO", range(5), top=-1.5)
    multi_task(tmp_path, "ScalablePGELLA", range(5))
    multi_task(tmp_path, "PPO+scratch", range(5), alone=True)
    metrics, scratch = tables_of(tmp_path)
    for table, kind in ((metrics, "table*"), (scratch, "table")):
        text = latex(table)
        assert text.count(f"\\begin{{{kind}}}") == text.count(f"\\end{{{kind}}}") == 1
        assert f"\\label{{tab:{table.name}}}" in text
        assert r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" in text
    assert width(scratch) <= COLUMN
    for line in ("ScalablePGELLA", "[−0.12, −0.34]", "performance", "−1.50"):
        assert 0.78 < points(line, 9) / (4.4 * len(line)) < 1.25  # the estimate of widths is one


def test_labels_of_latex_tables_are_ascii() -> None:
    """And a row that begins with a bracket is no argument of the line before."""
    table = Table("é a_b-[x]", "Title", [Column("c")], {"[a]": [Cell(Interval(1.0, 0.5, 1.5))], "*": [Cell()]})
    text = latex(table)
    assert r"\label{tab:-a_b--x-}" in text
    assert "\n  {}[a] & 1.00" in text
    assert "\n  {}* & --" in text


def test_narrow_screens_scroll_with_a_hint(tmp_path: Path) -> None:
    """Every table and figure scrolls by itself, also with keys; wide ones say so where the screen is narrow."""
    multi_task(tmp_path, "A", range(3))
    multi_task(tmp_path, "B", range(3))
    page = write_report(tmp_path)[0].read_text(encoding="utf-8")
    framed = re.findall(
        r'<figure class="([^"]*)"[^>]*>(?:<figcaption>[^<]*</figcaption>)?<div class="wide" tabindex="0"', page
    )
    assert len(framed) == page.count("<figure")
    assert len(framed) == page.count("<table") + page.count("<svg ")
    for kind, body in re.findall(r'<figure class="(table[^"]*)".*?<tbody>\s*<tr>(.*?)</tr>', page, flags=re.DOTALL):
        assert ("many" in kind) == (body.count("<td") > FITS)
    narrow = STYLE.partition("@media (max-width: 40rem)")[2]
    assert 'figure.many::before { content: "scroll sideways →"' in narrow
    assert re.search(r"\.wide \{ overflow-x: auto", STYLE)
    assert "flex-wrap: wrap" in STYLE  # the links above, which had made the page wider than the screen


def test_the_page_says_where_everything_is(tmp_path: Path) -> None:
    """Seen from itself, wherever it was written."""
    write(tmp_path / "runs", settings("A"), rising(11, 4, 0))
    for html, folder in ((None, None), (tmp_path / "b" / "r.html", None), (tmp_path / "b" / "r.html", tmp_path / "c")):
        page, *others = write_report(tmp_path / "runs", folder, html)
        said = re.findall(r"<code>([^<]*(?:tables|figures)/)</code>", page.read_text(encoding="utf-8"))
        assert len(said) == 2
        places = {(page.parent / place).resolve() for place in said}
        assert places == {path.parent.resolve() for path in others}


def test_the_command_says_where_everything_is(tmp_path: Path) -> None:
    """The page in the one folder, tables and figures in the other."""
    write(tmp_path / "runs", settings("A"), rising(11, 4, 0))
    page = tmp_path / "b" / "r.html"
    result = CliRunner().invoke(app, ["report", str(tmp_path / "runs"), "--html", str(page)])
    said = result.output.replace("\n", "").replace(" ", "")
    assert result.exit_code == 0
    assert f"Written:{page},and" in said
    assert f"oftablesandfiguresin{tmp_path / 'runs' / 'report'}Next" in said
