"""Papers as data: an invented one, from its folder to its page, and every mistake that a file can hold."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lifelong_gym.benchmark.results import read_result
from lifelong_gym.cli.main import app
from lifelong_gym.measures.verdicts import NOT_TESTED
from lifelong_gym.papers.cells import cells_of, only
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers, judge, known
from lifelong_gym.papers.quantities import OF_VALUES, sweeps_to
from lifelong_gym.papers.reproduce import Reproduction, folder_of, read_paper
from lifelong_gym.papers.schema import PaperError
from lifelong_gym.papers.sweeps import MeanCost, SweepRun, sweep
from lifelong_gym.papers.writing import table

INVENTED = Path(__file__).parent / "papers" / "invented"


def measured(reproduction: Reproduction, seed: int | None = None) -> None:
    """Every cell, in this process."""
    for cell in reproduction.cells:
        if seed in (None, cell.settings["seed"]) and cell.figures(reproduction.runs) is None:
            cell.execute(reproduction.runs, lambda share: None)


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """The paper, measured and written into the folder of its runs."""
    folder = tmp_path_factory.mktemp("papers")
    reproduction = Reproduction.of(INVENTED, "default", folder)
    measured(reproduction)
    reproduction.write(folder)
    return reproduction


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the paper whose file says something else."""
    copy = folder / "copy"
    shutil.copytree(INVENTED, copy)
    text = (copy / "paper.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (copy / "paper.toml").write_text(text)
    return copy


# ------------------------------------------------------------------------------------------------------------ verdicts


def test_what_is_known_gets_the_right_verdict(invented: Reproduction) -> None:
    """A claim that is true, one that is false, one that can't be told, one turned over, and one that wasn't run."""
    numbers = invented.summary(invented.runs.parent)
    words = {
        each.text: judge(each, invented.paper, numbers, invented.code).verdict.word for each in invented.paper.claims
    }
    assert words == {
        "learning helps": "holds",
        "standing still helps": "doesn't hold",
        "more heads than tails": "not shown",
        "standing still is better than learning": "the opposite is seen",
        "the longer, the better": NOT_TESTED,
        "nothing is tossed twice": "holds",
        "learning is quick": "not shown",
        "odds are what they are": "holds",
        "... of a fairer coin": NOT_TESTED,
    }


def test_the_page_says_everything(invented: Reproduction) -> None:
    """Both tables of claims, the rule once, settings, what was run, every figure and table, and no gap."""
    folder = invented.runs.parent
    page = (folder / "invented.md").read_text()
    ours = page.index("## Controls that the paper lacks")
    assert page.index("## What the paper claims") < page.index("learning helps") < ours
    assert ours < page.index("nothing is tossed twice")
    assert page.count("A claim **holds** if it is seen in all systems") == 1
    assert "| sweeps | 1000 | 4 | nobody waits that long |" in page
    assert "| step | not printed | 0.1 |" in page
    assert "| main | SM | 3 | 3 | 4 | default |" in page
    assert "| 2 | 0.58 |" in page
    assert "nan" not in page
    for name in invented.paper.figures:
        assert f"](invented/{name}.png)" in page
        assert (folder / "invented" / f"{name}.png").stat().st_size > 2000


def test_numbers_are_those_of_the_runs(invented: Reproduction) -> None:
    """Quantities by their definition; every seed has tasks of its own; watchers of the paper's own are asked."""
    numbers = invented.summary(invented.runs.parent)
    cells = [cell for cell in invented.cells if cell.place == ("main", "SM", "REINFORCE")]
    figures = [cell.figures(invented.runs) for cell in cells]
    values = np.array([each["values"] for each in figures if each is not None])
    assert values.shape == (3, 5, 3)
    assert len(np.unique(values[:, 0])) == 9
    expected = {
        "start": values[:, 0].mean(axis=1),
        "final": values.mean(axis=(1, 2)),  # the last five are all
        "end / start": values[:, -1].mean(axis=1) / values[:, 0].mean(axis=1),
        "sweep 1": values[:, 1].mean(axis=1),
        "worst tenth": np.percentile(values.mean(axis=1), 90, axis=1),
        "science:doubled": 2 * values[:, -1, 0],
    }
    curves = numbers.by_seed("main", "SM", "REINFORCE", "curve")
    np.testing.assert_allclose([each["values"] for each in curves], values.mean(axis=2), rtol=1e-5)
    assert curves[0]["at"] == [0, 1, 2, 3, 4]
    for of, wanted in expected.items():
        np.testing.assert_allclose(numbers.by_seed("main", "SM", "REINFORCE", of), wanted, rtol=1e-5)
    assert min(numbers.by_seed("main", "SM", "REINFORCE", "largest")) > 0.1
    assert set(np.ravel(numbers.by_seed("coins", "coin", "toss", "tosses"))) == {0, 1}


def test_the_way_to_the_best_end() -> None:
    """The best goes from 10 to 0, so 90% are at 1; who doesn't come so far never does."""
    curves = {"a": [10.0, 4.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0], "b": [10.0] * 4 + [6.0] * 4}
    by_method = {name: [{"values": np.array(curve)[:, None]}] for name, curve in curves.items()}
    assert sweeps_to("sweeps to 90%", by_method) == {"a": [2], "b": [None]}
    assert sweeps_to("sweeps to 40%", by_method) == {"a": [1], "b": [4]}
    assert sweeps_to("final", by_method) == {}
    at = OF_VALUES["curve"](np.ones((201, 1)))["at"]
    assert (at[:3], at[-1], len(at)) == ([0, 3, 7], 200, 61)


# --------------------------------------------------------------------------------------------------------------- cells


def test_a_page_is_written_from_files_alone(invented: Reproduction, tmp_path: Path) -> None:
    """Again from the cells, and again from the summary without them: the same to the letter."""
    first = (invented.runs.parent / "invented.md").read_bytes()
    page = invented.write(tmp_path)
    assert page.read_bytes() == first
    page.unlink()
    assert Reproduction.of(INVENTED, "default", tmp_path / "nothing").write_page(tmp_path).read_bytes() == first


def test_a_page_is_completed_from_several_folders(
    invented: Reproduction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One study here and one there make the page of one run; in between, what wasn't run isn't tested, nor shown."""
    here, there, pages = (tmp_path / name for name in ("here", "there", "pages"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(invented.runs / "main", here / "default" / "main")
    shutil.copytree(invented.runs / "coins", there / "default" / "coins")

    def reproduce(*more: str) -> str:
        """The page, after nothing was left to measure."""
        result = CliRunner().invoke(app, ["reproduce", str(INVENTED), "--page-folder", str(pages), *more])
        assert result.exit_code == 0, result.output
        assert " 0 of them to do" in result.output
        return (pages / "invented.md").read_text()

    part = reproduce("--folder", str(here), "--only", "main")
    assert "**Not run yet: coins.** `lifelong reproduce invented --page-folder FOLDER`" in part
    assert "| more heads than tails | Section 3 |  | **not tested** (not run yet: coins) | – |" in part
    assert "tosses.png" not in part
    assert not (pages / "invented" / "tosses.png").exists()
    assert "| SM | 3 | 3 | 4 | default |" in part
    assert reproduce("--folder", str(there)) == (invented.runs.parent / "invented.md").read_text()
    whole, once = (read_result(folder / "invented" / "summary.json") for folder in (pages, invented.runs.parent))
    assert {**whole, "settings": None} == {**once, "settings": None}
    assert json.dumps(whole["figures"]) == json.dumps(once["figures"])


def test_what_is_known_is_what_was_made_alike(invented: Reproduction, tmp_path: Path) -> None:
    """Other settings or a new quantity are measured again; methods that are compared with all come together."""
    summary = invented.summary(invented.runs.parent)

    def still(*changes: tuple[str, str]) -> set[str]:
        folder = changed(tmp_path / str(len(list(tmp_path.iterdir()))), *changes)
        other = Reproduction.of(folder, "default", tmp_path)
        return {"/".join(place) for place in known(other.paper, other.cells, summary)}

    everything = {"main/SM/REINFORCE", "main/SM/stands still", "coins/coin/toss"}
    assert still() == everything
    assert still(("odds = 0.4", "odds = 0.3")) == everything - {"coins/coin/toss"}
    assert still(("seeds = 3", "seeds = 4")) == set()
    assert still(('of = "heads"', 'of = ["heads", "max tosses"]')) == everything - {"coins/coin/toss"}
    assert still(('class = "science:Still"', 'class = "science:Still"\nn_starts = 2')) == {"coins/coin/toss"}
    old = Numbers({part: of for part, of in summary.content.items() if part != "fingerprints"})
    assert known(invented.paper, invented.cells, old) == set()


def test_a_cell_is_measured_once(invented: Reproduction, tmp_path: Path) -> None:
    """One with other settings again; a single one gives the same numbers; an edited one is refused."""
    cell = only(invented.cells, "main/SM/REINFORCE/seed1")[0]
    assert invented.measure(Console(quiet=True), 1) == invented.cells
    path = cell.execute(tmp_path, lambda share: None)
    assert path == tmp_path / "main" / "SM" / "REINFORCE" / "seed1.json"
    here, there = (read_result(folder / path.relative_to(tmp_path)) for folder in (tmp_path, invented.runs))
    assert here["settings"] == there["settings"]
    assert {**here["figures"], "seconds": 0} == {**there["figures"], "seconds": 0}
    other = Reproduction.of(changed(tmp_path, ("sigma = 0.3", "sigma = 0.4")), "default", tmp_path)
    assert only(other.cells, cell.title)[0].figures(tmp_path) is None
    path.write_text(path.read_text().replace('"largest": 0', '"largest": 1'))
    with pytest.raises(ValueError, match="was edited"):
        cell.figures(tmp_path)


def test_systems_whose_package_is_missing_are_left_out(tmp_path: Path) -> None:
    """The command says so, and so does the page; those named alone are tried, claims of them not tested."""
    missing = '[systems.dime]\npackage = "no-such-package"\n\n[methods.REINFORCE]'
    study = '[[studies]]\nname = "dimes"\nsystems = ["coin", "dime"]\nmethods = ["toss"]\nmeasure = "science:toss"\n'
    claim = '[[claims]]\nby = "us"\ntext = "dimes"\nstudy = "dimes"\nmean = "toss"\nof = "heads"\nabove = 0.1\n'
    most = '[[tables]]\nname = "most"\nstudy = "dimes"\nof = ["max tosses", "min tosses"]\nheads = ["most", "least"]\n'
    folder = changed(
        tmp_path, ("[methods.REINFORCE]", missing), ("[[figures]]", f"{study}\n{most}\n{claim}\n[[figures]]")
    )
    reproduction = Reproduction.of(folder, "quick", tmp_path)
    for cell in reproduction.possible:
        cell.execute(reproduction.runs, lambda share: None)
    cells = reproduction.measure(console := Console(record=True, width=200), 1)
    assert {cell.place[1] for cell in reproduction.cells} - {cell.place[1] for cell in cells} == {"dime"}
    assert "left out, since no-such-package isn't installed: dime" in console.export_text()
    text = reproduction.write(tmp_path).read_text()
    assert "**Not run yet: dimes/dime (needs no-such-package).** `lifelong reproduce copy --quick" in text
    assert re.search(r"\| dimes \| – \| coin 0\.\d+ \| \*\*not tested\*\* \(not run yet: dimes/dime\) \|", text)
    paper = reproduction.paper
    said = table(paper.tables["most"], paper, reproduction.summary(tmp_path), reproduction.code)
    assert said.startswith("|  | most | least |\n| --- | --- | --- |\n| toss | ")
    assert only(reproduction.cells, "dimes/dime")


def test_the_last_level_that_names_a_value_wins(tmp_path: Path) -> None:
    """Paper, system, study, the study's system, method, the method's system, and the version."""
    folder = changed(
        tmp_path,
        ('env = "LifelongSimpleMass-v0"', 'env = "LifelongSimpleMass-v0"\nodds = 1\nn_tasks = 4\nsweeps = 5'),
        ("tasks_per_seed = true", "tasks_per_seed = true\nsweeps = 6\nn_starts = 2\nonly = { SM = { n_starts = 3 } }"),
        ('class = "REINFORCE"', 'class = "REINFORCE"\nn_starts = 7\nonly = { SM = { n_trajectories = 9 } }'),
    )
    paper = read_paper(folder)
    names = ("seeds", "odds", "n_tasks", "sweeps", "n_starts", "n_trajectories")

    def values(method: str, budget: str) -> list[Any]:
        found = paper.resolved(paper.studies["main"], "SM", method, budget)
        return [found[name] for name in names]

    assert values("stands still", "default") == [3, 1, 4, 6, 3, 20]
    assert values("REINFORCE", "quick") == [2, 1, 4, 2, 7, 9]
    cell = cells_of(paper, Code(str(folder)), "quick")[0]
    assert cell.settings["learner"]["arguments"]["n_trajectories"] == 9


def test_a_method_may_have_a_measure_of_its_own(tmp_path: Path) -> None:
    """Beside learners that sweep; it needs no class."""
    both = 'methods = ["REINFORCE", "stands still"'
    folder = changed(
        tmp_path, ("[methods.toss]", '[methods.toss]\nmeasure = "science:toss"'), (both, f'{both}, "toss"')
    )
    code = Code(str(folder))
    (cell,) = only(cells_of(read_paper(folder), code, "default"), "main/SM/toss/seed0")
    cell.check()
    cell.execute(tmp_path, lambda share: None)
    figures = cell.figures(tmp_path)
    assert figures is not None
    assert len(figures["tosses"]) == 12


def test_tasks_that_come_singly_make_a_sweep_together(tmp_path: Path) -> None:
    """Every task is visited once in each, alone, and watchers look after the sweep."""
    folder = changed(tmp_path, ("tasks_per_seed = true", 'order = "singly"\nsweeps = 2'))
    (cell,) = only(cells_of(read_paper(folder), Code(str(folder)), "default"), "main/SM/REINFORCE/seed0")
    run = SweepRun(cell.code, cell.settings)
    assert [sorted(task for (task,) in run.present[i : i + 3]) for i in (0, 3)] == [[0, 1, 2]] * 2
    costs = MeanCost(run)
    sweep(run, [costs], lambda done: None)
    values = costs.figures()["values"]
    assert values.shape == (3, 3)
    assert (values[1:] != values[:-1]).all()
    assert run.learner.num_timesteps == 6 * 20 * 150
    assert len(run.seconds) == 2


def test_files_of_two_papers_are_two(tmp_path: Path) -> None:
    """Of the same names; neither folder is searched by Python, and what a paper names is run in its own file."""
    folder = changed(tmp_path)
    (folder / "coins.py").write_text("def tossed(odds, seed):\n    return odds + seed\n")
    before = list(sys.path)
    mine, theirs = (Code(str(each)).load("science:tossed") for each in (INVENTED, folder))
    assert theirs(1, 2) == 3
    assert mine(0.5, 0).shape == (12,)
    assert sys.path == before
    assert not {"science", "coins"} & sys.modules.keys()
    assert Code(str(folder)).load("math:hypot")(3, 4) == 5


def test_a_folder_is_a_paper_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single cells are measured, in a process of their own, and shown."""
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce", str(INVENTED), "--quick", "--only", "coins/coin/toss", "--processes", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "coins/coin/toss/seed1: heads 0.25" in result.output
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == ["seed0.json", "seed1.json"]
    assert (tmp_path / "runs" / "invented" / "quick" / "coins" / "coin" / "toss" / "seed0.json").exists()
    for wrong, message in (
        ([str(INVENTED), "--only", "coin/coin"], "Did you mean 'coins/coin'"),
        (["zahn2017"], "unknown paper 'zahn2017'"),
        ([str(INVENTED), "--quick", "--full"], "can't be had together"),
    ):
        refused = CliRunner().invoke(app, ["reproduce", *wrong])
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert folder_of(str(INVENTED)) == INVENTED


# ------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("authors =", "author =", r"paper.author: unknown key 'author'. Did you mean 'authors'"),
        ('where = "nowhere, 2026"', "", r"paper.where: is missing"),
        ('title = "On springs and coins"', "title = 3", r"paper.title: must be a valid string. Received 3"),
        ("odds = 0.4", "ods = 0.4", r"systems.coin.ods: unknown key 'ods'. Did you mean 'odds'"),
        ("odds = 0.5", "", r"systems.coin.odds: unknown key 'odds'"),
        ("LifelongSimpleMass-v0", "LifelongSimpelMass-v0", r"systems.SM.env: .*Did you mean 'LifelongSimpleMass-v0'"),
        ('class = "REINFORCE"', 'class = "REINFORC"', r"methods.REINFORCE.class: .*Did you mean 'REINFORCE'"),
        (
            'science:Still"',
            'science:Still"\narguments = { a = { b = "$odd" } }',
            r"still.arguments: unknown value .odd.",
        ),
        ("science:Still", "science:Stil", r"stands still.class: .*'Stil'. Did you mean 'Still'"),
        ('"$n_trajectories"', '"$n_trajectory"', r"arguments: unknown value 'n_trajectory'"),
        ('systems = "SM"', 'systems = "SN"', r"studies\[main\].systems: unknown system 'SN'. There are: SM, coin"),
        ("science:toss", "science:tos", r"studies\[coins\].measure: .*Did you mean 'toss'"),
        ("[methods.toss]", '[methods.toss]\nmeasure = "science:tos"', r"methods.toss.measure: .*Did you mean 'toss'"),
        ("science:toss", "sciense:toss", r"studies\[coins\].measure: .*Did you mean 'science'"),
        (
            "mean_cost",
            "mean_costs",
            r"studies\[main\].watch\[0\]: unknown watcher 'mean_costs'. Did you mean 'mean_cost'",
        ),
        ("quick = { sweeps", "quick = { sweps", r"studies\[main\].quick.sweps: unknown value .* 'sweeps'"),
        ("sweeps = 4", "sweeps = 0", r"studies\[main\]: `sweeps` must be an integer of at least 1. Received 0"),
        ("tasks_per_seed = true", 'preset = "wid"', r"studies\[main\]: unknown preset 'wid'"),
        ('measure = "science:toss"', 'watch = "seconds"', r"studies\[coins\].systems: coin has no `env`"),
        (
            'study = "main"\nof = ["end / start"',
            'study = "man"\nof = ["end / start"',
            r"figures\[ends\].study: .*'main'",
        ),
        ('kind = "bars"', 'kind = "bar"', r"figures\[ends\].kind: unknown kind 'bar'. Did you mean 'bars'"),
        ("median seconds", "medan seconds", r"figures\[ends\].of\[1\]: unknown word 'medan'. Did you mean 'median'"),
        ('name = "costs"', 'name = "own"', r"tables\[own\].name: must differ from the others'"),
        ('where = "Fig. 1"', 'by = "paper"', r"claims\[learning helps\].where: must say where the paper claims it"),
        ("below = 1.0", "bellow = 1.0", r"claims\[learning helps\].bellow: .*Did you mean 'below'"),
        ("below = 1.0", "at_most = 1.0", r"claims\[learning helps\].below: there must be one of below, above, within"),
        (
            '"REINFORCE", "REINFORCE"',
            '"RWR", "REINFORCE"',
            r"claims\[learning helps\].ratio\[0\]: unknown method 'RWR'",
        ),
        ("below = 1.0", "below = 0.0", r"claims\[learning helps\].ratio: a bound of 0 is for differences"),
        ("span = 0.5", "", r"standing still is better than learning\].span: "),
        ("below = 1.0", "below = 1.0\neffect = 0.01", r"claims\[learning helps\].ratio: .*`effect` between"),
        ('"science:odds"', '"science:odds"\nscale = "ration"', r"claims\[odds are what they are\].scale: .*'ratio'"),
        ('figure = "learning"', 'figure = "lerning"', r"claims\[learning helps\].figure: .*'learning'"),
        ("needs = { sweeps", "needs = { sweps", r"claims\[the longer, the better\].needs.sweps: unknown value"),
        ('tables = ["own"]', 'tables = ["mine"]', r"sections\[1\].tables\[0\]: unknown table 'mine'"),
    ],
)
def test_mistakes_are_told_with_their_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Before anything runs, with the nearest name that there is."""
    with pytest.raises(PaperError, match=message):
        read_paper(changed(tmp_path, (old, new)))


def test_learners_that_cannot_be_made_are_told_before_anything_runs(tmp_path: Path) -> None:
    """Whichever of them would come last."""
    folder = changed(tmp_path, ('class = "science:Still"', 'class = "science:Still"\narguments = { sgma = 1 }'))
    reproduction = Reproduction.of(folder, "default", tmp_path)
    with pytest.raises(PaperError, match=r"methods.stands still, in main/SM/stands still/seed2: .*sgma"):
        reproduction.measure(Console(quiet=True), 1)
    assert not list(reproduction.runs.rglob("*.json"))


def test_the_example_of_the_docs_is_a_paper(tmp_path: Path) -> None:
    """Its file is read to the end, and its watcher watches."""
    page = (Path(__file__).parents[1] / "docs" / "papers.md").read_text()
    toml, python = (page.split(f"```{name}\n")[1].split("```")[0] for name in ("toml", "python"))
    (tmp_path / "paper.toml").write_text(toml)
    (tmp_path / "science.py").write_text(python)
    reproduction = Reproduction.of(tmp_path, "quick", tmp_path)
    (cell,) = only(reproduction.cells, "main/SM/GO-MTL/seed1")
    cell.execute(reproduction.runs, lambda share: None)
    found = reproduction.quantities(cell)
    assert found["final"] > 0 < found["largest"]


def test_a_folder_without_its_file_is_none(tmp_path: Path) -> None:
    """Nor is one whose file isn't TOML."""
    with pytest.raises(PaperError, match=r"a paper is a folder with a paper\.toml"):
        read_paper(tmp_path)
    (tmp_path / "paper.toml").write_text("[paper")
    with pytest.raises(PaperError, match="is not TOML"):
        read_paper(tmp_path)


def test_methods_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    """On any disk, capital letters or not."""
    folder = changed(tmp_path, ('"REINFORCE", "stands still"]\nwatch', '"REINFORCE", "reinforce"]\nwatch'))
    text = (folder / "paper.toml").read_text()
    (folder / "paper.toml").write_text(
        text.replace(
            '[methods."stands still"]', '[methods.reinforce]\nclass = "RWR"\n\n[methods."stands still"]'
        ).split("[[figures]]")[0]
    )
    with pytest.raises(PaperError, match="would share a file"):
        cells_of(read_paper(folder), Code(str(folder)), "default")
