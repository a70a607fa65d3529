"""The reproduction of Bou Ammar et al. (2015): parts against known truths, single cells against what is published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cvxpy as cp
import gymnasium as gym
import numpy as np
import pytest

from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.agents.safety.projection import SpectralBounds
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.bouammar2015 import printed, science
from lifelong_gym.papers.cells import only, settings_of
from lifelong_gym.papers.reproduce import Reproduction, folder_of
from lifelong_gym.papers.sweeps import SweepRun

PUBLISHED = Path(__file__).parents[1] / "docs" / "results"
SYSTEMS = ("SM", "CP", "QR")
SAFE = ("projected PG", "ours, literal", "ours, linearised", "ours, 10 inner", "ours, k = d")
PAPER = Reproduction.of(folder_of("bouammar2015"), "default", Path("nowhere"))
FREE = PAPER.paper.studies["free"].methods


def settings(study: str, system: str, method: str, **more: Any) -> dict[str, Any]:
    """Of a small cell."""
    found = settings_of(PAPER.paper, PAPER.paper.studies[study], system, method, "default")
    return {**found, "n_tasks": 3, "sweeps": 2, "seed": 0, **more}


def a_run(study: str, system: str, method: str, **more: Any) -> SweepRun:
    """Of such a cell, before it begins."""
    return SweepRun(PAPER.code, settings(study, system, method, **more))


def situation(study: str, system: str) -> science.Situation:
    """As its cells have it."""
    given = settings(study, system, "PG (eNAC)")
    return science.Situation(given, sweeps.drawn_tasks(given))


@pytest.mark.parametrize(
    "title", ["bound/SM/projected PG/seed1", "until/SM ±35%/PG (eNAC)/seed0", "printed/k = 3/as printed/seed2"]
)
def test_single_cells_give_the_published_digits(tmp_path: Path, title: str) -> None:
    """As anybody can run them."""
    (cell,) = only(PAPER.cells, title)
    cell.execute(tmp_path, lambda share: None)
    study, system, method = cell.place
    published = PAPER.summary(PUBLISHED).by_seed
    measured = replace(PAPER, runs=tmp_path).quantities(cell)
    assert measured
    for of, value in measured.items():
        if "seconds" not in of:
            assert value == published(study, system, method, of)[cell.settings["seed"]]


# ---------------------------------------------------------------------------------------------------------------- sets


@pytest.mark.parametrize("key", SYSTEMS)
def test_safe_sets_leave_the_optimum_out_but_not_all_that_controls(key: str) -> None:
    """All gains that aren't small are weaker than the optimal ones; anchors are inside and stable."""
    of = situation("bound", key)
    assert of.sets is not None
    assert not of.safe(of.optimal).any()
    anchors = np.asarray(a_run("bound", key, "PG (eNAC)").theta)
    assert of.safe(anchors).all()
    assert of.unstable(anchors) == 0
    main = np.abs(of.optimal) >= science.FLOOR * np.abs(of.optimal).max(axis=1, keepdims=True)
    low, high = of.settings["beyond"]
    share = np.divide(anchors, of.optimal, where=main, out=np.full_like(anchors, low))
    assert low - 1e-9 <= share.min() <= share.max() <= high + 1e-9


@pytest.mark.parametrize("key", SYSTEMS)
def test_boxes_around_the_optimum_leave_the_start_out(key: str) -> None:
    """Else nothing would have to be learned to become safe."""
    of = situation("until", f"{key} ±35%")
    assert of.safe(of.optimal).all()
    assert not of.safe(np.broadcast_to(of.start, of.optimal.shape)).any()


def test_outlines_are_the_shadows_of_sets() -> None:
    """Of a tilted box in three dimensions, on two of them."""
    box = PolicyConstraints.gains([-1.0, -2.0, -3.0], [1.0, 2.0, 3.0])
    cut = PolicyConstraints.polytope([[1.0, 1.0, 0.0]], [0.0])
    corners = science.outline(box & cut, [0, 1])
    for corner in ([-1, 1], [-1, -2], [1, -2], [1, -1]):
        assert np.abs(corners - corner).sum(axis=1).min() < 1e-9
    assert (corners.sum(axis=1) <= 1e-9).all()


def test_some_policies_around_the_optimum_do_not_control() -> None:
    """None where the box is narrow, many where it is wide."""
    narrow, wide = (
        science.inside(settings("inside", "CP", "±35%", width=width, n_policies=20), lambda share: None)["unstable"]
        for width in (0.01, 1.2)
    )
    assert narrow == 0.0
    assert 0.2 < wide < 1.0


# ------------------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("method", FREE)
def test_all_methods_begin_at_the_same_policies(method: str) -> None:
    """And keep them where they haven't observed a task, unless they start warm."""
    run = a_run("free", "CP", method)
    of = science.Situation(run.settings, run.tasks)
    learner: Any = run.learner
    np.testing.assert_array_equal(run.theta, np.broadcast_to(of.start, of.optimal.shape))
    learner.env.core.admit([1])
    learner.learn(10 * learner.n_trajectories * learner.env.core.horizon, callback=lambda *_: False)
    moved = np.abs(run.theta - of.start).max(axis=1) > 0
    cold = method in ("PG (eNAC)", "PG-ELLA", "ours, literal", "PG (REINFORCE)")
    assert moved.tolist() == ([False, True, False] if cold else [True, True, True])


def test_costs_are_those_of_episodes() -> None:
    """Of the env's own, one after another from the same seed."""
    run = a_run("free", "SM", "PG (eNAC)", n_starts=4)
    optimal = science.Situation(run.settings, run.tasks).optimal
    env = gym.make(run.settings["env"], tasks=run.tasks)
    policy = run.learner.policy.with_thetas(optimal[[1]])
    total = 0.0
    for episode in range(4):
        observation, _ = env.reset(seed=None if episode else sweeps.EVALUATION_SEED, options={"task": 1})
        for _ in range(150):
            observation, reward, *_ = env.step(policy.predict(observation, deterministic=True)[0])
            total -= float(reward)
    assert run.costs(optimal)[1] == pytest.approx(total / 600, rel=1e-5)


def test_observations_until_safe_are_counted() -> None:
    """Until the first time, by task; what happens later is told apart."""
    run = a_run("bound", "SM", "PG (eNAC)")
    run.present = [[0, 1], [0, 1]]
    watch = science.Safety(run)
    sets = watch.situation.sets
    assert sets is not None
    safe, outside = np.stack([one.centre()[0] for one in sets]), watch.situation.optimal
    mixed = np.where(np.array([[True], [False], [False]]), safe, outside)
    for done, theta in enumerate((outside, mixed, np.where(mixed == safe, outside, safe))):
        run.learner.policy.thetas = theta
        watch.after(done)
    figures = watch.figures()
    assert figures["until"] == [1, 2, 0]
    assert (figures["again"], figures["lasted"]) == (1, 2)
    assert (figures["checked"], figures["outside"]) == (4, 3)


@pytest.mark.parametrize("method", [*SAFE, "PG (eNAC)", "PG-ELLA, warm"])
def test_those_that_know_the_sets_never_leave_them(method: str) -> None:
    """The others do: the optimum is outside."""
    figures = sweeps.learn(PAPER.code, settings("bound", "SM", method, sweeps=12, step=20.0, decay=False), print)
    assert figures["checked"] == 12
    assert (figures["outside"] == 0) == (method in SAFE)
    assert len(figures["costs"]) == len(figures["rounds"]) == 13


def test_quantities_by_hand() -> None:
    """Of a run of thirty rounds whose cost falls by one a round, of which some are evaluated."""
    rounds = [*range(21), 25, 30]
    figures = {"rounds": rounds, "costs": [100.0 - r for r in rounds], "typical": [2.0] * len(rounds)}
    assert science.begun(figures) == pytest.approx(100 - 5.5)
    assert science.early(figures) == pytest.approx(95)
    assert science.final(figures) == pytest.approx(100 - 25)
    assert science.typical(figures) == pytest.approx(2.0)
    assert science.length({"path": {"path": [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]}}) == 1.0
    assert science.length({"path": {"path": [[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]}}) == pytest.approx(7 / 5)


def test_shares_of_tasks_that_wait_by_hand() -> None:
    """Three of four tasks are inside within ten observations, one of them from the start."""
    found = science.waiting({"until": [0, 3, None, 10], "lasted": 10})
    assert found["at"][0] == 0
    shares = dict(zip(found["at"], found["values"], strict=True))
    assert [shares[n] for n in (0, 2, 3, 9, 10)] == [0.75, 0.75, 0.5, 0.5, 0.25]


def test_a_path_is_that_of_the_first_task() -> None:
    """Two of its parameters, before learning and after each round; the optimum is outside what is drawn."""
    figures = sweeps.learn(PAPER.code, settings("path", "CP", "ours, 10 inner", sweeps=3), print)
    path, outline = np.array(figures["path"]["path"]), np.array(figures["path"]["outline"])
    assert path.shape == (4, 2)
    assert (outline.min(axis=0) <= path.min(axis=0)).all()
    assert (path.max(axis=0) <= outline.max(axis=0)).all()
    assert figures["path"]["best"] == pytest.approx(situation("path", "CP").optimal[0, [2, 3]])


# ---------------------------------------------------------------------------------------------------------- as printed


@pytest.mark.parametrize(("n_tasks", "k"), [(1, 2), (2, 2), (3, 2), (4, 3)])
def test_the_printed_projection_is_the_reference_solvers(n_tasks: int, k: int) -> None:
    """Of its semidefinite program, with bounds that bind."""
    rng = np.random.default_rng(n_tasks)
    codes, root = rng.normal(size=(n_tasks, k)), rng.normal(size=(k, k))
    bounds, now, wanted = SpectralBounds(0.5, 2.0), np.eye(k), root @ root.T + 2 * np.eye(k)
    x = cp.Variable((k, k), symmetric=True)
    equations = [code @ x @ code == code @ now @ code for code in codes]
    within = [x >> bounds.p * np.eye(k), x << bounds.q * np.eye(k)]
    cp.Problem(cp.Minimize(cp.sum_squares(x - wanted)), equations + within).solve(solver=cp.CLARABEL)
    assert np.abs(printed.projected(codes, now, wanted, bounds) - np.asarray(x.value)).max() < 1e-4


@pytest.mark.parametrize("k", [2, 3])
def test_the_printed_projection_freezes_the_basis_and_ours_does_not(k: int) -> None:
    """From k (k + 1) / 2 tasks on; with ours all of the step remains."""
    small: dict[str, Any] = {"n_tasks": 8, "d": 6, "k": k, "seed": 0}
    frozen, free = (printed.measure({**small, "variant": variant}, lambda share: None) for variant in ("SDP", "QP"))
    assert frozen["still"] == k * (k + 1) // 2
    assert frozen["kept"]["values"][0] > 0.1
    assert free["kept"] == {"at": list(range(1, 9)), "values": pytest.approx([1.0] * 8)}
