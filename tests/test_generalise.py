"""The protocol ``generalise``: what is learned in one set of tasks, evaluated in others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym.benchmark import load
from lifelong_gym.benchmark.baselines import Zero
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError
from lifelong_gym.cli.options import sets_of
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.registry import family
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.report import write_report
from lifelong_gym.reports.study import studies
from tests.running import run_here

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
    (run,) = run_here(experiment(f"{__name__}:Watched"), tmp_path)
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


def test_from_a_description_to_a_page(tmp_path: Path) -> None:
    """A method of somebody else's: each set has its columns, and the gap is what is lost there."""
    content = experiment(CLIMBER).to_dict()
    runs = run_here(Experiment.of_dict({**content, "learners": [CLIMBER, "zero"], "seeds": 2}), tmp_path)
    ((study,), left_out) = studies(runs)
    assert not left_out
    assert study.scores("Climber").shape == (2, 5 + 3)
    assert study.task_names == [*(f"wide {i}" for i in range(5)), *(f"engine {i}" for i in range(3))]
    (table,) = tables(study)
    cells = dict(zip([column.name for column in table.columns], table.rows["Climber"], strict=True))
    estimates = {name: cell.interval.estimate for name, cell in cells.items() if cell.interval is not None}
    trained = np.mean([run.performance()[-1] for run in study.runs["Climber"]])
    for name in ("wide", "engine"):
        there = np.mean([run.sets[name].performance()[-1] for run in study.runs["Climber"]])
        assert estimates[f"final return in {name}"] == pytest.approx(there)
        assert estimates[f"gap to {name}"] == pytest.approx(trained - there)
    assert load(tmp_path).groupby("set").task.nunique().to_dict() == {"training": 3, "wide": 5, "engine": 3}
    page = write_report(tmp_path)[0].read_text()
    assert all(words in page for words in ("generalisation protocol", "and in wide (", "gap to engine"))


def test_sets_on_the_command_line() -> None:
    """By name; values are JSON or text, and a dot leads into a table."""
    texts = ["wide:preset=wide", "wide:n_tasks=5", "big:arguments.size=7", "big:arguments.prices=[1, 2]"]
    assert sets_of(texts) == {
        "wide": {"preset": "wide", "n_tasks": 5},
        "big": {"arguments": {"size": 7, "prices": [1, 2]}},
    }
    with pytest.raises(ValueError, match=r"a set of tasks must be `NAME:key=value`\. Received 'preset=wide'"):
        sets_of(["preset=wide"])
    with pytest.raises(ValueError, match=r"a setting of 'wide' must be given once\. Received 'preset' twice"):
        sets_of(["wide:preset=wide", "big:preset=wide", "wide:preset=hetero"])


def test_sets_have_references_of_their_own(tmp_path: Path) -> None:
    """Each is measured on its own scale; a set that only prolongs episodes takes policies of the tasks learned."""
    made = experiment("reference", {"longer": {"horizon": 12}}, CORRIDOR, horizon=6)
    (run,) = run_here(made, tmp_path)
    assert np.less(run.reference("best"), run.sets["longer"].reference("best")).all()
    assert run.sets["longer"].reference("best").tolist() == run.header["references"]["sets"]["longer"]["best"]
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
