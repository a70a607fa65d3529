"""Learners of SB3 that learn in a VecNormalize: as SB3 has it, kept without pickle, frozen in evaluations."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from typer.testing import CliRunner

from lifelong_gym import benchmark, sample_tasks
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.models import Kept
from lifelong_gym.benchmark.normalised import Normalised
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.benchmark.run import RunSpec, execute
from lifelong_gym.cli.main import app
from lifelong_gym.errors import CheckpointError
from lifelong_gym.wrappers import CoreVecEnv, as_vec_env

ID, N_TASKS = "LifelongSimpleMass-v0", 3
TASKS = sample_tasks(ID, N_TASKS, preset="hetero")
ARGUMENTS: dict[str, Any] = {"n_steps": 32, "batch_size": 32, "n_epochs": 2, "gamma": 0.9}


def test_it_is_sb3s_own_normalisation(tmp_path: Path) -> None:
    """To the bit what PPO learns in a VecNormalize of its gamma; a loaded model predicts the same from raw numbers."""
    learner = LearnerSpec.of("PPO+standardised+norm", arguments=ARGUMENTS).make(_env(), 5)
    learner.learn(200)
    statistics = VecNormalize(_env(), gamma=0.9)
    other = PPO("MlpPolicy", statistics, seed=5, device="cpu", **ARGUMENTS).learn(200)
    shape = other.observation_space.shape or ()
    raw = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    expected, _ = other.predict(statistics.normalize_obs(raw), deterministic=True)
    np.testing.assert_array_equal(learner.predict(raw, deterministic=True)[0], expected)
    assert not np.array_equal(other.predict(raw, deterministic=True)[0], expected)
    before = np.array(learner.statistics.obs_rms.mean)
    learner.save(tmp_path / "model.zip")
    again = Normalised.load(PPO, tmp_path / "model.zip")
    np.testing.assert_array_equal(again.predict(raw, deterministic=True)[0], expected)
    moments: Any = again.statistics.obs_rms
    np.testing.assert_array_equal(moments.mean, before)
    assert again.statistics.ret_rms.var == statistics.ret_rms.var
    assert again.num_timesteps == other.num_timesteps
    assert not hasattr(again, "for_task")
    PPO.load(tmp_path / "model.zip")  # SB3 passes over what it doesn't know
    other.save(tmp_path / "plain.zip")
    with pytest.raises(CheckpointError, match=r"plain\.zip holds no statistics of observations and rewards"):
        Normalised.load(PPO, tmp_path / "plain.zip")


def _env() -> CoreVecEnv:
    env = as_vec_env(ID, tasks=TASKS, task_observation="standardised")
    assert isinstance(env, CoreVecEnv)
    env.seed(3)
    return env


def test_runs_keep_their_statistics(tmp_path: Path) -> None:
    """A kept model earns the raw returns of the last evaluation; an off-policy learner's, too."""
    small = Protocol(episodes_per_task=2, n_evaluations=2, n_eval_episodes=2)
    arguments = {"PPO+norm": ARGUMENTS, "DDPG+norm": {"buffer_size": 500, "learning_starts": 250, "batch_size": 8}}
    for name, given in arguments.items():
        learner = LearnerSpec.of(name, arguments=given)
        spec = RunSpec(learner, FamilySpec.of(ID, N_TASKS), TASKS, small, 0, None, Outputs(keep_models=True))
        path = execute(spec, tmp_path)
        run = read_run(path)
        assert run.settings["learner"]["norm"] is True
        assert np.array_equal(benchmark.evaluate(path).returns, run.returns[-1])
        kept = Kept.of_run(path)
        action, _ = kept.policy(1).predict(np.zeros(2, np.float32))
        everybody, _ = kept.learner().predict(np.zeros((1, 2), np.float32), deterministic=True)
        np.testing.assert_array_equal(action, everybody[0])
        with zipfile.ZipFile(kept.model) as file:
            assert "vec_normalize.npz" in file.namelist()


def test_training_by_command(tmp_path: Path) -> None:
    """Its model acts as it was evaluated."""
    asked = ["train", "PPO+norm", ID, "--n-tasks", "2", "--total-timesteps", "64", "-a", "n_steps=32"]
    done = CliRunner().invoke(app, [*asked, "-a", "batch_size=32", "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = tmp_path / "run.json"
    figures = json.loads(result.read_text())["figures"]
    kept = Kept.of_training(result, tmp_path / "model.zip")
    assert kept.norm
    np.testing.assert_allclose(kept.measured(8, 1_000_000).returns.mean(axis=1), figures["return_per_task"])
