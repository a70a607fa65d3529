"""Families with arguments in experiments, run files and commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lifelong_gym.benchmark import load
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, levels_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.models import Kept, evaluate
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.cli.main import app
from lifelong_gym.registry import family
from lifelong_gym.reports.study import studies

NAME = "tests.corridors:Corridor"
SMALL = {"episodes_per_task": 4, "n_evaluations": 2, "n_eval_episodes": 2}


def experiment(learners: list[str], **arguments: Any) -> Experiment:
    """Of one family that is made with these arguments."""
    table: dict[str, Any] = {"n_tasks": 3, **({"arguments": arguments} if arguments else {})}
    return Experiment.of_dict({"learners": learners, "families": {NAME: table}, "protocol": SMALL, "seeds": 1})


def test_an_experiment_keeps_them() -> None:
    """JSON-native, without those that are the defaults; what is written is read back."""
    made = experiment(["zero"], size=7, prices=(0.5, 1))
    (spec,) = made.families
    assert spec.arguments == {"size": 7, "prices": [0.5, 1]}
    assert spec.family is family(NAME, size=7, prices=[0.5, 1])
    assert spec.tasks.values[:, 0].max() <= 6
    assert Experiment.of_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert experiment(["zero"], size=5) == experiment(["zero"])
    assert "arguments" not in experiment(["zero"]).to_dict()["families"][NAME]


def test_runs_of_other_arguments_are_other_runs() -> None:
    """Names differ, and settings say why; without arguments nothing is written of them."""
    ((_, plain),) = experiment(["random"]).runs()
    ((_, long),) = experiment(["random"], size=7).runs()
    assert long.name != plain.name
    assert long.settings["family"]["arguments"] == {"size": 7}
    assert "arguments" not in plain.settings["family"]
    assert {FamilySpec.of(NAME), FamilySpec.of(NAME, arguments={"size": 7})} == {
        FamilySpec.of(NAME, arguments={"size": 5}),
        FamilySpec.of(NAME, arguments={"size": 7}),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"siz": 7}, rf"families\.{NAME}: .*unexpected keyword argument 'siz'\. Did you mean 'size'"),
        ({"size": "7"}, rf"families\.{NAME}: `size` must be int\. Received '7'"),
        (3, rf"families\.{NAME}: `arguments` must be a table\. Received 3"),
    ],
)
def test_wrong_arguments_in_a_file(arguments: Any, message: str) -> None:
    """The message names the key."""
    with pytest.raises(ExperimentError, match=message):
        Experiment.of_dict({"learners": ["zero"], "families": {NAME: {"arguments": arguments}}})


def run(folder: Path, learner: str, arguments: dict[str, Any], outputs: Outputs | None = None) -> Path:
    """A run file of a learner, made in this process."""
    made = experiment([learner], **arguments)
    ((family, spec),) = made.runs()
    references = levels_of(family, made.protocol).references
    return replace(spec, references=references, outputs=outputs or Outputs()).execute(folder, lambda share: None)


def test_runs_are_made_in_the_family_so_made(tmp_path: Path) -> None:
    """The reference earns the scale's 1 there; figures of unlike arguments aren't mixed."""
    runs = [
        read_run(run(tmp_path, learner, given)) for learner in ("reference", "random") for given in ({"size": 7}, {})
    ]
    assert runs[0].performance() == pytest.approx(1.0)
    compared, left_out = studies(runs)
    assert not left_out
    assert sorted(study.family for study in compared) == [NAME, f"{NAME} (size=7)"]
    assert set(load(tmp_path)["family"]) == {NAME, f"{NAME} (size=7)"}


def test_kept_models_are_evaluated_there(tmp_path: Path) -> None:
    """The same returns as in the run."""
    path = run(tmp_path, "A2C", {"size": 7}, Outputs(keep_models=True))
    assert Kept.of_run(path).arguments == {"size": 7}
    assert (evaluate(path).returns == read_run(path).returns[-1]).all()


def test_commands_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """List, train, play and benchmark."""
    monkeypatch.chdir(tmp_path)

    def lifelong(*words: str) -> str:
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": "160"})
        assert result.exit_code == 0, result.output
        return result.output

    shown = lifelong("list", NAME, "-e", "size=7", "--references")
    assert "Arguments" in shown
    assert "number of cells" in shown
    assert "cell of the door" in shown
    assert "1 to 6" in shown
    size = ("-e", "size=7")
    lifelong(
        "train", "A2C", NAME, *size, "--n-tasks", "2", "--total-timesteps", "64", "-a", "n_steps=8", "--folder", "t"
    )
    kept = json.loads((tmp_path / "t" / "run.json").read_text())["settings"]
    assert kept["env_arguments"] == {"size": 7}
    assert kept["arguments"] == {"n_steps": 8}
    assert Kept.of_training(tmp_path / "t" / "run.json", tmp_path / "t" / "model.zip").measured(2, 0).returns.shape == (
        2,
        2,
    )
    lifelong("play", "t", NAME, "--task", "1", "--video", "out.gif")
    assert (tmp_path / "out.gif").stat().st_size > 0
    budget = ("--episodes-per-task", "2", "--n-evaluations", "1", "--n-tasks", "2", "--seeds", "1")
    lifelong("benchmark", "--agents", "random", "--envs", NAME, *size, *budget, "--folder", "b", "--processes", "1")
    (path,) = (tmp_path / "b").glob("*.jsonl")
    assert read_run(path).settings["family"]["arguments"] == {"size": 7}


def test_a_typo_on_the_command_line() -> None:
    """One line that suggests the right name."""
    result = CliRunner().invoke(app, ["list", NAME, "-e", "siz=7"])
    assert result.exit_code == 2
    assert "Did you mean 'size'?" in result.stderr
