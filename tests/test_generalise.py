"""The protocol ``generalise``: what is learned in one set of tasks, evaluated in others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lifelong_gym.benchmark import load
from lifelong_gym.benchmark.baselines import Zero
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, levels_of, together
from lifelong_gym.benchmark.records import read_run, read_runs
from lifelong_gym.benchmark.run import RunSpec
from lifelong_gym.cli.main import app
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.registry import family
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.study import studies

POLE = f"{__name__}:Pole"
CORRIDOR = "tests.corridors:Corridor"
CLIMBER = "tests.toy_learners:Climber"
HORIZON = 10
SETS: dict[str, Any] = {"wide": {"preset": "wide", "n_tasks": 5, "horizon": 20}, "engine": {"physics": "mujoco"}}
PROTOCOL = {"name": "generalise", "episodes_per_task": 8, "n_evaluations": 2, "n_eval_episodes": 2}


class Pole(type(family("LifelongCartPole-v0"))):  # type: ignore[misc]
    """Without a search for its best policies, which takes long."""

    reference = None


def experiment(learner: str, sets: Any = SETS, name: str = POLE, **table: Any) -> Experiment:
    """Of one learner, on three tasks."""
    drawn = {"n_tasks": 3, "horizon": HORIZON, **({"evaluate": sets} if sets else {}), **table}
    return Experiment.of_dict({"learners": [learner], "families": {name: drawn}, "protocol": PROTOCOL, "seeds": 1})


def only_run(made: Experiment) -> RunSpec:
    """The one it has, with references."""
    ((drawn, spec),) = made.runs()
    levels = {each: levels_of(each, made.protocol) for each in (drawn, *drawn.sets.values())}
    return replace(spec, references=together(drawn, levels))


class Watched(Zero):
    """Does nothing, and remembers how many observations it got."""

    sizes: list[int] = []  # noqa: RUF012

    def predict(self, observations: Any) -> Any:
        """Actions."""
        Watched.sizes.append(len(observations))
        return super().predict(observations)


def test_what_is_measured_in_a_set(tmp_path: Path) -> None:
    """Its tasks, preset, horizon and engine, as stepping by hand gives it; batches hold every task of the set."""
    Watched.sizes.clear()
    spec = only_run(experiment(f"{__name__}:Watched"))
    run = read_run(spec.execute(tmp_path, lambda share: None))
    assert set(Watched.sizes) == {2 * 3, 2 * 5}
    assert list(run.sets) == ["wide", "engine"]
    (drawn,) = experiment("zero").families
    for name, size, horizon, physics in (("wide", 5, 20, "kernel"), ("engine", 3, HORIZON, "mujoco")):
        part = run.sets[name]
        assert part.returns.shape == (3, size, 2)
        assert part.header["tasks_hash"] == drawn.sets[name].tasks.hash
        env = LifelongVectorEnv(POLE, 2 * size, tasks=drawn.sets[name].tasks, horizon=horizon, physics=physics)
        env.reset(seed=(run.settings["protocol"]["evaluation_seed"] + np.arange(2 * size)).tolist())
        still = np.zeros((2 * size, 1), np.float32)
        returns = np.sum([env.step(still)[1] for _ in range(horizon)], axis=0)
        env.close()
        assert part.returns[-1] == pytest.approx(returns.reshape(2, size).T)
    assert 'physics="mujoco"' in run.sets["engine"].made
    assert np.allclose(run.sets["engine"].returns, run.returns, rtol=0.05)  # the same tasks and starts, another engine


def test_from_flags_to_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method of somebody else's: each set has its columns, and the gap is what is lost there."""
    monkeypatch.chdir(tmp_path)

    def lifelong(*words: str) -> str:
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return done.output

    words = ["benchmark", "--protocol", "generalise", "--agents", f"{CLIMBER},zero", "--envs", f"pole={POLE}"]
    words += ["--n-tasks", "3", "--horizon", str(HORIZON), "--episodes-per-task", "8", "--n-evaluations", "2"]
    words += ["--evaluate", "wide:preset=wide", "--evaluate", "wide:n_tasks=5", "--evaluate", "engine:physics=mujoco"]
    lifelong(*words, "--seeds", "2", "--processes", "1", "--folder", "b")
    runs = read_runs("b")
    ((study,), left_out) = studies(runs)
    assert not left_out
    assert study.scores("Climber").shape == (2, 5 + 3)
    assert study.task_names == [*(f"wide {i}" for i in range(5)), *(f"engine {i}" for i in range(3))]
    (table,) = tables(study)
    cells = dict(zip([column.name for column in table.columns], table.rows["Climber"], strict=True))
    estimates = {name: cell.interval.estimate for name, cell in cells.items() if cell.interval is not None}
    for name in ("wide", "engine"):
        trained, there = ([one.performance()[-1].mean() for one in ones] for ones in zip(
            *[(run, run.sets[name]) for run in study.runs["Climber"]], strict=True
        ))  # fmt: skip
        assert estimates[f"final return in {name}"] == pytest.approx(np.mean(there))
        assert estimates[f"gap to {name}"] == pytest.approx(np.mean(trained) - np.mean(there))
    frame = load("b")
    assert frame.groupby("set").task.nunique().to_dict() == {"training": 3, "wide": 5, "engine": 3}
    lifelong("report", "b")
    page = Path("b/report/report.html").read_text()
    assert "generalisation protocol" in page
    assert "and in wide (" in page
    assert "gap to engine" in page


def test_sets_have_references_of_their_own(tmp_path: Path) -> None:
    """Each is measured on its own scale; a set that only prolongs episodes takes policies of the tasks learned."""
    made = experiment("reference", {"longer": {"horizon": 12}}, CORRIDOR, horizon=6)
    spec = only_run(made)
    assert spec.references is not None
    assert np.less(spec.references["best"], spec.references["sets"]["longer"]["best"]).all()
    run = read_run(spec.execute(tmp_path, lambda share: None))
    assert run.sets["longer"].reference("best").tolist() == spec.references["sets"]["longer"]["best"]
    settings = json.loads(json.dumps(made.to_dict()))
    assert Experiment.of_dict(settings) == made
    assert settings["families"][CORRIDOR]["evaluate"]["longer"]["horizon"] == 12


@pytest.mark.parametrize(
    ("learner", "name", "sets", "message"),
    [
        ("A2C", CORRIDOR, {"big": {"arguments": {"size": 7}}}, r"`evaluate\.big` must have the observations .* Dis"),
        (
            "reference",
            CORRIDOR,
            {"else": {"task_seed": 1}},
            r"the tasks of `evaluate\.else` aren't those that are learn",
        ),
        (
            "REINFORCE",
            POLE,
            {"wide": {"preset": "wide"}},
            r"the tasks of `evaluate\.wide` aren't those that are learned",
        ),
        ("A2C+one_hot", POLE, {"few": {"n_tasks": 2}}, r"`evaluate\.few` must have the observations of the tasks"),
        ("A2C+scratch", POLE, {"engine": {"physics": "mujoco"}}, r"learns every task from scratch, and has nothing"),
        ("zero", POLE, None, r"\.evaluate: must name at least one set\. Received \[\] under 'generalise'"),
    ],
)
def test_what_can_t_act_there_is_refused(learner: str, name: str, sets: Any, message: str) -> None:
    """Before anything runs, with learner, family and set."""
    with pytest.raises(ExperimentError, match=message):
        experiment(learner, sets, name).check()


def test_learners_of_tasks_act_in_the_same_tasks() -> None:
    """Under another engine, and one policy for all in any."""
    experiment("REINFORCE", {"engine": {"physics": "mujoco"}}).check()
    shared = {"class": "REINFORCE", "arguments": {"shared": True}}
    made = experiment("zero").to_dict()
    Experiment.of_dict({**made, "learners": {"one for all": shared}}).check()
