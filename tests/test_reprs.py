"""What `print` shows: a few lines, however much is in an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.benchmark.records import find_runs
from lifelong_gym.measures.statistics import performance_profile
from tests.synthetic_runs import multi_task

CART_POLE = "LifelongCartPole-v0"


def rolled_out(trajectories: bool) -> Any:
    """Of the zero policy in three tasks."""
    return lifelong_gym.rollout(
        CART_POLE,
        tasks=lifelong_gym.sample_tasks(CART_POLE, 3),
        theta=np.zeros((3, 5)),
        n_trajectories=20,
        trajectories=trajectories,
    )


@pytest.mark.parametrize("trajectories", [False, True])
def test_rollouts_are_summed_up(trajectories: bool) -> None:
    """Sizes and the mean return, which is the same in both forms."""
    run, statistics = rolled_out(trajectories), rolled_out(False)
    name, end = ("Trajectories", "horizon=150") if trajectories else ("RolloutStatistics", "sigma=0.3")
    mean = f"{statistics.returns.mean():.4g}"
    assert repr(run) == f"{name}(n_tasks=3, n_trajectories=20, mean return {mean}, {end})"


def test_runs_are_summed_up(tmp_path: Path) -> None:
    """What was run, not what came out."""
    multi_task(tmp_path, "PPO", range(2))
    found = find_runs(tmp_path)
    assert repr(found) == "Found(2 runs, 0 unfinished, 0 broken)"
    assert repr(found.runs[1]) == f"Run('PPO' on {CART_POLE} (hetero), multi_task, seed 1: 11 evaluations of 4 tasks)"


def test_other_results_are_summed_up() -> None:
    """Profiles and constraints hold arrays too."""
    profile = performance_profile(np.eye(3), np.linspace(0, 1, 101), n_resamples=9)
    assert repr(profile) == "Profile(101 thresholds from 0 to 1)"
    limits = PolicyConstraints.gains([-1.0] * 30, [1.0] * 30)
    assert repr(limits) == "PolicyConstraints(60 constraints on 30 parameters)"


def test_task_sets_fit_a_terminal() -> None:
    """Many parameters: the first of them, and how many more there are; few: all."""
    wide = repr(lifelong_gym.sample_tasks("LifelongCH47-v0", 1000, preset="hetero")).splitlines()
    assert len(wide) == 11
    assert max(map(len, wide[1:])) <= 120 + len("  ... 99 more")
    shown, more = wide[1].partition("...")[::2]
    tasks = lifelong_gym.sample_tasks("LifelongCH47-v0", 1000, preset="hetero")
    varying = int((np.ptp(tasks.values, axis=0) > 0).sum())
    assert len(shown.split("  ")) > 2
    assert 0 < int(more.split()[0]) < varying
    assert "..." not in repr(lifelong_gym.sample_tasks(CART_POLE, 3))
