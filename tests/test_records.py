"""Run files: what is read is what was written, interruptions leave no trace, and nothing damaged is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym import benchmark
from lifelong_gym.benchmark import writer as writer_module
from lifelong_gym.benchmark.records import find_runs, read_run, read_runs
from lifelong_gym.benchmark.results import digest
from lifelong_gym.benchmark.writer import FinishedRunError, RunBusyError, RunWriter, make_header
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.measures.metrics import Communication
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


def test_a_finished_run_is_never_overwritten(tmp_path: Path) -> None:
    """It stays as it is, and nothing is left beside it."""
    path = tmp_path / "run.jsonl"
    before = whole(path)
    with pytest.raises(FinishedRunError, match=r"run\.jsonl holds a finished run"):
        RunWriter(path, header(settings()))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def interrupted(path: Path, n: int, **changed: Any) -> list[bytes]:
    """A run that stopped after n evaluations; ``changed`` are parts of its header."""
    with RunWriter(path, {**header(settings()), **changed}) as writer:
        for k in range(n):
            evaluate(writer, k)
    return path.with_name(f"{path.name}.part").read_bytes().splitlines(keepends=True)


BEGUN_AGAIN: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "another seed": lambda lines: [lines[0].replace(b'"seed": 0}', b'"seed": 1}'), *lines[1:]],
    "another schema": lambda lines: [lines[0].replace(b'"schema": 2', b'"schema": 1'), *lines[1:]],
    "another reference": lambda lines: [lines[0].replace(b'{"version": 1', b'{"version": 2'), *lines[1:]],
    "no versions": lambda lines: [lines[0].replace(b'"versions"', b'"vision"'), *lines[1:]],
    "notes": lambda lines: [b"my notes\n"],
    "a list": lambda lines: [b"[]\n", *lines[1:]],
    "too deep": lambda lines: [b"[" * 100_000 + b"\n", *lines[1:]],
    "a damaged line in the middle": lambda lines: [*lines[:2], lines[2][:-20] + b"\n", *lines[3:]],
    "not a number": lambda lines: [*lines[:2], lines[2].replace(b'"returns": [[', b'"returns": [[NaN, '), *lines[3:]],
    "a line twice": lambda lines: [*lines[:3], lines[2], *lines[3:]],
    "a share above 1": lambda lines: [*lines[:2], lines[2].replace(b'"failed": [0.', b'"failed": [7.'), *lines[3:]],
    "an endless number": lambda lines: [*lines[:2], lines[2].replace(b'mesteps": 100', b'mesteps": 1e999'), *lines[3:]],
}


@pytest.mark.parametrize("damage", BEGUN_AGAIN.values(), ids=BEGUN_AGAIN)
def test_what_cannot_be_continued_begins_again(tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]]) -> None:
    """And ends in the bytes of a run that nothing happened to."""
    path = tmp_path / "run.jsonl"
    lines = interrupted(path, 4)
    changed = damage(list(lines))
    assert changed != lines
    path.with_name("run.jsonl.part").write_bytes(b"".join(changed))
    with RunWriter(path, header(settings())) as writer:
        assert (writer.n_written, writer.last) == (0, None)
        for k in range(N):
            evaluate(writer, k)
        writer.finish()
    assert path.read_bytes() == whole(tmp_path / "whole.jsonl")


@pytest.mark.parametrize(
    "elsewhere",
    [{"versions": {"python": "3.12"}}, {"machine": {"cores": 64}}, {"revision": "0" * 40}, {"revision": None}],
)
def test_a_run_goes_on_elsewhere_and_says_so(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    """After a change of versions, machine or revision; once for each change, and references stay what they were."""
    path, here = tmp_path / "run.jsonl", header(settings())
    interrupted(path, 2, **elsewhere)
    bits = [value + 1e-13 for value in here["references"]["best"]]
    for n in (2, 3):  # interrupted here again
        with RunWriter(path, {**here, "references": {**here["references"], "best": bits}}) as writer:
            assert writer.n_written == n
            evaluate(writer, n)
    with RunWriter(path, here) as writer:
        writer.finish()
    run = read_run(path)
    assert len(run.times) == 4
    assert run.changes == ({name: here[name] for name in ("versions", "machine", "revision")},)
    assert {name: run.header[name] for name in elsewhere} == elsewhere
    assert run.header["references"] == here["references"]


def test_runs_of_two_kinds_of_cpu_have_one_scale(tmp_path: Path) -> None:
    """Of references that differ in bits the first count; where they differ by more, this is told."""
    run = settings()
    for seed, more in enumerate([0.0, 1e-12, 1.0]):
        first = header({**run, "seed": seed})
        first["references"]["best"] = [value + more for value in first["references"]["best"]]
        with RunWriter(tmp_path / f"run{seed}.jsonl", first) as writer:
            evaluate(writer, 0)
            writer.finish()
    (tmp_path / "other.jsonl.part").touch()
    found = find_runs(tmp_path)
    assert len({json.dumps(run.header["references"]) for run in found.runs}) == 1
    (note,) = found.notes
    assert "run2.jsonl has references that differ by up to 0.006 from those of" in note


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    """The second is refused, and the first goes on undisturbed."""
    path = tmp_path / "run.jsonl"
    with RunWriter(path, header(settings())) as writer:
        evaluate(writer, 0)
        with pytest.raises(RunBusyError, match=r"run\.jsonl\.part is being written by another process"):
            RunWriter(path, header(settings()))
        evaluate(writer, 1)
        writer.finish()
    assert len(read_run(path).times) == 2


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_run_that_another_process_finishes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """Between opening the file and locking it; the finished file stays as it is, and only without it there is a run."""
    path, lock = tmp_path / "run.jsonl", writer_module.lock
    first = RunWriter(path, header(settings()))
    evaluate(first, 0)

    def finish_first(file: Any, wait: bool) -> bool:
        monkeypatch.setattr(writer_module, "lock", lock)
        first.finish()
        path.rename(path if is_kept else tmp_path / "elsewhere")
        return lock(file, wait)

    monkeypatch.setattr(writer_module, "lock", finish_first)
    if is_kept:
        with pytest.raises(FinishedRunError):
            RunWriter(path, header(settings()))
        assert len(read_run(path).times) == 1
        assert list(tmp_path.iterdir()) == [path]
    else:
        with RunWriter(path, header(settings())) as second:
            assert second.n_written == 0
        assert len(read_run((tmp_path / "elsewhere").rename(path)).times) == 1


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
        "a list": (b"[]\n", "is not a run file"),
        "nothing but a schema": (b'{"schema": 2}\n', "is truncated"),
        "too deep": (b"[" * 100_000 + b"\n", "is not a run file"),
        "too deep an end": (lines[0] + b'{"end": ' + b"[" * 100_000 + b"\n", "is truncated"),
        **{f"without {name}": (without(lines, name), "is not a run file: KeyError") for name in PARTS},
        **{f"wrong {name}": (without(lines, name, 3), "is not a run file: ") for name in PARTS},
    }


PARTS = ("versions", "machine", "revision", "settings", "tasks_hash", "references", "estimators")


def without(lines: list[bytes], name: str, instead: Any = None) -> bytes:
    """A run whose header lacks a part, or holds something else, with an end that fits."""
    content = json.loads(lines[0])
    content[name if instead else "schemes"] = instead or content.pop(name)
    lines = [json.dumps(content).encode() + b"\n", *lines[1:-1]]
    end = {"end": True, "n_evaluations": len(lines) - 1, "hash": digest(b"".join(lines))}
    return b"".join([*lines, json.dumps(end).encode() + b"\n"])


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
