"""What envs are made with in experiments, run files and commands, and one family under several names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lifelong_gym.benchmark import load
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, levels_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.folder import refuse_other_labels
from lifelong_gym.benchmark.models import evaluate
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.records import Run, read_runs
from lifelong_gym.cli.main import app
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.numerics.optima import optimal_return
from lifelong_gym.registry import family
from lifelong_gym.reports.study import studies
from tests.running import run_here

ID = f"{__name__}:Mass"
SMALL = {"episodes_per_task": 4, "n_evaluations": 2, "n_eval_episodes": 2}
SETTINGS: dict[str, Any] = {"reward": "quadratic", "horizon": 12, "constraints": {"position": 0.2}}


class Mass(type(family("LifelongSimpleMass-v0"))):  # type: ignore[misc]
    """Without a search for its best policies, which takes long."""

    reference = None


def experiment(families: dict[str, Any], learners: list[str] | None = None, **more: Any) -> Experiment:
    """Small, of these families."""
    tables = {name: {"n_tasks": 3, **table} for name, table in families.items()}
    content = {"learners": learners or ["zero"], "families": tables, "protocol": SMALL, "seeds": 1}
    return Experiment.of_dict({**content, **more})


def run(folder: Path, learner: str, outputs: Outputs | None = None, **table: Any) -> Run:
    """A learner's on one family, made in this process."""
    (made,) = run_here(experiment({ID: table}, [learner]), folder, outputs)
    return made


def test_an_experiment_keeps_them() -> None:
    """Those that differ from what would be, JSON-native and in one order; what is written is read back."""
    made = experiment({ID: SETTINGS})
    (spec,) = made.families
    assert spec.settings == SETTINGS
    assert spec.horizon == 12
    assert Experiment.of_dict(json.loads(json.dumps(made.to_dict()))) == made
    kind = spec.family
    usual = {"reward": "norm", "physics": "kernel", "horizon": kind.horizon, "constraints": None}
    assert experiment({ID: usual}) == experiment({ID: {}})
    assert experiment({ID: {}}).runs()[0][1].name == experiment({ID: usual}).runs()[0][1].name
    names = {experiment({ID: {key: value}}).runs()[0][1].name for key, value in SETTINGS.items()}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"reward": "quadratik"}, r"unknown reward 'quadratik'\. Did you mean 'quadratic'\?"),
        ({"physics": "kernl"}, r"unknown physics 'kernl'\. Did you mean 'kernel'\?"),
        ({"horizon": 0}, r"`horizon` must be an integer of at least 1\. Received 0"),
        ({"horizon": True}, r"`horizon` must be an integer of at least 1\. Received True"),
        ({"constraints": {"positon": 1.0}}, r"unknown channel in `constraints` 'positon'\. Did you mean 'position'\?"),
        ({"constraints": 3}, r"`constraints` must be a dict .* Received 3"),
        ({"horizn": 9}, r"unknown key 'horizn'\. Did you mean 'horizon'\?"),
        ({"id": 3}, r"`id` must be the id of an environment\. Received 3"),
        ({"id": "LifelongSimpleMas-v0"}, r"Did you mean 'LifelongSimpleMass-v0'\?"),
        ({"evaluate": 3}, r"`evaluate` must be a table of tables\. Received 3"),
        ({"evaluate": {"wide": 3}}, r"`evaluate\.wide` must be a table\. Received 3"),
        ({"evaluate": {"wide": {"presett": "wide"}}}, r"key in `evaluate\.wide` 'presett'\. Did you mean 'preset'\?"),
        ({"evaluate": {"wide": {"horizon": -1}}}, r"`evaluate\.wide`: `horizon` must .* Received -1"),
        ({"evaluate": {"training": {}}}, r"`evaluate\.training` must have another name"),
        (
            {"evaluate": {"wide": {"preset": "wide"}}},
            r"\.evaluate: belongs to `generalise`\. Received \['wide'\] under",
        ),
    ],
)
def test_wrong_tables(table: dict[str, Any], message: str) -> None:
    """The message begins with the family and names key, constraint and value."""
    with pytest.raises(ExperimentError, match=rf"^families\.{ID}.*{message}"):
        experiment({ID: table})


def test_runs_are_made_with_them(tmp_path: Path) -> None:
    """What is measured is what stepping by hand gives; violations are shares of steps."""
    zero = run(tmp_path, "zero", **SETTINGS)
    assert zero.times.tolist() == [0, 3 * 12 * 2, 3 * 12 * 4]
    assert {name: zero.settings["family"][name] for name in SETTINGS} == SETTINGS
    assert zero.family == f'{ID} (reward="quadratic", horizon=12, constraints={{"position": 0.2}})'

    episodes = zero.settings["protocol"]["evaluation_seed"] + np.arange(6)
    env = LifelongVectorEnv(ID, num_envs=6, tasks=zero.settings["family"]["tasks"], **SETTINGS)
    env.reset(seed=episodes.tolist())
    returns, violations = np.zeros(6), np.zeros(6)
    actions = env.single_action_space.shape or ()
    for _ in range(12):
        _, rewards, _, _, infos = env.step(np.zeros((6, *actions), np.float32))
        returns += rewards
        violations += infos["constraint_violation"]
    assert zero.returns[-1] == pytest.approx(returns.reshape(2, 3).T)
    assert zero.violations is not None
    assert zero.violations[-1] == pytest.approx(violations.reshape(2, 3).mean(axis=0) / 12)
    assert 0 < zero.violations[-1].mean() < 1
    assert run(tmp_path, "zero").violations is None


def test_the_scale_belongs_to_them() -> None:
    """The best policies known are those of episodes of this horizon, and earn the exact optimum of these."""
    name, short = "LifelongGridWorld-v0", 40
    drawn = FamilySpec.of(name, 2, horizon=short)
    references = levels_of(drawn, Protocol(n_eval_episodes=2)).references
    made = family(name)
    assert short < made.horizon
    exact = [optimal_return(tabular_model(made, task), short) for task in drawn.tasks]
    assert references is not None
    assert references["best"] == pytest.approx(exact)


def test_kept_models_are_evaluated_there(tmp_path: Path) -> None:
    """With the same reward, horizon and constraints as in the run."""
    made = run(tmp_path, "REINFORCE", Outputs(keep_models=True), **SETTINGS)
    again = evaluate(made.path)
    assert np.array_equal(again.returns, made.returns[-1])
    assert made.violations is not None
    assert again.violations == pytest.approx(made.violations[-1], abs=0)


TWICE: dict[str, Any] = {
    "alike": {"id": ID, "preset": "default"},
    "unlike": {"id": ID, "horizon": 12},
    ID: {"horizon": 12},
}


def test_one_family_under_several_names(tmp_path: Path) -> None:
    """Their runs, files and figures stay apart, and `only` picks one; a name stands for one family in a folder."""
    made = experiment(TWICE, ["zero", "random"])
    assert [spec.name for spec in made.families] == ["alike", "unlike", ID]
    assert Experiment.of_dict(json.loads(json.dumps(made.to_dict()))) == made
    names = [spec.name for _, spec in made.runs()]
    assert len(set(names)) == 6
    assert (
        sum("--alike--default--" in name for name in names) == sum("--unlike--hetero--" in name for name in names) == 2
    )
    assert [spec.name for spec in made.part(["unlike"]).families] == ["unlike"]

    assert len(run_here(made, tmp_path)) == 6
    compared, left_out = studies(read_runs(tmp_path))
    assert not left_out
    shown = {study.family: set(study.runs) for study in compared}
    both = {"zero", "random"}
    assert shown == {"alike": both, "unlike": both, f"{ID} (horizon=12) (hetero)": both}
    assert len({study.name for study in compared}) == 3
    assert set(load(tmp_path)["family"]) == {"alike", "unlike", f"{ID} (horizon=12)"}

    other = experiment({"alike": {"id": ID, "preset": "hetero"}}, ["zero"])
    with pytest.raises(ExperimentError, match=r"families\.alike: .* another family of that name \(preset 'default'\)"):
        refuse_other_labels(tmp_path, other)
    refuse_other_labels(tmp_path, made.part(["alike"]))


def test_a_label_is_given_once() -> None:
    """Two families of one name can't be told apart."""
    one = FamilySpec.of(ID, 2)
    with pytest.raises(ExperimentError, match=rf"families\.{ID}: named twice; give one another label"):
        replace(experiment({ID: {}}), families=(one, FamilySpec.of(ID, 2, horizon=9)))


def test_commands_take_them(tmp_path: Path) -> None:
    """From flags to files and on to a page that shows the label and what stands behind it."""

    def lifelong(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "160"})
        assert done.exit_code == code, done.output
        return done.output

    folder = str(tmp_path / "b")
    words = ["benchmark", "--agents", "zero", "--envs", f"short={ID}", "--n-tasks", "2", "--seeds", "1"]
    words += ["--episodes-per-task", "2", "--n-evaluations", "1", "--processes", "1", "--folder", folder]
    flags = ["--reward", "quadratic", "--horizon", "12", "--constraint", "position=0.2", "--physics", "kernel"]
    lifelong(*words, *flags)
    (found,) = read_runs(folder)
    assert {name: found.settings["family"][name] for name in SETTINGS} == SETTINGS
    assert (found.family, found.settings["family"]["id"]) == ("short", ID)
    lifelong("report", folder)
    page = (tmp_path / "b" / "report" / "report.html").read_text()
    assert all(word in page for word in ("<strong>short</strong>", "horizon=12", "violations"))
    assert "Did you mean 'quadratic'?" in lifelong(*words, "--reward", "quadratik", code=2)
    assert "`n_agents`, `rounds` and `meeting_steps` belong to the protocol" in lifelong(
        *words, "--n-agents", "2", code=2
    )
    assert "must be `NAME:key=value`" in lifelong(*words, "--evaluate", "preset", code=2)
