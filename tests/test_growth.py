"""Folders of runs that grow: further seeds, learners, families and protocols, and several machines and commands."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, seeds_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.folder import describe
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.records import find_runs, read_runs
from lifelong_gym.benchmark.results import read_result, write_result
from lifelong_gym.benchmark.run import RunSpec
from lifelong_gym.benchmark.runner import Outcome, run_experiment
from lifelong_gym.reports.study import studies

ID, OTHER = "LifelongSimpleMass-v0", "LifelongCartPole-v0"
SMALL: dict[str, Any] = {
    "learners": ["zero"],
    "families": {ID: {"n_tasks": 3}},
    "protocol": {"episodes_per_task": 10, "n_evaluations": 2, "n_eval_episodes": 2},
    "seeds": 1,
}


def experiment(**changes: Any) -> Experiment:
    """A small one."""
    return Experiment.of_dict({**SMALL, **changes})


def run(described: Experiment, folder: Path) -> Outcome:
    """In one process, seen by nobody."""
    outcome = run_experiment(described, folder, Console(file=io.StringIO()), n_processes=1)
    assert not outcome.failed
    return outcome


def files(folder: Path) -> dict[str, bytes]:
    """Run files and what is in them."""
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


def test_a_folder_grows(tmp_path: Path) -> None:
    """By seeds and learners, and by other marks of evaluation, which are another protocol; what was there stays."""
    first = run(experiment(), tmp_path)
    before = files(tmp_path)
    second = run(experiment(learners={"zero": {}, "[/x]": {"class": "random"}}, seeds=2), tmp_path)
    assert (len(second.written), second.skipped) == (3, first.written)
    third = run(experiment(protocol={**SMALL["protocol"], "n_evaluations": 3}), tmp_path)
    assert (len(third.written), third.skipped) == (1, [])
    assert files(tmp_path).items() >= before.items()
    runs = read_runs(tmp_path)
    assert sorted((run.learner, run.seed, len(run.times)) for run in runs) == [
        ("[/x]", 0, 3),
        ("[/x]", 1, 3),
        ("zero", 0, 3),
        ("zero", 0, 4),
        ("zero", 1, 3),
    ]
    assert len(list(tmp_path.glob("references--*.json"))) == 1  # of the same evaluation episodes
    assert sorted(path.name.partition("-")[0] for path in tmp_path.glob("*.toml")) == ["experiment"] * 2 + [
        "experiment.toml"
    ]
    after = files(tmp_path)
    with pytest.raises(ExperimentError, match=r"learners.zero: .*run of another learner of that name \(class 'zero'\)"):
        run(experiment(learners={"zero": {"class": "random"}}), tmp_path)
    assert files(tmp_path) == after


def test_machines_share_an_experiment(tmp_path: Path) -> None:
    """Their folders are copied together, and are one study on one scale, though references differ in the last bits."""
    here, there = tmp_path / "here", tmp_path / "there"
    run(experiment(), here)
    (references,) = here.glob("references--*.json")
    there.mkdir()
    content = read_result(references)
    best = content["figures"]["references"]["best"]
    content["figures"]["references"]["best"] = [value * (1 + 1e-15) for value in best]
    assert content["figures"]["references"]["best"] != best
    write_result(there / references.name, content["settings"], content["figures"])
    run(experiment(seeds=2).part(seeds=[1]), there)
    shutil.copytree(there, here, dirs_exist_ok=True)
    (damaged,) = (path for path in here.glob("*.jsonl") if "seed1" in path.name)
    kept = damaged.read_bytes()
    damaged.write_bytes(kept[:-40])
    (here / references.name).write_text("{}")
    (here / f"{references.name}.77.part").touch()  # as a kill leaves it
    outcome = run(experiment(seeds=2), here)  # what is damaged is measured and run again
    assert (outcome.written, len(outcome.skipped)) == ([damaged], 1)
    assert not list(here.glob("*.part"))
    assert (here / f"{damaged.name}.broken").read_bytes() == kept[:-40]
    damaged.write_bytes(kept)
    headers = [json.loads(path.read_bytes().partition(b"\n")[0]) for path in here.glob("*.jsonl")]
    assert headers[0]["references"] != headers[1]["references"]
    found = find_runs(here)
    ((study,), left_out) = studies(found.runs)
    assert (len(study.runs["zero"]), left_out, list(found.notes), found.broken) == (2, [], [], [])


def test_two_commands_share_a_folder(tmp_path: Path) -> None:
    """Every run is done once, by one of them; both end well."""
    command = [sys.executable, "-m", "lifelong_gym.cli.main", "benchmark", "--quick", "--processes", "1"]
    command += ["--agents", "zero,REINFORCE", "--envs", ID, "--seeds", "2", "--folder", str(tmp_path / "runs")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [" ".join(process.communicate()[0].split()) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    written = [int(text.partition(" runs written")[0].rpartition(" ")[2]) for text in texts]
    assert sum(written) == 4, texts
    assert len(read_runs(tmp_path / "runs")) == 4
    assert not list((tmp_path / "runs").glob("*.part"))


def test_names_of_files_differ_where_runs_do() -> None:
    """Labels that differ in punctuation or case, tasks and marks don't share one, and every disk takes them."""
    family, labels = FamilySpec.of(ID, 2), ["a+b", "a_b", "a b", "A+b", "a/b", "ä", "ö", "." * 3, "x" * 300, "x" * 301]
    specs = [
        *(RunSpec(LearnerSpec(label, "zero"), family, family.tasks, Protocol(), 0, {}) for label in labels),
        *(
            RunSpec(LearnerSpec("a+b", "zero"), other, other.tasks, Protocol(), 0, {})
            for other in (
                FamilySpec.of(ID, 3),
                FamilySpec.of(ID, 2, task_seed=1),
                FamilySpec.of(ID, 2, horizon=9),
                FamilySpec.of("a+b", 2, id=ID),
                FamilySpec.of(ID, 2, evaluate={"longer": {"horizon": 300}}),
            )
        ),
        RunSpec(LearnerSpec("a+b", "zero"), family, family.tasks, Protocol(n_evaluations=3), 0, {}),
        RunSpec(LearnerSpec("a+b", "zero", {"x": 1}), family, family.tasks, Protocol(), 0, {}),
        RunSpec(LearnerSpec("a+b", "zero"), family, family.tasks, Protocol(), 1, {}),
    ]
    names = [spec.name.lower() for spec in specs]
    assert len(set(names)) == len(specs)
    assert all(name.isascii() and len(name) < 200 and not set(name) & set('/\\:*?"<>| ') for name in names)


def test_descriptions_grow_in_one_direction(tmp_path: Path) -> None:
    """One file describes all, as long as it promises nothing that wasn't asked for."""
    describe(tmp_path, experiment(seeds=[0, 2]))
    describe(tmp_path, experiment(seeds=[1]))
    describe(tmp_path, experiment(seeds=[1]))
    path = tmp_path / "experiment.toml"
    assert Experiment.read(path) == experiment(seeds=3)
    describe(tmp_path, experiment(seeds=3, learners=["random"]))
    describe(tmp_path, experiment(seeds=3, learners=["zero", "random"], families={OTHER: {"n_tasks": 2}}))
    both = experiment(seeds=3, learners=["zero", "random"], families={ID: {"n_tasks": 3}, OTHER: {"n_tasks": 2}})
    assert Experiment.read(path) == both
    others = [
        experiment(seeds=4, learners=["random"]),  # not the seeds of all
        experiment(seeds=3, learners=["zero", "random"], families={ID: {"n_tasks": 9}}),  # other tasks of the same id
        experiment(protocol="lifelong"),
    ]
    for number, other in enumerate(others, 2):
        describe(tmp_path, other)
        describe(tmp_path, other)
        assert len(list(tmp_path.glob("experiment*.toml"))) == number
    assert {str(Experiment.read(found)) for found in tmp_path.iterdir()} == {str(both), *map(str, others)}


def test_a_part_of_an_experiment() -> None:
    """Learners and families by name, seeds instead of its own; an unknown name is told with the nearest."""
    whole = experiment(learners=["zero", "random"], families={ID: {"n_tasks": 3}, OTHER: {"n_tasks": 2}}, seeds=3)
    part = whole.part(["random"], [5, 6])
    assert [learner.label for learner in part.learners] == ["random"]
    assert (part.families, part.seeds, part.protocol) == (whole.families, (5, 6), whole.protocol)
    part = whole.part(["zero", OTHER])
    assert [learner.label for learner in part.learners] == ["zero"]
    assert ([family.id for family in part.families], part.seeds) == ([OTHER], (0, 1, 2))
    assert whole.part() == whole
    with pytest.raises(ExperimentError, match=r"only: unknown learner or family 'rand'. Did you mean 'random'\?"):
        whole.part(["rand"])


@pytest.mark.parametrize("text", ["0", "-1", "5:5", "5:3", "a", "", "1,1", "1.5", "5:", "1:2:3", "-2:2", "1,"])
def test_seeds_that_cannot_be_meant(text: str) -> None:
    """The forms are named."""
    with pytest.raises(ExperimentError, match=r"seeds: must be a number of at least 1, a range like 5:10, or a list"):
        seeds_of(text)
