"""How well safe learners learn where constraints don't matter, and where they leave unstable policies within reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.utils import LinearSchedule

from lifelong_gym import rollout
from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.agents.safety import safe_search
from lifelong_gym.agents.safety.anchors import Anchors
from lifelong_gym.agents.safety.nearest import nearest
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.lqr import Linearised, lqr_policies, scale_of
from lifelong_gym.registry import family
from lifelong_gym.tasks.task_set import TaskSet
from tests.safe_learners import MASS, POLE, costs, make, tasks_of

N_TASKS, N_OBSERVATIONS, N_STARTS = 10, 20, 100
SEEDS = range(6)


def learned(name: str, seed: int, n_trajectories: int, constraints: Any, **more: Any) -> tuple[FloatArray, Any]:
    """The anchors, and a learner after 20 rounds of all tasks; its steps become shorter."""
    horizon = family(name).horizon
    own = {"seed": seed, "n_trajectories": n_trajectories, "learning_rate": LinearSchedule(5.0, 0.0, 1.0), **more}
    model = make(name, tasks=tasks_of(name, N_TASKS, seed), constraints=constraints, horizon=horizon, **own)
    anchors = model.policy.thetas
    model.learn(N_OBSERVATIONS * N_TASKS * n_trajectories * horizon)
    assert model.n_violations == model.n_failed_projections == 0
    return anchors, model


def wide(name: str, share: float) -> PolicyConstraints:
    """Boxes that don't bind, around a share of the nominal task's optimal gains."""
    nominal = lqr_policies(family(name), family(name).parameters.tasks([{}]))[0]
    room = 5.0 * np.abs(nominal).max()
    return PolicyConstraints.gains(share * nominal - room, share * nominal + room)


@pytest.mark.parametrize(("name", "share", "sigma"), [(MASS, 0.25, 1.0), (POLE, 0.5, 0.5)])
def test_unconstrained_learning_comes_within_five_percent_of_the_optimum(name: str, share: float, sigma: float) -> None:
    """After 20 observations of each task, from stable policies that cost a fifth to a half more.

    Measured: .2 % to 1.5 % above the optimum on masses, 1.3 % to 4.3 % on cart-poles.
    """
    ratios = []
    for seed in SEEDS:
        tasks = tasks_of(name, N_TASKS, seed)
        best = costs(lqr_policies(family(name), tasks), name, tasks, N_STARTS).mean()
        anchors, model = learned(name, seed, 100, wide(name, share), sigma=sigma)
        ratios.append([costs(at, name, tasks, N_STARTS).mean() / best for at in (anchors, model.policy.thetas)])
        assert not (np.abs(model.policy.thetas) >= 0.99 * model.safe_sets.bound.max()).any()
    before, after = np.array(ratios).T
    assert before.min() > 1.2
    assert after.max() < 1.05


def tilted(tasks: TaskSet, seed: int) -> list[PolicyConstraints]:
    """Wide boxes about the optimal gains, of which a half-space in a random direction cuts off the optimum."""
    rng, limits = np.random.default_rng(seed), []
    for best in lqr_policies(family(POLE), tasks):
        width = 0.9 * np.maximum(np.abs(best), 0.1 * np.abs(best).max())
        normal = rng.normal(size=len(best)) / width
        cut = PolicyConstraints.polytope([normal], [normal @ best - 0.2 * np.abs(normal * width).sum()])
        limits.append(PolicyConstraints.gains(best - width, best + width) & cut)
    return limits


def unstable(thetas: FloatArray, tasks: TaskSet) -> int:
    """Tasks whose linearised closed loop doesn't contract, or that some of a hundred starts fail within 12 seconds."""
    loop = Linearised.of(family(POLE), tasks).closed_loop(thetas, scale_of(family(POLE)))
    drifts = np.abs(np.linalg.eigvals(loop)).max(axis=1) >= 1.0
    ran = rollout(POLE, tasks=tasks, theta=thetas, n_trajectories=N_STARTS, seed=7, sigma=0.0, horizon=600)
    return int(np.count_nonzero(drifts | (ran.steps < 600).any(axis=1)))


def start_projected(constraints: list[PolicyConstraints], *_: Any, **__: Any) -> Anchors:
    """The safe policies nearest to 0, a little towards the centre, without a trial."""
    middles = np.stack([one.centre()[0] for one in constraints])
    edge = np.concatenate(
        [nearest(0 * m[None], c.matrix[None], c.bound[None]).points for c, m in zip(constraints, middles, strict=True)]
    )
    n = len(middles)
    return Anchors(0.02 * middles + 0.98 * edge, np.ones(n, bool), np.zeros(n), ("start",) * n)


def unstable_after(kind: str, seed: int) -> list[int]:
    """Unstable tasks at the anchors, and at the end."""
    tasks = tasks_of(POLE, N_TASKS, seed)
    anchors, model = learned(POLE, seed, 50, tilted(tasks, seed), kind=kind, nominal="discrete")
    return [unstable(at, tasks) for at in (anchors, model.policy.thetas)]


@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_no_task_is_unstable_from_chosen_anchors(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sixty cart-poles whose safe sets have unstable corners, to which starting near 0 would lead, and keep them.

    Measured there: 8 and 9 of 10 tasks unstable, after learning 6 and 3 (A), 1 and 1 (B), 2 and 3 (C).
    """
    assert [unstable_after(kind, seed) for seed in SEEDS] == [[0, 0]] * len(SEEDS)
    monkeypatch.setattr(safe_search, "choose_anchors", start_projected)
    for seed in (0, 3):
        before, after = unstable_after(kind, seed)
        assert before >= 8
        assert after > 0
