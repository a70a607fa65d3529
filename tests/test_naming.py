"""How families are named: the same everywhere, in this process, in workers and in files."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from rich.console import Console
from typer.testing import CliRunner

import lifelong_gym
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.records import load, read_runs
from lifelong_gym.benchmark.runner import run_experiment
from lifelong_gym.cli.main import app
from lifelong_gym.envs.family import Family
from lifelong_gym.errors import FamilyError, UnknownNameError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.reference import Reference
from lifelong_gym.registry import FAMILIES, names_family, register_family, registered_here, resolve
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.testing.declarations import check_declarations
from tests.broken_families import Room, variant

ROOM = "tests.broken_families:Room"
SMALL = {"episodes_per_task": 10, "n_evaluations": 2, "n_eval_episodes": 2}


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Writes modules of somebody's; what they register is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before, written = set(FAMILIES), []

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    yield write
    for id in set(FAMILIES) - before:
        del FAMILIES[id], gym.registry[id], pettingzoo.parallel_registry[id], pettingzoo.aec_registry[id]
    for name in written:
        sys.modules.pop(name, None)


def test_a_class_needs_no_id() -> None:
    """``module:Class`` is a family's name; one that is registered goes by its id."""
    assert resolve(ROOM) == ROOM
    assert isinstance(lifelong_gym.family(ROOM), Room)
    assert ROOM not in FAMILIES.values()
    assert resolve("lifelong_gym.envs.control.cart_pole:CartPole") == "LifelongCartPole-v0"
    assert resolve("lifelong_gym:LifelongCartPole-v0") == resolve("LifelongCartPole-v0") == "LifelongCartPole-v0"
    assert lifelong_gym.rollout(ROOM, theta=np.zeros(2), n_trajectories=3).returns.shape == (10, 3)


def test_a_module_that_registers_its_id(own_module: Callable[[str, str], str]) -> None:
    """``module:Id`` everywhere, also where Gymnasium reads the name."""
    own_module(
        "registering",
        "import lifelong_gym\n"
        "from tests.broken_families import Room\n"
        "lifelong_gym.register_family('Fancy-v3', 'registering:Room')\n",
    )
    env = gym.make("registering:Fancy-v3")
    assert env.spec is not None
    assert env.spec.kwargs == {"family": "registering:Room"}  # whoever unpickles it needn't know the id
    assert resolve("registering:Fancy-v3") == resolve("Fancy-v3") == resolve("registering:Room")
    assert resolve("Fancy-v3") == "registering:Fancy-v3"
    assert registered_here()["Fancy-v3"] == "registering:Room"
    assert lifelong_gym.family("Fancy-v3") is lifelong_gym.family("registering:Room")


def test_a_module_that_only_has_the_class(own_module: Callable[[str, str], str]) -> None:
    """An id that is named with the module is registered then; another module's class isn't mistaken for it."""
    for name in ("first", "second"):
        own_module(name, "from tests.broken_families import Room, variant\nMine = variant('Mine')\n")
    assert resolve("first:Mine-v1") == "first:Mine-v1"
    assert gym.make("first:Mine-v1").reset(seed=0)[1]["task_id"] == 0
    with pytest.raises(ValueError, match=r"already registered as 'first:Mine'. Name the class instead: 'second:Mine'"):
        resolve("second:Mine-v1")
    assert type(lifelong_gym.family("second:Mine")) is not type(lifelong_gym.family("first:Mine-v1"))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("LifelongCartPol-v0", UnknownNameError, "Did you mean 'LifelongCartPole-v0'"),
        ("no_such_module:Room", UnknownNameError, "there is no module 'no_such_module' to find 'no_such_module:Room'"),
        (".broken_families:Room", UnknownNameError, "must be named from its top-level package on"),
        ("tests.no_such:Room", UnknownNameError, "there is no module 'tests.no_such'"),
        ("tests.broken_families:Rom-v0", UnknownNameError, "has no 'Rom-v0': it registers no such id"),
        ("tests.broken_families:STATE", FamilyError, "must be a subclass of KernelFamily"),
        ("tests.toy_learners:Counter", FamilyError, "must be a subclass of KernelFamily"),
        ("tests.toy_learners:Counter-v0", UnknownNameError, "it registers no such id"),
    ],
)
def test_what_names_no_family(name: str, error: type[Exception], message: str) -> None:
    """The message says what is missing; nothing is registered."""
    before = dict(FAMILIES)
    with pytest.raises(error, match=message):
        lifelong_gym.family(name)
    assert not names_family(name)
    assert before == FAMILIES


def test_workers_and_files_know_them(own_module: Callable[[str, str], str], tmp_path: Path) -> None:
    """Families registered here, and such that nobody registered; without a reference, raw returns are compared."""
    own_module("cosy", "from tests.broken_families import Room, Thermostat\n")
    register_family("Nickname-v2", "cosy:Thermostat")
    learners = ["tests.toy_learners:Counter", "zero"]
    experiment = Experiment.of_dict(
        {"learners": learners, "families": ["Nickname-v2", "cosy:Room-v0", ROOM], "protocol": SMALL, "seeds": 1}
    )
    names = [spec.id for spec in experiment.families]
    assert names == ["cosy:Nickname-v2", "cosy:Room-v0", ROOM]
    outcome = run_experiment(experiment, tmp_path / "runs", Console(file=io.StringIO()), n_processes=1)
    assert outcome.failed == {}
    assert Experiment.read(tmp_path / "runs" / "experiment.toml") == experiment
    runs = read_runs(tmp_path / "runs")
    assert {run.family for run in runs} == set(names)
    for run in runs:
        assert run.header["references"] is None
        assert not run.is_normalised
        np.testing.assert_array_equal(run.performance(), run.returns.mean(axis=2))
        assert np.isnan(run.reference("best")).all()
    table = load(tmp_path / "runs")
    assert table[["normalised", "best", "zero"]].isna().all(axis=None)
    assert table["return"].notna().all()


def test_commands_take_them(own_module: Callable[[str, str], str], tmp_path: Path) -> None:
    """Also such without a reference, whose final returns are shown as they are."""
    own_module("chilly", "from tests.broken_families import Room\n")

    def lifelong(*words: str) -> str:
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    assert "A room to be kept warm" in lifelong("list", "chilly:Room")
    assert "It names no reference" in lifelong("list", "chilly:Room", "--references")
    budget = ["--n-tasks", "2", "--seeds", "1", "--episodes-per-task", "10", "--n-evaluations", "2", "--processes", "1"]
    folder = str(tmp_path / "runs")
    shown = lifelong("benchmark", "--envs", "chilly:Room", "--agents", "zero", *budget, "--folder", folder)
    assert "chilly:Room" in shown
    (run,) = read_runs(folder)
    assert f"{-run.performance()[-1].mean():.2f}" in shown
    assert CliRunner().invoke(app, ["list", "nowhere:Room"]).exit_code == 2


def test_a_family_is_compared_once() -> None:
    """Whatever it is called."""
    names = ["LifelongSimpleMass-v0", "lifelong_gym:LifelongSimpleMass-v0"]
    with pytest.raises(ExperimentError, match=r"families\.\S+: named twice; give one another label"):
        Experiment.of_dict({"learners": ["zero"], "families": names})
    assert FamilySpec.of(names[1]).id == names[0]


class Warmest(Reference):
    """Full power, and what that is said to earn."""

    how = "full power"
    version = 7
    earns: FloatArray = np.zeros(2)

    def predict(self, observations: FloatArray) -> FloatArray:
        """Up."""
        return np.ones((len(observations), 1), np.float32)

    def best(self, measure: Callable[[object], FloatArray]) -> FloatArray:
        """As it is said."""
        return self.earns

    def zero(self, measure: Callable[[object], FloatArray]) -> FloatArray:
        """Full power is nothing."""
        return measure(self)


Heated = variant("Heated", reference=f"{__name__}:Warmest")


def test_a_reference_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its returns, measured or known otherwise, with its version and how it found them."""
    name = f"{__name__}:Heated"
    tasks = lifelong_gym.sample_tasks(name, 2)
    found = measured_references(name, tasks, 3, 0)
    assert found is not None
    assert (found["version"], found["how"], found["best"]) == (7, "full power", [0.0, 0.0])
    assert max(found["zero"]) < 0.0
    assert found["random"] != found["zero"]
    for earns, message in (
        (np.full(2, -1e9), f"{name}: `best` must be above `zero` in every task"),
        (np.zeros(3), r"`best` must be finite numbers of shape \(2,\)"),
        (np.array([0.0, np.nan]), "`best` must be finite numbers"),
    ):
        monkeypatch.setattr(Warmest, "earns", earns)
        with pytest.raises(ValueError, match=message):
            measured_references(name, tasks, 3, 0)


class Silent(Reference):
    """Doesn't say how."""

    def predict(self, observations: FloatArray) -> FloatArray:
        """Up."""
        return observations


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (f"{__name__}:SMALL", "`reference` must name a subclass of Reference. Received"),
        (f"{__name__}:Silent", "must say in `how`"),
        ("nowhere:Best", "raises ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_bad_references_are_found_out(reference: str, message: str) -> None:
    """By the public checkers."""
    with pytest.raises(FamilyError, match=message):
        check_declarations("Room-v0", variant("Referring", reference=reference)())


def test_references_refuse_families_that_they_cannot_solve() -> None:
    """Search needs numbers, value iteration tables."""
    from lifelong_gym.references.linear import LinearSearch
    from lifelong_gym.references.tabular import ValueIteration

    grid: Family = lifelong_gym.family("LifelongGridWorld-v0")
    tasks: TaskSet = grid.parameters.sample(1)
    with pytest.raises(ValueError, match=r"must have vectors as observations\. Received GridWorld"):
        LinearSearch(grid, tasks, "goal")
    room = lifelong_gym.family(ROOM)
    with pytest.raises(FamilyError, match="Room must have Discrete actions and observations, and states that don't"):
        ValueIteration(room, room.parameters.sample(1), "warmth")
