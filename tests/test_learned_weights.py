"""What a policy learned in the simulator is told outside of it, and whose weights it gives."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import lifelong_gym
from lifelong_gym.agents import EquivariantPolicy, LearnedWeights
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.wrappers import as_vec_env
from tests.making import FEDERATED, sizes

SMALL = {**sizes(FEDERATED), "actions": "simplex"}
HISTORY = SMALL["history"]


def learner(env: Any) -> PPO:
    """One that tells clients apart: nothing is learned, but its scores are no longer nearly equal."""
    model = PPO(EquivariantPolicy, as_vec_env(env), n_steps=8, batch_size=8, seed=0, policy_kwargs={"context": "mean"})
    with torch.no_grad():
        model.policy.mlp_extractor.score[-1].weight.mul_(2000.0)  # type: ignore[index, union-attr]
    return model


class Noting:
    """A policy that keeps what it was asked."""

    def __init__(self, policy: PPO) -> None:
        self.observation_space, self.action_space = policy.observation_space, policy.action_space
        self._policy = policy
        self.asked: list[Any] = []

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
        """The policy's own."""
        self.asked.append(observation)
        return self._policy.predict(observation, deterministic=deterministic)


def made(**settings: Any) -> Any:
    """An env of one task."""
    return gym.make_vec(FEDERATED, num_envs=1, **{"n_tasks": 1, **SMALL, **settings})


@pytest.fixture(scope="module")
def policy() -> PPO:
    """For three clients."""
    return learner(made())


def accuracies_of(observation: Any) -> Any:
    """The last ones that it shows."""
    return observation.reshape(-1, HISTORY + 1)[:, HISTORY - 1]


def test_it_sees_what_the_simulator_shows(policy: PPO) -> None:
    """Told the accuracies of a simulated episode, the policy is asked with that episode's observations."""
    env, noting = made(), Noting(policy)
    weights = LearnedWeights(noting)
    (observation,), _ = env.reset(seed=0)
    for _ in range(SMALL["rounds"] - 1):
        found = weights.weigh(dict(enumerate(accuracies_of(observation).tolist())))
        np.testing.assert_array_equal(noting.asked[-1], observation)
        action, _ = policy.predict(observation, deterministic=True)
        np.testing.assert_allclose(list(found.values()), action / action.sum(), rtol=1e-6)
        assert np.ptp(action) > 1e-3
        (observation,), *_ = env.step(action[None])


def test_who_is_absent_in_the_simulator_is_absent_outside(policy: PPO) -> None:
    """A task without its second client: the two others get what the simulator's policy gives them, in any order."""
    names = {"client_1": "common_3", "client_2": "absent", "client_3": "rare_5"}
    space = lifelong_gym.family(FEDERATED, **SMALL).parameters
    env = made(tasks=space.tasks([names]), n_tasks=None)
    (observation,), _ = env.reset(seed=0)
    found = accuracies_of(observation)
    action, _ = policy.predict(observation, deterministic=True)
    weights = LearnedWeights(policy).weigh({"rare": float(found[2]), "common": float(found[0])})
    assert list(weights) == ["rare", "common"]
    np.testing.assert_allclose([weights["common"], 0.0, weights["rare"]], action / action.sum(), atol=1e-6)


def test_who_comes_back_has_kept_its_past(policy: PPO) -> None:
    """Its accuracies are those of the last rounds in which it took part; meanwhile the others share the whole."""
    noting = Noting(policy)
    weights = LearnedWeights(noting)
    for told in ({"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.4, "c": 0.5}, {"b": 0.6, "a": 0.7}):
        found = weights.weigh(told)
        assert found.keys() == told.keys()
        assert sum(found.values()) == pytest.approx(1.0)
    last = noting.asked[-1].reshape(3, HISTORY + 1)
    np.testing.assert_array_equal(last, np.array([[0.0, 0.2, 0.6, 1], [0.1, 0.4, 0.7, 1], [0, 0, 0, 0]], np.float32))


def test_a_policy_that_weighs_nobody_weighs_all_alike(policy: PPO) -> None:
    """As the simulator does with the action 0."""

    class Nobody(Noting):
        def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
            return np.zeros(3, np.float32), None

    assert LearnedWeights(Nobody(policy)).weigh({"a": 0.1, "b": 0.9}) == {"a": 0.5, "b": 0.5}


def test_bad_accuracies_change_nothing(policy: PPO) -> None:
    """Nobody, too many, and what is no accuracy; the next round is as if they had never been."""
    weights, noting = LearnedWeights(policy), Noting(policy)
    for told, problem in (
        ({}, r"1 to 3 clients\. Received 0"),
        (dict.fromkeys("abcd", 0.5), r"1 to 3 clients\. Received 4"),
        ({"a": 0.5, "b": np.nan}, r"in \[0, 1\]\. Received nan of client 'b'"),
        ({"a": 0.5, "b": 1.5}, r"Received 1\.5 of client 'b'"),
    ):
        with pytest.raises(ValueError, match=problem):
            weights.weigh(told)
    assert weights.weigh({"a": 0.5, "b": 0.6}) == LearnedWeights(noting).weigh({"a": 0.5, "b": 0.6})


@pytest.mark.parametrize(
    ("id", "settings", "problem"),
    [
        ("LifelongCartPole-v0", {}, r"observe clients' accuracies and nothing else\. It observes Box"),
        (FEDERATED, {**SMALL, "actions": "logits"}, r"act in Box\(0, 1, \(3,\)\), weights of clients"),
    ],
)
def test_policies_for_other_spaces_are_refused(id: str, settings: dict[str, Any], problem: str) -> None:
    """When they are handed over."""
    env = as_vec_env(gym.make_vec(id, num_envs=1, n_tasks=1, **settings))
    with pytest.raises(ValueError, match=problem):
        LearnedWeights(PPO("MlpPolicy", env, n_steps=8, batch_size=8))


def test_without_flwr_the_strategy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra, and the constraints under which it can be installed."""
    for name in ("flwr", *(name for name in sys.modules if name.startswith("flwr."))):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "lifelong_gym.agents.allocation.flower", raising=False)
    with pytest.raises(MissingExtraError, match=r"-c constraints-federated\.txt 'lifelong-gym\[federated\]'"):
        _ = lifelong_gym.agents.LearnedAggregation
