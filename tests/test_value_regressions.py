"""Regressions of exploring agents: the paper's formulas, recomputed from all transitions; distances; the hub."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

from lifelong_gym.agents.value.features import DenseFeatures, OneHotFeatures
from lifelong_gym.agents.value.hub import SAME_TASK, UNKNOWN, Hub, Report
from lifelong_gym.agents.value.regressions import Summary
from lifelong_gym.agents.value.settings import LSVISettings
from lifelong_gym.envs.tabular.linear_models import LinearModels
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray
from tests.exploring import Step, explored, features_of

SMALL, PAPER = LinearModels(3, 4, 3, 3), LinearModels(5, 20, 4, 5)
BETA = 0.3


def literal(phi: FloatArray, episodes: list[list[Step]], horizon: int, explore: bool) -> tuple[Any, ...]:
    """Algorithms 2 and 3 as they are printed, from all transitions: theta, Gram matrices, Q, of each step."""
    n_obs, d = phi.shape[0], phi.shape[2]
    values = np.zeros(n_obs)
    thetas: list[FloatArray] = []
    grams: list[FloatArray] = []
    qs: list[FloatArray] = []
    for h in reversed(range(horizon)):
        steps = [episode[h] for episode in episodes]
        rows = np.array([phi[s, a] for _, s, a, _, _ in steps]).reshape(-1, d)
        goals = np.array([(0.0 if explore else r) + values[t] * (h + 1 < horizon) for *_, r, t in steps])
        gram = np.eye(d) + rows.T @ rows
        theta = np.linalg.solve(gram, rows.T @ goals)
        bonus = np.minimum(BETA * np.sqrt(np.einsum("sad,de,sae->sa", phi, np.linalg.inv(gram), phi)), horizon)
        q = np.minimum(phi @ theta + bonus * (1.0 + explore / horizon), horizon)
        values = q.max(axis=1)
        for found, each in ((thetas, theta), (grams, gram), (qs, q)):
            found.insert(0, each)
    return np.array(thetas), np.array(grams), np.array(qs)


def test_sums_are_as_good_as_all_transitions() -> None:
    """Over 300 episodes: actions are the paper's, Gram matrices, weights and values equal to 1e-8."""
    known, (episodes,) = explored(SMALL, [(3, 1.5)], 300)
    phi = features_of(SMALL).phi
    for k in (0, 1, 7, 60, 299):
        *_, qs = literal(phi, episodes[:k], 3, explore=True)
        for h, s, a, *_ in episodes[k]:
            assert qs[h, s, a] >= qs[h, s].max() - 1e-8
    theta, gram, qs = literal(phi, episodes, 3, explore=False)
    plan = known.summary(0).planned(BETA)
    np.testing.assert_allclose(plan.theta, theta, atol=1e-8)
    np.testing.assert_allclose(plan.gram, gram, atol=1e-8)
    np.testing.assert_allclose(known._inverse[0], np.linalg.inv(gram), atol=1e-8)
    assert plan.value == pytest.approx(qs[0, 0].max(), abs=1e-8)


def test_pooled_sums_are_those_of_one_agent_with_all_data() -> None:
    """Sums of several agents in one task add up, and survive being sent."""
    known, episodes = explored(SMALL, [(3, 1.5)] * 3, 40)
    features = features_of(SMALL)
    sent = [Summary.unpacked(features, known.summary(i).packed(with_rewards=True)) for i in range(3)]
    pooled = (sent[0] + sent[1] + sent[2]).planned(BETA)
    theta, gram, qs = literal(features.phi, [e for each in episodes for e in each], 3, explore=False)
    np.testing.assert_allclose(pooled.theta, theta, atol=1e-8)
    np.testing.assert_allclose(pooled.gram, gram, atol=1e-8)
    assert pooled.value == pytest.approx(qs[0, 0].max(), abs=1e-8)


def test_one_hot_is_dense_with_unit_vectors() -> None:
    """The same episodes, plans, distances and pooled sums, from what is kept of a diagonal."""
    n_obs, n_actions = 4 * SMALL.n_states, SMALL.n_actions
    one_hot = OneHotFeatures(n_obs, n_actions)
    dense = DenseFeatures(np.eye(n_obs * n_actions).reshape(n_obs, n_actions, -1))
    tasks: list[tuple[int, float | None]] = [(3, 1.5), (8, 1.5)]
    (one, own), (other, their) = (explored(SMALL, tasks, 30, features=f) for f in (one_hot, dense))
    assert own == their
    mine, theirs = ([known.summary(i) for i in range(2)] for known in (one, other))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a.planned(BETA).theta.ravel(), b.planned(BETA).theta.ravel(), atol=1e-10)
        assert a.planned(BETA).value == pytest.approx(b.planned(BETA).value)
        again = Summary.unpacked(one_hot, a.packed(with_rewards=True))
        for name in ("gram", "following", "earned", "starts", "passed", "ends"):
            np.testing.assert_array_equal(getattr(again, name), getattr(a, name))
    together = [(pair[0] + pair[1]).planned(BETA).value for pair in (mine, theirs)]
    assert together[0] == pytest.approx(together[1])


def test_values_are_optimistic_and_close_where_much_is_known() -> None:
    """Without a bonus within 1% of V* after much acting at random; with one above it, and alike in all tasks."""
    tasks: list[tuple[int, float | None]] = [(kernel, 2.5) for kernel in range(4)]
    known, _ = explored(PAPER, [(1, 2.5)] * 40, 150, at_random=True)
    first, *others = [known.summary(i) for i in range(40)]
    for other in others:
        first = first + other
    assert first.planned(0.0).value == pytest.approx(2.5, rel=0.01)
    known, _ = explored(PAPER, tasks, 300)
    biases = np.array([known.summary(i).planned(BETA).value for i in range(4)]) - 2.5
    assert (biases > 0.0).all()
    assert (biases < 0.5 * 0.25).all()
    assert np.ptp(biases) < 0.5 * 0.25


def test_distances_tell_tasks_apart() -> None:
    """At d = 5 and 200 episodes, of 20 draws: at most 1 for the same task, above it for others, in 99% of all pairs."""
    tasks: list[tuple[int, float | None]] = [(kernel, 2.5) for kernel in range(20) for _ in range(2)]
    known, _ = explored(PAPER, tasks, 200)
    summaries = [known.summary(i) for i in range(40)]
    right = [
        (summaries[i].distance(summaries[j]) <= SAME_TASK) == (tasks[i] == tasks[j])
        for i, j in itertools.combinations(range(40), 2)
        if i % 2 == 0  # of other tasks once
    ]
    assert np.mean(right) >= 0.99


@pytest.mark.parametrize("identify", ["value", "model"])
def test_who_is_known_is_never_new(identify: str) -> None:
    """Whatever is reported: a label that was given stays, and windows hold within a group."""
    rng, features = np.random.default_rng(5), features_of(SMALL)
    known, _ = explored(SMALL, [(k, None) for k in range(6)], 60)
    summaries = [known.summary(i) for i in range(6)]
    for _ in range(20):
        hub = Hub(LSVISettings(identify=identify, c_sep=0.25), features)
        for round in range(4):
            agents = rng.integers(6, size=5)
            reports = [Report(float(rng.uniform(0, 1)), summaries[i] if identify == "model" else None) for i in agents]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                labels = hub.labels(reports)
                groups = hub.groups(reports, np.flatnonzero(labels == UNKNOWN).tolist())
                n_before = len(hub.clusters)
                filed = hub.file(round, reports, labels, groups)
            np.testing.assert_array_equal(filed[labels != UNKNOWN], labels[labels != UNKNOWN])
            assert len(hub.clusters) == n_before + len(groups)
            assert sorted(agent for group in groups for agent in group) == np.flatnonzero(labels == UNKNOWN).tolist()
            if identify == "value":
                for group in groups:
                    assert np.ptp([reports[agent].value for agent in group]) <= 0.125
        assert sum(len(cluster.values) for cluster in hub.clusters) == 20


def test_the_hub_says_what_can_t_be_told_apart() -> None:
    """A value in two windows, models of one cluster that disagree, more clusters than tasks; its state goes on."""
    features = features_of(PAPER)
    known, _ = explored(PAPER, [(1, 2.5), (2, 2.5)], 200)
    one, other = known.summary(0), known.summary(1)
    hub = Hub(LSVISettings(max_tasks=1), features)
    hub.file(0, [Report(2.5, one)], np.array([UNKNOWN]), [[0]])
    with pytest.warns(UserWarning, match=r"cluster 0: agent 0 in round 1 sees other dynamics than the founder \(z = "):
        hub.file(1, [Report(2.55, other)], hub.labels([Report(2.55, other)]), [])
    with pytest.warns(UserWarning, match="there are 2 clusters, and at most 1 tasks"):
        hub.file(2, [Report(2.7, one)], hub.labels([Report(2.7, one)]), [[0]])
    with pytest.warns(UserWarning, match="lies also in the window of"):
        hub.labels([Report(2.6)])
    assert hub.clusters[0].spread == pytest.approx(0.05)
    again = Hub(LSVISettings(max_tasks=1), features)
    again.load_state_dict(hub.state_dict())
    assert again.clusters == hub.clusters
    np.testing.assert_array_equal(again.state_dict()["founders"][0]["gram"], hub.state_dict()["founders"][0]["gram"])
    with pytest.raises(CheckpointError, match="must be a hub's state"):
        again.load_state_dict({"clusters": [{"name": 3}], "founders": []})
    assert again.clusters == hub.clusters


def test_theory_is_the_papers() -> None:
    """Theorem 1 by hand; episodes beyond all budgets, and bonuses at which every value is the horizon."""
    settings = LSVISettings(constants="theory", max_tasks=10, delta=0.05, epsilon=0.05, c_sep=0.25)
    made = settings.scheduled(10, 5, 10)
    n_rounds = np.ceil(6 * 10 * np.log(10 / 0.05) / 10)
    delta = 0.05 / (3 * 10 * n_rounds)
    assert made.k1 == np.ceil(1000 * 5**6 * np.log(10 * 5 * 10 / (delta * 0.25)) / 0.25**2)
    assert made.k2 == np.ceil(1000 * 5**6 * np.log(10 * 5 * 10 / (delta * 0.05)) / 0.05**2)
    assert made.beta_1 == pytest.approx(50 * np.sqrt(np.log(500 / (delta * 0.25))))
    known, _ = explored(PAPER, [(1, 1.5), (2, 3.5)], 100, beta=made.beta_1)
    values = [known.summary(i).planned(made.beta_1).value for i in range(2)]
    assert values == [5.0, 5.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"c_sep": 0.0}, "`c_sep` must be above 0. Received 0"),
        ({"epsilon": -1.0}, "`epsilon` must be above 0. Received -1"),
        ({"delta": 1.0}, r"`delta` must be in \[0, 1\). Received 1"),
        ({"identify": "values"}, "unknown identify 'values'. Did you mean 'value'"),
        ({"constants": "practice"}, "unknown constants 'practice'. Did you mean 'practical'"),
        ({"constants": "theory"}, '`max_tasks` must be given where constants="theory"'),
        ({"reward_range": (1.0, 0.0)}, "`reward_range` must be the smallest and the largest reward"),
        ({"k1": 0}, "`k1` must be an integer of at least 1. Received 0"),
        ({"pool": 1}, "`pool` must be True or False. Received 1"),
    ],
)
def test_settings_that_can_t_be_are_refused(given: dict[str, Any], message: str) -> None:
    """By name and value; and what no episode's value can be apart."""
    with pytest.raises(ValueError, match=message):
        LSVISettings(**given)
    with pytest.raises(ValueError, match=r"`c_sep` must be at most 3, the steps of an episode. Received 4"):
        LSVISettings(c_sep=4.0).scheduled(3, 3, 1)


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        (np.full((2, 2, 2), 0.9), "must have norms of at most 1. Received 1.27"),
        (np.full((2, 2), 0.5), r"must be finite, \(n_obs, n_actions, d\). Received shape \(2, 2\)"),
        (np.full((1, 1, 1), np.nan), "must be finite"),
    ],
)
def test_features_that_can_t_be_are_refused(phi: FloatArray, message: str) -> None:
    """Norms, shape and numbers."""
    with pytest.raises(ValueError, match=message):
        DenseFeatures(phi)
