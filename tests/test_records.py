"""Run files: what is read is what was written, interruptions leave no trace, and nothing damaged is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym import benchmark
from lifelong_gym.benchmark.metrics import Communication
from lifelong_gym.benchmark.records import find_runs, read_run, read_runs
from lifelong_gym.benchmark.results import digest
from lifelong_gym.benchmark.writer import RunWriter, make_header
from lifelong_gym.errors import MissingExtraError
from tests.synthetic_runs import BEST, ZERO, header, returns_of, rising, settings, write

N, N_TASKS = 6, 4


def evaluate(writer: RunWriter, k: int) -> None:
    """Write the k-th evaluation of a run that is the same each time."""
    rng = np.random.default_rng(k)
    returns = rng.normal(-100, 10, (N_TASKS, 3))
    writer.evaluation(
        k * 100, returns, rng.uniform(size=N_TASKS), stage=k // 2, communication=Communication(k, k, 8 * k)
    )


def whole(path: Path) -> bytes:
    """A run that nothing interrupted."""
    with RunWriter(path, header(settings())) as writer:
        for k in range(N):
            evaluate(writer, k)
        writer.finish()
    return path.read_bytes()


def test_a_run_survives_the_file(tmp_path: Path) -> None:
    """Every number that was written is read, and normalised by the references of its task."""
    performance = rising(N, N_TASKS, seed=0)
    run = read_run(
        write(tmp_path, settings(label="A+append", seed=3, alone=True), performance, [0] * N, bytes_per_step=8)
    )
    assert (run.learner, run.family, run.preset, run.protocol) == (
        "A+append",
        "LifelongCartPole-v0",
        "hetero",
        "multi_task",
    )
    assert (run.seed, run.alone, run.n_tasks, run.stages) == (3, True, N_TASKS, (0,) * N)
    assert np.array_equal(run.returns, returns_of(performance))
    np.testing.assert_allclose(run.performance(), performance, atol=1e-12)
    assert run.times.tolist() == [0, 20000, 40000, 60000, 80000, 100000]
    assert run.communication[-1] == Communication(50, 200, 800_000)
    assert np.array_equal(run.reference("best") - run.reference("zero"), np.full(N_TASKS, BEST - ZERO))


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path: Path, cut: int) -> None:
    """Wherever the kill falls, within a line or between two."""
    expected = whole(tmp_path / "whole.jsonl")
    path, part = tmp_path / "run.jsonl", tmp_path / "run.jsonl.part"
    part.write_bytes(expected[: len(expected) * cut // 60])
    with RunWriter(path, header(settings())) as writer:
        for k in range(writer.n_written, N):
            evaluate(writer, k)
        writer.finish()
    assert path.read_bytes() == expected
    assert not part.exists()


def test_a_run_killed_before_its_last_move_is_only_finished(tmp_path: Path) -> None:
    """All lines are there, and the end; the name is missing."""
    expected = whole(tmp_path / "run.jsonl")
    (tmp_path / "run.jsonl").rename(tmp_path / "run.jsonl.part")
    with RunWriter(tmp_path / "run.jsonl", header(settings())) as writer:
        assert writer.n_written == N
        assert writer.last is not None
        assert writer.last["num_timesteps"] == (N - 1) * 100
        writer.finish()
    assert (tmp_path / "run.jsonl").read_bytes() == expected


def test_every_evaluation_is_in_the_file_at_once(tmp_path: Path) -> None:
    """A kill loses nothing that was evaluated."""
    part = tmp_path / "folder" / "run.jsonl.part"
    with RunWriter(tmp_path / "folder" / "run.jsonl", header(settings())) as writer:
        for k in range(3):
            evaluate(writer, k)
            assert part.read_bytes().count(b"\n") == k + 2


def test_another_run_is_never_overwritten(tmp_path: Path) -> None:
    """Neither a finished one, nor an unfinished one with other settings, nor a foreign file."""
    path = tmp_path / "run.jsonl"
    whole(path)
    with pytest.raises(FileExistsError, match=r"run\.jsonl holds a finished run"):
        RunWriter(path, header(settings()))
    other = tmp_path / "other.jsonl"
    RunWriter(other, header(settings(seed=1))).close()
    before = (tmp_path / "other.jsonl.part").read_bytes()
    with pytest.raises(ValueError, match=r"another header: `settings\.seed` was 1, now 2"):
        RunWriter(other, header(settings(seed=2)))
    assert (tmp_path / "other.jsonl.part").read_bytes() == before
    (tmp_path / "mine.jsonl.part").write_text("my notes\n")
    with pytest.raises(ValueError, match=r"mine\.jsonl\.part is in the way"):
        RunWriter(tmp_path / "mine.jsonl", header(settings()))
    assert (tmp_path / "mine.jsonl.part").read_text() == "my notes\n"


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    """The second is refused, and the first goes on undisturbed."""
    path = tmp_path / "run.jsonl"
    with RunWriter(path, header(settings())) as writer:
        evaluate(writer, 0)
        with pytest.raises(ValueError, match=r"run\.jsonl\.part is being written by another process"):
            RunWriter(path, header(settings()))
        evaluate(writer, 1)
        writer.finish()
    assert len(read_run(path).times) == 2


def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    """And the file stays as it was."""
    with RunWriter(tmp_path / "run.jsonl", header(settings())) as writer:
        evaluate(writer, 1)
        good, none = np.zeros((N_TASKS, 3)), np.zeros(N_TASKS)
        with pytest.raises(ValueError, match="`num_timesteps` must grow"):
            writer.evaluation(100, good, none)
        with pytest.raises(ValueError, match=r"`returns` must be finite numbers of shape \(4, n_episodes\)"):
            writer.evaluation(200, np.zeros((3, 3)), none)
        with pytest.raises(ValueError, match="`returns` must be finite"):
            writer.evaluation(200, np.full((N_TASKS, 3), np.nan), none)
        with pytest.raises(ValueError, match="`failed` must be shares"):
            writer.evaluation(200, good, none + 1.5)
        assert writer.n_written == 1
    with (
        pytest.raises(ValueError, match="at least one evaluation"),
        RunWriter(tmp_path / "x.jsonl", header(settings())) as w,
    ):
        w.finish()
    with pytest.raises(ValueError, match=r"must end in \.jsonl"):
        RunWriter(tmp_path / "run.json", header(settings()))


def test_references_that_normalise_nothing_are_refused() -> None:
    """Before anything runs."""
    references = {"version": 1, "best": [1.0, 0.0], "zero": [0.0, 0.0], "random": [0.0, 0.0]}
    with pytest.raises(ValueError, match=r"`best` must be above `zero`.* Received 0 and 0 in task 1"):
        make_header(settings(n_tasks=2), "hash", references)
    with pytest.raises(ValueError, match="Missing: random"):
        make_header(settings(n_tasks=2), "hash", {"version": 1, "best": [1.0, 0.0], "zero": [0.0, 0.0]})


def damaged(data: bytes) -> dict[str, tuple[bytes, str]]:
    """What can have happened to a file, and what is said about it."""
    lines = data.splitlines(keepends=True)
    edited = {**json.loads(lines[0]), "tasks_hash": "another"}
    old = [json.dumps({**json.loads(lines[0]), "schema": 1}).encode() + b"\n", *lines[1:]]
    short = [lines[0], b'{"num_timesteps": 0}\n']
    end = json.dumps({"end": True, "n_evaluations": 1, "hash": digest(b"".join(short))}).encode() + b"\n"
    return {
        "cut between lines": (b"".join(lines[:-2]), "is truncated"),
        "cut within a line": (data[:-5], "is truncated"),
        "a return changed": (data.replace(b'"num_timesteps": 200', b'"num_timesteps": 201'), "was edited"),
        "the header changed": (json.dumps(edited).encode() + b"\n" + b"".join(lines[1:]), "was edited"),
        "an evaluation gone": (b"".join([*lines[:2], *lines[3:]]), "was edited"),
        "another schema": (b"".join(old), "has schema 1; this version reads 2"),
        "something else": (b"a,b\n1,2\n", "is not a run file"),
        "empty": (b"", "is not a run file"),
        "bytes": (b"\xff\xfe\n", "is not a run file"),
        "lines of another kind": (b"".join([*short, end]), "is not a run file: KeyError"),
    }


def test_damaged_runs_are_refused(tmp_path: Path) -> None:
    """In one line that names the file."""
    path = tmp_path / "run.jsonl"
    for name, (data, message) in damaged(whole(path)).items():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_run(path)
        assert str(caught.value).startswith(str(path)), name
        assert "\n" not in str(caught.value)


def test_a_folder_is_read_through_all_its_folders(tmp_path: Path) -> None:
    """Finished runs are read, unfinished ones named, and broken ones stop it."""
    for seed in range(2):
        write(tmp_path / "a" / "b", settings(seed=seed), rising(N, N_TASKS, seed))
    assert [run.seed for run in read_runs(tmp_path)] == [0, 1]
    RunWriter(tmp_path / "late.jsonl", header(settings())).close()
    with pytest.warns(UserWarning, match=r"unfinished: late\.jsonl\.part"):
        assert len(read_runs(tmp_path)) == 2
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"bad\.jsonl is not a run file"):
        read_runs(tmp_path)
    found = find_runs(tmp_path)
    assert (len(found.runs), len(found.unfinished), len(found.broken)) == (2, 1, 1)


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    """Missing, or empty."""
    with pytest.raises(FileNotFoundError, match="none at"):
        read_runs(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no finished run"):
        read_runs(tmp_path)


def test_the_frame_is_tidy(tmp_path: Path) -> None:
    """A row a run, evaluation and task, each with its own number."""
    performance = rising(N, N_TASKS, seed=0)
    write(tmp_path, settings(label="A", seed=5), performance, [0, 0, 1, 1, 2, 2])
    write(tmp_path, settings(label="B", seed=5), performance / 2, bytes_per_step=3)
    frame = benchmark.load(tmp_path)
    assert len(frame) == 2 * N * N_TASKS
    row = frame[(frame.learner == "A") & (frame.task == 2) & (frame.num_timesteps == 60000)]
    np.testing.assert_allclose(row["normalised"], performance[3, 2])
    np.testing.assert_allclose(row["return"], returns_of(performance)[3, 2].mean())
    assert row[["seed", "stage"]].to_numpy().tolist() == [[5, 1]]
    assert row["bytes"].isna().all()
    sent = frame[frame.learner == "B"].groupby("num_timesteps")["bytes"].unique()
    assert [int(x) for (x,) in sent] == [0, 60000, 120000, 180000, 240000, 300000]


def test_without_pandas_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the error of `load`."""
    hidden: dict[str, Any] = {"pandas": None}
    monkeypatch.setitem(sys.modules, "pandas", hidden["pandas"])
    with pytest.raises(MissingExtraError, match=r"lifelong-gym\[frames\]"):
        benchmark.load(tmp_path)
