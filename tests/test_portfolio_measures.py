"""Measures of portfolios against another package's numbers, and accounts against the environment's own books."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.allocation import sources
from lifelong_gym.envs.allocation.account import Account
from lifelong_gym.envs.allocation.constant import bought_and_held
from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.measures.portfolios import drawdowns, max_drawdown, portfolio_measures, wealth
from lifelong_gym.reports.wealth import wealth_figure

ID = "LifelongPortfolio-v0"
# empyrical-reloaded 0.7.1, 299 daily returns of two of skfolio's stocks
EMPYRICAL = {
    0: [0.6201593960887375, 0.4345909824266832, 1.327280474600029, 2.058822712464999, 0.47041420118343175],
    4: [0.12358172455998195, 0.20328802027394297, 0.674345658868735, 1.0370031732678686, 0.16638823922485801],
}
CALMAR = {0: 1.3183262633836061, 4: 0.7427311277269597}
RNG = np.random.default_rng(0)


def test_another_package_s_numbers() -> None:
    """To 1e-12, of several portfolios at once."""
    returns = sources.load("skfolio").relatives[1:300, list(EMPYRICAL)].T - 1.0
    found = portfolio_measures(returns)
    assert list(found) == [
        "annual_return",
        "volatility",
        "sharpe_ratio",
        "sortino_ratio",
        "max_drawdown",
        "calmar_ratio",
    ]
    for row, column in enumerate(EMPYRICAL):
        values = [values[row] for values in found.values()]
        np.testing.assert_allclose(values, [*EMPYRICAL[column], CALMAR[column]], rtol=1e-12)


def test_what_is_undefined_is_said_so() -> None:
    """Ratios to no risk are NaN, and so is the spread of one day; a fall from the first day on counts."""
    calm = portfolio_measures(np.full(10, 0.0))
    assert [np.isnan(value) for value in calm.values()] == [False, False, True, True, False, True]
    assert np.isnan(portfolio_measures([0.01])["volatility"])
    assert max_drawdown([-0.2, 0.25, 0.1]) == pytest.approx(0.2)
    np.testing.assert_allclose(drawdowns([[0.1, -0.5], [0.0, 0.0]]), [[0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(wealth([0.1, -0.5]), [1.0, 1.1, 0.55])


@pytest.mark.parametrize(
    ("returns", "message"),
    [([], "at least one day"), (0.1, "at least one day"), ([0.1, -1.0], "above -1. Received -1"), ([np.nan], "finite")],
)
def test_bad_returns(returns: Any, message: str) -> None:
    """None, all lost, no number."""
    with pytest.raises(ValueError, match=message):
        portfolio_measures(returns)


# ------------------------------------------------------------------------------------------------------------- accounts


@pytest.mark.parametrize("cost_model", ["exact", "approximate"])
def test_an_account_is_the_environment_s(cost_model: str) -> None:
    """Wealth and that of equal shares to 1e-12, an absent instrument left out; what was asked for comes back."""
    settings: dict[str, Any] = {"prices": {"source": "planted", "days": 60, "instruments": 8}, "m": 3, "window": 4}
    settings |= {"days": 0, "cost_model": cost_model}
    tasks = [{"instrument_1": 5, "instrument_2": -1, "instrument_3": 2, "first_day": 20, "last_day": 39, "cost": 0.02}]
    env: Any = gym.make_vec(ID, num_envs=1, tasks=tasks, backend="numpy", **settings)
    env.reset(seed=0)
    states, asked = [env.unwrapped.state[0]], RNG.uniform(size=(20, 3)).astype(np.float32)
    for action in asked:
        env.step(action[None])
        states.append(env.unwrapped.state[0])
    family = lifelong_gym.family(ID, **settings)
    assert isinstance(family, Portfolio)
    account = family.account(env.unwrapped.core.tasks[0], np.array(states))
    wanted = asked[:, [0, 2]] / asked[:, [0, 2]].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(account.shares, wanted, atol=1e-7)
    np.testing.assert_allclose(np.cumprod(account.growth), np.array(states)[1:, 2], rtol=1e-12)
    np.testing.assert_allclose(np.cumprod(account.market.growth), np.array(states)[1:, 3], rtol=1e-12)
    with pytest.raises(ValueError, match="days one after another"):
        family.account(env.unwrapped.core.tasks[0], np.array(states)[::2])


def test_turnover_and_break_even() -> None:
    """Held shares are no trades; switching every day is 252 a year; a gain ends at its break-even cost."""
    relatives = np.exp(0.02 * RNG.standard_normal((50, 3)))
    held = np.cumprod(relatives, axis=0) / relatives
    still = Account(relatives, held / held.sum(axis=1, keepdims=True), 0.1)
    assert still.turnover == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(np.cumprod(still.growth), bought_and_held(relatives), rtol=1e-12)
    best = np.eye(3)[relatives.argmax(axis=1)]
    clever, dull = Account(relatives, best), Account(relatives, np.eye(3)[relatives.argmin(axis=1)])
    assert dull.break_even_cost == 0.0
    even = Account(relatives, best, clever.break_even_cost)
    assert 0.0 < even.cost < 0.2
    assert even.growth.prod() == pytest.approx(even.market.growth.prod(), rel=1e-9)
    alone = Account(np.tile([2.0, 1.0], (5, 1)), np.eye(2)[[0] * 5])
    assert alone.break_even_cost == np.inf
    switching = Account(np.ones((252, 2)), np.eye(2)[np.arange(252) % 2])
    assert switching.turnover == pytest.approx(251.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": np.full((4, 3), 1 / 3)}, r"must both be of shape \(n_days, m\). Received \(4, 3\) and \(5, 2\)"),
        ({"shares": np.full((5, 2), 0.4)}, "at least 0 and sum to 1"),
        ({"shares": np.tile([1.5, -0.5], (5, 1))}, "at least 0 and sum to 1"),
        ({"cost": 0.3}, r"`cost` must be in \[0, 0.2\]. Received 0.3"),
    ],
)
def test_bad_accounts(changes: dict[str, Any], message: str) -> None:
    """Shapes, shares and costs."""
    with pytest.raises(ValueError, match=message):
        Account(**{"relatives": np.ones((5, 2)), "shares": np.full((5, 2), 0.5), **changes})


def test_the_figure_of_wealth(tmp_path: Any) -> None:
    """Wealth, drawdowns below it and shares stacked are what was given; days may be dates."""
    returns = {"ours": 0.01 * RNG.standard_normal(30), "CRP": 0.01 * RNG.standard_normal(30)}
    shares = RNG.dirichlet(np.ones(3), 30)
    days = np.arange(30) + np.datetime64("2020-01-01", "s")
    figure = wealth_figure(returns, days, shares, "ABC", grey=["CRP"])
    figure.savefig(tmp_path / "wealth.png")
    top, below, stack = figure.axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in top.lines}
    for name, its in returns.items():
        np.testing.assert_allclose(drawn[name], wealth(its)[1:])
    np.testing.assert_allclose(np.asarray(below.lines[0].get_ydata()), -drawdowns(returns["ours"])[1:])
    edges = np.asarray(stack.collections[1].get_paths()[0].vertices)[:, 1]
    assert edges.max() == pytest.approx(shares[:, :2].sum(axis=1).max())
    assert len(wealth_figure(returns).axes) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"returns": {}}, "of the same days. Received"),
        ({"returns": {"a": [0.1], "b": [0.1, 0.2]}}, "of the same days"),
        ({"returns": {"a": [0.1]}, "days": [1, 2]}, "and 2 days"),
        ({"returns": {"a": [0.1]}, "shares": [[0.5, 0.5]], "names": ["A"]}, r"must have shape \(1, 1\), a name each"),
    ],
)
def test_bad_figures(given: dict[str, Any], message: str) -> None:
    """Nothing to draw, or what doesn't fit together."""
    with pytest.raises(ValueError, match=message):
        wealth_figure(**given)
