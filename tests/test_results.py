"""Result files: what is read is what was written, and nothing damaged is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lifelong_gym.benchmark.results import read_result, write_result


def test_results_survive_the_file(tmp_path: Path) -> None:
    """What is read is what was written; arrays become lists; versions are there."""
    path = tmp_path / "run.json"
    write_result(path, {"seed": 3}, {"returns": np.array([1.0, 2.0]), "n": np.int64(4)})
    content = read_result(path)
    assert content["settings"] == {"seed": 3}
    assert content["figures"] == {"returns": [1.0, 2.0], "n": 4}
    assert content["versions"]["numpy"] == np.__version__
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """An object that JSON doesn't know is refused before anything is touched."""
    path = tmp_path / "run.json"
    write_result(path, {}, {"n": 1})
    with pytest.raises(TypeError, match="JSON-native"):
        write_result(path, {}, {"n": object()})
    assert read_result(path)["figures"] == {"n": 1}


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    """Truncated, edited, or of another schema."""
    path = tmp_path / "run.json"
    write_result(path, {"seed": 3}, {"n": 1})
    text = path.read_text()
    path.write_text(text[:50])
    with pytest.raises(ValueError, match="truncated"):
        read_result(path)
    path.write_text(text.replace('"n": 1', '"n": 2'))
    with pytest.raises(ValueError, match="`figures` was edited"):
        read_result(path)
    path.write_text(json.dumps({**json.loads(text), "schema": 99}))
    with pytest.raises(ValueError, match="schema 99"):
        read_result(path)
