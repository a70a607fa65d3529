"""Interrupted runs go on only from what is as they left it; else they begin again, and end in the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifelong_gym import sample_tasks
from lifelong_gym.agents import PGELLA
from lifelong_gym.benchmark import writer
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import EVALUATION_SEED, Protocol
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.benchmark.run import RunSpec, execute

ID, N_MARKS, DONE = "LifelongSimpleMass-v0", 4, 3  # marks besides the one before training; passed before the kill
TASKS = sample_tasks(ID, 3, preset="hetero")
REFERENCES = measured_references(ID, TASKS, 2, EVALUATION_SEED)


class Kill(BaseException):
    """What nobody catches."""


def spec(learner: str = "PGELLA", seed: int = 0) -> RunSpec:
    """A run of a few sweeps."""
    small = Protocol(episodes_per_task=20, n_evaluations=N_MARKS, n_eval_episodes=2)
    return RunSpec(LearnerSpec.of(learner), FamilySpec.of(ID, 3), TASKS, small, seed, REFERENCES)


def killed(folder: Path, made: RunSpec) -> Path:
    """An unfinished file that holds `DONE` evaluations."""
    measure, calls = Evaluation.measure, []

    def measure_or_die(self: Evaluation, learner: Any) -> Any:
        calls.append(learner)
        if len(calls) > DONE:
            raise Kill
        return measure(self, learner)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluation, "measure", measure_or_die)
        with pytest.raises(Kill):
            execute(made, folder)
    return folder / f"{made.name}.jsonl.part"


def gone_on(folder: Path, made: RunSpec) -> tuple[Path, int]:
    """The finished file, and how many evaluations that took."""
    measure, calls = Evaluation.measure, []

    def count(self: Evaluation, learner: Any) -> Any:
        calls.append(learner)
        return measure(self, learner)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluation, "measure", count)
        return execute(made, folder), len(calls)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one go."""
    return execute(spec(), tmp_path_factory.mktemp("whole"))


def model_of(part: Path) -> Path:
    """The checkpoint's."""
    (model,) = part.parent.glob("*.at*.model.zip")
    return model


def other_seed(part: Path) -> None:
    """Its model is that of another run."""
    other = killed(part.parent / "other", spec(seed=1))
    shutil.copy(model_of(other), model_of(part))
    shutil.rmtree(other.parent)


def edited(old: bytes, new: bytes) -> Callable[[Path], None]:
    """A number in the run file."""

    def edit(part: Path) -> None:
        data = part.read_bytes()
        assert old in data
        part.write_bytes(data.replace(old, new, 1))

    return edit


def line_lost(part: Path) -> None:
    """The last one never reached the disk."""
    part.write_bytes(b"".join(part.read_bytes().splitlines(keepends=True)[:-1]))


ATTACKS: dict[str, Callable[[Path], Any]] = {
    "no model": lambda part: model_of(part).unlink(),
    "an empty model": lambda part: model_of(part).write_bytes(b""),
    "a model that was cut": lambda part: model_of(part).write_bytes(model_of(part).read_bytes()[:500]),
    "another seed's model": other_seed,
    "no state": lambda part: model_of(part).with_suffix("").with_suffix(".json").unlink(),
    "a deep state": lambda part: model_of(part).with_suffix("").with_suffix(".json").write_text("[" * 100_000),
    "a lost last line": line_lost,
    "an edited return": edited(b'"returns": [[-', b'"returns": [[-1'),
    "not a number": edited(b'"returns": [[-', b'"returns": [[NaN, -'),
    "a number that isn't JSON": edited(b'"returns": [[-', b'"returns": [[--'),
    "an edited header": edited(b'"seed": 0', b'"seed": 7'),
    "an empty file": lambda part: part.write_bytes(b""),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_was_changed_begins_again(tmp_path: Path, whole: Path, attack: Callable[[Path], Any]) -> None:
    """No number that isn't of this run gets into the file, no hand is needed, and nothing is left over."""
    attack(killed(tmp_path, spec()))
    path, n = gone_on(tmp_path, spec())
    assert n == N_MARKS + 1
    assert path.read_bytes() == whole.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in whole.parent.iterdir()}


def test_what_kills_during_a_save_leave_is_removed(tmp_path: Path, whole: Path) -> None:
    """Half a checkpoint, half a time, half a traceback; the run goes on where it was."""
    part = killed(tmp_path, spec())
    name = spec().name
    for left in (f".{name}.at4.model.zip.0af3.part", f"{name}.at4.json.77.part", f"{name}.timing.json.77.part"):
        (tmp_path / left).write_bytes(b"{")
    shutil.copy(model_of(part), tmp_path / f"{name}.at4.model.zip")
    path, n = gone_on(tmp_path, spec())
    assert n == N_MARKS + 1 - DONE
    assert path.read_bytes() == whole.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in whole.parent.iterdir()}


@pytest.mark.parametrize("learner", ["PGELLA", "tests.toy_learners:Counter"])
def test_another_machine_goes_on_or_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str) -> None:
    """Ours go on, and the file says where; others begin anew, and it is a file of the new machine."""
    here = writer.machine()
    killed(tmp_path, spec(learner))
    monkeypatch.setattr(writer, "machine", lambda: {**here, "cores": 512})
    path, n = gone_on(tmp_path, spec(learner))
    run = read_run(path)
    assert len(run.times) == N_MARKS + 1
    if learner == "PGELLA":
        assert (n, run.header["machine"]) == (N_MARKS + 1 - DONE, here)
        assert [change["machine"]["cores"] for change in run.changes] == [512]
    else:
        assert (n, run.header["machine"]["cores"], run.changes) == (N_MARKS + 1, 512, ())


def test_a_model_that_this_version_cannot_read_begins_again(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the class raises, or a model of other steps than the checkpoint says."""
    load = PGELLA.load
    unreadable = (lambda path, env: 1 / 0, lambda path, env: forward(load, path, env))
    for number, broken in enumerate(unreadable):
        folder = tmp_path / str(number)
        killed(folder, spec())
        monkeypatch.setattr(PGELLA, "load", broken)
        path, n = gone_on(folder, spec())
        monkeypatch.setattr(PGELLA, "load", load)
        assert n == N_MARKS + 1
        assert path.read_bytes() == whole.read_bytes()


def forward(load: Any, path: Path, env: Any) -> Any:
    """A model that has taken a step more."""
    model = load(path, env=env)
    model.num_timesteps += 1
    return model
