"""Nothing is lost on a disk that is full, read-only or in the way; it is said before the work, and where."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lifelong_gym.benchmark.disk import DiskError, claim_file, claim_folder, keep, replace_file
from lifelong_gym.benchmark.results import read_result
from lifelong_gym.cli.main import app
from tests.synthetic_runs import multi_task
from tests.toy_learners import Hungry, full

ENV = "LifelongSimpleMass-v0"


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    """Folders above it too; the check leaves nothing in it."""
    assert list(claim_folder(tmp_path / "a" / "b").iterdir()) == []


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    """A file where a folder is to be, at the end or before it, and the other way round."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DiskError, match="file can't be a folder: a file has that name"):
        claim_folder(tmp_path / "file")
    with pytest.raises(DiskError, match=r"file/below \(Not a directory: "):
        claim_folder(tmp_path / "file" / "below")
    with pytest.raises(DiskError, match="can't be a file: a folder has that name"):
        claim_file(tmp_path)


def test_a_full_disk_is_found_before(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk without room."""
    code = f"from pathlib import Path; from lifelong_gym.benchmark.disk import *; claim_folder(Path({str(tmp_path)!r}))"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert f"DiskError: nothing can be written into {tmp_path} (File too large)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """The whole new one or the old one, and nothing beside it."""
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def half(part: Path) -> None:
        part.write_text("ne", encoding="utf-8")
        full(part)

    with pytest.raises(OSError, match="No space"):
        replace_file(path, half)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_took_long_to_make_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its folder has become full; where nothing can be written, both places are named."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / "own"
    own.mkdir()

    def write(path: Path) -> None:
        if own in path.parents:
            full(path)
        path.write_text("result", encoding="utf-8")

    kept = keep(own / "a.txt", write)
    assert own not in kept.parents
    assert kept.read_text(encoding="utf-8") == "result"
    with pytest.raises(DiskError, match=r"own/a\.txt \(No space left on device\), nor .*a\.txt"):
        keep(own / "a.txt", full)


def test_train_saves_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After hours of training, a disk that has become full loses neither the model nor what it is worth."""
    monkeypatch.setattr(Hungry, "folder", tmp_path / "run")
    words = ["train", "tests.toy_learners:Hungry", ENV, "--n-tasks", "2", "--folder", str(tmp_path / "run")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert f"warning: {tmp_path / 'run'} could not be written to any more" in result.output
    written = Path(result.output.partition("Written: ")[2].partition(" and ")[0])
    assert written.read_text(encoding="utf-8") == "model"
    assert len(read_result(written.with_name("run.json"))["figures"]["return_per_task"]) == 2


def never(*_: Any, **__: Any) -> None:
    """Work that must not begin."""
    raise AssertionError("the work has begun")


WORK = (
    "agents.contract.base.MultiTaskAlgorithm.learn",
    "cli.animation.play",
    "reports.report._page",
    "benchmark.runner.Workers",
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "demo": ("demo", "--folder", "FILE"),
    "train": ("train", "PGELLA", ENV, "--folder", "FILE/run"),
    "benchmark": ("benchmark", "--quick", "--agents", "zero", "--envs", ENV, "--folder", "FILE"),
    "report": ("report", "runs", "--folder", "FILE"),
    "report --html": ("report", "runs", "--html", "FILE/page.html"),
    "reproduce": ("reproduce", "zhan2017", "--quick", "--folder", "FILE"),
    "reproduce --page-folder": ("reproduce", "zhan2017", "--quick", "--page-folder", "FILE"),
    "play --video": ("play", "run", ENV, "--video", "FILE/film.gif"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_commands_look_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """Every command that writes says in one line where it can't, before it computes anything."""
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("", encoding="utf-8")
    if words[0] == "report":
        multi_task(Path("runs"), "PPO", range(2))
    if words[0] == "play":
        trained = CliRunner().invoke(app, ["train", "tests.toy_learners:Hungry", ENV, "--folder", "run"])
        assert trained.exit_code == 0, trained.output
    for work in WORK:
        monkeypatch.setattr(f"lifelong_gym.{work}", never)
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 2, result.output
    assert "FILE" in result.output
    assert "error: " in result.output
    assert not isinstance(result.exception, AssertionError)
