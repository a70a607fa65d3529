"""The command line, as a user types it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lifelong_gym import registry
from lifelong_gym.benchmark.records import read_runs
from lifelong_gym.benchmark.results import read_result
from lifelong_gym.benchmark.runner import Outcome
from lifelong_gym.cli import demo, main
from lifelong_gym.cli.demo import curves_of, figures, learned
from lifelong_gym.cli.main import app
from tests.synthetic_runs import multi_task

ENV = "LifelongSimpleMass-v0"


@pytest.fixture
def lifelong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs ``lifelong`` in an empty folder, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main.console, "width", 200)
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("command", ["demo", "list", "train", "play", "benchmark", "report", "reproduce"])
def test_help_teaches_by_example(lifelong: object, command: str) -> None:
    """Every command's help holds an example of itself."""
    result = lifelong(command, "--help")  # type: ignore[operator]
    assert result.exit_code == 0
    assert f"lifelong {command}" in result.output.partition("Example")[2]


def test_list_names_everything(lifelong: object) -> None:
    """All ids and all learners."""
    output = lifelong("list").output  # type: ignore[operator]
    for name in [*registry.FAMILIES, "PGELLA", "ENAC", "REINFORCE", "reference", "PPO", "TQC"]:
        assert name in output


def test_list_describes_an_environment(lifelong: object) -> None:
    """Parameters with units and presets; a learner's arguments."""
    output = lifelong("list", ENV).output  # type: ignore[operator]
    assert "lifelong list" not in output, "it tells to do what is being done"
    assert "stiffness" in output
    assert "N/m" in output
    assert "hetero" in output
    assert "n_basis" in lifelong("list", "PGELLA").output  # type: ignore[operator]


def test_list_describes_arguments(lifelong: object) -> None:
    """What there is to choose from, and long data in a line."""
    output = lifelong("list", "tests.market:Market", "-e", "actions=logits").output  # type: ignore[operator]
    assert re.search(r"actions +│ 'simplex' or 'logits' +│ 'simplex' +│ 'logits' ", output)
    data = output[output.index("[[0.0, 1.007") : output.index("'simplex' or")]
    assert data.count(" ...") == 2
    assert len(re.findall(r"\d\.\d{5}", data)) < 10


def test_train_then_play(lifelong: object, tmp_path: Path) -> None:
    """A model is trained, saved, described, filmed; a second run doesn't overwrite it."""
    words = ("train", "PGELLA", ENV, "--n-tasks", "4", "--preset", "hetero", "--total-timesteps", "9000")
    result = lifelong(*words, "-a", "n_basis=2", "--folder", "run")  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    run = read_result(tmp_path / "run" / "run.json")
    assert run["settings"]["arguments"] == {"n_basis": 2}
    assert run["figures"]["num_timesteps"] == 9000
    assert np.isfinite(run["figures"]["return_per_task"]).all()
    again = lifelong(*words, "--folder", "run")  # type: ignore[operator]
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    played = lifelong("play", "run", ENV, "--task", "3", "--video", "film.gif")  # type: ignore[operator]
    assert played.exit_code == 0, played.output
    with Image.open(tmp_path / "film.gif") as film:
        assert getattr(film, "n_frames", 1) > 100


def test_train_and_play_with_sb3(lifelong: object, tmp_path: Path) -> None:
    """SB3's algorithms by name, which may see the task."""
    words = ("train", "PPO+append", ENV, "--n-tasks", "4", "--total-timesteps", "2000", "--folder", "run")
    result = lifelong(*words)  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    run = read_result(tmp_path / "run" / "run.json")
    assert run["settings"]["task_observation"] == "append"
    assert len(run["figures"]["return_per_task"]) == 4
    played = lifelong("play", "run", ENV, "--video", "film.gif")  # type: ignore[operator]
    assert played.exit_code == 0, played.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "PGELA", ENV), "Did you mean 'PGELLA'"),
        (("train", "PGELLA", "LifelongCartPol-v0"), "Did you mean 'LifelongCartPole-v0'"),
        (("train", "PGELLA", ENV, "--preset", "heter"), "Did you mean 'hetero'"),
        (("train", "PGELLA", ENV, "-a", "n_basis"), "must be `name=value`"),
        (
            ("train", "PGELLA", ENV, "-a", "ridge=1", "-a", "ridge=2"),
            "an argument must be given once. Received 'ridge'",
        ),
        (("benchmark", "--envs", f"{ENV},{ENV}"), f"a family must be given once. Received '{ENV}' twice"),
        (("benchmark", "--agents", "PPO,PPO"), "learners.PPO: named twice; give one another label"),
        (("train", "PGELLA", ENV, "-a", "n_bassis=3"), "unknown argument 'n_bassis'. Did you mean 'n_basis'"),
        (("train", "PPO", ENV, "-a", "n_step=3"), "Did you mean 'n_steps'"),
        (("train", "PGELLA", ENV, "-a", "ridge=Infinity"), "`arguments.ridge` must be what JSON can hold"),
        (("train", "nomod:X", ENV), "there is no module 'nomod', which 'nomod:X' names"),
        (("list", "nomod:X"), "there is no module 'nomod'"),
        (("play", "nowhere", ENV), "that `lifelong train` wrote, or a run file. There is no nowhere/run.json"),
        (("benchmark", "nofile.toml"), "`experiment` must be a TOML file. There is none at nofile.toml"),
        (("report", "nowhere"), "There is none at nowhere"),
        (("list", "CartPole"), "unknown environment, agent or policy"),
        (("reproduce", "zhan2018"), "unknown paper 'zhan2018'. Did you mean 'zhan2017'"),
    ],
)
def test_mistakes_end_in_one_line(lifelong: object, words: tuple[str, ...], message: str) -> None:
    """No traceback, exit code 2, nothing written."""
    result = lifelong(*words)  # type: ignore[operator]
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not list(Path().iterdir())


def test_demo_writes_what_it_says(lifelong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small budget; sharing is ahead early, and the files are whole."""
    monkeypatch.setattr(demo, "DemoBudget", partial(demo.DemoBudget, n_tasks=20))
    result = lifelong("demo", "--seeds", "2", "--sweeps", "21", "--folder", "out")  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    runs = read_runs(tmp_path / "out")
    assert sorted(run.seed for run in runs) == [0, 0, 0, 1, 1, 1]
    assert all(run.times.tolist() == [k * 20 * 5 * 150 for k in range(22)] for run in runs)
    rows = figures(curves_of(learned(Outcome([run.path for run in runs]))))
    sharing, alone, one_policy = (row["area to sweep 20"] for row in rows.values())
    assert sharing.estimate > alone.estimate > one_policy.estimate
    assert str(sharing).partition(" ")[0] in result.output  # the table shows what is in the run files
    for name in ("learning_curves.png", "policies.gif"):
        assert f"out/{name}" in result.output
        assert (tmp_path / "out" / name).stat().st_size > 1000


NASTY = "a[b] :x: [/c] $d$"


def test_what_users_name_is_printed_as_it_is(lifelong: object, tmp_path: Path) -> None:
    """No markup, no emoji, no formula and no broken path, in any command."""
    learner, run = "tests.toy_learners:Counter", f"runs/{NASTY}/{'deep' * 20}"
    (tmp_path / "e.toml").write_text(
        f"quick = true\nseeds = 1\nprotocol = {{episodes_per_task = 1, n_evaluations = 1}}\nfamilies = [{ENV!r}]\n"
        f"[learners]\n{NASTY!r} = {{class = {learner!r}}}\n'[/bad]' = {{class = 'tests.toy_learners:Broken'}}\n",
        encoding="utf-8",
    )
    played = [
        lifelong("train", "PGELLA", ENV, "--total-timesteps", "1", "--folder", run),  # type: ignore[operator]
        lifelong("play", run, ENV, "--video", f"{run}/{NASTY}.gif"),  # type: ignore[operator]
        lifelong("benchmark", "e.toml", "--folder", run),  # type: ignore[operator]
        lifelong("report", run),  # type: ignore[operator]
        lifelong("list", f"{NASTY}:{NASTY}"),  # type: ignore[operator]
    ]
    for result in played:
        assert run in result.output or f"{NASTY}:{NASTY}" in result.output, result.output
    assert [result.exit_code for result in played] == [0, 0, 1, 0, 2]
    benchmarked = played[2].output
    assert f"{NASTY} on {ENV}, seed 0: " in benchmarked
    assert f"failed: [/bad] on {ENV}, seed 0: ValueError: [/wrong] :x:" in benchmarked
    assert (tmp_path / run / f"{NASTY}.gif").exists()


def in_folder(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`lifelong` in a process of its own, whose current folder holds a file named like a library."""
    (folder / "matplotlib.py").write_text("raise SystemExit('a file among results was executed')", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("lifelong")), *words]
    return subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_nothing_is_executed_from_the_current_folder(tmp_path: Path) -> None:
    """A file among results with a library's name isn't imported, in any locale; the report reads what it finds."""
    multi_task(tmp_path / "runs", "naïve \u03c3", range(2))
    done = in_folder(tmp_path, "report", "runs", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    assert "naïve \u03c3" in (tmp_path / "runs" / "report" / "report.html").read_text(encoding="utf-8")


def test_modules_of_ones_own_are_found_last(tmp_path: Path) -> None:
    """A `module:Class` may lie in the current folder; a file with a library's name there is still not imported."""
    source = Path(__file__).with_name("toy_learners.py").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    budget = ("--protocol", "multi_task", "--episodes-per-task", "1", "--n-evaluations", "1", "--seeds", "1")
    done = in_folder(tmp_path, "benchmark", "--quick", "--agents", "mine:Counter", "--envs", ENV, *budget)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "a file among results" not in done.stderr
    assert "no module 'mine'" in in_folder(tmp_path / "runs", "list", "mine:Counter").stderr


def test_long_work_is_announced(lifelong: object) -> None:
    """Before tasks are drawn and before policies are evaluated, which takes minutes where tasks are many."""
    output = lifelong("train", "PGELLA", ENV, "--n-tasks", "1000", "--total-timesteps", "1").output  # type: ignore[operator]
    assert "making 1,000 tasks and the learner ..." in output
    assert "evaluating the learned policies in 8,000 episodes ..." in output


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("[]", "not a result file: it has no schema"),
        ('{"schema": 1}', "`settings` or its hash is missing"),
        ("[" * 100_000, "truncated or not a result file"),
        ("\udcff", "truncated or not a result file"),
    ],
)
def test_play_refuses_a_damaged_run(lifelong: object, damage: str, message: str) -> None:
    """In a line that names the file."""
    Path("run").mkdir()
    Path("run/run.json").write_text(damage, encoding="utf-8", errors="surrogateescape")
    result = lifelong("play", "run", ENV)  # type: ignore[operator]
    assert result.exit_code == 2
    assert "run/run.json" in result.output
    assert message in result.output


TAG = re.compile(r"\[/?(bold|dim|red|green|yellow|blue|cyan|magenta)\b[^]]*\]")


def unescaped(tree: ast.AST) -> list[str]:
    """Values in texts with markup that could be anybody's: neither escaped nor formatted as numbers."""
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    marked = [text for text in texts if TAG.search("".join(str(getattr(part, "value", "")) for part in text.values))]
    values = [part for text in marked for part in text.values if isinstance(part, ast.FormattedValue)]
    return [
        ast.unparse(value.value)
        for value in values
        if value.format_spec is None and not ast.unparse(value.value).startswith("escape(")
    ]


def test_no_text_with_markup_holds_what_users_named() -> None:
    """Throughout the package; `say` needs no markup."""
    source = Path(__file__).parents[1] / "lifelong_gym"
    found = {path.name: unescaped(ast.parse(path.read_text(encoding="utf-8"))) for path in source.rglob("*.py")}
    assert {name: values for name, values in found.items() if values} == {}
    assert unescaped(ast.parse('f"[bold]{folder}[/bold] {escape(label)} {share:.0%}"')) == ["folder"]
