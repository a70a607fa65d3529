"""Numba's cache: without a place, full or damaged it costs time, and at most one warning; nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numba
import numpy as np
import pytest
from numba import njit

import lifelong_gym
from lifelong_gym.envs.backends import numba_cache
from tests.making import CART_POLE

PACKAGE = Path(lifelong_gym.__file__).parent
SIMPLE_MASS = "LifelongSimpleMass-v0"


def double(x: float) -> float:
    """What is compiled here."""
    return 2.0 * x


def compiled() -> Any:
    """Anew, by a dispatcher of its own; it has been called."""
    function = numba_cache.keep(njit(double))
    assert function(2.0) == 4.0
    return function


def hits(function: Any) -> int:
    """How many of its variants came from disk."""
    return sum(function.stats.cache_hits.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where numba keeps code in this test."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(numba_cache, "_said", False)
    return tmp_path / "cache"


@pytest.fixture
def no_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the user's place nor the package's can be written; returns the folder for temporary files."""
    monkeypatch.setattr(numba_cache._Impl, "_locator_classes", [numba_cache.TemporaryFolder])
    monkeypatch.setattr(tempfile, "tempdir", str(folder.parent))
    return folder.parent


def test_code_is_kept_where_the_user_says(folder: Path) -> None:
    """As by numba itself."""
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1
    assert hits(njit(cache=True)(double)) == 0
    assert list(folder.rglob("*.nbi"))


def cut(path: Path) -> None:
    """Half of a file is lost."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("nothing that anybody pickled"),
}


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_made_anew(folder: Path, damage: str, pattern: str) -> None:
    """Index and code, without a word."""
    compiled()
    (path,) = folder.rglob(pattern)
    DAMAGE[damage](path)
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1


def test_code_is_kept_in_a_temporary_folder(no_place: Path) -> None:
    """Of this user alone, with one warning that names the remedy."""
    with pytest.warns(UserWarning, match=r"kept in .*lifelong_gym-numba.* NUMBA_CACHE_DIR") as caught:
        assert [hits(compiled()), hits(compiled())] == [0, 1]
    assert len(caught) == 1
    (kept,) = no_place.glob("lifelong_gym-numba*")
    assert kept.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary folders are the user's own there")
@pytest.mark.parametrize("kind", ["file", "link", "open to all"])
def test_without_any_place_code_is_compiled_anew(no_place: Path, kind: str) -> None:
    """A temporary folder that somebody else may write to is no place: what numba reads there, it executes."""
    path = no_place / f"lifelong_gym-numba-{os.getuid()}"
    (no_place / "elsewhere").mkdir()
    if kind == "file":
        path.write_text("")
    elif kind == "link":
        path.symlink_to(no_place / "elsewhere")
    else:
        path.mkdir()
        path.chmod(0o777)
    with pytest.warns(UserWarning, match="compiled code isn't kept, .* NUMBA_CACHE_DIR") as caught:
        assert [hits(compiled()), hits(compiled())] == [0, 0]
    assert len(caught) == 1
    assert not any((no_place / "elsewhere").iterdir())


def test_a_place_that_is_lost_later(folder: Path) -> None:
    """A full disk, say, where the code was to be written."""
    function = numba_cache.keep(njit(double))
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.warns(UserWarning, match="compiled code can't be kept .* NUMBA_CACHE_DIR"):
        assert function(2.0) == 4.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(2) == 4.0


@pytest.mark.parametrize("meanwhile", ["_save_data", "_save_index"])
def test_two_processes_write_an_index_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str) -> None:
    """One that found no index writes while the other is in the midst of it: whatever the index names is right."""
    one, other = (numba_cache.Files(str(tmp_path), "double", 1.0) for _ in range(2))
    write = getattr(one, meanwhile)

    def write_late(*arguments: Any) -> None:
        other.save("float32", "code for float32")
        write(*arguments)

    monkeypatch.setattr(one, meanwhile, write_late)
    monkeypatch.setattr(other, "_load_index", dict)
    one.save("float64", "code for float64")
    later = numba_cache.Files(str(tmp_path), "double", 1.0)
    found = {name: later.load(name) for name in ("float32", "float64")}
    assert found["float64"] == "code for float64"
    assert found["float32"] in (None, "code for float32")


def run(code: str, folder: Path, **variables: str) -> list[str]:
    """What a fresh process prints."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_read_only_installation_and_home(tmp_path: Path) -> None:
    """Numba finds no place; envs work, give the same numbers, and one warning is given."""
    shutil.copytree(PACKAGE, tmp_path / "lifelong_gym", ignore=shutil.ignore_patterns("__pycache__", "reproductions"))
    # A file where a folder is to be made stops the superuser too, who may write everywhere.
    (tmp_path / "lifelong_gym/envs/backends/__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    code = f"""
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import gymnasium as gym, numpy as np, lifelong_gym
    env = gym.make({SIMPLE_MASS!r}, task_seed=3)
    env.reset(seed=1)
    print(lifelong_gym.__file__)
    print(env.step(np.full(1, 0.5, np.float32))[:2])
    print([str(warning.message) for warning in caught])
"""
    variables = {"PYTHONPATH": str(tmp_path), "HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(tmp_path)}
    where, results, warned = run(code, tmp_path, **variables, NUMBA_CACHE_DIR="")
    assert where.startswith(str(tmp_path))
    env = gym.make(SIMPLE_MASS, task_seed=3, backend="python")
    env.reset(seed=1)
    assert results == str(env.step(np.full(1, 0.5, np.float32))[:2])
    assert warned.startswith("['compiled code is kept in ")
    assert warned.count("NUMBA_CACHE_DIR") == 1


def test_without_the_compiler_envs_step_in_python(tmp_path: Path) -> None:
    """``NUMBA_DISABLE_JIT`` is for debugging; single envs, rows and rollouts give the same numbers."""
    code = f"""
import gymnasium as gym, numpy as np, lifelong_gym
from lifelong_gym import rollout
env, rows = gym.make({CART_POLE!r}), gym.make_vec({CART_POLE!r}, num_envs=3)
for one in (env, rows):
    one.reset(seed=1)
    results = one.step(0.5 * np.ones(one.action_space.shape))
    print(results[0].tobytes().hex(), np.asarray(results[1]).tobytes().hex())
stats = rollout({CART_POLE!r}, theta=-np.ones(5), n_trajectories=2, horizon=20)
print(stats.returns.tobytes().hex(), stats.score.tobytes().hex())
print(type(env.unwrapped.core._rows).__name__)
"""
    *with_numba, kind = run(code, tmp_path)
    *without, other_kind = run(code, tmp_path, NUMBA_DISABLE_JIT="1")
    assert (kind, other_kind) == ("NumbaRows", "SimulatorRows")
    assert without == with_numba


STEP = f"""
import sys, gymnasium as gym, numpy as np, lifelong_gym
env = gym.make({SIMPLE_MASS!r}, task_seed=3)
for dtype in sys.argv[1:] or ["float32"]:
    env.reset(seed=1)
    print(env.step(np.full(1, 0.5, dtype))[:2])
print(sum(env.unwrapped._step_one.__self__._step_one.stats.cache_hits.values()))
"""


def test_two_processes_fill_the_cache_at_once(tmp_path: Path) -> None:
    """Each compiles for a type of its own; a later one finds right code for both, or compiles anew."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    types = "float32", "float64"
    both = [
        subprocess.Popen([sys.executable, "-c", STEP, dtype], env=environment, stdout=subprocess.PIPE, text=True)
        for dtype in types
    ]
    (first, hits_of_one), (second, hits_of_other) = (process.communicate()[0].splitlines() for process in both)
    assert first == second
    assert (hits_of_one, hits_of_other) == ("0", "0")
    later = run(f"import sys; sys.argv += {types!r}\n{STEP}", tmp_path, NUMBA_CACHE_DIR=str(tmp_path))
    assert later[:2] == [first, first]


def test_an_edit_of_what_is_compiled_is_noticed(tmp_path: Path) -> None:
    """Of the intrinsics too, which are neither the template nor the family."""
    shutil.copytree(PACKAGE, tmp_path / "lifelong_gym", ignore=shutil.ignore_patterns("__pycache__", "reproductions"))
    variables = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first, none = run(STEP, tmp_path, **variables)
    again, some = run(STEP, tmp_path, **variables)
    assert (again, none, some) == (first, "0", "1")
    path = tmp_path / "lifelong_gym/envs/backends/numba_math.py"
    text = path.read_text(encoding="utf-8")
    edited = text.replace("return if_true if condition else if_false", "return if_false if condition else if_true")
    assert edited != text
    path.write_text(edited, encoding="utf-8")
    other, none = run(STEP, tmp_path, **variables)
    assert none == "0"
    assert other != first
