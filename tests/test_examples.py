"""Every example runs to its end, silently: what a reader copies must not begin with a warning.

An example that takes longer than seconds shortens itself where ``LIFELONG_GYM_QUICK=1`` is set.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted([*FOLDER.glob("*.py"), FOLDER / "federated_flower" / "learn.py"])  # what it leads to: `test_flower`
ALONE = [path for path in EXAMPLES if "__main__" in path.read_text(encoding="utf-8")]  # other processes import these
TIME_LIMIT = 300  # seconds; most of it is compilation on a machine that has no cache yet

# Python's own filters stay on: this is what a user would see. Progress bars use stderr too.
WARNING = re.compile(r"\w*Warning\b|\bWARN(ING)?\b")


@pytest.mark.parametrize("example", ALONE, ids=lambda path: path.stem)
def test_example_runs_without_warnings(example: Path, tmp_path: Path) -> None:
    """Exit code 0, and no warning on stderr."""
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,  # what it writes goes there
        env=os.environ | {"LIFELONG_GYM_QUICK": "1"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not WARNING.search(done.stderr), done.stderr


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path not in ALONE], ids=lambda path: path.stem)
def test_example_runs_without_warnings_here(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same, in this process, where warnings are errors: starting others takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_GYM_QUICK", "1")
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert not WARNING.search(stderr := capfd.readouterr().err), stderr
