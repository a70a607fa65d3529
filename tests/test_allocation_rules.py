"""Rules for portfolios against the numbers of other packages, brute force, and the future that must not be seen."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf

from lifelong_gym.agents.allocation.fitted import RiskParity
from lifelong_gym.agents.allocation.online import EG, OLMAR, ONS, PAMR, OnlineRule, nearest_shares, on_simplex
from lifelong_gym.benchmark import Experiment
from lifelong_gym.benchmark.acting import Acting
from lifelong_gym.benchmark.learners import LearnerError, LearnerSpec
from lifelong_gym.envs.allocation import sources
from lifelong_gym.envs.allocation.constant import bought_and_held
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.reports.study import studies
from lifelong_gym.wrappers import HiddenTasks, as_vec_env
from tests.running import run_here

ID = "LifelongPortfolio-v0"
SMALL: dict[str, Any] = {"prices": {"source": "planted", "days": 60, "instruments": 8}, "m": 3, "window": 8, "days": 0}
RNG = np.random.default_rng(0)
# universal-portfolios 0.4.17 with pandas 2.3.3, its defaults, 300 days of the first six instruments; for ONS the
# tolerances of its solver, cvxopt, are 1e-14: with the default ones it says 1.305763512505665 of nyse_o.
WEALTH = {
    "skfolio": {
        EG: 1.240160859127744,
        ONS: 1.2748058280913523,
        OLMAR: 1.364224802055856,
        PAMR: 1.0166808257213193,
    },
    "nyse_o": {EG: 1.196947069345577, ONS: 1.3057778015432397, OLMAR: 2.0857265771436975, PAMR: 1.5408794167939013},
}


def planted(**settings: Any) -> Any:
    """Rows of portfolios that take whole periods."""
    return as_vec_env(ID, **{"n_tasks": 4, "backend": "numpy", **SMALL, **settings})


def followed(rule: OnlineRule, close: np.ndarray) -> np.ndarray:
    """The shares of each day, (n_days, m): equal ones at first, then the update after each day."""
    n_days, m = close.shape
    present = np.ones((1, m), bool)
    state, chosen = rule.begin(present), []
    for day in range(n_days):
        chosen.append(state[0][0])
        past = close[max(day - 9, 0) : day + 1] if day else np.ones((2, m))
        if isinstance(rule, OLMAR) and day < 5:  # the package takes prices themselves until it has a window
            state = state if day == 0 else (rule.towards(state[0], close[day : day + 1] / close[0], present),)
        else:
            state = rule.update(state, past.T[None], present)
    return np.array(chosen)


@pytest.mark.parametrize("source", WEALTH)
@pytest.mark.parametrize("kind", [EG, ONS, OLMAR, PAMR])
def test_wealth_is_another_package_s(kind: Any, source: str) -> None:
    """At no cost, to 1e-9."""
    if source in sources.UNIVERSAL and importlib.util.find_spec("universal") is None:
        pytest.skip("extra olps")
    data = sources.load(source)
    chosen = followed(kind(planted()), data.close[:300, :6])
    wealth = np.prod((chosen * data.relatives[:300, :6]).sum(axis=1))
    assert wealth == pytest.approx(WEALTH[source][kind], rel=1e-9)


@pytest.mark.parametrize("m", [2, 6])
def test_the_nearest_shares(m: int) -> None:
    """As SLSQP finds them, in any metric; in the plain one as `on_simplex` does; whoever is absent has no part."""
    for _ in range(5):
        point, root = RNG.standard_normal(m), RNG.standard_normal((m, m))
        for metric in (np.eye(m), np.eye(m) + root @ root.T):
            found = nearest_shares(point, metric)

            def distance(p: Any, metric: Any = metric, point: Any = point) -> float:
                return float((p - point) @ metric @ (p - point))

            whole: Any = {"type": "eq", "fun": lambda p: p.sum() - 1.0}
            best = minimize(distance, np.full(m, 1 / m), bounds=[(0, 1)] * m, constraints=whole, tol=1e-12)
            assert found.sum() == pytest.approx(1.0, abs=1e-12)
            assert distance(found) <= distance(best.x) + 1e-9
        points, present = np.append(point, 9.0)[None], np.append(np.ones(m, bool), False)[None]
        np.testing.assert_allclose(on_simplex(points, present)[0, :m], nearest_shares(point, np.eye(m)), atol=1e-12)
        assert on_simplex(points, present)[0, m] == 0.0


# ------------------------------------------------------------------------------------------------- in the environment

RULES = ["CRP", "BAH", "EG", "ONS", "OLMAR", "PAMR"]


def walked(name: str, env: Any, n_days: int, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """States (n_days, n_rows, ...) and actions, by a rule as the benchmark makes and asks it."""
    act = Acting(LearnerSpec.of(name, arguments=arguments).make(env, 0))
    env.seed(0)
    seen, states, actions = env.reset(), [env.state], []
    for _ in range(n_days):
        actions.append(act(seen))
        seen = env.step(actions[-1])[0]
        states.append(env.state)
    return np.array(states), np.array(actions)


def test_bought_and_held_costs_nothing() -> None:
    """Whatever trading costs, wealth is that of shares nobody touches."""
    tasks = [{"instrument_1": 6, "instrument_2": -1, "instrument_3": 1, "cost": 0.2}]
    env = planted(n_tasks=None, tasks=tasks)
    states, actions = walked("BAH", env, 30)
    relatives = env.core.family.data.relatives[8:38, [6, 1]]
    np.testing.assert_allclose(states[1:, 0, 2], bought_and_held(relatives), rtol=1e-6)
    assert (actions[:, 0, 1] == 0.0).all()


def test_constant_shares() -> None:
    """Those given, divided among the instruments that are there; equal ones where none of these gets any."""
    tasks = [{"instrument_1": -1}, {"instrument_2": -1, "instrument_3": -1}, {}]
    env = planted(n_tasks=None, tasks=tasks)
    _, actions = walked("CRP", env, 2, shares=[0.0, 2.0, 6.0])
    np.testing.assert_allclose(actions[1], [[0.0, 0.25, 0.75], [1.0, 0.0, 0.0], [0.0, 0.25, 0.75]])


@pytest.mark.parametrize("kind", [EG, ONS, OLMAR, PAMR])
def test_a_rule_in_an_episode(kind: Any) -> None:
    """Each day's shares are those that the updates of the days before give, of the instruments that are there."""
    tasks = [{"instrument_1": 6, "instrument_2": -1, "instrument_3": 1}, {}]
    env = planted(n_tasks=None, tasks=tasks)
    _, actions = walked(kind.__name__, env, 25)
    data = env.core.family.data
    for row, columns in ((0, [6, 1]), (1, [0, 1, 2])):
        rule, present = kind(env), np.ones((1, len(columns)), bool)
        state = rule.begin(present)
        for day in range(25):
            if day:
                state = rule.update(state, data.close[day : day + 8, columns].T[None], present)
            sent = actions[day, row, [0, 2]] if row == 0 else actions[day, row]
            np.testing.assert_allclose(sent, state[0][0], atol=2e-4)
        assert row or (actions[:, 0, 1] == 0.0).all()


@pytest.mark.parametrize("name", ["EG", "ONS", "OLMAR", "PAMR", "RiskParity"])
def test_rows_begin_again_by_themselves(name: str) -> None:
    """An episode that begins in one row leaves the others' past alone, as SB3's recurrent policies have it."""
    env = planted()
    rule = LearnerSpec.of(name).make(env, 0)
    observations = [env.reset(), *[env.step(np.zeros((4, 3), np.float32))[0] for _ in range(6)]]
    _, state = rule.predict(observations[0], None, np.ones(4, bool))
    for observation in observations[1:3]:
        _, state = rule.predict(observation, state, np.zeros(4, bool))
    mixed, state = rule.predict(observations[3], state, np.array([False, True, False, True]))
    later, _ = rule.predict(observations[4], state)
    fresh, state_of_fresh = rule.predict(observations[3])
    np.testing.assert_array_equal(mixed[[1, 3]], fresh[[1, 3]])
    np.testing.assert_array_equal(later[[1, 3]], rule.predict(observations[4], state_of_fresh)[0][[1, 3]])
    assert name == "RiskParity" or (mixed[[0, 2]] != fresh[[0, 2]]).any()
    alone, state = rule.predict(observations[3][1])
    np.testing.assert_array_equal(alone, fresh[1])


@pytest.mark.parametrize(
    ("name", "actions"), [*[(name, "simplex") for name in (*RULES, "MinimumVariance")], ("EG", "logits")]
)
def test_the_future_plays_no_part(name: str, actions: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever prices come later, everything that is done before is the same to the bit."""
    monkeypatch.setenv("LIFELONG_GYM_CACHE", str(tmp_path))
    steps = 0.02 * np.random.default_rng(1).standard_normal((40, 4))
    other = steps.copy()
    other[20:] = np.random.default_rng(2).permutation(steps[20:])
    done = []
    for moves in (steps, other):
        close = pd.DataFrame(np.exp(np.cumsum(moves, axis=0)), columns=list("ABCD"))
        frame = pd.concat({"Close": close, "High": close * 1.02, "Low": close * 0.97}, axis=1)
        env = as_vec_env(ID, prices=frame, tasks=[{}], m=3, window=8, days=0, actions=actions, backend="numpy")
        arguments = {"refit": 3} if name == "MinimumVariance" else {}
        done.append(walked(name, env, 20, **arguments)[1])
    np.testing.assert_array_equal(done[0][:13], done[1][:13])  # the day of row 20 is the first to differ
    assert name == "CRP" or (done[0][13:] != done[1][13:]).any()


def test_fits_are_skfolio_s_walk_forward() -> None:
    """At every re-fit the shares are those of its estimator on the days that have passed; in between they stay."""
    env = planted(n_tasks=1)
    lookback, refit = 12, 5
    _, actions = walked("MinimumVariance", env, 20, lookback=lookback, refit=refit)
    relatives = env.core.family.data.relatives[:, env.core.tasks.values[0, :3].astype(int)]
    for day in range(0, 20, refit):
        returns = relatives[max(1, 8 + day - lookback) : 8 + day] - 1.0
        covariances = np.atleast_2d(LedoitWolf(assume_centered=False).fit(returns).covariance_)
        wanted = nearest_shares(np.zeros(3), covariances)
        np.testing.assert_allclose(actions[day : day + refit, 0], np.tile(wanted, (refit, 1)), atol=2e-4)
    _, actions = walked("RiskParity", env, 1)
    covariances = LedoitWolf().fit(relatives[1:8] - 1.0).covariance_
    contributions = actions[0, 0] * (covariances @ actions[0, 0])
    np.testing.assert_allclose(contributions / contributions.sum(), np.full(3, 1 / 3), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("CRP", {"shares": [1.0, 0.0]}, "`shares` must be 3 numbers of at least 0, not all 0"),
        ("CRP", {"shares": [1.0, -0.5, 0.5]}, "`shares` must be 3 numbers of at least 0"),
        ("EG", {"eta": -1.0}, "`eta` must be at least 0. Received -1.0"),
        ("ONS", {"delta": 0.0}, "`delta` must be above 0"),
        ("ONS", {"eta": 1.5}, r"`eta` must be in \[0, 1\]. Received 1.5"),
        ("OLMAR", {"window": 9}, "`window` must be an integer of at least 2 and at most 8. Received 9"),
        ("PAMR", {"eps": "much"}, "`eps` must be a finite number"),
        ("RiskParity", {"refit": 0}, "`refit` must be an integer of at least 1"),
        ("MinimumVariance", {"lookback": 1}, "`lookback` must be an integer of at least 2"),
    ],
)
def test_bad_arguments(name: str, arguments: dict[str, Any], message: str) -> None:
    """Named, with what they must be."""
    with pytest.raises(LearnerError, match=message):
        LearnerSpec.of(name, arguments=arguments).make(planted(), 0)


def test_the_best_in_hindsight() -> None:
    """In each task its own, as the reference has it over whole periods; with short episodes too; not where hidden."""
    env = planted(n_tasks=3)
    rule, reference = LearnerSpec.of("BCRP").make(env, 0), LearnerSpec.of("reference").make(env, 0)
    seen = env.reset()
    np.testing.assert_array_equal(rule.predict(seen)[0], reference.predict(seen))
    np.testing.assert_array_equal(rule.for_task(1).predict(seen)[0], np.tile(rule.predict(seen)[0][1], (3, 1)))
    short = planted(n_tasks=3, days=10)
    np.testing.assert_array_equal(
        LearnerSpec.of("BCRP").make(short, 0).predict(short.reset())[0], rule.predict(seen)[0]
    )
    hidden = HiddenTasks(planted(hide_task_id=True))
    with pytest.raises(LearnerError, match="`env` must tell its tasks"):
        LearnerSpec.of("BCRP").make(hidden, 0)
    assert LearnerSpec.of("EG").make(hidden, 0).predict(seen)[0].shape == (3, 3)


def test_other_families_are_refused() -> None:
    """Without shares, without prices, without accuracies; without the package that fits."""
    for name, id, message in (
        ("EG", "LifelongSimpleMass-v0", "`env` must share among the entities that it shows"),
        ("BAH", "LifelongAllocation-v0", "`env` must show past prices"),
        ("AccuracySoftmax", ID, "`env` must show accuracies, and weigh whose they are. It shows close_8"),
    ):
        env: Any = planted() if id == ID else as_vec_env(id, n_tasks=2, backend="numpy")
        with pytest.raises(LearnerError, match=message):
            LearnerSpec.of(name).make(env, 0)


def test_fits_without_skfolio_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it."""
    monkeypatch.setitem(sys.modules, "skfolio.optimization", None)
    with pytest.raises(MissingExtraError, match=r"lifelong-gym\[portfolio\]"):
        RiskParity(planted())


def test_in_a_benchmark(tmp_path: Any) -> None:
    """By name, beside the best CRP in hindsight, which the scale's 1 is; equal CRP is its 0."""
    prices = {**SMALL["prices"], "reversion": 0.6}
    families = {ID: {"arguments": {**SMALL, "prices": prices}, "n_tasks": 2, "preset": "test"}}
    learners = ["CRP", "PAMR", "reference"]
    protocol = {"episodes_per_task": 1, "n_evaluations": 1, "n_eval_episodes": 1}
    experiment = {"learners": learners, "families": families, "seeds": 1, "protocol": protocol}
    runs = run_here(Experiment.of_dict(experiment), tmp_path)
    returns = {run.learner: run.returns[-1].mean() for run in runs}
    assert returns.keys() == set(learners)
    assert studies(runs)[0][0].learners == []  # so that no report says that they should have learned more
    assert abs(returns["CRP"]) < 1e-4
    assert returns["PAMR"] > returns["reference"] > 0.0
