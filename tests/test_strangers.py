"""Two packages of other people, a family and a learner, installed as anybody's are, go through every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lifelong_gym.benchmark.records import read_runs

SOURCES = Path(__file__).parent / "strangers"
ENV = "Thermostat-v0"
END = "that was one"
# Commands one after another in one process, most of whose time would go into imports.
COMMANDS = f"""
import json, sys
from lifelong_gym.cli.main import app
for words in json.loads(sys.argv[1]):
    assert not app(words, standalone_mode=False)  # an exit's code
    print({END!r}, flush=True)
"""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages, and the metadata that their entry points are found by."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    packages = [str(SOURCES / name) for name in ("thermostats", "switches")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(target), *packages], check=True)
    return target


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs Python with both packages on the path, in an empty folder."""

    def run_python(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_python


def test_every_command_takes_them(run: Run, tmp_path: Path) -> None:
    """Listed, trained, played, compared and reported, like ours."""

    def lifelong(*commands: list[str]) -> list[str]:
        return run("-c", COMMANDS, json.dumps(commands)).split(END)[:-1]

    small = ["--n-tasks", "3", "--preset", "wide"]
    budget = ["--episodes-per-task", "10", "--n-evaluations", "2", "--seeds", "1", "--processes", "1"]
    agents = ["--agents", "Switch,random,reference", "--envs", ENV]
    everything, family, references, learner, trained, *_ = lifelong(
        ["list"],
        ["list", ENV],
        ["list", "thermostats:Thermostat", "--references"],
        ["list", "switches:Switch"],
        ["train", "Switch", ENV, *small, "--total-timesteps", "1200", "--folder", "run"],
        ["play", "run", f"thermostats:{ENV}", "--task", "2", "--video", "film.gif"],
        ["benchmark", *agents, *small, *budget, "--folder", "runs"],
        ["report", "runs", "--html", "page.html"],
    )
    assert ENV in everything
    assert "A cold room" in everything
    assert "Turns on below a threshold" in everything
    assert "through the walls" in family
    assert "a switch that looks one step ahead" in references
    assert "Turns on below a threshold" in learner
    assert f"lifelong play run {ENV}" in trained
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["env"] == ENV
    with Image.open(tmp_path / "film.gif") as film:
        assert getattr(film, "n_frames", 1) > 1
    final = {found.learner: found.performance()[-1] for found in read_runs(tmp_path / "runs")}
    np.testing.assert_allclose(final["reference"], 1.0)
    assert (final["random"] < final["Switch"]).all()
    assert (final["Switch"] <= 1.0).all()
    assert ENV in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_family_keeps_every_promise(run: Run, pytestconfig: pytest.Config) -> None:
    """By its id, by its module, as a class; the checkers find no fault."""
    program = f"""
import gymnasium as gym, lifelong_gym, pettingzoo, pickle
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import as_vec_env
check_family("{ENV}")
envs = [gym.make(name) for name in ("{ENV}", "thermostats:{ENV}", "lifelong_gym:{ENV}")]
assert len({{float(env.reset(seed=1)[0][0]) for env in envs}}) == 1
assert pettingzoo.make("parallel", "{ENV}", n_tasks=2).possible_agents == ["task_0", "task_1"]
assert as_vec_env("thermostats:Thermostat", n_tasks=3).num_envs == 3
kind = lifelong_gym.family("{ENV}")
assert kind is lifelong_gym.family("thermostats:Thermostat") is lifelong_gym.family("thermostats:{ENV}")
print(lifelong_gym.registry.resolve("thermostats:Thermostat"))
"""
    more = [word for given in pytestconfig.getoption("pythonwarnings") or () for word in ("-W", given)]
    assert run("-W", "error", *more, "-c", program) == f"{ENV}\n"


@pytest.mark.parametrize(
    ("entry_points", "message"),
    [
        ("LifelongCartPole-v0 = mine:CartPole", "'LifelongCartPole-v0' is already registered as 'lifelong_gym"),
        ("MyTask-v0 = mine", "`entry_point` must be"),
        ("a task! = mine:Task", "Malformed environment ID"),
    ],
)
def test_a_package_that_declares_nonsense_harms_nobody(tmp_path: Path, entry_points: str, message: str) -> None:
    """It is left out with a warning that names it; all else is there."""
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[lifelong_gym.families]\n{entry_points}\n")
    program = "import lifelong_gym, gymnasium as gym; gym.make('LifelongGridWorld-v0').reset(seed=0)"
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert message in done.stderr
    assert "of the package 'mine' is left out" in done.stderr
