"""The reproduction of Zhan et al. (2017): its parts against known truths, single cells against what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym import registry
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.cells import only, settings_of
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.quantities import quantity
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
    """Fifty tasks, ten seeds, fifty trajectories, every domain and every control."""
    places = {cell.place: cell.settings for cell in zhan2017.cells}
    for domain in DOMAINS:
        for method in ("eNAC", "REINFORCE", "RWR", "PG-ELLA", "GO-MTL", "ePG-ELLA", "one policy for all"):
            given = places["main", domain, method]
            assert given["n_tasks"] == 50
            assert given["learner"]["arguments"]["n_trajectories"] == 50
            assert given["seed"] == 9


@pytest.mark.parametrize("title", ["main/SM/eNAC/seed0", "channel/HC/ePG-ELLA, K=3/seed0"])
def test_single_cells_give_the_published_digits(zhan2017: Reproduction, title: str) -> None:
    """As anybody can run them."""
    (cell,) = only(zhan2017.cells, title)
    cell.execute(zhan2017.runs, lambda share: None)
    figures = cell.figures(zhan2017.runs)
    assert figures is not None
    study, system, method = cell.place
    published = json.loads(PUBLISHED.read_text())["figures"]["learning"][f"{study}-{system}"][method]
    for of in ("start", "first", "end", "final"):
        assert float(f"{quantity(of, figures, cell.code):.4g}") == -published[of][0]
    for name, values in figures.get("errors", {}).items():
        assert max(values) == published["errors"][name][0]
    assert figures.get("bytes", [0])[-1] == published.get("bytes", [0])[-1]  # without loss the same for every seed


# ------------------------------------------------------------------------------------------------------- measurements


def test_printed_weights_prefer_the_worst() -> None:
    """In proportion to the cost, with mean 1; steps after a failure have none."""
    rewards = -np.array([[[1.0, 1.0], [3.0, 3.0]]])
    alive = np.array([[[True, True], [True, False]]])
    np.testing.assert_allclose(science.printed_weights(rewards, alive), [[[0.5, 0.5], [1.5, 0.0]]])


def test_novel_tasks_are_new_in_every_seed() -> None:
    """The known ones are always the same."""
    given = {"env": "LifelongCH47-v0", "n_tasks": 5, "n_novel": 2, "task_seed": 0, "preset": "default"}
    known, first = science.split_tasks({**given, "seed": 0})
    again, second = science.split_tasks({**given, "seed": 1})
    assert known == again == registry.sample_tasks("LifelongCH47-v0", 5, 0)
    assert not {*known.uids.tolist()} & {*first.uids.tolist(), *second.uids.tolist()}
    assert not {*first.uids.tolist()} & {*second.uids.tolist()}


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
    """From doing nothing, 10, to the best final cost, 1."""
    costs = {"eNAC": {"start": [10.0, 10.0], "end": [5.0, 5.0]}, "PG-ELLA": {"start": [4.0, 2.0], "end": [1.0, 1.0]}}
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
