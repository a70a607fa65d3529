"""Tasks as tables: read off a family's text, against sampling, closed forms and finite differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.tabular.chain import Chain, chain_tasks
from lifelong_gym.envs.tabular.grid_world import GridWorld
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.chance import mean, outcomes
from lifelong_gym.numerics.optima import joint_optimum, joint_path
from lifelong_gym.numerics.scalar import floor, where
from lifelong_gym.numerics.tabular import TabularModel, relative_entropy, softmax_rows
from tests.broken_families import Room, Thermometer, variant
from tests.linear_mdp import LinearMDP

GAMMA, P = 0.9, 0.8
CHAIN = Chain()
MIDDLE = np.eye(5)[2]


def chain(which: int, p: float = P) -> list[TabularModel]:
    """The two tasks."""
    return [tabular_model(CHAIN, task) for task in chain_tasks(which, p)]


def policy_of(q: float, second: float = 1.0, fourth: float = 1.0) -> FloatArray:
    """L with these probabilities in S3, S2 and S4."""
    left = np.array([0.5, second, q, fourth, 0.5])
    return np.stack([left, 1.0 - left], axis=1)


def total(models: list[TabularModel], policy: FloatArray, gamma: float = GAMMA) -> float:
    """Sum of values."""
    return sum(model.value(policy, gamma) for model in models)


# ------------------------------------------------------------------------------------------------------------- chance


def test_all_outcomes_are_counted() -> None:
    """Comparisons, shifts, scales and rounding, of one uniform and of two, with exact probabilities."""

    def text(noise: tuple[Any, ...]) -> float:
        die = floor(6.0 * noise[0])
        return where(1.0 - noise[1] > 0.25, die, -1.0) if die < 2.0 else 9.0

    counted: dict[float, float] = {}
    for probability, result in outcomes(text, 2):
        counted[result] = counted.get(result, 0.0) + probability
    assert counted == pytest.approx({0.0: 0.125, 1.0: 0.125, -1.0: 1 / 12, 9.0: 2 / 3}, abs=1e-15)
    thirds = dict.fromkeys([0, -1, -2], 0.0)
    for p, number in outcomes(lambda noise: int(-3.0 * noise[0]), 1):
        thirds[number] += p
    assert thirds == pytest.approx({0: 1 / 3, -1: 1 / 3, -2: 1 / 3})


def test_what_varies_with_noise_has_a_mean() -> None:
    """Over what the answers have left of it."""
    found = [(p, mean(x)) for p, x in outcomes(lambda n: 2.0 * n[0] + 1.0 if n[0] < 0.5 else 7.0, 1)]
    assert found == [(0.5, 1.5), (0.5, 7.0)]


@pytest.mark.parametrize(
    "text",
    [
        lambda n: n[0] * n[1],
        lambda n: n[0] + n[1],
        lambda n: n[0] < n[1],
        lambda n: n[0] == 0.5,
        lambda n: bool(n[0]),
        lambda n: float(n[0]),
        lambda n: n[0] ** 2,
    ],
)
def test_what_is_not_counted_is_refused(text: Any) -> None:
    """Rather than wrong."""
    with pytest.raises(FamilyError, match="must be compared with numbers, shifted, scaled or rounded"):
        list(outcomes(text, 2))


# ---------------------------------------------------------------------------------------------------- from the text


@pytest.mark.parametrize(
    ("id", "task"),
    [
        ("LifelongGridWorld-v0", {"slip": 0.3, "start_row": 6, "start_column": 7}),
        ("LifelongChain-v0", chain_tasks(2)[1]),
        ("tests.linear_mdp:LinearMDP", {"number": 11}),
        ("tests.corridors:Corridor", {"goal": 3, "slip": 0.4}),
    ],
)
def test_tables_are_what_is_sampled(id: str, task: dict[str, Any]) -> None:
    """Frequencies of next states, mean rewards and ends, over all states and actions that random behaviour meets."""
    n, n_steps = 2000, 12
    model = tabular_model(lifelong_gym.family(id), task)
    envs = LifelongVectorEnv(family=id, num_envs=n, tasks=[task], backend="numpy")
    before, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(np.bincount(before, minlength=model.n_states) / n, model.start)
    counts, rewards = np.zeros_like(model.P), np.zeros_like(model.R)
    actions, alive = np.random.default_rng(0).integers(0, model.n_actions, (n_steps, n)), np.ones(n, bool)
    for action in actions:
        after, reward, ended, _, _ = envs.step(action)
        np.add.at(counts, (before[alive], action[alive], after[alive]), 1.0)
        np.add.at(rewards, (before[alive], action[alive]), reward[alive])
        np.testing.assert_array_equal(ended[alive], model.ends[after[alive]])
        before, alive = after, alive & ~ended
    visits = counts.sum(axis=2)
    seen = visits > 50
    assert seen.sum() > 5
    shares, error = counts[seen] / visits[seen][:, None], 5.0 * np.sqrt(0.25 / visits[seen])
    assert (np.abs(shares - model.P[seen]).max(axis=1) < error).all()
    assert (counts[model.P == 0.0] == 0.0).all()
    assert (np.abs(rewards[seen] / visits[seen] - model.R[seen]) < 2.0 * error).all()
    envs.close()


def test_a_linear_process_is_its_own_kernel() -> None:
    """Tables that the text reads come back."""
    family = LinearMDP()
    model = tabular_model(family, {"number": 7})
    kernel, worth = family.process({"number": 7.0})
    np.testing.assert_allclose(model.P, kernel, atol=1e-14)
    np.testing.assert_allclose(model.R, kernel @ worth, atol=1e-14)
    assert (model.start == np.eye(6)[0]).all()
    assert not model.ends.any()


def test_what_cannot_be_a_table_is_refused() -> None:
    """By the family's name and the reason."""
    with pytest.raises(FamilyError, match="Room must have Discrete actions and observations"):
        tabular_model(Room(), {})
    with pytest.raises(FamilyError, match="Thermometer must have Discrete actions"):
        tabular_model(Thermometer(), {})
    with pytest.raises(FamilyError, match="a tabular model"):
        tabular_model(lifelong_gym.family("LifelongFederatedMNIST-v0"), {})
    hidden: type[KernelFamily] = type("Hidden", (LinearMDP,), {"observation": staticmethod(lambda state: (0.0,))})
    with pytest.raises(FamilyError, match=r"state \(1.0,\), number 1 .* must be observed as 1. Received 0"):
        tabular_model(hidden(), {})
    pairs: type[KernelFamily] = type("Pairs", (LinearMDP,), {"discrete_states": lambda self: np.zeros((6, 2))})
    with pytest.raises(FamilyError, match=r"`discrete_states` must have shape \(6, 1\). Received \(6, 2\)"):
        tabular_model(pairs(), {})
    with pytest.raises(ValueError, match="unknown reward 'gaol'"):
        tabular_model(GridWorld(), {}, "gaol")
    with pytest.raises(ValueError, match="unknown parameter 'p'"):
        tabular_model(CHAIN, {"p": 0.5})
    assert variant("Healthy")().state_limits


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"P": np.ones((2, 1, 3)) / 3}, r"`P` must have shape \(2, 1, 2\). Received \(2, 1, 3\)"),
        ({"P": np.ones((2, 1, 2))}, "`P` must be probabilities, .* sums from 2 to 2"),
        ({"P": np.array([[[1.5, -0.5]], [[1.0, 0.0]]])}, "`P` must be probabilities, .* Received -0.5 at least"),
        ({"R": np.zeros(2)}, r"`R` must have shape \(n_states, n_actions\). Received \(2,\)"),
        ({"R": np.array([[0.0], [np.nan]])}, "`R` must be finite"),
        ({"start": np.zeros(2)}, "`start` must be probabilities"),
        ({"ends": np.zeros(3, bool)}, r"`ends` must have shape \(2,\). Received \(3,\)"),
    ],
)
def test_tables_are_checked(changes: dict[str, Any], message: str) -> None:
    """By name and value."""
    tables = {"P": np.full((2, 1, 2), 0.5), "R": np.zeros((2, 1)), "start": np.eye(2)[0], "ends": np.zeros(2, bool)}
    with pytest.raises(ValueError, match=message):
        TabularModel(**{**tables, **changes})


def test_policies_and_discounts_are_checked() -> None:
    """Whatever is asked of a model."""
    model = chain(1)[0]
    with pytest.raises(ValueError, match=r"`policy` must have shape \(5, 2\). Received \(2, 5\)"):
        model.value(policy_of(0.5).T, GAMMA)
    with pytest.raises(ValueError, match="`policy` must be probabilities"):
        model.visitation(np.ones((5, 2)), GAMMA)
    with pytest.raises(ValueError, match=r"`gamma` must be in \[0, 1\). Received 1.0"):
        model.value(policy_of(0.5), 1.0)
    with pytest.raises(ValueError, match=r"`theta` must have shape \(5, 2\)"):
        model.gradient(np.zeros(5), GAMMA)
    with pytest.raises(ValueError, match="`mu` must be probabilities"):
        model.mismatch(policy_of(0.5), GAMMA, np.zeros(5))


# ---------------------------------------------------------------------------------------------- the paper's chains


@pytest.mark.parametrize("gamma", [0.9, math.sqrt(0.5), 0.99])
def test_the_values_of_chain_1(gamma: float) -> None:
    """Its closed form for every q; 2 g / (2 - g^2) at the optimum, g for both deterministic policies."""
    models = chain(1)
    for q in np.linspace(0.0, 1.0, 11):
        g = gamma * gamma
        expected = q * gamma / (1 - (1 - q) * g) + (1 - q) * gamma / (1 - q * g)
        assert total(models, policy_of(q), gamma) == pytest.approx(expected, abs=1e-10)
    assert total(models, policy_of(0.5), gamma) == pytest.approx(2 * gamma / (2 - gamma**2), abs=1e-10)
    assert [total(models, policy_of(q), gamma) for q in (0.0, 1.0)] == pytest.approx([gamma, gamma], abs=1e-10)


@pytest.mark.parametrize("start", [MIDDLE, np.full(5, 0.2)])
def test_the_best_policy_of_chain_1_is_stochastic(start: FloatArray) -> None:
    """Of a grid of policies in S2, S3 and S4 the best is (1, 1/2, 1), whether episodes start in S3 or anywhere."""
    models = [TabularModel(model.P, model.R, start, model.ends) for model in chain(1)]
    grid = np.linspace(0.0, 1.0, 9)
    values = {(a, q, b): total(models, policy_of(q, a, b)) for a in grid for q in grid for b in grid}
    assert max(values, key=lambda key: values[key]) == (1.0, 0.5, 1.0)


@pytest.mark.parametrize(("gamma", "p"), [(0.9, 0.8), (math.sqrt(0.5), 0.7), (0.99, 0.6)])
def test_the_values_of_chain_2(gamma: float, p: float) -> None:
    """Closed forms of the deterministic and the uniform policy, which is the worst of all."""
    g, models = gamma, chain(2, p)
    deterministic = -g * (2 * p - 1) * (1 - g**2) / (1 - g**2 + g**4 * p * (1 - p))
    uniform = -2 * g * (2 * p - 1) / (2 - g**2)
    assert [total(models, policy_of(q), g) for q in (0.0, 0.5, 1.0)] == pytest.approx(
        [deterministic, uniform, deterministic], abs=1e-10
    )
    printed = g * (-2 * g**2 * p + g**2 + 2 * p - 1) / (g**4 * p**2 - g**4 * p + g**2 - 1)
    assert printed == pytest.approx(deterministic, abs=1e-12)
    others = [total(models, policy_of(q), g) for q in np.linspace(0.0, 1.0, 21) if q != 0.5]
    assert min(others) > total(models, policy_of(0.5), g)


def test_the_numbers_that_the_paper_misprints() -> None:
    """At g = sqrt 1/2 and p = 0.7."""
    g, p = math.sqrt(0.5), 0.7
    models = chain(2, p)
    assert total(models, policy_of(1.0), g) == pytest.approx(
        math.sqrt(2) * (2 * p - 1) / ((p - 2) * (p + 1)), abs=1e-10
    )
    assert total(models, policy_of(0.5), g) == pytest.approx(-2 * math.sqrt(2) * (2 * p - 1) / 3, abs=1e-10)
    assert [total(models, policy_of(q), g) for q in (1.0, 0.5)] == pytest.approx([-0.25597, -0.37712], abs=1e-5)


@pytest.mark.parametrize("which", [1, 2])
def test_stationary_points(which: int) -> None:
    """Equal logits are one in S3; of chain 2, where S2 and S4 offer no choice, everywhere."""
    slopes = sum(model.gradient(np.zeros((5, 2)), GAMMA) for model in chain(which))
    assert np.abs(np.asarray(slopes)[2 if which == 1 else slice(None)]).max() < 1e-14
    far = np.zeros((5, 2))
    far[:, 0] = 30.0
    assert np.abs(sum(model.gradient(far, GAMMA) for model in chain(which))).max() < 1e-11


@pytest.mark.parametrize(("gamma", "p"), [(0.9, 0.8), (0.5, 0.6)])
def test_the_second_derivative_of_chain_2(gamma: float, p: float) -> None:
    """Positive at q = 1/2: the stationary point is a minimum; its closed form, from exact first derivatives."""
    g, h = gamma, 1e-5

    def slope(q: float) -> float:
        theta = np.zeros((5, 2))
        theta[2, 0] = math.log(q / (1.0 - q))
        return sum(float(model.gradient(theta, g)[2, 0]) for model in chain(2, p)) / (q * (1.0 - q))

    found = (slope(0.5 + h) - slope(0.5 - h)) / (2.0 * h)
    expected = 32 * g**3 * (2 * p - 1) * (1 - g**2 * (2 * p**2 - 2 * p + 1)) / (2 - g**2) ** 3
    assert found == pytest.approx(expected, abs=1e-8)
    assert found > 0.0


@pytest.mark.parametrize("weight", [0.0, 0.1])
@pytest.mark.parametrize("id", ["LifelongChain-v0", "LifelongGridWorld-v0", "tests.linear_mdp:LinearMDP"])
def test_gradients_are_slopes(id: str, weight: float) -> None:
    """Equation (8) against finite differences of the objective, along random directions and at the start."""
    rng, h = np.random.default_rng(1), 1e-4
    family = lifelong_gym.family(id)
    tasks = {"LifelongChain-v0": chain_tasks(2)[0], "LifelongGridWorld-v0": {"slip": 0.2}}
    model = tabular_model(family, tasks.get(id, {"number": 3}))
    theta = rng.normal(size=model.R.shape)
    gradient = model.gradient(theta, GAMMA, weight)
    for _ in range(5):
        d = rng.normal(size=theta.shape)
        d /= np.linalg.norm(d)
        near, far = ([model.objective(theta + s * x * d, GAMMA, weight) for s in (1, -1)] for x in (h, 2 * h))
        slope = (8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * h)
        assert (gradient * d).sum() == pytest.approx(slope, abs=1e-8)


def test_relative_entropy() -> None:
    """0 of uniform choice, else the mean divergence from it; infinite where an action is never taken."""
    assert relative_entropy(np.full((5, 2), 0.5)) == pytest.approx(0.0, abs=1e-15)
    policy = softmax_rows(np.random.default_rng(0).normal(size=(5, 3)))
    divergence = (np.log((1 / 3) / policy) / 3).sum(axis=1).mean()
    assert relative_entropy(policy) == pytest.approx(divergence, abs=1e-14)
    assert relative_entropy(policy_of(1.0)) == math.inf


def visits(model: TabularModel, policy: FloatArray, gamma: float) -> FloatArray:
    """The paper's matrix D: the share of time in a state, by row, when an episode starts in the column's."""
    starts = [TabularModel(model.P, model.R, start, model.ends) for start in np.eye(5)]
    return np.stack([each.visitation(policy, gamma) for each in starts], axis=1)


def test_visitation_matrices() -> None:
    """Of supplement A, with its misprints mended; columns sum to 1."""
    g, p = GAMMA, P
    first, second = (visits(model, policy_of(0.5), g) for model in chain(2))
    for matrix in (first, second):
        np.testing.assert_allclose(matrix.sum(axis=0), 1.0, atol=1e-12)
    whole = 2 - g**2
    assert first[0, 1] == pytest.approx(g * (-(g**2) * p**2 + 2 * g**2 * p - g**2 - 2 * p + 2) / whole, abs=1e-10)
    assert first[:, 2] == pytest.approx(
        [g**2 * (1 - p) / whole, g * (1 - g) / whole, 2 * (1 - g) / whole, g * (1 - g) / whole, g**2 * p / whole],
        abs=1e-10,
    )
    assert first[2, 1] == pytest.approx(2 * (1 - g) * g * p / whole, abs=1e-10)  # printed with 1 - p
    assert second[0, 3] == pytest.approx(g**3 * p**2 / whole, abs=1e-10)  # printed as g^2 (1 - g) p
    one = visits(chain(2)[0], policy_of(1.0), g)
    assert one[0, 1] == pytest.approx(1 - one[1:, 1].sum(), abs=1e-12)
    left, _ = (visits(model, policy_of(0.0), g) for model in chain(2))
    assert left[2, 2] == pytest.approx((1 - g) / (1 - g**2 + g**2 * p), abs=1e-10)
    assert left[4, 2] == pytest.approx(g**2 * p / (1 - g**2 + g**2 * p), abs=1e-10)


def test_mismatch_coefficients() -> None:
    """Visits over mu, infinite where learning never starts and the policy goes."""
    model, policy = chain(1)[0], policy_of(0.5)
    uniform = model.mismatch(policy, GAMMA, np.full(5, 0.2))
    np.testing.assert_allclose(uniform, model.visitation(policy, GAMMA) * 5 / (1 - GAMMA))
    point = model.mismatch(policy_of(1.0), GAMMA, MIDDLE)
    assert point.tolist() == [math.inf, math.inf, pytest.approx(1 / (1 - GAMMA) * (1 - GAMMA)), 0.0, 0.0]


# ------------------------------------------------------------------------------------------------------- joint paths


def test_joint_optima_need_shared_moves() -> None:
    """Two chains of different moves have no joint path; alike ones have, and it ends with them."""
    with pytest.raises(ValueError, match=r"the same moves where they haven't ended. Received others in task 1"):
        joint_optimum(chain(1), GAMMA)
    with pytest.raises(ValueError, match=r"the same states and actions. Received shapes \[\(5, 2\), \(100, 4\)\]"):
        joint_optimum([chain(1)[0], tabular_model(GridWorld(), {})], GAMMA)
    prize, dear = ({"reward_s1": 1.0, "reward_s5": end} for end in (-1.0, 5.0))
    path = joint_optimum([tabular_model(CHAIN, task) for task in (prize, dear)], GAMMA)
    assert path.states.tolist() == [2, 3, 4]
    assert path.actions.tolist() == [1, 1] if path.value == pytest.approx(4 * GAMMA) else [0, 0]


def test_a_policy_can_be_followed() -> None:
    """Its most likely way and its exact value; a circle is walked once."""
    model = tabular_model(CHAIN, {})
    path = joint_path([model], policy_of(0.9), GAMMA)
    assert path.states.tolist() == [2, 1, 0]
    assert path.returns.tolist() == [pytest.approx(GAMMA)]
    assert path.value == pytest.approx(model.value(policy_of(0.9), GAMMA))
    circle = joint_path([model], policy_of(0.9, second=0.2), GAMMA)
    assert circle.states.tolist() == [2, 1, 2]
    assert circle.returns.tolist() == [0.0]
