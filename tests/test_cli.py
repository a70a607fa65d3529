"""The command line, as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lifelong_gym import registry
from lifelong_gym.benchmark.cli import app
from lifelong_gym.benchmark.results import read_result

ENV = "LifelongSimpleMass-v0"


@pytest.fixture
def lifelong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs ``lifelong`` in an empty folder, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
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
    assert "stiffness" in output
    assert "N/m" in output
    assert "hetero" in output
    assert "n_basis" in lifelong("list", "PGELLA").output  # type: ignore[operator]


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
        (("play", "nowhere", ENV), "nowhere"),
        (("list", "CartPole"), "unknown environment or agent"),
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


def test_demo_writes_what_it_says(lifelong: object, tmp_path: Path) -> None:
    """On a small budget; sharing is ahead early, and the files are whole."""
    result = lifelong("demo", "--seeds", "2", "--sweeps", "21", "--folder", "out")  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    figures = read_result(tmp_path / "out" / "result.json")["figures"]
    area = {name: row["area to sweep 20"][0] for name, row in figures["table"].items()}
    sharing, alone, one_policy = area.values()
    assert sharing > alone > one_policy
    for name in ("learning_curves.png", "policies.gif", "result.json"):
        assert f"out/{name}" in result.output
        assert (tmp_path / "out" / name).stat().st_size > 1000
