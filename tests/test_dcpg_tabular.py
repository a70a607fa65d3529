"""Decentralised policy gradient over tables: against another implementation, exact optima, and known biases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pettingzoo
import pytest
import torch as th

import lifelong_gym
from lifelong_gym.agents import DCPG
from lifelong_gym.agents.decentralised.episodes import discounted
from lifelong_gym.agents.decentralised.tabular import Baseline, SoftmaxPolicy
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.spaces import Discrete
from lifelong_gym.envs.tabular.chain import chain_tasks
from lifelong_gym.errors import UnknownNameError
from lifelong_gym.numerics.tabular import TabularModel, softmax_rows
from lifelong_gym.wrappers import ParameterSharing, as_vec_env, graph_of, mixing_matrix
from tests.camera import Camera
from tests.test_multi_agent import KilledError as Killed
from tests.test_multi_agent import assert_same, killed_after

CHAIN, GAMMA, MIDDLE = "LifelongChain-v0", 0.9, 2
ONE, OTHER = chain_tasks(1)
BLINDFOLD = "tests.test_dcpg_tabular:Blindfold"
OPTIMUM = 2 * GAMMA / (2 - GAMMA**2)  # of both tasks together: turn left and right alike in the middle


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(n_threads)


class Blindfold(Camera):
    """A simulator, of which there are no tables, although its spaces are Discrete."""

    observations = Discrete(2)  # type: ignore[assignment]  # of no image


def env_of(tasks: Any, backend: str = "numpy", **sharing: Any) -> Any:
    """An agent a task, in a ring."""
    env = pettingzoo.make("parallel", CHAIN, tasks=tasks, backend=backend, horizon=40)
    return as_vec_env(ParameterSharing(env, **sharing))


def make(env: Any, rate: float = 1.0, base: str = "exact", **more: Any) -> DCPG:
    """Tables of zeros."""
    own = {"base_kwargs": {"gamma": GAMMA}, "seed": 0, **more}
    return DCPG("SoftmaxPolicy", env, rate, base=base, **own)


def models(tasks: Any) -> list[TabularModel]:
    """Exact ones."""
    family = lifelong_gym.family(CHAIN)
    return [tabular_model(family, task) for task in tasks]


def thetas(model: DCPG) -> npt.NDArray[np.float64]:
    """Logits of all agents."""
    policies: list[Any] = [agent.policy for agent in model.agents]
    return np.stack([policy.theta for policy in policies])


def put(model: DCPG, tables: Any) -> None:
    """Let agents begin with these logits."""
    for agent, table in zip(model.agents, tables, strict=True):
        agent.policy.load_state_dict({**agent.policy.state_dict(), "logits": th.as_tensor(table)})


def sure(logit: float) -> npt.NDArray[np.float64]:
    """Logits of two agents that turn left beside both ends, by which the middle is all that is to be learned."""
    tables = np.zeros((2, 5, 2))
    tables[:, [1, 3], 0] = logit
    return tables


def lefts(model: DCPG) -> npt.NDArray[np.float64]:
    """Probability of L in the middle, of all agents."""
    return softmax_rows(thetas(model))[:, MIDDLE, 0]


def total(model: DCPG) -> float:
    """The worst agent's sum of returns in both tasks, of the best possible."""
    each = [sum(m.value(p, GAMMA) for m in models([ONE, OTHER])) for p in softmax_rows(thetas(model))]
    return float(min(each) / OPTIMUM)


# ---------------------------------------------------------------------------------------------------------------- exact


def reference(form: str, rate: float, weight: float, rounds: int) -> npt.NDArray[np.float64]:
    """The three forms, as they are written down, in a few lines of NumPy."""
    tasks = models([ONE, ONE, OTHER, OTHER])
    weights = mixing_matrix(graph_of("ring", range(4))).toarray()
    theta = np.zeros((4, 5, 2))
    estimate, last = np.zeros_like(theta), np.zeros_like(theta)
    for _ in range(rounds):
        slope = rate * np.stack([m.gradient(t, GAMMA, weight) for m, t in zip(tasks, theta, strict=True)])
        if form == "adapt":
            theta = np.einsum("ij,jsa->isa", weights, theta + slope)
        elif form == "literal":
            theta = np.einsum("ij,jsa->isa", weights, theta) + slope
        else:
            estimate = np.einsum("ij,jsa->isa", weights, estimate) + slope - last
            theta, last = np.einsum("ij,jsa->isa", weights, theta) + estimate, slope
    return theta


@pytest.mark.parametrize("form", ["adapt", "literal", "tracking"])
def test_another_implementation(form: str) -> None:
    """Thirty rounds of each form, with relative entropy, to 1e-12."""
    model = make(env_of([ONE, ONE, OTHER, OTHER]), form=form, relative_entropy=0.01).learn(4 * 30)
    np.testing.assert_allclose(thetas(model), reference(form, 1.0, 0.01, 30), rtol=0, atol=1e-12)
    assert model.num_timesteps == 120


@pytest.mark.parametrize(
    ("form", "rounds", "bias", "tolerance"),
    [("literal", 5, 0.0915, 0.002), ("adapt", 5, 0.052, 0.002), ("tracking", 70, 0.0, 0.001)],
)
def test_the_biases_of_the_forms(form: str, rounds: int, bias: float, tolerance: float) -> None:
    """A ring of four, a step of 1: agents lean to their own tasks, by known amounts; tracking has none."""
    model = make(env_of([ONE, ONE, OTHER, OTHER]), form=form)
    if form != "tracking":  # the others stay where they come in 500 rounds
        put(model, reference(form, 1.0, 0.0, 500))
    model.learn(4 * rounds, log_interval=None)
    np.testing.assert_allclose(lefts(model) - 0.5, [bias, bias, -bias, -bias], atol=tolerance)


def test_small_steps_reach_the_stochastic_optimum() -> None:
    """Two agents, a step of .1: alike within .01 and .998 of the optimum; a step of 1 biases them by more than .05."""
    found = {}
    for rate in (0.1, 1.0):
        model = make(env_of([ONE, OTHER]), rate, form="literal")
        put(model, sure(8.0))
        found[rate] = model.learn(2 * 80, log_interval=None)
    np.testing.assert_allclose(lefts(found[0.1]), 0.5, atol=0.01)
    assert total(found[0.1]) > 0.998
    assert (np.abs(lefts(found[1.0]) - 0.5) > 0.05).all()


@pytest.mark.parametrize(("share_moments", "left"), [(False, 0.5), (True, 0.118)])
def test_what_adam_optimises(share_moments: bool, left: float) -> None:
    """The second task pays tenfold: Adam per agent doesn't see it; with mixed moments the optimum is the sum's."""
    rich = {**OTHER, "reward_s1": -10.0, "reward_s5": 10.0}
    adam = {"optimizer_class": "Adam", "optimizer_kwargs": {"eps": 1e-8}}
    model = make(env_of([ONE, rich]), 0.03, policy_kwargs=adam, share_moments=share_moments)
    put(model, sure(3.0))
    model.learn(2 * 200, log_interval=None)
    np.testing.assert_allclose(lefts(model), left, atol=0.01)


def test_nodes_of_several_tasks_climb_their_sum() -> None:
    """One agent with both tasks is the centralised policy gradient; a relay beside it follows."""
    model = make(env_of([ONE, OTHER], nodes={"both": ["task_0", "task_1"], "relay": []}), 1.0).learn(2)
    slope = sum(m.gradient(np.zeros((5, 2)), GAMMA) for m in models([ONE, OTHER]))
    np.testing.assert_allclose(thetas(model)[0], slope / 2, atol=1e-12)
    relay: Any = model.for_node("relay")
    np.testing.assert_allclose(relay.theta, slope / 2, atol=1e-12)


def test_agreement_comes_at_the_rate_of_the_second_eigenvalue() -> None:
    """Without steps the distance from the mean shrinks by it in every round; sparser graphs need more rounds."""
    rates = []
    for topology in ("complete", "ring", "star", "chain"):
        model = make(env_of([ONE] * 5, topology=topology), 1e-300)
        put(model, np.random.default_rng(0).normal(size=(5, 5, 2)))
        errors = [model.learn(5 * n, log_interval=None).consensus_error()["all"] for n in (12, 4)]
        rates.append((errors[1] / errors[0]) ** (1 / 4))
        assert rates[-1] == pytest.approx(model.channel.sigma_2, rel=0.02)
    assert rates == sorted(rates)


# ------------------------------------------------------------------------------------------------------- whole episodes


def test_returns_by_hand() -> None:
    """From each step on."""
    np.testing.assert_allclose(discounted(np.array([[1.0, 0.0, 2.0]]), 0.5), [[1.5, 1.0, 2.0]])


def test_the_baseline_is_a_mean() -> None:
    """Of all returns at first, then of late."""
    baseline = Baseline(2)
    baseline.add(np.array([0, 0]), np.array([1.0, 3.0]))
    baseline.add(np.array([0]), np.array([5.0]))
    assert (baseline.mean.tolist(), baseline.visits.tolist()) == ([3.0, 0.0], [3.0, 0.0])
    for _ in range(100):
        baseline.add(np.zeros(10, np.int64), np.full(10, 7.0))
    assert baseline.mean[0] == pytest.approx(7.0, abs=1e-3)
    assert baseline.visits[0] == 100


@pytest.mark.parametrize(("backend", "n", "tolerance"), [("numpy", 20_000, 0.02), ("python", 400, 0.1)])
def test_sampled_gradients_are_the_exact_ones_on_average(backend: str, n: int, tolerance: float) -> None:
    """Simulated in one call, or stepped; steps and episodes are counted."""
    base_kwargs = {"gamma": GAMMA, "n_episodes": n}
    env = env_of([ONE], backend, nodes=1, topology="complete")
    model = make(env, base="monte_carlo", base_kwargs=base_kwargs, relative_entropy=0.1)
    start = np.random.default_rng(0).normal(size=(5, 2))
    put(model, [start])
    assert model.agents[0].algorithm.rows.can_rollout == (backend == "numpy")
    model.learn(1)
    expected = models([ONE])[0].gradient(start, GAMMA, 0.1)
    np.testing.assert_allclose(thetas(model)[0] - start, expected, atol=tolerance)
    assert len(model.agents[0].tally.returns) == n
    assert model.num_timesteps == sum(model.agents[0].tally.lengths)


def test_episodes_lead_to_the_optimum() -> None:
    """Ten a round: a policy for both tasks that none of them would find."""
    base_kwargs = {"gamma": GAMMA, "n_episodes": 10}
    model = make(env_of([ONE, OTHER]), 0.5, base="monte_carlo", base_kwargs=base_kwargs)
    model.learn(4000, log_interval=None)
    assert total(model) > 0.9  # alone: 0.6


# --------------------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize(
    ("base", "own"),
    [("exact", {}), ("monte_carlo", {"n_episodes": 2}), ("reinforce", {"n_episodes": 2})],
)
def test_killed_and_resumed_to_the_bit(base: str, own: Any, tmp_path: Path) -> None:
    """Tables, baselines, networks, estimates and the env's streams are in the file."""
    nodes = {"a": ["task_0"], "relay": [], "b": ["task_1", "task_2"]}
    tabular = base != "reinforce"
    kwargs: dict[str, Any] = {"base": base, "base_kwargs": {"gamma": GAMMA, **own}, "seed": 1, "form": "tracking"}
    kwargs["policy_kwargs"] = {} if tabular else {"net_arch": [4], "optimizer_class": "SGD"}

    def fresh() -> DCPG:
        env = env_of([ONE, OTHER, OTHER], nodes=nodes)
        return DCPG("SoftmaxPolicy" if tabular else "MlpPolicy", env, 0.5, device="cpu", **kwargs)

    whole, half = fresh(), fresh()
    first = half.learn(30).num_timesteps
    half.save(tmp_path / "model")
    resumed = DCPG.load(tmp_path / "model", env=env_of([ONE, OTHER, OTHER], nodes=nodes), device="cpu")
    resumed.learn(30, reset_num_timesteps=False)
    whole.learn(first)
    whole.learn(30, reset_num_timesteps=False)
    assert_same(resumed, whole)
    acting = DCPG.load(tmp_path / "model", device="cpu")
    assert acting.for_task(1).predict(np.array(2), deterministic=True)[0] in (0, 1)
    if tabular:
        return
    with pytest.raises(Killed):
        DCPG("MlpPolicy", killed_after(env_of([ONE, OTHER, OTHER], nodes=nodes), 3), 0.5, **kwargs).learn(30)


def test_networks_climb_whole_episodes() -> None:
    """One step of REINFORCE is its formula's gradient, on the episodes that were seen."""

    class Watched(DCPG):
        def train(self) -> None:
            """As it is, watched."""
            algorithm = self.agents[0].algorithm
            found = algorithm._episodes
            seen, actions = th.as_tensor(found.observations), th.as_tensor(found.actions)
            _, log_prob, entropy = algorithm.policy.evaluate_actions(seen, actions)
            gained = th.as_tensor(found.returns, dtype=th.float32)
            goal = (log_prob * gained).mean() + 0.1 * entropy.mean()
            weight = algorithm.policy.action_net.weight
            self.expected = weight.detach() + 0.5 * th.autograd.grad(goal, weight)[0]
            self.n_episodes, self.found = found.number, found
            super().train()

    own = {"n_episodes": 3, "gamma": GAMMA, "normalize_advantage": False, "ent_coef": 0.1, "max_grad_norm": 1e9}
    kwargs = {"net_arch": [4], "optimizer_class": "SGD"}
    env = env_of([ONE], nodes=1, topology="complete")
    model = Watched("MlpPolicy", env, 0.5, base="reinforce", base_kwargs=own, policy_kwargs=kwargs, seed=0).learn(1)
    np.testing.assert_allclose(model.agents[0].algorithm.policy.action_net.weight.detach(), model.expected, atol=1e-6)
    assert model.n_episodes == len(model.agents[0].tally.returns) == 3
    ends = np.flatnonzero(np.append(model.found.times[1:] == 0, True))
    assert model.found.returns[ends].tolist() == model.agents[0].tally.returns
    assert (
        np.abs(model.found.returns)
        == GAMMA ** (np.diff(np.append(-1, ends)).repeat(np.diff(np.append(-1, ends))) - 1 - model.found.times)
    ).all()


@pytest.mark.parametrize(
    ("make_env", "arguments", "error", "problem"),
    [
        (lambda: env_of([ONE, OTHER]), {"policy": "MlpPolicy"}, UnknownNameError, "There are: SoftmaxPolicy"),
        (lambda: as_vec_env("LifelongCartPole-v0", n_tasks=2), {}, ValueError, "must have Discrete spaces. The obs"),
        (lambda: as_vec_env(CHAIN, n_tasks=2, hide_task_id=True), {}, ValueError, "They are hidden here"),
        (
            lambda: as_vec_env(BLINDFOLD, n_tasks=2),
            {},
            ValueError,
            "must have a model of every task",
        ),
        (lambda: env_of([ONE, OTHER]), {"base_kwargs": {"gamma": 1.0}}, ValueError, r"`gamma` must be in \[0, 1\)"),
        (
            lambda: env_of([ONE, OTHER]),
            {"form": "tracking", "policy_kwargs": {"optimizer_class": "Adam"}},
            ValueError,
            "The optimiser is Adam",
        ),
    ],
)
def test_bad_input(make_env: Any, arguments: Any, error: Any, problem: str) -> None:
    """Said before anything is learned."""
    with pytest.raises(error, match=problem):
        DCPG(arguments.pop("policy", "SoftmaxPolicy"), make_env(), **{"base": "exact", **arguments})


def test_a_table_acts() -> None:
    """As its probabilities say; the most likely action where it is deterministic."""
    policy = SoftmaxPolicy(
        lifelong_gym.family(CHAIN).observations.space, lifelong_gym.family(CHAIN).actions.space, lambda _: 0.1
    )
    with th.no_grad():
        policy.logits[1] = th.tensor([0.0, 1.0])
    sampled = policy.predict(np.ones(4000, np.int64))[0]
    assert sampled.mean() == pytest.approx(policy.probabilities[1, 1], abs=0.03)
    assert policy.predict(np.array(1), deterministic=True)[0] == 1
