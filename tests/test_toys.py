"""Three toy families show each kind: held to every promise, trained by Stable-Baselines3, and benchmarked."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils import env_checker
from pettingzoo.test import api_test, parallel_api_test
from stable_baselines3.common import env_checker as sb3_checker
from stable_baselines3.common.torch_layers import NatureCNN
from typer.testing import CliRunner

import lifelong_gym
from lifelong_gym.benchmark.experiment import Experiment
from lifelong_gym.benchmark.models import Kept, evaluate
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.records import read_run, read_runs
from lifelong_gym.benchmark.run import execute
from lifelong_gym.cli.main import app
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.closed_form import ClosedForm
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import as_vec_env
from tests.linear_mdp import FEATURES, A, D, LinearMDP, S
from tests.market import HORIZON, M, Market

FILES = {"Market": "market", "LinearMDP": "linear_mdp", "Camera": "camera"}
LOGITS = {"actions": "logits"}
MOST_LINES = 80


def n_lines(nodes: Sequence[ast.AST], text: str) -> int:
    """Of the text of these, but for blank ones."""
    texts = [ast.get_source_segment(text, node) or "" for node in nodes]
    return sum(len([line for line in each.splitlines() if line.strip()]) for each in texts)


@pytest.mark.parametrize("file", FILES.values())
def test_a_family_of_each_kind_is_short(file: str) -> None:
    """All that is needed to write it: lines of its file, imports and docstrings aside."""
    text = (Path(__file__).parent / f"{file}.py").read_text(encoding="utf-8")
    module = ast.parse(text)
    documented = [n for n in ast.walk(module) if isinstance(n, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(n)]
    own = [node for node in module.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert 0 < n_lines(own, text) - n_lines([node.body[0] for node in documented], text) <= MOST_LINES


@pytest.fixture(autouse=True)
def _registered(register: Callable[..., str]) -> None:
    for name, file in FILES.items():
        register(name, file)


@pytest.mark.parametrize(
    ("name", "arguments"), [("Market", {}), ("Market", LOGITS), ("LinearMDP", {}), ("Camera", {})], ids=str
)
def test_every_promise_is_kept(name: str, arguments: dict[str, Any]) -> None:
    """The same numbers through every interface and on every backend, and whatever else is promised."""
    check_family(f"{name}-v0", **arguments)


@pytest.mark.parametrize(("name", "arguments"), [("Market", LOGITS), ("LinearMDP", {}), ("Camera", {})], ids=str)
def test_other_peoples_checkers(name: str, arguments: dict[str, Any]) -> None:
    """Gymnasium's, Stable-Baselines3's and PettingZoo's."""
    given: dict[str, Any] = {"backend": "python", **arguments}
    env_checker.check_env(gym.make(f"{name}-v0", **given).unwrapped, skip_render_check=True)
    sb3_checker.check_env(gym.make(f"{name}-v0", **given))
    parallel_api_test(pettingzoo.make("parallel", f"{name}-v0", **given), num_cycles=40)
    api_test(pettingzoo.make("aec", f"{name}-v0", **given), num_cycles=40)


@pytest.mark.parametrize(
    ("name", "policy", "arguments"),
    [("Market", "MlpPolicy", LOGITS), ("LinearMDP", "MlpPolicy", {}), ("Camera", "CnnPolicy", {})],
)
def test_sb3_trains_on_it(name: str, policy: str, arguments: dict[str, Any]) -> None:
    """PPO, with a stock policy, on a row a task; what it then does lies in the action space."""
    from stable_baselines3 import PPO

    env = as_vec_env(f"{name}-v0", n_tasks=2, backend="numpy", **arguments)
    model = PPO(policy, env, n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0).learn(16)
    assert model.num_timesteps == 16
    observations: Any = env.reset()
    actions, _ = model.predict(observations)
    assert all(env.action_space.contains(action) for action in actions)


EXPERIMENT = """
seeds = 1
protocol = {name = "multi_task", episodes_per_task = 4, n_evaluations = 2, n_eval_episodes = 4}

[learners]
random = {}
PPO = {arguments = {n_steps = 8, batch_size = 24, n_epochs = 1}}

[families]
"tests.market:Market" = {n_tasks = 3, arguments = {actions = "logits"}}
"tests.linear_mdp:LinearMDP" = {n_tasks = 3}
"tests.camera:Camera" = {n_tasks = 3}
"""


IMAGES = """
seeds = 1
protocol = {name = "multi_task", episodes_per_task = 2, n_evaluations = 2, n_eval_episodes = 4}
learners.cnn = {class = "PPO", arguments = {policy = "CnnPolicy", n_steps = 16, batch_size = 16, n_epochs = 1}}
families."tests.camera:Camera" = {n_tasks = 2}
"""


def test_they_are_benchmarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command: on a scale where there is a reference, and by raw returns where there is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys.toml").write_text(EXPERIMENT, encoding="utf-8")
    result = CliRunner().invoke(app, ["benchmark", "toys.toml", "--folder", "runs", "--processes", "1"])
    assert result.exit_code == 0, result.output
    runs = {(run.family, run.learner): run for run in read_runs("runs")}
    market, chain, camera = (
        'tests.market:Market-v0 (actions="logits")',
        "tests.linear_mdp:LinearMDP-v0",
        "tests.camera:Camera-v0",
    )
    assert runs.keys() == {(family, learner) for family in (market, chain, camera) for learner in ("random", "PPO")}
    assert all(run.returns.shape == (3, 3, 4) and np.isfinite(run.returns).all() for run in runs.values())
    assert {family for (family, _), run in runs.items() if run.is_normalised} == {market, chain}
    assert {runs[family, "PPO"].header["references"]["how"] for family in (market, chain)} == {
        "closed form",
        "value iteration",
    }
    tasks = lifelong_gym.sample_tasks("LinearMDP-v0", 3)
    assert runs[chain, "random"].reference("best").tolist() == [
        pytest.approx(best_return(*LinearMDP().process(task))) for task in tasks
    ]
    assert (runs[market, "random"].reference("best") > runs[market, "random"].reference("zero")).all()


def test_a_policy_for_images_is_benchmarked(tmp_path: Path) -> None:
    """From a file that asks for `CnnPolicy`: it is what has learned, and kept it is worth the same again."""
    ((_, spec),) = Experiment.of_dict(tomllib.loads(IMAGES)).runs()
    path = execute(replace(spec, outputs=Outputs(keep_models=True)), tmp_path)
    run = read_run(path)
    assert run.returns.shape == (3, 2, 4)
    assert np.isfinite(run.returns).all()
    assert isinstance(Kept.of_run(path).learner().policy.features_extractor, NatureCNN)
    np.testing.assert_array_equal(evaluate(path).returns, run.returns[-1])


def best_return(kernel: FloatArray, worth: FloatArray) -> float:
    """Of an episode, by backward induction on arrays of our own."""
    values = np.zeros(S)
    for _ in range(LinearMDP.horizon):
        values = np.einsum("sat,t->sa", kernel, worth + values).max(axis=1)
    return float(values[0])


def test_processes_are_linear_in_features() -> None:
    """Kernels and mean rewards are those of d measures and worths, exactly, and distributions."""
    kernel, worth = LinearMDP().process({"number": 5.0})
    features = FEATURES.reshape(S * A, D)
    for values in (kernel.reshape(S * A, S), (kernel @ worth).reshape(S * A, 1)):
        assert features @ np.linalg.lstsq(features, values, rcond=None)[0] == pytest.approx(values, abs=1e-12)
    assert kernel.sum(axis=-1) == pytest.approx(1.0)


def test_the_markets_reference_asks_for_one_instrument() -> None:
    """The last that is held, as later ones grow faster; by weights, and by logits as far as these reach."""
    tasks = Market.parameters.tasks([{"first": 1, "held": 2}, {"first": 3, "held": 3}])
    returns = []
    for kind in (Market(), Market(actions="logits")):
        env: Any = gym.make_vec("Market-v0", num_envs=2, tasks=tasks, backend="numpy", **kind.given_arguments)
        observations, _ = env.reset(seed=0)
        policy, rewards = ClosedForm(kind, tasks, "growth"), []
        for _ in range(HORIZON):
            observations, reward, *_ = env.step(policy.predict(observations))
            rewards.append(reward)
        shares = env.unwrapped.state[:, :M]
        assert shares.argmax(axis=1).tolist() == [1, 2]
        assert (shares.max(axis=1) > 0.998).all()
        returns.append(np.sum(rewards, axis=0))
    assert returns[1] == pytest.approx(returns[0], abs=0.01)
