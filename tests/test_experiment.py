"""Experiments: their description, and running them in processes."""

from __future__ import annotations

import datetime
import io
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lifelong_gym.benchmark.experiment import Experiment, ExperimentError
from lifelong_gym.benchmark.records import read_run, read_runs
from lifelong_gym.benchmark.runner import Forecast, run_experiment
from lifelong_gym.cli.main import app

ID = "LifelongSimpleMass-v0"
SMALL: dict[str, Any] = {
    "learners": ["zero", "PGELLA"],
    "families": {ID: {"n_tasks": 3}},
    "protocol": {"episodes_per_task": 10, "n_evaluations": 2, "n_eval_episodes": 2},
    "seeds": 2,
}
FILE = """
seeds = [3, 5]
protocol = {name = "lifelong", episodes_per_task = 20}

[learners.PGELLA]
arguments = {n_basis = 2}

[learners."PPO with the task"]
class = "PPO"
task_observation = "append"

[families.LifelongCartPole-v0]
preset = "default"
n_tasks = 4
"""


def quiet() -> Console:
    """A console that nobody sees."""
    return Console(file=io.StringIO())


def test_a_file_describes_an_experiment(tmp_path: Path) -> None:
    """What it says, and defaults for the rest; written and read again it is the same."""
    path = tmp_path / "experiment.toml"
    path.write_text(FILE)
    experiment = Experiment.read(path)
    assert experiment.seeds == (3, 5)
    assert experiment.protocol.name == "lifelong"
    assert experiment.protocol.n_eval_episodes == 8
    pg_ella, ppo = experiment.learners
    assert (pg_ella.kind, pg_ella.arguments) == ("PGELLA", {"n_basis": 2})
    assert (ppo.label, ppo.kind, ppo.task_observation) == ("PPO with the task", "PPO", "append")
    assert (experiment.families[0].preset, experiment.families[0].n_tasks) == ("default", 4)
    assert Experiment.of_dict(experiment.to_dict()) == experiment


def test_the_example_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every learner of the example can be made for every family."""
    examples = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(str(examples))
    experiment = Experiment.read(examples / "comparison.toml")
    experiment.check()
    assert {learner.label for learner in experiment.learners} == {"PGELLA", "ENAC", "PPO", "MultiHeadPPO"}


def test_names_say_how_a_learner_is_used() -> None:
    """``+append``, ``+one_hot`` and ``+scratch``, and where a class comes from."""
    names = ["PPO", "PPO+append", "PPO+one_hot", "PPO+scratch", "tests.toy_learners:Counter"]
    learners = Experiment.of_dict({"learners": names, "families": [ID]}).learners
    assert [learner.label for learner in learners] == ["PPO", "PPO+append", "PPO+one_hot", "PPO+scratch", "Counter"]
    assert [learner.task_observation for learner in learners[:4]] == ["hide", "append", "one_hot", "hide"]
    assert [learner.alone for learner in learners[:4]] == [False, False, False, True]
    assert learners[4].kind == "tests.toy_learners:Counter"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learners": []}, "learners: must name at least one"),
        ({"learners": ["PGELA"]}, r"learners.PGELA: unknown agent 'PGELA'. Did you mean 'PGELLA'"),
        ({"learners": ["PPO+apend"]}, r"learners.PPO\+apend: unknown suffix 'apend'. Did you mean 'append'"),
        ({"learners": ["PPO", "stable_baselines3:PPO"]}, "learners.PPO: named twice"),
        ({"learners": ["PPO", "PPO"]}, "learners.PPO: named twice; give one another label"),
        ({"families": [ID, ID]}, f"families.{ID}: named twice; give one another label"),
        ({"learners": ["no_such_module:Class"]}, "learners.no_such_module:Class: there is no module 'no_such_module'"),
        ({"learners": {"PPO": {"argument": {}}}}, "learners.PPO: unknown key 'argument'. Did you mean 'arguments'"),
        ({"learners": {"PPO": {"arguments": 3}}}, "learners.PPO: `arguments` must be a table. Received 3"),
        ({"learners": {"PPO": {"alone": "yes"}}}, "learners.PPO: `alone` must be true or false. Received 'yes'"),
        ({"families": {ID: {"tasks": 3}}}, f"families.{ID}: unknown key 'tasks'"),
        ({"learners": {"PPO": {"task_observation": "show"}}}, "learners.PPO: unknown task_observation 'show'"),
        ({"families": ["LifelongCartpole-v0"]}, "families.LifelongCartpole-v0: .*Did you mean 'LifelongCartPole-v0'"),
        ({"families": {ID: {"preset": "heterogeneous"}}}, "unknown preset 'heterogeneous'"),
        ({"families": {ID: {"n_tasks": 0}}}, "`n_tasks` must be an integer of at least 1. Received 0"),
        ({"protocol": "lifelog"}, "protocol: unknown protocol 'lifelog'. Did you mean 'lifelong'"),
        ({"protocol": {"episodes": 3}}, "protocol: unknown key 'episodes'"),
        ({"seeds": 0}, "seeds: must be a number of at least 1, or a list of integers. Received 0"),
        ({"seeds": []}, "seeds: must be a number of at least 1"),
        ({"seeds": [1, 1]}, "seeds: must all be different"),
        ({"seeds": [-1]}, "seeds: must be a number"),
        ({"quick": 1}, "quick: must be true or false. Received 1"),
        ({"budget": 3}, "unknown key 'budget'"),
    ],
)
def test_errors_name_the_key(change: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(ExperimentError, match=message):
        Experiment.of_dict({**SMALL, **change})


@pytest.mark.parametrize("value", [math.inf, math.nan, datetime.date(2026, 1, 1), -3, "x", [], [[]], {"a": 1}])
@pytest.mark.parametrize(
    "key",
    [
        *("learners", "families", "protocol", "seeds", "quick"),
        *("learners.PPO", f"families.{ID}"),
        *(f"learners.PPO.{key}" for key in ("class", "arguments", "task_observation", "alone")),
        *(f"families.{ID}.{key}" for key in ("preset", "n_tasks", "task_seed")),
        *(f"protocol.{key}" for key in ("name", "episodes_per_task", "n_evaluations", "n_eval_episodes", "shuffle")),
    ],
)
def test_no_value_of_toml_gets_past_the_checks(key: str, value: object) -> None:
    """Wherever it stands, what doesn't fit is an error that begins with its key, or its table's."""
    content: dict[str, Any] = {"learners": {"PPO": {}}, "families": {ID: {}}, "protocol": {}}
    *tables, name = key.split(".")
    within = content
    for table in tables:
        within = within[table]
    within[name] = value
    if key == "learners.PPO.arguments" and value == {"a": 1}:
        Experiment.of_dict(content)  # whether PPO takes it is seen when it is made
        return
    with pytest.raises(ExperimentError, match=f"^{re.escape('.'.join(tables) or key)}"):
        Experiment.of_dict(content)


@pytest.mark.parametrize("value", [math.inf, math.nan, datetime.date(2026, 1, 1), datetime.time(3)])
def test_arguments_are_what_json_can_hold(value: object) -> None:
    """The message says where the value stands, however deep."""
    learner = {"arguments": {"policy_kwargs": {"net_arch": [64, value]}}}
    where = r"learners.PPO: `arguments.policy_kwargs.net_arch\[1\]` must be what JSON can hold.* Received "
    with pytest.raises(ExperimentError, match=where):
        Experiment.of_dict({**SMALL, "learners": {"PPO": learner}})


def test_no_toml(tmp_path: Path) -> None:
    """The file is named, and where it is wrong; a folder or nothing at all is no file."""
    path = tmp_path / "experiment.toml"
    path.write_text("seeds = [", encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"experiment.toml is not TOML: "):
        Experiment.read(path)
    path.write_bytes(b'protocol = "\xff"')
    with pytest.raises(ExperimentError, match=r"experiment.toml is not TOML: "):
        Experiment.read(path)
    for missing in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(ExperimentError, match=f"There is none at {missing}"):
            Experiment.read(missing)


def test_an_unknown_argument_is_refused_with_a_suggestion() -> None:
    """By every learner whose signature says what it takes."""
    for name, wrong, right in (("PGELLA", "n_bassis", "n_basis"), ("PPO", "n_step", "n_steps")):
        experiment = Experiment.of_dict({**SMALL, "learners": {name: {"arguments": {wrong: 3}}}})
        with pytest.raises(ExperimentError, match=f"unknown argument '{wrong}'. Did you mean '{right}'"):
            experiment.check()


@pytest.mark.parametrize(
    ("learner", "family", "message"),
    [
        ("SAC", "LifelongGridWorld-v0", "learners.SAC on families.LifelongGridWorld-v0: .*can't be made for GridWorld"),
        ("PPO+append", "LifelongGridWorld-v0", '`task_observation` must be "hide" where observations are Discrete'),
        ("DQN", ID, "learners.DQN on families.LifelongSimpleMass-v0"),
        ("tests.toy_learners:Mute", ID, "learners.Mute on .*must have a method `predict`"),
        ("ENAC", ID, None),
    ],
)
def test_misfits_are_found_before_anything_runs(tmp_path: Path, learner: str, family: str, message: str | None) -> None:
    """A continuous learner on a discrete env, and the like; nothing is written."""
    experiment = Experiment.of_dict({**SMALL, "learners": ["random", learner], "families": [family]})
    if message is None:
        experiment.check()
        return
    with pytest.raises(ExperimentError, match=message):
        run_experiment(experiment, tmp_path / "runs", quiet())
    assert not (tmp_path / "runs").exists()


def test_finished_runs_are_kept(tmp_path: Path) -> None:
    """A second call runs what is missing; the bytes don't depend on processes."""
    experiment = Experiment.of_dict(SMALL)
    first = run_experiment(experiment, tmp_path / "a", quiet(), n_processes=2)
    assert len(first.written) == 4
    assert not first.failed
    kept = {path.name: path.read_bytes() for path in first.written}
    first.written[2].unlink()
    second = run_experiment(experiment, tmp_path / "a", quiet(), n_processes=1)
    assert [path.name for path in second.written] == [first.written[2].name]
    assert len(second.skipped) == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.jsonl")} == kept
    assert Experiment.read(tmp_path / "a" / "experiment.toml") == experiment


def test_a_failing_learner_stops_nobody_else(tmp_path: Path) -> None:
    """Its error is reported under its name; the others' runs are there."""
    learners = [f"tests.toy_learners:{name}" for name in ("Diverged", "Killed")]
    experiment = Experiment.of_dict({**SMALL, "learners": [*learners, "zero"], "seeds": 1})
    outcome = run_experiment(experiment, tmp_path, quiet(), n_processes=2)
    assert [read_run(path).learner for path in outcome.written] == ["zero"]
    (diverged, why), (killed, how) = sorted(outcome.failed.items())
    assert "Diverged" in diverged
    assert "actions must be finite" in why
    trace = tmp_path / f"{diverged}.traceback.txt"
    assert why.endswith(f"(traceback: {trace})")
    assert "evaluation.py" in trace.read_text()
    assert "Killed" in killed
    assert how == "its process died: SIGKILL, as when memory runs out"


def test_a_kill_at_any_moment(tmp_path: Path) -> None:
    """SIGKILL to the command in the middle, and at once the same command again: the same files as in one go."""
    words = ["benchmark", "--quick", "--seeds", "1", "--processes", "1", "--agents", "PGELLA,REINFORCE", "--envs", ID]
    words += ["--episodes-per-task", "200", "--n-evaluations", "40"]
    whole = CliRunner().invoke(app, [*words, "--folder", str(tmp_path / "whole")])  # here imports are paid already
    assert whole.exit_code == 0, whole.output
    command = [sys.executable, "-m", "lifelong_gym.cli.main", *words]
    quiet_run = {"stdout": subprocess.DEVNULL, "cwd": tmp_path}
    broken = tmp_path / "broken"
    process = subprocess.Popen([*command, "--folder", "broken"], **quiet_run)  # type: ignore[call-overload]
    while not any(part.stat().st_size > 8_000 for part in broken.glob("*.jsonl.part")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(broken.glob("*.jsonl.part"))
    subprocess.run([*command, "--folder", "broken"], check=True, **quiet_run)  # type: ignore[call-overload]
    for path in (tmp_path / "whole").glob("*.jsonl"):
        assert (broken / path.name).read_bytes() == path.read_bytes()
    assert not list(broken.glob("*.part"))
    assert not list(broken.glob("*.at*"))
    assert not list(broken.glob(".*.part"))


@pytest.mark.parametrize("protocol", ["multi_task", "lifelong", "transfer", "distributed"])
def test_quick_of_every_protocol(tmp_path: Path, protocol: str) -> None:
    """The command, from flags to files and on to a page."""
    folder = str(tmp_path / "runs")
    arguments = ["--protocol", protocol, "--agents", "PGELLA,REINFORCE,REINFORCE+scratch", "--envs", ID, "--quick"]
    done = CliRunner().invoke(app, ["benchmark", *arguments, "--seeds", "1", "--processes", "1", "--folder", folder])
    assert done.exit_code == 0, done.output
    assert "3 runs written" in " ".join(done.output.split())
    assert {run.protocol for run in read_runs(folder)} == {protocol}
    done = CliRunner().invoke(app, ["report", folder, "--html", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "PGELLA" in (tmp_path / "page.html").read_text()


def test_the_command_warns_where_nothing_is_to_be_shared(tmp_path: Path) -> None:
    """On the default mass-springs, one policy serves all."""
    arguments = ["--agents", "zero", "--envs", ID, "--preset", "default", "--quick", "--seeds", "1", "--processes", "1"]
    done = CliRunner().invoke(app, ["benchmark", *arguments, "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "methods that share can't be told apart there" in " ".join(done.output.split())


def test_the_command_reports_failures(tmp_path: Path) -> None:
    """Exit code 1 and the reason for a failed run, 2 for a mistake in the description."""
    arguments = ["--envs", ID, "--quick", "--seeds", "1", "--processes", "1", "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, ["benchmark", "--agents", "tests.toy_learners:Diverged", *arguments])
    assert done.exit_code == 1
    assert "actions must be finite" in " ".join(done.output.split())
    assert CliRunner().invoke(app, ["benchmark", "--agents", "PGELA", *arguments]).exit_code == 2


def test_forecast_is_by_kind_of_run() -> None:
    """Runs like those that are done are expected to take as long."""
    experiment = Experiment.of_dict({**SMALL, "seeds": 3})
    specs = [type("Spec", (), {"kind": (x.label, ID)})() for _ in range(3) for x in experiment.learners]
    forecast = Forecast(specs, n_workers=1)
    assert forecast.left() == ""
    forecast._seconds = {("zero", ID): 10.0, ("PGELLA", ID): 50.0}
    assert forecast.left() == "about 3 min left"
    forecast._shares = {1: 0.5, 4: 0.9}
    assert forecast.left() == "about 26 s left"
