"""What a benchmark writes besides run files: models, and curves for TensorBoard and Weights & Biases."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lifelong_gym import benchmark, sample_tasks
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.experiment import Experiment
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.outputs import LoginError, Outputs
from lifelong_gym.benchmark.protocol import EVALUATION_SEED, Protocol
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.benchmark.run import RunSpec, execute
from lifelong_gym.benchmark.runner import run_experiment
from lifelong_gym.cli.main import app
from lifelong_gym.errors import MissingExtraError

ID, N_TASKS = "LifelongSimpleMass-v0", 3
TASKS = sample_tasks(ID, N_TASKS, preset="hetero")
REFERENCES = measured_references(ID, TASKS, 2, EVALUATION_SEED)
EVERYTHING = Outputs(keep_models=True, tensorboard=True)
CURVES = {"eval/mean_reward", "eval/normalised", "eval/failed"}


def spec(learner: str, outputs: Outputs, protocol: str = "multi_task") -> RunSpec:
    """A small run."""
    small = Protocol(name=protocol, episodes_per_task=10, n_evaluations=2, n_eval_episodes=2)
    return RunSpec(LearnerSpec.of(learner), FamilySpec.of(ID, N_TASKS), TASKS, small, 0, REFERENCES, outputs)


def scalars(folder: Path) -> dict[str, list[int]]:
    """What TensorBoard shows, and at which steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.parametrize(
    ("learner", "protocol", "logged"),
    [
        ("PGELLA", "lifelong", "rollout/ep_rew_mean"),
        ("PPO+append", "multi_task", "time/fps"),
        ("REINFORCE+scratch", "transfer", None),
        ("tests.toy_learners:Counter", "multi_task", None),
    ],
)
def test_outputs_change_nothing_and_hold_what_was_learned(
    tmp_path: Path, learner: str, protocol: str, logged: str | None
) -> None:
    """The run file has the bytes that it has without; a kept model earns what the last evaluation says."""
    path = execute(spec(learner, EVERYTHING, protocol), tmp_path / "all")
    assert path.read_bytes() == execute(spec(learner, Outputs(), protocol), tmp_path / "none").read_bytes()
    run = read_run(path)
    curves = scalars(path.parent / "tensorboard" / path.stem)
    assert curves.keys() >= CURVES
    assert curves["eval/mean_reward"] == run.times.tolist()
    assert logged is None or logged in curves
    if learner.startswith("tests."):
        with pytest.raises(FileNotFoundError, match=r"no model at .*--keep-models"):
            benchmark.evaluate(path)
        return
    again = benchmark.evaluate(path)
    learned = [run.settings["protocol"]["order"][-1]] if run.alone else list(range(N_TASKS))
    assert np.array_equal(again.returns[learned], run.returns[-1][learned])
    assert np.isfinite(again.returns).all(axis=1).tolist() == [task in learned for task in range(N_TASKS)]
    other = benchmark.evaluate(path, n_episodes=3, seed=5)
    assert other.returns.shape == (N_TASKS, 3)


def test_an_interrupted_run_keeps_its_model_and_its_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the first part are there, and the model is that of a run in one go."""
    made, measure = spec("PGELLA", EVERYTHING), Evaluation.measure
    whole = execute(made, tmp_path / "whole")
    calls = iter([measure, measure])
    monkeypatch.setattr(Evaluation, "measure", lambda self, learner: next(calls)(self, learner))
    with pytest.raises(StopIteration):
        execute(made, tmp_path / "killed")
    monkeypatch.setattr(Evaluation, "measure", measure)
    path = execute(made, tmp_path / "killed")
    assert np.array_equal(benchmark.evaluate(path).returns, benchmark.evaluate(whole).returns)
    assert len(list((path.parent / "tensorboard" / path.stem).iterdir())) == 2  # a file each time, in any order here
    curve = scalars(path.parent / "tensorboard" / path.stem)["eval/mean_reward"]
    assert sorted(curve) == read_run(path).times.tolist()
    assert {p.name for p in path.parent.iterdir()} == {p.name for p in whole.parent.iterdir()}


def test_play_takes_a_run_file(tmp_path: Path) -> None:
    """Of one learner for all tasks, and of learners from scratch; without a model it says how to keep one."""
    for learner in ("PGELLA", "REINFORCE+scratch"):
        path = execute(spec(learner, Outputs(keep_models=True)), tmp_path)
        film = tmp_path / f"{learner}.gif"
        done = CliRunner().invoke(app, ["play", str(path), ID, "--task", "2", "--video", str(film)])
        assert done.exit_code == 0, done.output
        assert film.stat().st_size > 1000
    for model in tmp_path.glob("*.model.zip"):
        model.unlink()
    done = CliRunner().invoke(app, ["play", str(path), ID])
    assert done.exit_code == 2
    assert "--keep-models" in done.output


def test_missing_models_are_told_before_anything_runs(tmp_path: Path) -> None:
    """Of learners without `save`, and of runs that were finished without."""
    console = Console(file=io.StringIO(), width=200)
    experiment = Experiment.of_dict({"learners": ["zero"], "families": [ID], "seeds": 1, "quick": True})
    run_experiment(experiment, tmp_path, console, 1)
    run_experiment(experiment, tmp_path, console, 1, Outputs(keep_models=True))
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "no models of zero are kept: they have no method `save`" in said
    assert "1 runs were finished without keeping their models" in said


@pytest.mark.parametrize("library", ["tensorboard", "wandb"])
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """And the extra that brings it, before anything runs."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == library else find(name, *a))
    wanted: dict[str, Any] = {library: True}
    with pytest.raises(MissingExtraError, match=rf"`{library}` is not installed.*lifelong-gym\[logs\]"):
        replace(Outputs(), **wanted).check()


@pytest.mark.parametrize("learner", ["PGELLA", "tests.toy_learners:Counter"])
def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str) -> None:
    """Offline: a run of theirs, with evaluations, and with what learners of SB3's kind log; the bytes stay the same."""
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (extra `logs`)")
    for name, value in {"WANDB_MODE": "offline", "HOME": str(tmp_path), "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()
    logged: list[dict[str, Any]] = []
    log = wandb.Run.log

    def also(self: Any, data: dict[str, Any]) -> None:
        logged.append(data)
        log(self, data)

    monkeypatch.setattr(wandb.Run, "log", also)
    outputs = Outputs(wandb=True)
    outputs.check()
    path = execute(spec(learner, outputs), tmp_path / "logged")
    wandb.teardown()
    assert path.read_bytes() == execute(spec(learner, Outputs()), tmp_path / "plain").read_bytes()
    (theirs,) = (tmp_path / "logged" / "wandb").glob("offline-run-*/*.wandb")
    assert path.stem.encode() in theirs.read_bytes()
    steps = [data["num_timesteps"] for data in logged if "eval/mean_reward" in data]
    assert steps == read_run(path).times.tolist()
    assert any("rollout/ep_rew_mean" in data for data in logged) == (learner == "PGELLA")


def test_weights_and_biases_needs_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for before anything runs, and not by a prompt in a worker."""
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (extra `logs`)")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()
    with pytest.raises(LoginError, match="needs a login"):
        Outputs(wandb=True).check()
    wandb.teardown()
