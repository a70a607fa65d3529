"""The reproduction of Zhan et al. (2017): its parts against known truths, and all of it once, very small."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lifelong_gym import registry
from lifelong_gym.benchmark.results import read_result
from lifelong_gym.cli.main import app
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers import compare
from lifelong_gym.papers.jobs import Measurement, missing
from lifelong_gym.papers.zhan2017 import consensus, hidden, learning, novel, paper, pictures, plan
from lifelong_gym.papers.zhan2017.acceptance import expectations
from lifelong_gym.papers.zhan2017.claims import agreement, claims
from lifelong_gym.papers.zhan2017.page import written
from lifelong_gym.papers.zhan2017.paper import PAPER
from lifelong_gym.papers.zhan2017.printed import printed_weights
from lifelong_gym.papers.zhan2017.readings import gap_closed
from lifelong_gym.references.linear import Trial
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.wrappers import Channel, graph_of

TINY = plan.SweepBudget(
    True, n_tasks=4, n_seeds=1, n_trajectories=12, share=0.0, n_problems=1, n_novel=1, n_iterations=10
)
COMMITTED = Path(__file__).parents[1] / "docs" / "results"


def doubled(settings: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """What a job may call."""
    progress(1.0)
    return {"value": 2 * settings["seed"]}


def job(seed: int, **settings: Any) -> Measurement:
    """Of a study of nothing."""
    return Measurement("study", "a method", seed, f"{__name__}:doubled", settings)


def test_jobs_are_done_once(tmp_path: Path) -> None:
    """A file with other settings doesn't count, and an edited one is refused."""
    path = job(3, size=(1, 2)).execute(tmp_path, lambda share: None)
    assert path.name == "study--a_method--seed3.json"
    assert job(3, size=(1, 2)).figures(tmp_path) == {"value": 6}
    assert missing([job(3, size=(1, 2)), job(4, size=(1, 2)), job(3, size=(1, 3))], tmp_path) == [
        job(4, size=(1, 2)),
        job(3, size=(1, 3)),
    ]
    path.write_text(path.read_text().replace('"value": 6', '"value": 7'))
    with pytest.raises(ValueError, match="was edited"):
        missing([job(3, size=(1, 2))], tmp_path)


def test_names_of_all_jobs_differ() -> None:
    """In both versions, or one would overwrite another's file."""
    for budget in (plan.QUICK, plan.FULL):
        names = [each.name for each in plan.jobs(budget)]
        assert len(set(names)) == len(names)


def test_the_full_version_keeps_what_was_agreed() -> None:
    """Fifty tasks, ten seeds, fifty trajectories, every domain and every control."""
    settings = {(each.study, each.variant): each for each in plan.jobs(plan.FULL)}
    assert plan.FULL.n_seeds >= 10
    for key in plan.DOMAINS:
        for label in ("eNAC", "REINFORCE", "RWR", "PG-ELLA", "GO-MTL", "ePG-ELLA", "one policy for all"):
            given = settings[f"main-{key}", label].settings
            assert given["n_tasks"] == 50
            assert given["learner"]["arguments"]["n_trajectories"] == 50


# --------------------------------------------------------------------------------------------------------- comparing


def test_a_ratio_is_of_the_means() -> None:
    """With seeds resampled together: proportional costs leave no doubt."""
    a = [1.0, 2.0, 4.0, 8.0]
    assert compare.ratio_of([0.5 * x for x in a], a) == pytest.approx((0.5, 0.5, 0.5))
    assert compare.ratio_of([1.0, 3.0], [2.0, 2.0]).estimate == pytest.approx(1.0)
    assert compare.ratio_of([1.0], [2.0]) == Interval(0.5, -np.inf, np.inf)


@pytest.mark.parametrize(
    ("highs", "word"), [((0.9, 0.8), "holds"), ((0.9, 1.2), "partly"), ((1.1, 1.2), "doesn't hold")]
)
def test_claims_are_judged_by_intervals(highs: tuple[float, float], word: str) -> None:
    """An interval that reaches beyond 1 isn't evidence."""
    assert compare.judged([("A", Interval(0.7, 0.5, highs[0])), ("B", Interval(0.7, 0.5, highs[1]))]) == word


def test_expectations_are_judged_by_intervals() -> None:
    """Met as a whole, by the estimate only, or not; of several the worst counts."""
    words = [compare.met(Interval(estimate, 0.1, high), 1.0) for estimate, high in ((0.5, 0.9), (0.5, 1.1), (1.1, 1.2))]
    assert words == ["met", "met, but not surely", "not met"]
    assert compare.worst(words[:2]) == words[1]


def test_what_never_happens_is_infinite() -> None:
    """Medians of censored times."""
    assert compare.median_of([3, None, 5]).estimate == 5
    assert compare.shown(compare.median_of([None, None])) == "never"
    assert compare.shown(compare.mean_of([2.0])) == "2"


@pytest.mark.parametrize(
    ("apart", "distance", "word"), [(1e-4, 1e-3, "holds"), (1e-4, 0.5, "partly"), (0.1, 0.5, "doesn't hold")]
)
def test_nodes_that_agree_need_not_be_right(apart: float, distance: float, word: str) -> None:
    """What counts is the error after thirty iterations, not what comes later."""
    row = {"metric": "raw", "penalty": 1.0, "at": [1, 28, 31]}
    errors = {"agreement": [1.0, apart, 0.0], "distance": [1.0, distance, 0.0]}
    cases = {f"{key} theta chain+20": {"rows": [{**row, **errors}]} for key in plan.DOMAINS}
    assert agreement({"consensus": cases}).word == word


def test_the_share_of_the_way_that_costs_no_data() -> None:
    """From doing nothing, 10, to the best final cost, 1."""
    seeds = {"eNAC": [[-10.0, -5.0]] * 2, "PG-ELLA": [[-4.0, -1.0], [-2.0, -1.0]]}
    summary = {"novel": {"novel-HC": {label: {"seeds": curves} for label, curves in seeds.items()}}}
    assert gap_closed(summary, "PG-ELLA") == pytest.approx((7 / 9, 6 / 9, 8 / 9))


# ------------------------------------------------------------------------------------------------------- measurements


def test_printed_weights_prefer_the_worst() -> None:
    """In proportion to the cost, with mean 1; steps after a failure have none."""
    rewards = -np.array([[[1.0, 1.0], [3.0, 3.0]]])
    alive = np.array([[[True, True], [True, False]]])
    np.testing.assert_allclose(printed_weights(rewards, alive), [[[0.5, 0.5], [1.5, 0.0]]])


def test_novel_tasks_are_new_in_every_seed() -> None:
    """The known ones are always the same."""
    settings = {"env": "LifelongCH47-v0", "n_tasks": 5, "n_novel": 2, "task_seed": 0, "preset": "default"}
    known, first = novel.split_tasks({**settings, "seed": 0})
    again, second = novel.split_tasks({**settings, "seed": 1})
    assert known == again == registry.sample_tasks("LifelongCH47-v0", 5, 0)
    assert not {*known.uids.tolist()} & {*first.uids.tolist(), *second.uids.tolist()}
    assert not {*first.uids.tolist()} & {*second.uids.tolist()}


def test_a_learner_is_measured_after_every_sweep() -> None:
    """As it would be by hand; the same settings give the same numbers, and messages are counted."""
    study = next(s for s in plan.studies() if s.name == "channel-HC")
    settings = {**study.settings("ePG-ELLA, 10% lost", TINY), "seed": 1, "variant": "ePG-ELLA, 10% lost"}
    figures, again = (learning.learn(settings, lambda share: None) for _ in range(2))
    assert np.shape(figures["values"]) == (3, 4)
    np.testing.assert_array_equal(figures["values"], again["values"])
    tasks = learning.drawn_tasks(settings)
    start = learning.mean_rewards(settings["env"], tasks, np.zeros((4, 8)), bias=False)
    np.testing.assert_allclose(figures["values"][0], start, rtol=1e-6)
    assert 0 < figures["bytes"][0] < figures["bytes"][1]
    assert figures["basis"].shape == (8, 2)


def random_problems() -> consensus.Problems:
    """Of four nodes, two at once, badly scaled."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((4, 2, 3, 5)) * np.array([1.0, 3.0, 10.0])[:, None]
    return consensus.Problems(factors @ factors.swapaxes(-1, -2), rng.standard_normal((4, 2, 3))).scaled()


def test_consensus_finds_the_common_solution() -> None:
    """Whitened at a rate of its own, and its average only as 1/k; not whitened it agrees long before it is right."""
    posed, channel = random_problems(), Channel(graph_of("ring", range(4)))
    np.testing.assert_allclose(np.trace(posed.matrix.sum(axis=0), axis1=1, axis2=2), 3.0)
    white = consensus.iterated(posed, channel, True, 0.3, 200)
    assert white.distance[-1].max() < consensus.FINE
    late = np.arange(20, len(white.average))
    products = (late + 1)[:, None] * white.average[late]
    np.testing.assert_allclose(products, products[-1:] * np.ones_like(products), rtol=0.02)
    raw = consensus.iterated(posed, channel, False, 3.0, 20)
    assert np.all(raw.agreement[-1] < 0.1 * raw.distance[-1])


def test_iterations_are_counted_until_errors_stay_small() -> None:
    """An error that grows again hasn't arrived."""
    errors = np.array([[2.0, 2.0, 0.1], [0.1, 2.0, 0.1], [2.0, 2.0, 0.1], [0.1, 2.0, 0.1]])
    assert consensus.iterations_to(errors, 1.0) == [4.0, None, 1.0]


@pytest.mark.parametrize("key", list(plan.DOMAINS))
def test_the_hidden_optima_are_known(key: str) -> None:
    """What is best in the nominal task, carried over, earns the same in each, and spans k dimensions."""
    domain = plan.DOMAINS[key]
    family, tasks = registry.family(domain.env), registry.sample_tasks(domain.env, 12, 0, "known_basis")
    nominal = family.parameters.tasks([{}])
    regulator = lqr_policies(family, nominal)[0]
    carried = hidden.carried_over(regulator, tasks, family.actions.size)
    here, there = Trial.of(family, nominal).values(regulator), Trial.of(family, tasks).values(carried)
    np.testing.assert_allclose(there, np.broadcast_to(here, 12), rtol=0.03 if key == "HC" else 1e-9)
    singular = np.linalg.svd(carried, compute_uv=False)
    assert np.all(singular[domain.n_hidden :] < 1e-9 * singular[0])


def test_angles_between_subspaces() -> None:
    """The same span, whatever the basis; and half way."""
    axes = np.eye(4)
    assert hidden.largest_angle(axes[:, :2] @ [[1.0, 2.0], [0.0, 1.0]], axes[:, :2]) == pytest.approx(0.0, abs=1e-6)
    assert hidden.largest_angle(axes[:, [0]] + axes[:, [3]], axes[:, [0]]) == pytest.approx(45.0)


# --------------------------------------------------------------------------------------------------------------- whole


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything, at two sweeps each; all but the last few measurements were there before."""
    folder = tmp_path_factory.mktemp("zhan2017")
    (folder / "quick").mkdir()
    for each in plan.jobs(TINY)[:-3]:
        each.execute(folder / "quick", lambda share: None)
    PAPER.reproduce(folder, True, Console(quiet=True), n_processes=1, budget=TINY)
    return folder


def test_the_page_says_everything(reproduced: Path) -> None:
    """Every claim with a verdict and a figure that exists, every expectation, and no gap."""
    page = (reproduced / PAPER.page).read_text()
    summary = read_result(reproduced / "zhan2017" / "summary.json")["figures"]
    for claim in claims(summary):
        assert claim.word in ("holds", "partly", "doesn't hold")
        assert (reproduced / "zhan2017" / f"{claim.figure}.png").stat().st_size > 5000
        assert claim.text in page
    assert all(row.text in page and row.word in page for row in expectations(summary))
    assert "quick version" in page
    assert "nan" not in page


def test_a_second_call_measures_nothing_again(reproduced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And writes the same page; as a command, ``lifelong reproduce``."""
    monkeypatch.setattr(pictures, "draw_all", lambda summary, folder: [])
    page = (reproduced / PAPER.page).read_bytes()
    times = {path: path.stat().st_mtime_ns for path in (reproduced / "quick").iterdir()}
    assert len(times) == len(plan.jobs(TINY))
    monkeypatch.setattr(paper, "PAPER", replace(PAPER, quick=TINY))
    result = CliRunner().invoke(app, ["reproduce", "zhan2017", "--quick", "--folder", str(reproduced)])
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (reproduced / PAPER.page).read_bytes() == page


def test_the_published_page_is_what_its_numbers_give() -> None:
    """Nobody has edited either."""
    content = read_result(COMMITTED / "zhan2017" / "summary.json")
    budget = json.loads(json.dumps(content["settings"]["budget"]))
    assert (COMMITTED / PAPER.page).read_text() == written(content["figures"], budget)
