"""The synthetic allocation against its closed form, and draws in random order."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import minimize

import lifelong_gym
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.envs.allocation.allocation import Allocation, evenly, optimal_shares
from lifelong_gym.tasks.joint import Permuted
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.testing import check_family

ID = "LifelongAllocation-v0"


def worth(x: np.ndarray, a: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The reward without its noise."""
    value: np.ndarray = (x * a).sum(axis=-1) - (beta * a * np.log(np.maximum(a, 1e-300))).sum(axis=-1)
    return value


def searched(x: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The best shares, by SLSQP."""
    search: Any = minimize
    found: np.ndarray = search(
        lambda a: -worth(x, a, beta),
        np.full(len(x), 1 / len(x)),
        bounds=[(1e-9, 1.0)] * len(x),
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    return found


def test_it_keeps_all_promises() -> None:
    """Through every interface and backend, with arguments too."""
    check_family(ID, horizon=20, m=3, actions="logits")


def test_the_optimum_is_a_constrained_searchs() -> None:
    """SLSQP's, for temperatures of all sizes; those that are absent get nothing, and their worth doesn't matter."""
    rng = np.random.default_rng(0)
    for m in (2, 5):
        x, beta = rng.uniform(size=m), 10 ** rng.uniform(-1.5, 0.3, m)
        np.testing.assert_allclose(optimal_shares(x, beta), searched(x, beta), atol=2e-5)
        there = np.append(np.ones(m, bool), False)
        np.testing.assert_array_equal(
            optimal_shares(np.append(x, 9.0), np.append(beta, 0.01), there)[:-1], optimal_shares(x, beta)
        )
    x = rng.uniform(size=(1000, 10))
    for extreme in (0.01, 2.0):
        shares = optimal_shares(x, np.where(np.arange(10) < 5, extreme, 0.5))
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)
        slope = x - np.where(np.arange(10) < 5, extreme, 0.5) * (np.log(np.maximum(shares, 1e-300)) + 1.0)
        inside = np.where(shares > 1e-12, slope, np.nan)
        assert np.nanmax(np.nanmax(inside, axis=1) - np.nanmin(inside, axis=1)) < 1e-9


def test_the_published_values() -> None:
    """Equal shares are worth (1 + ln 10) / 2 on average; the optima 1.724 and 1.833 at eps 0 and 0.8."""
    x = np.random.default_rng(0).uniform(size=(100_000, 10))
    for epsilon, best in ((0.0, 1.724), (0.8, 1.833)):
        beta = np.array(evenly(epsilon, 10))
        assert worth(x, np.full_like(x, 0.1), beta).mean() == pytest.approx(0.5 + 0.5 * np.log(10), abs=2e-3)
        assert worth(x, optimal_shares(x, beta), beta).mean() == pytest.approx(best, abs=2e-3)


def test_an_episode_by_hand() -> None:
    """Rewards are the formula's; worths are new at every step, whatever is done; noise has the spread that is asked."""
    beta = np.array([0.2, 0.5, 0.9])
    task = {f"beta_{i + 1}": value for i, value in enumerate(beta)} | {"noise": 0.0}
    env = gym.make(ID, m=3, tasks=[task], backend="python")
    x = env.reset(seed=0)[0].reshape(3, 2)[:, 0].astype(float)
    for action in ((1, 0, 0), (0.5, 0.5, 1.0), (0, 0, 0)):
        state = env.unwrapped.state  # type: ignore[attr-defined]
        np.testing.assert_allclose(x, state, rtol=1e-6)
        shares = np.array(action) / sum(action) if any(action) else np.full(3, 1 / 3)
        observation, reward, *_ = env.step(np.array(action, np.float32))
        assert reward == pytest.approx(worth(state, shares, beta), abs=1e-6)
        x = observation.reshape(3, 2)[:, 0].astype(float)
    rows = gym.make_vec(ID, num_envs=2000, tasks=[{"noise": 0.3}], m=1, backend="numpy")
    rows.reset(seed=0)
    x = rows.unwrapped.state[:, 0]  # type: ignore[attr-defined]
    noise = rows.step(np.ones((2000, 1), np.float32))[1] - x
    assert noise.mean() == pytest.approx(0.0, abs=0.03)
    assert noise.std() == pytest.approx(0.3, rel=0.05)


def test_fewer_entities_share_the_space() -> None:
    """The last ones are absent, get nothing, and are worth nothing."""
    env = gym.make(ID, m=4, tasks=[{"n_entities": 2, "noise": 0.0}], backend="python")
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation.reshape(4, 2)[2:], 0.0)
    x = env.unwrapped.state[:2]  # type: ignore[attr-defined]
    reward = env.step(np.array([0.3, 0.3, 1.0, 1.0], np.float32))[1]
    assert reward == pytest.approx(worth(x, np.array([0.5, 0.5]), np.array([0.5, 0.5])), abs=1e-6)


def test_the_reference_is_the_optimum() -> None:
    """It earns what the closed form says, more than equal shares, in either kind of action."""
    for actions, slack in (("simplex", 1e-6), ("logits", 1e-6)):
        tasks = lifelong_gym.sample_tasks(ID, 4, preset="eps0.8", actions=actions)
        found = measured_references(ID, tasks, 8, 0, actions=actions)
        assert found is not None
        best, zero = np.array(found["best"]) / 50, np.array(found["zero"]) / 50
        assert best.mean() == pytest.approx(1.833, abs=0.02)
        assert zero.mean() == pytest.approx(0.5 + 0.5 * np.log(10), abs=0.02)
        assert (best > zero + 0.1 - slack).all()


def test_presets_are_orders_of_the_same_temperatures() -> None:
    """Evenly spaced on 0.5 ± eps / 2; where eps is 0 all tasks are equal; `default` is that of 0.4."""
    space = Allocation().parameters
    for epsilon in (0.0, 0.2, 0.4, 0.6, 0.8):
        tasks = space.sample(40, seed=3, preset=f"eps{epsilon:g}")
        np.testing.assert_allclose(np.sort(tasks.values[:, :10]), np.tile(evenly(epsilon, 10), (40, 1)), atol=1e-15)
        assert len(np.unique(tasks.values, axis=0)) == (1 if epsilon == 0 else 40)
    np.testing.assert_array_equal(space.sample(9).values, space.sample(9, preset="eps0.4").values)


def test_every_order_is_as_likely() -> None:
    """`Permuted`: six orders of three values, and row j depends on the seed and j alone."""
    names = ("a", "b", "c")
    joint = Permuted(names, (1.0, 2.0, 3.0))
    space = ParameterSpace(
        [Parameter(name, "1", "", (0.0, 5.0), nominal=1.0) for name in names],
        {"orders": Preset({}, "any", joint=(joint,))},
    )
    values = space.sample(6000, 1, "orders").values
    np.testing.assert_array_equal(values[:7], space.sample(7, 1, "orders").values)
    orders, counts = np.unique(values, axis=0, return_counts=True)
    assert len(orders) == 6
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000 * 5 / 6)
    assert str(joint) == "a, b, c: 1, 2, 3 in random order"
    for wrong in (Permuted(names, (1.0, 2.0)), Permuted((), ()), Permuted(names, (1.0, 2.0, 9.0))):
        with pytest.raises(ValueError, match=r"a value for each|must be in"):
            ParameterSpace(space.parameters, {"wrong": Preset({}, "", joint=(wrong,))})


@pytest.mark.parametrize("m", [0, 101])
def test_sizes_are_checked(m: int) -> None:
    """From 1 to 100."""
    with pytest.raises(ValueError, match=f"`m` must be from 1 to 100. Received {m}"):
        lifelong_gym.family(ID, m=m)
    with pytest.raises(ValueError, match=r"worth_1 must be in \[0, 1\]. Received 1.5"):
        gym.make(ID, m=1).reset(seed=0, options={"state": [1.5]})
