"""The reproduction of Bou Ammar et al. (2015): its parts against known truths, and all of it once, very small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.benchmark.results import read_result, write_result
from lifelong_gym.cli.main import app
from lifelong_gym.papers.bouammar2015 import inside, learning, methods, paper, plan, regions
from lifelong_gym.papers.bouammar2015.acceptance import expectations
from lifelong_gym.papers.bouammar2015.claims import claims
from lifelong_gym.papers.bouammar2015.page import written
from lifelong_gym.papers.bouammar2015.paper import PAPER
from lifelong_gym.papers.bouammar2015.readings import length
from lifelong_gym.papers.jobs import Measurement

TINY = plan.RoundBudget(
    True, n_tasks=3, n_seeds=1, share=0.0, n_rounds=(10, 40), n_joint=(10, 40), n_starts=0, n_games=2, n_spectral=1
)
COMMITTED = Path(__file__).parents[1] / "docs" / "results"
STUDIES = {study.name: study for study in plan.studies()}


def settings(study: str, label: str, **more: Any) -> dict[str, Any]:
    """Of a small job."""
    return {**STUDIES[study].settings(label, TINY), "seed": 0, **more}


def situation(study: str) -> learning.Situation:
    """As its jobs have it."""
    return learning.Situation.of(settings(study, methods.PG))


def quiet(share: float) -> None:
    """No progress shown."""
    del share


# ---------------------------------------------------------------------------------------------------------------- sets


@pytest.mark.parametrize("key", list(plan.SYSTEMS))
def test_safe_sets_leave_the_optimum_out_but_not_all_that_controls(key: str) -> None:
    """All gains that aren't small are weaker than the optimal ones; anchors are inside and stable."""
    of = situation(f"bound-{key}")
    assert of.sets is not None
    assert not of.safe(of.optimal).any()
    anchors = of.anchors(settings(f"bound-{key}", methods.PPG))
    assert of.safe(anchors).all()
    assert of.unstable(anchors) == 0
    main = np.abs(of.optimal) >= regions.FLOOR * np.abs(of.optimal).max(axis=1, keepdims=True)
    low, high = plan.SYSTEMS[key].beyond
    share = np.divide(anchors, of.optimal, where=main, out=np.full_like(anchors, low))
    assert low - 1e-9 <= share.min() <= share.max() <= high + 1e-9


@pytest.mark.parametrize("key", list(plan.SYSTEMS))
def test_boxes_around_the_optimum_leave_the_start_out(key: str) -> None:
    """Else nothing would have to be learned to become safe."""
    of = situation(plan.until_name(key, plan.WIDTHS[0], next(iter(plan.STEPS))))
    assert of.safe(of.optimal).all()
    assert not of.safe(np.broadcast_to(of.start, of.optimal.shape)).any()


def test_outlines_are_the_shadows_of_sets() -> None:
    """Of a tilted box in three dimensions, on two of them."""
    box = PolicyConstraints.gains([-1.0, -2.0, -3.0], [1.0, 2.0, 3.0])
    cut = PolicyConstraints.polytope([[1.0, 1.0, 0.0]], [0.0])
    corners = regions.outline(box & cut, [0, 1])
    for corner in ([-1, 1], [-1, -2], [1, -2], [1, -1]):
        assert np.abs(corners - corner).sum(axis=1).min() < 1e-9
    assert (corners.sum(axis=1) <= 1e-9).all()


def test_some_policies_around_the_optimum_do_not_control() -> None:
    """None where the box is narrow, many where it is wide."""
    figures = inside.measure({**settings("free-CP", methods.PG), "widths": [0.01, 1.2], "n_policies": 20}, quiet)
    assert figures["unstable"][0] == 0.0
    assert 0.2 < figures["unstable"][1] < 1.0


# ------------------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("label", methods.FREE)
def test_all_methods_begin_at_the_same_policies(label: str) -> None:
    """And keep them where they haven't observed a task, unless they start warm."""
    wanted = settings("free-CP", label)
    of = learning.Situation.of(wanted)
    learner = of.learner(wanted)
    np.testing.assert_array_equal(learner.policy.thetas, np.broadcast_to(of.start, of.optimal.shape))
    learner.env.core.admit([1])
    learner.learn(10 * learner.n_trajectories * learner.env.core.horizon, callback=lambda *_: False)
    moved = np.abs(learner.policy.thetas - of.start).max(axis=1) > 0
    cold = label in (methods.PG, methods.COLD, methods.LITERAL)
    assert moved.tolist() == ([False, True, False] if cold else [True, True, True])


def test_costs_are_those_of_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the env's own, one after another from the same seed."""
    monkeypatch.setattr(learning, "N_STARTS", 4)
    of = situation("free-SM")
    env, seed = gym.make(of.env, tasks=of.tasks), learning.EVALUATION_SEED
    policy = of.learner(settings("free-SM", methods.PG)).policy.with_thetas(of.optimal[[1]])
    total = 0.0
    for episode in range(4):
        observation, _ = env.reset(seed=None if episode else seed, options={"task": 1})
        for _ in range(150):
            observation, reward, *_ = env.step(policy.predict(observation, deterministic=True)[0])
            total -= float(reward)
    assert of.costs(of.optimal)[1] == pytest.approx(total / 600, rel=1e-5)


def test_observations_until_safe_are_counted() -> None:
    """Until the first time, by task; what happens later is told apart."""
    of = situation("bound-SM")
    assert of.sets is not None
    safe = np.stack([one.centre()[0] for one in of.sets])
    outside = of.optimal
    mixed = np.where(np.array([[True], [False], [False]]), safe, outside)
    watch = learning.Rounds(of, [[0, 1], [0, 1], [0]], quiet)
    for done, theta in enumerate((outside, mixed, np.where(mixed == safe, outside, safe))):
        watch.record.observations[:] = [done, done, 0]
        watch._theta = lambda theta=theta: theta  # type: ignore[method-assign, misc]
        watch._note(done)
    assert watch.record.until.tolist() == [1, 2, 0]
    assert watch.record.again.tolist() == [1, 0, 0]


@pytest.mark.parametrize("label", methods.BOUND)
def test_those_that_know_the_sets_never_leave_them(label: str) -> None:
    """The others do: the optimum is outside."""
    figures = learning.learn(settings("bound-SM", label, rounds=12, step=[20.0, 20.0]), quiet)
    assert figures["checked"] == 12
    assert (figures["executed_outside"] == 0) == (label in methods.SAFE)
    assert len(figures["costs"]) == len(figures["rounds"]) == 13


def test_the_length_of_a_path_is_that_of_its_detours() -> None:
    """1 where it is straight."""
    assert length([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]) == 1.0
    assert length([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]) == pytest.approx(7 / 5)


# --------------------------------------------------------------------------------------------------------------- whole


def test_names_of_all_jobs_differ() -> None:
    """In both versions, or one would overwrite another's file."""
    for budget in (plan.QUICK, plan.FULL):
        names = [each.name for each in plan.jobs(budget)]
        assert len(set(names)) == len(names)


def kind_of(job: Measurement) -> tuple[str, str]:
    """Jobs that are as good as each other to see whether the page can be written."""
    if job.study == plan.GAMES:
        return job.study, job.settings["basis"]
    return job.study.replace("-CP", "-SM").replace("-QR", "-SM").partition(", ")[0], job.variant.partition(",")[0]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything; of jobs of a kind only the first was carried out, and the others have its figures."""
    folder = tmp_path_factory.mktemp("bouammar2015")
    (folder / "quick").mkdir()
    measured: dict[tuple[str, str], Any] = {}
    for job in plan.jobs(TINY)[:-1]:
        if kind_of(job) not in measured:
            job.execute(folder / "quick", quiet)
            measured[kind_of(job)] = job.figures(folder / "quick")
        write_result(folder / "quick" / f"{job.name}.json", job.all_settings, measured[kind_of(job)])
    PAPER.reproduce(folder, True, Console(quiet=True), n_processes=1, budget=TINY)
    return folder


def test_the_page_says_everything(reproduced: Path) -> None:
    """Every claim with a verdict and a figure that exists, every expectation, and no gap."""
    page = (reproduced / PAPER.page).read_text()
    summary = read_result(reproduced / "bouammar2015" / "summary.json")["figures"]
    for claim in claims(summary):
        assert claim.word in ("holds", "partly", "doesn't hold")
        assert not claim.figure or (reproduced / "bouammar2015" / f"{claim.figure}.png").stat().st_size > 5000
        assert claim.text in page
    assert all(row.text in page and row.word in page for row in expectations(summary))
    assert "quick version" in page
    assert "nan" not in page


def test_the_command_writes_the_same_page(reproduced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``lifelong reproduce`` measures nothing again."""
    page = (reproduced / PAPER.page).read_bytes()
    monkeypatch.setattr(paper, "PAPER", replace(PAPER, quick=TINY))
    result = CliRunner().invoke(app, ["reproduce", "bouammar2015", "--quick", "--folder", str(reproduced)])
    assert result.exit_code == 0, result.output
    assert "0 of them to do" in result.output
    assert (reproduced / PAPER.page).read_bytes() == page


def test_the_published_page_is_what_its_numbers_give() -> None:
    """Nobody has edited either."""
    content = read_result(COMMITTED / "bouammar2015" / "summary.json")
    budget = json.loads(json.dumps(content["settings"]["budget"]))
    assert (COMMITTED / PAPER.page).read_text() == written(content["figures"], budget)
