"""The paper on permutation-invariant multi-task learning: its science against known truths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lifelong_gym.papers.permutation_invariant_mtl import bandit, markets, science

SYNTHETIC: dict[str, Any] = {
    **{"seed": 0, "epsilon": 0.8, "features": "permuted", "n_states": 50, "n_actions": 40, "sizes": [20, 60]},
    "backend": "numpy",
}
MARKET: dict[str, Any] = {
    **{"seed": 0, "prices": "planted", "n_days": 120, "m": 3, "n_held_out": 5, "n_tasks": 4, "n_unseen": 3},
    **{
        "cost": 0.0,
        "backend": "numpy",
        "head": "logistic_normal",
        "periods": {"train": [20, 59], "valid": [60, 69], "test": [70, 119]},
    },
}


def test_theorem_1_by_hand() -> None:
    """At γ = 0.5, d = 4, ν = 1, R_max = 1: each term as the theorem has it, errors of approximation left out."""
    found = bandit.bound(100, 0.1, d=4, nu=1.0, r_max=1.0, k=3, gamma=0.5)
    drawn = math.sqrt(8.0 * math.log(8 * 4 * 3 / 0.05) / 100) + 0.01
    assert found["samples"] == pytest.approx(8.0 * 1.5 * 4.0 * 0.5 * 2.0 * 2.0 * drawn)
    assert found["distance"] == pytest.approx(8.0 * 0.3 * math.sqrt(2.0))
    assert found["iterations"] == pytest.approx(8.0 * 0.5)


def test_its_sample_term_on_the_synthetic_problem() -> None:
    """As worked out apart from this code: 3.5 million with 21 features, ν = 0.0016 and V_max = 21.5."""
    assert bandit.bound(2000, 0.0, d=21, nu=0.0016, r_max=2.15)["samples"] == pytest.approx(3.5e6, rel=0.01)


def test_copies_are_the_same_examples_in_other_orders() -> None:
    """Features summed over entities don't tell them apart, those of single entities do; rewards are the same."""
    problem = bandit.Problem({**SYNTHETIC, "features": "tied"})
    real = problem.examples(20)
    every, shares = problem.permuted(real, 60)
    seen = bandit.Asked(problem.features, shares).of(every.observations, every.actions)
    np.testing.assert_allclose(seen[20:40], seen[:20], atol=1e-6)
    np.testing.assert_array_equal(every.rewards[20:40], real.rewards)
    assert (np.abs(every.observations[20:40] - real.observations).max(axis=1) > 0).all()


def test_nobody_earns_more_than_the_optimum() -> None:
    """Whatever the examples; and the value's error is the larger by what is lost ever after."""
    found = bandit.measure(SYNTHETIC, lambda share: None)
    losses, errors = (np.array(found[name]["values"]) for name in ("loss", "value_error"))
    assert (losses > 0).all()
    assert (errors >= losses / (1.0 - bandit.GAMMA) - 1e-5).all()


def test_subsets_of_a_universe_are_worth_few_tasks() -> None:
    """The variance of a mean over 5 random subsets of 10 of 50 is that of so many independent subsets."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2000, 50))
    means = [np.mean([v[rng.choice(50, 10, replace=False)].mean() for _ in range(5)]) for v in values]
    assert np.var(means) == pytest.approx(0.1 / science.effective(5, 10, 50), rel=0.1)


def test_rank_correlations() -> None:
    """1 for whatever grows together, however; -1 for what falls; 0 beside what stays."""
    figures = {"score": [1, 2, 3], "norm": [1, 10, 11], "largest": [3, 2, 1], "change": [0, 5, 6]}
    assert science.norms(figures) == pytest.approx(1.0)
    assert science.changes(figures) == pytest.approx(-1.0)
    assert science.norms({**figures, "norm": [1, 1, 1]}) == 0.0


def test_tests_are_on_other_days_and_instruments() -> None:
    """Known instruments are those of the training in later days; unseen ones were never in it."""
    market = markets.Market(MARKET)
    names = [f"instrument_{i + 1}" for i in range(3)]
    of = {
        name: {int(task[each]) for task in tasks for each in names}
        for name, tasks in (("train", market.train), ("unseen", market.unseen))
    }
    assert not of["train"] & of["unseen"]
    for tasks, days in ((market.train, (20, 59)), (market.known["valid"], (60, 69)), (market.known["test"], (70, 119))):
        assert {(task["first_day"], task["last_day"]) for task in tasks} == {days}
    assert [market.known["test"][2][name] for name in names] == [market.train[2][name] for name in names]


def test_the_rule_that_knows_the_sign_gains() -> None:
    """On planted prices at no cost, with everything on one instrument."""
    market = markets.Market(MARKET)
    rule = markets.Fallen(market.family.observations)
    together = market.followed([rule], market.unseen)
    assert markets.gain(together) > 0
    assert (together[0].shares.max(axis=1) > 0.999).all()


def test_evaluations_are_at_shares_of_all_updates() -> None:
    """Whole sweeps; of a policy that has a share of the updates, up to it."""
    assert markets.marks({"gradient_steps": 10, "updates": 600, "share": 1.0}) == [0, 10, 20, 60, 120, 300, 600]
    assert markets.marks({"gradient_steps": 10, "updates": 600, "share": 0.2}) == [0, 10, 20, 60, 120]
