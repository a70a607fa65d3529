"""`lifelong tune`: studies that go on, on tasks that aren't reported, and what is made of their settings."""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lifelong_gym.benchmark import tuning as module
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, levels_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.folder import refuse_other_labels
from lifelong_gym.benchmark.learners import LearnerSpec, learner_class
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.search_spaces import SPACES, Between, OneOf, Search, SearchSpaceError
from lifelong_gym.benchmark.tuning import TASK_SEED, Tuning, TuningError, tune
from lifelong_gym.reports.about import setting
from lifelong_gym.reports.study import studies
from tests.running import run_here
from tests.toy_learners import Counter

LEARNER = f"{__name__}:Pusher"
CORRIDOR = "tests.corridors:Corridor"
SMALL = Protocol(episodes_per_task=2, n_evaluations=2, n_eval_episodes=1, evaluation_seed=2_000_000)


class Pusher(Counter):
    """Learns nothing; how well it does is what it is made with."""

    search_space = {"action": OneOf((0, 1)), "unused": Between(-1.0, 3.0)}  # noqa: RUF012

    def __init__(self, env: Any, seed: int = 0, action: int = 0, unused: float = 1.0) -> None:
        if unused < 0:
            raise ValueError("`unused` must be positive")
        super().__init__(env, seed)
        self.action = action

    def learn(self, total_timesteps: int) -> None:
        """Take the steps."""
        self.env.reset()
        while self.num_timesteps < total_timesteps:
            self.env.step(np.zeros(self.env.num_envs, np.int64))
            self.num_timesteps += self.env.num_envs

    def predict(self, observations: Any) -> Any:
        """Always the same."""
        return np.full(len(observations), self.action)


def right(trial: Any) -> dict[str, Any]:
    """A space as a function: the door is to the right."""
    return {"action": trial.suggest_int("action", 1, 1)}


def nowhere(trial: Any) -> dict[str, Any]:
    """No setting that can be made."""
    return {"unused": -trial.suggest_float("unused", 1.0, 2.0)}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials in this process: starting others takes seconds."""

    def run(jobs: Any, folder: Path, *_: Any) -> None:
        for job in jobs:
            job.execute(folder, lambda share: None)

    levels = levels_of(FamilySpec.of(CORRIDOR, 2, task_seed=TASK_SEED), SMALL)
    monkeypatch.setattr(module, "run_jobs", run)
    monkeypatch.setattr(module.References, "measured", lambda self, families, _: dict.fromkeys(families, levels))


def tuning(folder: Path, learner: str = LEARNER, space: str | None = None) -> Tuning:
    """A small study."""
    spec = LearnerSpec.of(learner)
    family = FamilySpec.of(CORRIDOR, 2, task_seed=TASK_SEED)
    return Tuning(spec, family, SMALL, Search(spec.kind, space), folder, "lifelong tune this")


@pytest.mark.usefixtures("here")
def test_a_study_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """Every trial counts once, the first has the defaults, and what was cut short is tried again."""
    console, made = Console(quiet=True), tuning(tmp_path)
    tune(made, 2, console)
    study = made.study()
    assert study.trials[0].user_attrs["arguments"] == {}
    cut = study.ask()
    with made.journal.open("ab") as file:
        file.write(b'{"op_code":')
    table = tune(made, 8, console)
    trials = made.study().trials
    assert trials[cut.number].state.name == "FAIL"
    assert sum(trial.state.name != "FAIL" for trial in trials) == 8
    assert [trial.user_attrs["arguments"] for trial in trials if "arguments" in trial.user_attrs].count({}) == 1
    assert any("`unused` must be positive" in trial.user_attrs.get("why", "") for trial in trials)
    assert any(trial.state.name == "COMPLETE" and len(trial.intermediate_values) == 3 for trial in trials)
    assert table["arguments"]["action"] == 1
    assert tune(made, 8, console) == table
    assert len(made.study().trials) == len(trials)
    with pytest.raises(ExperimentError, match=r"is a study with other settings \(protocol\)"):
        tune(replace(made, protocol=replace(SMALL, n_evaluations=1)), 9, console)


@pytest.mark.usefixtures("here")
def test_what_is_found_is_what_experiments_take(tmp_path: Path) -> None:
    """With the command that found it; a learner from scratch is tuned task by task."""
    console = Console(quiet=True)
    for learner in (LEARNER, f"{LEARNER}+scratch"):
        tune(tuning(tmp_path, learner, f"{__name__}:right"), 3, console)
    found = tomllib.loads((tmp_path / "tuned.toml").read_text())[CORRIDOR]
    content = {"learners": found, "families": {CORRIDOR: {"n_tasks": 2}}, "seeds": 1}
    together, alone = Experiment.of_dict(content).learners
    assert (together.label, together.kind, together.arguments) == ("Pusher", LEARNER, {"action": 1})
    assert (together.settings, together.command) == ("tuned", "lifelong tune this")
    assert alone.alone
    assert Experiment.of_dict(Experiment.of_dict(content).to_dict()).learners == (together, alone)
    with pytest.raises(TuningError, match=r"no trial in .* came to its end"):
        tune(replace(tuning(tmp_path / "none", space=f"{__name__}:nowhere"), learner=_never()), 2, console)


@pytest.mark.usefixtures("here")
def test_a_benchmark_with_what_was_found(tmp_path: Path) -> None:
    """Learners without arguments have it on the family that it was found for; run files and the page say so."""
    tune(tuning(tmp_path, space=f"{__name__}:right"), 3, Console(quiet=True))
    given = {LEARNER: {}, "mine": {"class": LEARNER, "arguments": {"action": 0}}}
    drawn = {"n_tasks": 2, "task_seed": 1}
    protocol = {"episodes_per_task": 1, "n_evaluations": 1, "n_eval_episodes": 1}
    content = {"learners": given, "families": {CORRIDOR: drawn}, "protocol": protocol, "seeds": 1}
    made = Experiment.of_dict({**content, "tuned": str(tmp_path / "tuned.toml")})
    assert Experiment.of_dict(made.to_dict()) == made
    tuned, mine = run_here(made, tmp_path / "runs")
    assert tuned.settings["learner"]["arguments"] == {"action": 1}
    assert tuned.settings["learner"]["settings"] == "tuned"
    assert "settings" not in mine.settings["learner"]
    refuse_other_labels(tmp_path / "runs", made)
    with pytest.raises(ExperimentError, match=r"learners\.Pusher: .* is a run of another learner of that name"):
        refuse_other_labels(tmp_path / "runs", Experiment.of_dict(content))
    words = setting(studies([tuned, mine])[0], {}).body
    assert "tuned by <code>lifelong tune this</code>" in words
    assert "given: <code>action=0</code>" in words
    found = tomllib.loads((tmp_path / "tuned.toml").read_text())
    found[CORRIDOR]["Pusher"]["alone"] = True
    with pytest.raises(ExperimentError, match="must be of the learner of that name"):
        Experiment.of_dict({**content, "tuned": found}).runs()


def _never() -> LearnerSpec:
    return LearnerSpec.of(f"{__name__}:Diverging")


class Diverging(Pusher):
    """Never comes to an end."""

    def learn(self, total_timesteps: int) -> None:
        """Nothing is learned."""
        raise FloatingPointError("overflow")


def test_settings_say_where_they_come_from() -> None:
    """By default, given, or tuned by a command."""
    assert LearnerSpec.of("PPO").settings == "default"
    assert LearnerSpec.of("PPO", arguments={"gamma": 0.9}).settings == "given"
    with pytest.raises(ValueError, match='`settings` must be "tuned", with the `command` that found them'):
        LearnerSpec.of("PPO", settings="tuned")


@pytest.mark.parametrize("name", SPACES)
def test_spaces_name_arguments_that_there_are(name: str) -> None:
    """Of the constructors of their classes."""
    assert SPACES[name].keys() <= inspect.signature(learner_class(name)).parameters.keys()
    assert Search(name).describe() == Search(name).describe() != ""


def test_whoever_has_no_space_says_so() -> None:
    """And what to do."""
    with pytest.raises(SearchSpaceError, match="nothing says what to search for 'random'"):
        Search("random").describe()
    with pytest.raises(SearchSpaceError, match="a function of a trial, or a table"):
        Search("PPO", f"{__name__}:CORRIDOR").describe()
