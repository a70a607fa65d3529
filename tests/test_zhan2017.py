"""The reproduction of Zhan et al. (2017): its parts against known truths, single cells against what is published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lifelong_gym import registry
from lifelong_gym.agents.linear.operating_point import ONE_PLACE
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.cells import only, settings_of
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.reproduce import Reproduction, folder_of
from lifelong_gym.papers.zhan2017 import consensus, science
from lifelong_gym.references.linear import Trial
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.wrappers import Channel, graph_of

PUBLISHED = Path(__file__).parents[1] / "docs" / "results" / "zhan2017" / "summary.json"
DOMAINS = ("SM", "DM", "CP", "DIP", "HC")


@pytest.fixture(scope="module")
def zhan2017(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """As it is committed."""
    return Reproduction.of(folder_of("zhan2017"), "default", tmp_path_factory.mktemp("zhan2017"))


def settings(reproduction: Reproduction, study: str, system: str, method: str, **more: Any) -> dict[str, Any]:
    """Of one cell of the quick version."""
    paper = reproduction.paper
    found = settings_of(paper, paper.studies[study], system, method, "quick")
    return {**found, "seed": 0, **more}


# ---------------------------------------------------------------------------------------------------------------- plan


def test_the_file_keeps_what_was_agreed(zhan2017: Reproduction) -> None:
    """Fifty tasks, drawn anew for each of five seeds, 200 sweeps of fifty trajectories, every domain and control."""
    places = {cell.place: cell.settings for cell in zhan2017.cells}
    for domain in (*DOMAINS, "CP1", "HC1"):
        for method in ("eNAC", "REINFORCE", "RWR", "PG-ELLA", "GO-MTL", "ePG-ELLA", "one policy for all"):
            given = places["main", domain, method]
            assert (given["n_tasks"], given["sweeps"], given["tasks_per_seed"]) == (50, 200, True)
            assert given["learner"]["arguments"]["n_trajectories"] == 50
            assert given["seed"] == 4
        assert places["main", domain, "best policies"]["measure"] == "science:best"


def test_widths_and_steps_are_what_the_grid_chose(zhan2017: Reproduction) -> None:
    """In other tasks than those that anything is judged by; for every method with the same base learner."""
    published = json.loads(PUBLISHED.read_text())["figures"]["quantities"]["grid"]
    places = {cell.place: cell.settings for cell in zhan2017.cells}
    for domain in (*DOMAINS, "CP1", "HC1"):
        for method, step in (("eNAC", "max_kl"), ("RWR", "max_kl"), ("REINFORCE", "learning_rate")):
            costs = science.chosen(published[domain][method])
            arguments = places["main", domain, method]["learner"]["arguments"]
            assert min(costs, key=costs.__getitem__) == (arguments["sigma"], arguments[step])
        for method, alone in (("GO-MTL", "eNAC"), ("PG-ELLA", "eNAC"), ("ePG-ELLA", "RWR"), ("GO-MTL (RWR)", "RWR")):
            shared, own = (places["main", domain, each]["learner"]["arguments"] for each in (method, alone))
            assert (shared["sigma"], shared["base_settings"]["max_kl"]) == (own["sigma"], own["max_kl"])
    assert places["grid", "CP", "RWR"]["task_seed"] - places["main", "CP", "RWR"]["task_seed"] >= 100


@pytest.mark.parametrize("title", ["main/SM/eNAC/seed0", "channel/HC/ePG-ELLA, K=3/seed0"])
def test_single_cells_give_the_published_digits(zhan2017: Reproduction, title: str) -> None:
    """As anybody can run them."""
    (cell,) = only(zhan2017.cells, title)
    cell.execute(zhan2017.runs, lambda share: None)
    study, system, method = cell.place
    published = json.loads(PUBLISHED.read_text())["figures"]["quantities"][study][system][method]
    found = zhan2017.quantities(cell)
    assert len(found) >= 4
    assert found == {of: published[of][0] for of in found}


# ------------------------------------------------------------------------------------------------------- measurements


def test_printed_weights_prefer_the_worst() -> None:
    """In proportion to the cost, with mean 1; steps after a failure have none. Repaired ones prefer the best."""
    rewards = -np.array([[[1.0, 1.0], [3.0, 3.0]]])
    alive = np.array([[[True, True], [True, False]]])
    printed, repaired = (science.ByRewards(repaired=each).credit(ONE_PLACE) for each in (False, True))
    np.testing.assert_allclose(printed(rewards, alive), [[[0.5, 0.5], [1.5, 0.0]]])
    np.testing.assert_allclose(repaired(rewards, alive), [[[2.0, 2.0], [0.0, 0.0]]])
    np.testing.assert_allclose(repaired(rewards[:, :1], alive[:, :1]), [[[1.0, 1.0]]])


def test_the_best_policies_cost_least(zhan2017: Reproduction) -> None:
    """Doing nothing costs what every learner costs before its first sweep."""
    given = {"n_tasks": 3, "env": "LifelongSimpleMass-v0"}
    best, nothing = (
        science.best(settings(zhan2017, "main", "SM", method, **given), lambda share: None)["values"]
        for method in ("best policies", "doing nothing")
    )
    run = settings(zhan2017, "main", "SM", "RWR", **given, sweeps=1)
    costs = sweeps.learn(zhan2017.code, run, lambda share: None)["values"]
    np.testing.assert_allclose(nothing, costs[:1])
    assert (best < 0.3 * nothing).all()


def test_novel_tasks_are_new() -> None:
    """They aren't among the known ones, and every seed has its own."""
    given = {"env": "LifelongCH47-v0", "n_tasks": 5, "n_novel": 2, "task_seed": 0, "preset": "default"}
    known, first = science.split_tasks({**given, "seed": 0})
    others, second = science.split_tasks({**given, "seed": 1})
    assert known == registry.sample_tasks("LifelongCH47-v0", 5, 0)
    assert not {*known.uids.tolist()} & {*first.uids.tolist()}
    assert (known.values != others.values).any()
    assert (first.values != second.values).any()


def test_novel_tasks_are_learned_one_by_one(zhan2017: Reproduction) -> None:
    """Each from the state after the known ones: without data, learning from scratch begins at zero, a basis doesn't."""
    small = {"n_tasks": 4, "n_novel": 2, "novel_sweeps": 1, "sweeps": 2}
    found = {}
    for method in ("REINFORCE", "PG-ELLA (REINFORCE)"):
        given = settings(zhan2017, "novel hetero", "CP", method, **small)
        given["learner"]["arguments"]["n_trajectories"] = 4
        found[method] = science.novel(given, lambda share: None)["values"]
        assert found[method].shape == (2, 2)
        assert (found[method][0] != found[method][1]).all()
    tasks = science.split_tasks(given)[1]
    start = sweeps.mean_costs(given, tasks, np.zeros((2, 5)), bias=True)
    np.testing.assert_allclose(found["REINFORCE"][0], start, rtol=1e-6)
    assert (found["PG-ELLA (REINFORCE)"][0] != found["REINFORCE"][0]).all()


def test_the_share_of_the_way_that_costs_no_data() -> None:
    """From doing nothing, 10, to the best policies, 1."""
    costs = {"eNAC": {"start": [10.0, 10.0]}, "PG-ELLA": {"start": [4.0, 2.0]}, "best policies": {"start": [1.0, 1.0]}}
    numbers = Numbers({"quantities": {"novel": {"HC": costs}}, "values": {"novel": {"HC": costs}}})
    found = science.gap_closed(numbers, "novel", ("HC",))
    assert {name: each.estimate for name, each in found.items()} == {"PG-ELLA": pytest.approx(7 / 9)}


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
    assert white["distance"][-1].max() < consensus.FINE
    late = np.arange(20, len(white["average"]))
    products = (late + 1)[:, None] * white["average"][late]
    np.testing.assert_allclose(products, products[-1:] * np.ones_like(products), rtol=0.02)
    raw = consensus.iterated(posed, channel, False, 3.0, 20)
    assert np.all(raw["agreement"][-1] < 0.1 * raw["distance"][-1])


def test_iterations_are_counted_until_errors_stay_small() -> None:
    """An error that grows again hasn't arrived."""
    errors = np.array([[2.0, 2.0, 0.1], [0.1, 2.0, 0.1], [2.0, 2.0, 0.1], [0.1, 2.0, 0.1]])
    assert consensus.iterations_to(errors, 1.0) == [4.0, None, 1.0]


@pytest.mark.parametrize("key", DOMAINS)
def test_the_hidden_optima_are_known(zhan2017: Reproduction, key: str) -> None:
    """What is best in the nominal task, carried over, earns the same in each, and spans k dimensions."""
    env = zhan2017.paper.systems[key].env
    k = settings(zhan2017, "hidden", key, "REINFORCE")["n_basis"]
    family, tasks = registry.family(env), registry.sample_tasks(env, 12, 0, "known_basis")
    nominal = family.parameters.tasks([{}])
    regulator = lqr_policies(family, nominal)[0]
    carried = science.carried_over(regulator, tasks, family.actions.size)
    here, there = Trial.of(family, nominal).values(regulator), Trial.of(family, tasks).values(carried)
    np.testing.assert_allclose(there, np.broadcast_to(here, 12), rtol=0.03 if key == "HC" else 1e-9)
    singular = np.linalg.svd(carried, compute_uv=False)
    assert np.all(singular[k:] < 1e-9 * singular[0])


def test_angles_between_subspaces() -> None:
    """The same span, whatever the basis; and half way."""
    axes = np.eye(4)
    assert science.largest_angle(axes[:, :2] @ [[1.0, 2.0], [0.0, 1.0]], axes[:, :2]) == pytest.approx(0.0, abs=1e-6)
    assert science.largest_angle(axes[:, [0]] + axes[:, [3]], axes[:, [0]]) == pytest.approx(45.0)


def test_errors_after_some_iterations() -> None:
    """What counts is what there is after thirty, not what comes later; and k^-1 has the slope -1."""
    at = np.arange(1, 101)
    rows = [{"penalty": 0.3, "at": at, "agreement": 0.5**at, "distance": 0.9**at, "average": 2 / at}]
    rows.append({**rows[0], "penalty": 1.0})
    of = {"rows": rows, "penalty": 0.3}
    assert science.agreement(of) == 0.5**30
    assert science.distance(of) == pytest.approx(0.9**30)
    assert science.slope(of) == pytest.approx(-1.0)
    assert science.rate(of) == pytest.approx(0.9)


def test_what_chance_gives() -> None:
    """A line drawn in the plane lies at any angle; two planes in three dimensions always meet."""
    found = science.by_chance(2, 1)
    np.testing.assert_allclose(np.percentile(found, [5, 50, 95]), [4.5, 45.0, 85.5], atol=3.0)
    assert np.median(science.by_chance(6, 3)) > 70


def spec(**more: Any) -> Any:
    """Of a table, with whatever is asked of it."""
    return SimpleNamespace(study="study", systems=("CP",), **more)


def numbers_of(**methods: Mapping[str, Any]) -> Numbers:
    """In one system."""
    return Numbers({"quantities": {"study": {"CP": methods}}, "values": {}})


def test_the_share_of_tasks_that_sharing_makes_worse() -> None:
    """By over 3%: one of four in one seed, two in the other."""
    alone = {"science:by_task": [[1.0, 1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0]]}
    shared = {"science:by_task": [[0.5, 1.02, 1.04, 1.0], [1.1, 1.2, 0.9, 1.0]]}
    numbers = numbers_of(RWR=alone, **{"ePG-ELLA": shared})
    assert science.negative_transfer(numbers, "study", ("CP",))["CP"].estimate == pytest.approx(0.375)
    head, rows = science.worse(numbers, spec(methods=("RWR", "ePG-ELLA")))
    assert (head, rows[0][0]) == (["", "CP"], "ePG-ELLA over RWR")


def test_variances_of_draws_and_of_seeds() -> None:
    """They come out as they went in."""
    rng = np.random.default_rng(0)
    costs = 5 + 2.0 * rng.standard_normal((400, 1)) + 0.5 * rng.standard_normal((400, 3))
    numbers = numbers_of(**{f"draw {i}": {"final": row.tolist()} for i, row in enumerate(costs)})
    methods = tuple(numbers.content["quantities"]["study"]["CP"])
    _, (row,) = science.variances(numbers, spec(methods=methods))
    np.testing.assert_allclose([float(figure) for figure in row[1:]], [5.0, 2.0, 0.5], rtol=0.1)


def test_the_least_cost_is_chosen() -> None:
    """Mean of the seeds; it stands in bold."""
    costs = [[[3.0, 2.0], [1.0, 4.0]], [[3.0, 0.5], [1.2, 4.0]]]
    found = {"costs": costs, "sigmas": [[0.1, 1.0]] * 2, "steps": [[0.2, 2.0]] * 2}
    assert science.chosen(found) == {(0.1, 0.2): 3.0, (0.1, 2.0): 1.25, (1.0, 0.2): 1.1, (1.0, 2.0): 4.0}
    _, (row,) = science.grids(numbers_of(RWR=found), spec(methods=("RWR",)))
    assert row == ["CP", "3", "1.25", "**1.1**", "4"]


def test_a_grid_has_every_width_and_step(zhan2017: Reproduction) -> None:
    """Each costs what a run with it costs."""
    small = {"n_tasks": 2, "sweeps": 1, "sigmas": [0.1, 0.5], "steps": [0.01, 0.1]}
    given = settings(zhan2017, "grid", "SM", "RWR", **small)
    found = science.grid(given, lambda share: None)
    assert found["costs"].shape == (2, 2)
    arguments = {**given["learner"]["arguments"], "sigma": 0.5, "max_kl": 0.01}
    run = {**given, "learner": {**given["learner"], "arguments": arguments}, "watch": ["mean_cost"]}
    values = sweeps.learn(zhan2017.code, run, lambda share: None)["values"]
    assert found["costs"][1, 0] == pytest.approx(values.mean(), rel=1e-5)
