"""Portfolios against other people's numbers, other ways to compute them, and the future that must not be seen."""

from __future__ import annotations

import gc
import importlib.util
import weakref
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

import lifelong_gym
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.envs.allocation import sources, splits
from lifelong_gym.envs.allocation.constant import best_constant_shares, bought_and_held, constant_rebalanced
from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.envs.allocation.trading import remaining, roughly_remaining
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.testing import check_family

ID = "LifelongPortfolio-v0"
SMALL: dict[str, Any] = {"m": 3, "window": 4, "days": 10}
RNG = np.random.default_rng(0)


def planted(**settings: Any) -> Any:
    """A family of small planted prices."""
    return lifelong_gym.family(ID, prices={"source": "planted", "days": 60, "instruments": 8, **settings}, **SMALL)


def own_frame(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, ranged: bool = False) -> pd.DataFrame:
    """Prices of six instruments, kept in a folder of the test's own."""
    monkeypatch.setenv("LIFELONG_GYM_CACHE", str(tmp_path))
    close = pd.DataFrame(np.exp(np.cumsum(0.02 * np.random.default_rng(1).standard_normal((40, 6)), axis=0)))
    close.columns = pd.Index([f"I{i}" for i in range(6)])
    return pd.concat({"Close": close, "High": close * 1.02, "Low": close * 0.97}, axis=1) if ranged else close


# ------------------------------------------------------------------------------------------------------------- costs


def traded(held: np.ndarray, wanted: np.ndarray, cost: float) -> float:
    """By bisection on the cash that selling and buying leave over."""
    low, high = 0.0, 1.0
    for _ in range(100):
        mu = 0.5 * (low + high)
        sold, bought = np.maximum(held - mu * wanted, 0).sum(), np.maximum(mu * wanted - held, 0).sum()
        low, high = (mu, high) if (1 - cost) * sold - bought / (1 - cost) > 0 else (low, mu)
    return 0.5 * (low + high)


@pytest.mark.parametrize("cost", [0.0025, 0.05, 0.2])
@pytest.mark.parametrize("m", [2, 10, 50])
def test_trading_costs_what_selling_and_buying_costs(m: int, cost: float) -> None:
    """To 1e-14 of cash balanced by bisection; the fixed point's residual is 1e-15."""
    both = 2 * cost - cost**2
    for held, wanted in RNG.dirichlet(np.full(m, 0.5), (30, 2)):
        mu = remaining(tuple(held.tolist()), tuple(wanted.tolist()), cost)
        assert mu == pytest.approx(traded(held, wanted, cost), abs=1e-14)
        assert abs(mu - 1 + both * np.maximum(held - mu * wanted, 0).sum()) <= 1e-15
        assert roughly_remaining(tuple(held), tuple(wanted), cost) == pytest.approx(mu, abs=3 * cost**2)


def test_costs_at_the_ends() -> None:
    """A full switch leaves (1 - c)^2, standing still 1; the dearer, the less is left."""
    assert remaining((1.0, 0.0), (0.0, 1.0), 0.01) == pytest.approx(0.99**2, abs=1e-16)
    assert remaining((0.25,) * 4, (0.25,) * 4, 0.05) == 1.0
    held, wanted = (tuple(x.tolist()) for x in RNG.dirichlet(np.ones(5), 2))
    left = [remaining(held, wanted, c) for c in np.linspace(0, 0.2, 20).tolist()]
    assert left[0] == 1.0
    assert (np.diff(left) < 0).all()


# --------------------------------------------------------------------------------------------- wealth and other people


def test_equal_shares_of_skfolios_stocks() -> None:
    """From 2009 to 2019 at no cost their wealth is universal-portfolios' 5.273451969428, in the env as in a formula."""
    family = lifelong_gym.family(ID, m=20, days=0)
    assert isinstance(family, Portfolio)
    tasks = splits.portfolios(family, 1, ("2009-01-01", "2019-12-31"), cost=0.0)
    first, last = (int(tasks[0][name]) for name in ("first_day", "last_day"))
    relatives = family.data.relatives[first + 1 : last + 1]
    assert constant_rebalanced(relatives)[-1] == pytest.approx(5.273451969428, rel=1e-10)
    later = {**tasks[0], "first_day": first + 1}
    env = gym.make(ID, m=20, days=0, tasks=[later], reward="log_return", backend="python")
    env.reset(seed=0)
    total, ended, steps = 0.0, False, 0
    while not ended:
        _, reward, ended, _, _ = env.step(np.zeros(20, np.float32))
        total, steps = total + float(reward), steps + 1
    assert steps == len(relatives)
    assert np.exp(total / 100) == pytest.approx(5.273451969428, rel=1e-10)
    assert env.unwrapped.state[3] == pytest.approx(5.273451969428, rel=1e-10)  # type: ignore[attr-defined]


@pytest.mark.skipif(importlib.util.find_spec("universal") is None, reason="extra olps")
def test_universal_portfolios_own_numbers() -> None:
    """Equal CRP over all days; CRP, BAH and BCRP of 300 days and six instruments of nyse_o, of its version 0.4.17."""
    for name, wealth in (("nyse_o", 26.677762504313), ("tse", 1.570249654105)):
        assert constant_rebalanced(sources.load(name).relatives)[-1] == pytest.approx(wealth, rel=1e-10)
    relatives = sources.load("nyse_o").relatives[:300, :6]
    assert constant_rebalanced(relatives)[-1] == pytest.approx(1.1981464850356385, rel=1e-10)
    assert bought_and_held(relatives)[-1] == pytest.approx(1.1732373612904399, rel=1e-10)
    best = best_constant_shares(relatives)
    assert constant_rebalanced(relatives, best)[-1] == pytest.approx(1.3421893003943874, rel=1e-6)


def test_the_best_constant_shares_are_best() -> None:
    """No other shares grow more: the conditions of optimality hold to 1e-6, also where one instrument takes all."""
    for spread in (0.001, 0.02, 0.3):
        relatives = np.exp(spread * RNG.standard_normal((250, 8)))
        shares = best_constant_shares(relatives)
        assert shares.sum() == pytest.approx(1.0, abs=1e-12)
        gains = (relatives / (relatives @ shares)[:, None]).mean(axis=0)
        assert gains.max() < 1 + 1e-6
        assert abs(gains[shares > 1e-4] - 1).max() < 1e-5
    np.testing.assert_allclose(best_constant_shares(np.array([[1.0, 1.1], [1.0, 1.2]])), [0.0, 1.0], atol=1e-12)


def wealth_by_hand(relatives: np.ndarray, actions: np.ndarray, cost: float) -> np.ndarray:
    """After each day, with shares that are held, traded by bisection and drift."""
    held, wealth, result = np.full(actions.shape[1], 1 / actions.shape[1]), 1.0, []
    for y, wanted in zip(relatives, actions, strict=True):
        wealth *= traded(held, wanted, cost) * (wanted @ y)
        held = wanted * y / (wanted @ y)
        result.append(wealth)
    return np.array(result)


@pytest.mark.parametrize("backend", ["python", "numpy"])
def test_an_episode_by_hand(backend: str) -> None:
    """Wealth, that of equal shares, the peak and both rewards, at a cost of 2%, an absent instrument left out."""
    family = planted()
    task = {"instrument_1": 5, "instrument_2": -1, "instrument_3": 2, "first_day": 20, "last_day": 29, "cost": 0.02}
    relatives = family.data.relatives[20:30][:, [5, 2]]
    actions = np.random.default_rng(3).uniform(size=(10, 3)).astype(np.float32)
    asked = actions[:, [0, 2]].astype(float)
    wanted = asked / asked.sum(axis=1, keepdims=True)
    wealth = wealth_by_hand(relatives, wanted, 0.02)
    market = wealth_by_hand(relatives, np.full((10, 2), 0.5), 0.02)
    for reward, grown in (("excess", wealth / market), ("log_return", wealth)):
        env = gym.make_vec(ID, num_envs=1, tasks=[task], reward=reward, backend=backend, **family.given_arguments)
        env.reset(seed=0)
        rewards, states = [], []
        for action in actions[:9]:
            rewards.append(env.step(action[None])[1][0])
            states.append(env.unwrapped.state[0])  # type: ignore[attr-defined]
        np.testing.assert_allclose(rewards, 100 * np.diff(np.log(grown[:9]), prepend=0.0), atol=1e-11)
        np.testing.assert_allclose(np.array(states)[:, 2:4], np.stack([wealth, market], axis=1)[:9], rtol=1e-13)
        np.testing.assert_allclose(np.array(states)[:, 4], np.maximum(np.maximum.accumulate(wealth), 1)[:9], rtol=1e-13)
        assert (np.array(states)[:, 6] == 0).all()
        assert env.step(actions[9:])[2][0]


def test_the_approximate_cost_is_the_formula() -> None:
    """``1 - c sum |w - a|``, and the exact one is another."""
    rewards = []
    for model in ("exact", "approximate"):
        settings: dict[str, Any] = {"tasks": [{"cost": 0.05}], "m": 2, "cost_model": model, "reward": "log_return"}
        env = gym.make(ID, prices="planted", window=4, days=9, backend="python", **settings)
        env.reset(seed=0)
        growth = env.unwrapped.core.family.data.relatives[int(env.unwrapped.state[0]), 0]  # type: ignore[attr-defined]
        rewards.append(float(env.step(np.array([1.0, 0.0], np.float32))[1]) / 100 - np.log(growth))
    assert rewards[1] == pytest.approx(np.log(1 - 0.05 * 1.0), abs=1e-12)
    assert rewards[0] == pytest.approx(np.log(traded(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0.05)), abs=1e-12)


# ------------------------------------------------------------------------------------------- what is seen, and what not


def test_observations_are_the_window(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing, high and low prices over the last close, the share, and who is there; nothing of what is absent."""
    frame = own_frame(tmp_path, monkeypatch, ranged=True)
    task = {"instrument_1": 4, "instrument_2": -1, "instrument_3": 1, "first_day": 9, "last_day": 9}
    env = gym.make(ID, prices=frame, tasks=[task], backend="python", **SMALL)
    seen = env.reset(seed=0)[0].reshape(3, 3 * 4 + 2)
    close, high, low = (frame[field].to_numpy() for field in ("Close", "High", "Low"))
    for row, column in ((0, 4), (2, 1)):
        last = close[8, column]
        past = [close[5:9, column], high[5:9, column], low[5:9, column]]
        np.testing.assert_allclose(seen[row, :-2], 20 * (np.concatenate(past) / last - 1), atol=1e-5)
        np.testing.assert_array_equal(seen[row, -2:], [0.0, 1.0])
    np.testing.assert_array_equal(seen[1], 0.0)
    names = [channel.name for channel in env.unwrapped.core.family.observations.channels]  # type: ignore[attr-defined]
    assert names == [
        *["close_4", "close_3", "close_2", "close_1", "high_4", "high_3", "high_2", "high_1"],
        *["low_4", "low_3", "low_2", "low_1", "share", "present"],
    ]
    after = env.step(np.array([1.0, 1.0, 0.0], np.float32))[0].reshape(3, 14)
    np.testing.assert_allclose(after[:, -2], [1.0, 0.0, -1.0])
    space: Any = env.observation_space
    assert (space.window, space.n_series) == (4, 3)
    alone: Any = planted().observations.space
    assert (alone.window, alone.n_series) == (3, 1)


def test_the_future_is_not_seen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever prices come later, all observations up to a day are the same to the bit, its own price left out."""
    frame = own_frame(tmp_path, monkeypatch, ranged=True)
    shuffled = frame.copy()
    shuffled.iloc[20:] = frame.iloc[20:].to_numpy()[np.random.default_rng(0).permutation(20)]
    histories = []
    for prices in (frame, shuffled):
        env = gym.make(
            ID, prices=prices, tasks=[{"first_day": 14, "last_day": 30}], m=3, window=4, days=0, backend="python"
        )
        observations = [env.reset(seed=0)[0]]
        observations += [env.step(np.array([1, 0, 0.5], np.float32))[0] for _ in range(8)]
        histories.append(np.array(observations))
    np.testing.assert_array_equal(histories[0][:7], histories[1][:7])  # up to day 20, whose price is not yet known
    assert (histories[0][7] != histories[1][7]).any()


def test_extreme_prices_stay_in_the_space(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices a thousand times as high are clipped."""
    frame = own_frame(tmp_path, monkeypatch)
    frame.iloc[::3, 0] *= 1000.0
    env = gym.make(ID, prices=frame, m=2, window=4, days=0, preset="single", backend="python")
    seen = [env.reset(seed=0)[0], *[env.step(np.array([1.0, 0.0], np.float32))[0] for _ in range(20)]]
    assert all(env.observation_space.contains(observation) for observation in seen)
    assert np.max(seen) == 100.0


def test_clipped_ranges_are_the_same_on_every_backend(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """High and low prices, prices that are clipped, an absent instrument: to the bit."""
    frame = own_frame(tmp_path, monkeypatch, ranged=True)
    frame.iloc[::5, [0, 6, 12]] *= 1000.0
    tasks = [{"instrument_1": 0, "instrument_2": 3}, {"instrument_1": -1, "instrument_2": 0}]
    seen = []
    for backend in ("python", "numpy", "numba"):
        rows = gym.make_vec(ID, num_envs=2, prices=frame, tasks=tasks, m=2, window=3, days=9, backend=backend)
        observations = [rows.reset(seed=0)[0]]
        for action in np.random.default_rng(0).uniform(size=(8, 2, 2)).astype(np.float32):
            observation, reward, *_ = rows.step(action)
            observations += [observation, reward]
        seen.append(np.concatenate([np.ravel(x) for x in observations]))
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    assert (seen[0] == 100.0).any()


def test_episodes_fit_into_their_periods() -> None:
    """They start on any day from which they fit, and cover all; with ``days=0`` they are the whole period."""
    family = planted()
    task = {"first_day": 20, "last_day": 34}
    rows = gym.make_vec(ID, num_envs=300, tasks=[task], backend="numpy", **family.given_arguments)
    rows.reset(seed=0)
    assert set(rows.unwrapped.state[:, 0]) == {20, 21, 22, 23, 24, 25}  # type: ignore[attr-defined]
    for days, period, steps in ((0, (20, 34), 15), (10, (20, 25), 6), (10, (4, 59), 10)):
        given = {**family.given_arguments, "days": days}
        tasks = [dict(zip(task, period, strict=True))]
        env = gym.make(ID, tasks=tasks, backend="python", **given)
        env.reset(seed=0)
        ends = [env.step(np.zeros(3, np.float32))[2:4] for _ in range(steps)]
        assert not np.any(ends[:-1])
        assert any(ends[-1])
        assert ends[-1][0] == (steps < 10 or days == 0)


def test_the_rule_that_knows_the_sign_earns_the_ceiling() -> None:
    """All on what fell most: 34 bp a day more than equal shares at no cost on prices that revert (10 portfolios)."""
    env = gym.make_vec(
        ID, num_envs=60, n_tasks=60, prices="planted", m=10, days=0, preset="test_unseen", reward="excess"
    )
    codec = env.unwrapped.core.family.observations  # type: ignore[attr-defined]
    observations, _ = env.reset(seed=0)
    total = np.zeros(60)
    for _ in range(190):
        fell = codec.blocks(observations)[:, :, 18].argmax(axis=1)
        observations, rewards, *_ = env.step(np.eye(10, dtype=np.float32)[fell])
        total += rewards
    assert 20.0 < 100 * total.mean() / 190 < 50.0


def test_it_keeps_all_promises() -> None:
    """With other arguments too: of planted prices, as logits, at the approximate cost, whole periods."""
    settings: dict[str, Any] = {"actions": "logits", "cost_model": "approximate", "reward": "log_return"}
    check_family(ID, **planted().given_arguments, **settings)


# ------------------------------------------------------------------------------------------ references, splits, sizes


def test_the_reference_is_the_best_constant_portfolio() -> None:
    """Over whole periods at no cost it earns what the formula says, and equal shares nothing more than equal shares."""
    family = lifelong_gym.family(ID, **{**planted().given_arguments, "days": 0})
    tasks = family.parameters.sample(3, seed=1)
    found = measured_references(ID, tasks, 1, 0, **family.given_arguments)
    assert found is not None
    np.testing.assert_allclose(found["zero"], 0.0, atol=1e-9)
    for task, best in zip(tasks, found["best"], strict=True):
        relatives = family.data.relatives[4:, [int(task[f"instrument_{i}"]) for i in (1, 2, 3)]]  # type: ignore[attr-defined]
        shares = best_constant_shares(relatives)
        gain = constant_rebalanced(relatives, shares)[-1] / constant_rebalanced(relatives)[-1]
        assert best == pytest.approx(100 * np.log(gain), abs=1e-4)
        assert best > 0


def test_held_out_instruments_and_days() -> None:
    """Nothing of the test is known in training; names and dates will do; the seed decides."""
    family = lifelong_gym.family(ID)
    assert isinstance(family, Portfolio)
    periods = ("2009-01-01", "2018-12-31"), ("2019-01-01", "2019-12-31")
    split = splits.held_out(family, *periods, n_held_out=6, n_train=40, n_test=30, seed=2, cost=0.01)
    instruments = [np.unique(tasks.values[:, :5]) for tasks in (split.train, split.test)]
    assert (len(instruments[0]), len(instruments[1])) == (14, 6)
    assert not set(instruments[0]) & set(instruments[1])
    days = [
        [family.data.day_text(int(tasks[0][name])) for name in ("first_day", "last_day")]
        for tasks in (split.train, split.test)
    ]
    assert days == [["2009-01-02", "2018-12-31"], ["2019-01-02", "2019-12-31"]]
    assert set(split.test.column("cost")) == {0.01}
    again = splits.held_out(family, *periods, n_held_out=6, n_train=40, n_test=30, seed=2, cost=0.01)
    assert again == split
    assert (
        splits.portfolios(family, 3, (100, 200), ["AAPL", "XOM", "KO", "GE", 3]).values[0, :5].sum()
        == 0 + 19 + 9 + 5 + 3
    )
    env = gym.make_vec(ID, num_envs=30, tasks=split.test, backend="numpy")
    env.reset(seed=0)


def test_walking_forward() -> None:
    """Each test follows its training after the purged days; tests follow each other; portfolios stay the same."""
    family = planted()
    walked = list(splits.walk_forward(family, 20, 10, 2, n_tasks=4))
    periods = [[tuple(map(int, tasks.values[0, 3:5])) for tasks in (split.train, split.test)] for split in walked]
    assert periods == [[(4, 23), (26, 35)], [(14, 33), (36, 45)], [(24, 43), (46, 55)]]
    for split in walked:
        np.testing.assert_array_equal(split.train.values[:, :3], walked[0].test.values[:, :3])


def test_presets_keep_days_and_instruments_apart() -> None:
    """The last quarter of the days, and a quarter of the instruments and one more, are for tests."""
    space = planted().parameters
    draws = {name: space.sample(100, preset=name) for name in space.presets}
    assert {tuple(x[0, 3:5]) for x in (draws["train"].values, draws["train_seen"].values)} == {(4, 44)}
    assert {tuple(draws[f"test{end}"].values[0, 3:5]) for end in ("", "_seen", "_unseen")} == {(45, 59)}
    known, unseen = (set(np.unique(draws[name].values[:, :3])) for name in ("train_seen", "test_unseen"))
    assert (known, unseen) == (set(range(5)), {5, 6, 7})
    assert set(np.unique(draws["test_seen"].values[:, :3])) == known
    assert set(np.unique(draws["default"].values[:, :3])) == known | unseen
    assert "test_unseen" not in planted(instruments=5).parameters.presets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 9}, "`m` must be from 1 to 8, as many instruments there are. Received 9"),
        ({"window": 60}, "`window` must be from 2 to 59, as many days that come before another. Received 60"),
        ({"window": 1}, "`window` must be from 2 to 59"),
        ({"days": 57}, "`days` must be from 0 to 56, as many days that have a window before them. Received 57"),
        ({"cost_model": "exakt"}, "unknown cost_model 'exakt'. Did you mean 'exact'"),
        ({"tasks": [{"first_day": 3}]}, r"parameter 'first_day' must be in \[4, 59\]"),
        ({"tasks": [{"last_day": 60}]}, r"parameter 'last_day' must be in \[4, 59\]"),
        ({"tasks": [{"first_day": 30, "last_day": 29}]}, "`last_day` must not be before `first_day`"),
        ({"tasks": [{"instrument_1": 8}]}, r"parameter 'instrument_1' must be in \[-1, 7\]"),
        ({"tasks": [{"instrument_1": 1}]}, "instruments must differ, and one at least be there"),
        ({"tasks": [{f"instrument_{i}": -1 for i in (1, 2, 3)}]}, "instruments must differ, and one at least"),
        ({"tasks": [{"cost": 0.3}]}, r"parameter 'cost' must be in \[0, 0.2\]"),
    ],
)
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    """More than the prices hold, periods outside of them, instruments twice."""
    with pytest.raises(ValueError, match=message):
        gym.make(ID, **{**planted().given_arguments, **changes})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f: splits.held_out(f, (4, 30), (30, 40)),
            r"`test` must begin after `train` has ended. Received train=\(4, 30\)",
        ),
        (lambda f: splits.held_out(f, (4, 30), (31, 60)), r"`day` must be an integer in \[0, 59\]|`day` must be"),
        (lambda f: splits.held_out(f, (3, 30), (31, 40)), "a period must leave 4 days before it, which are seen"),
        (lambda f: splits.held_out(f, (30, 20), (31, 40)), "a period must hold a day"),
        (
            lambda f: splits.held_out(f, (4, 30), (31, 40), n_held_out=2),
            "`n_held_out` must leave m = 3 of 8 instruments",
        ),
        (
            lambda f: splits.held_out(f, (4, 30), (31, 40), n_held_out=6),
            "`n_held_out` must leave m = 3 of 8 instruments",
        ),
        (
            lambda f: splits.portfolios(f, 1, ("2009-01-01", 40)),
            "these prices have no dates: days must be rows, 0 to 59",
        ),
        (lambda f: splits.portfolios(f, 1, (4, 9), ["P1", "P2", "P9"]), "unknown instrument 'P9'"),
        (lambda f: splits.portfolios(f, 1, (4, 9), ["P1", 0, 3]), "instruments must differ. Received 'P1' twice"),
        (lambda f: splits.portfolios(f, 1, (4, 9), [1, 2]), "at least m = 3 instruments to draw from. Received 2"),
        (lambda f: splits.walk_forward(f, 40, 20), "a split takes 60 days from row 4 on, and there are 60 in all"),
        (lambda f: splits.walk_forward(f, 0, 20), "`train_size` must be"),
    ],
)
def test_bad_splits(call: Any, message: str) -> None:
    """Overlaps, and more than there is."""
    with pytest.raises(ValueError, match=message):
        call(planted())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: 60.0}, "day must be an integer from 4 to 59. Received 60"),
        ({0: 7.5}, "day must be an integer from 4 to 59"),
        ({1: -1.0}, "age must not be negative"),
        ({2: 0.0}, "wealth must be positive"),
        ({5: 0.9}, "shares must be at least 0 and sum to 1"),
        ({5: -0.2, 6: 0.7}, "shares must be at least 0"),
    ],
)
def test_states_are_checked(changes: dict[int, float], message: str) -> None:
    """A day with a past, positive wealths, shares of a whole."""
    state = np.array([10.0, 0.0, 1.0, 1.0, 1.0, 0.25, 0.25, 0.5])
    env = gym.make(ID, **planted().given_arguments)
    env.reset(seed=0, options={"state": state})
    for i, value in changes.items():
        state[i] = value
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0, options={"state": state})


@pytest.mark.parametrize("backend", ["python", "numba"])
def test_bad_actions(backend: str) -> None:
    """NaN, negative beyond rounding, or above 1; nothing has changed then."""
    env = gym.make(ID, backend=backend, **planted().given_arguments)
    env.reset(seed=0)
    before = env.unwrapped.state  # type: ignore[attr-defined]
    for bad, message in ((np.nan, "finite"), (-0.1, r"in \[0, 1\]"), (1.1, r"in \[0, 1\]")):
        with pytest.raises(ValueError, match=message):
            env.unwrapped.step(np.array([0.5, bad, 0.5], np.float32))
    np.testing.assert_array_equal(env.unwrapped.state, before)  # type: ignore[attr-defined]
    env.unwrapped.step(np.array([0.5, -1e-8, 0.5], np.float32))


def test_without_whole_periods_there_is_no_reference() -> None:
    """What was best over a period says little of the days that an episode happens to be in."""
    assert planted().reference is None
    assert lifelong_gym.family(ID, **{**planted().given_arguments, "days": 0}).reference is not None


# ------------------------------------------------------------------------------------------------------------ memory


def test_other_prices_share_compiled_code() -> None:
    """Each seed's planted prices are a family of their own, but of the same text."""
    families = [planted(seed=seed) for seed in range(4)]
    assert len({family.data.hash for family in families}) == 4
    assert len({Program.of(family, family.parameters.sample(2)).text for family in families}) == 1


def test_prices_that_were_used_long_ago_are_forgotten() -> None:
    """A worker that goes through many seeds holds the families of the last few: their prices, tables and all."""

    def stepped(seed: int) -> Any:
        family = planted(seed=seed)
        env = gym.make_vec(ID, num_envs=2, n_tasks=2, **family.given_arguments)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        return weakref.ref(family.data)

    used = [stepped(seed) for seed in range(100, 120)]
    gc.collect()
    held = [prices() is not None for prices in used]
    assert held == [False] * 4 + [True] * 16
