"""Policies over entities: symmetric to 1e-6, blind to the absent, with exact densities, and they learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy.stats import dirichlet
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from typer.testing import CliRunner

from lifelong_gym.agents.contract.checkpoint import decode_space, encode_space
from lifelong_gym.agents.equivariant.distributions import HEADS, DirichletShares, EntityDistribution, LogisticNormal
from lifelong_gym.agents.equivariant.policies import EntityPolicy, EquivariantPolicy, FlatSimplexPolicy
from lifelong_gym.agents.equivariant.soft_policies import EquivariantSACPolicy
from lifelong_gym.benchmark.experiment import Experiment
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.models import Kept
from lifelong_gym.cli.main import app
from lifelong_gym.envs.spaces import Entities, EntityBox, Quantity
from lifelong_gym.registry import family
from lifelong_gym.wrappers import as_vec_env

MARKET = "tests.market:Market"
M, CHANNELS, COMMON = 5, 6, 2
SPACE = EntityBox(-9.0 * np.ones(M * CHANNELS + COMMON), 9.0 * np.ones(M * CHANNELS + COMMON), M, CHANNELS, 2, 2)
ACTIONS = {"logits": spaces.Box(-1.0, 1.0, (M,)), "": spaces.Box(0.0, 1.0, (M,))}


def policy(kind: type[EntityPolicy] = EquivariantPolicy, head: str = "logistic_normal", **own: Any) -> EntityPolicy:
    """Untrained; scores begin large, so that they tell entities apart."""
    th.manual_seed(0)
    made = kind(SPACE, ACTIONS.get(head, ACTIONS[""]), lambda _: 1e-3, head=head, **own)
    with th.no_grad():
        for name, parameter in made.named_parameters():
            if "score" in name:
                parameter.add_(0.3 * th.randn_like(parameter))
    return made


def observations(n: int = 7) -> th.Tensor:
    """Shape (n, M * CHANNELS + COMMON), all entities there."""
    table = th.randn(n, M, CHANNELS, generator=th.Generator().manual_seed(1))
    table[..., -1] = 1.0
    return th.cat([table.flatten(1), th.rand(n, COMMON)], 1)


def entities(rows: th.Tensor) -> th.Tensor:
    """A view of their blocks, (n, M, CHANNELS)."""
    return rows[:, : M * CHANNELS].view(-1, M, CHANNELS)


def decided(made: EntityPolicy, rows: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """Deterministic actions and values."""
    with th.no_grad():
        return made.get_distribution(rows).mode(), made.predict_values(rows)


ARCHITECTURES = [("feed_forward", "none"), ("rnn", "none"), ("feed_forward", "mean"), ("rnn", "attention")]


@pytest.mark.parametrize(("encoder", "context"), ARCHITECTURES)
@pytest.mark.parametrize("head", HEADS)
def test_permuting_entities_permutes_actions(encoder: str, context: str, head: str) -> None:
    """To 1e-6, with densities and values unchanged; scores do depend on the entity."""
    made, rows = policy(head=head, encoder=encoder, context=context), observations()
    order = th.tensor([3, 0, 4, 1, 2])
    permuted = rows.clone()
    entities(permuted)[:] = entities(rows)[:, order]
    (actions, values), (others, same) = decided(made, rows), decided(made, permuted)
    assert actions.std(1).min() > 1e-3
    th.testing.assert_close(others, actions[:, order], rtol=0, atol=1e-6)
    th.testing.assert_close(same, values, rtol=0, atol=1e-6)
    with th.no_grad():
        drawn = made.get_distribution(rows).sample()
        one, other = made.evaluate_actions(rows, drawn), made.evaluate_actions(permuted, drawn[:, order])
    for a, b in zip(one, other, strict=True):
        assert a is not None
        assert b is not None
        th.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("encoder", "context"), ARCHITECTURES)
@pytest.mark.parametrize("head", HEADS)
def test_nothing_depends_on_the_absent(encoder: str, context: str, head: str) -> None:
    """Whatever their numbers are: equal to the bit, also densities; they get exactly nothing."""
    made, rows = policy(head=head, encoder=encoder, context=context), observations()
    entities(rows)[:, 4, -1] = 0.0
    entities(rows)[0, 1:, -1] = 0.0
    changed = rows.clone()
    entities(changed)[:, 4, :-1] = 99.0
    (actions, values), (others, same) = decided(made, rows), decided(made, changed)
    assert th.equal(actions, others)
    assert th.equal(values, same)
    drawn, low = made.get_distribution(rows).sample(), made.action_dist
    assert isinstance(low, EntityDistribution)
    for given in (actions, drawn):
        assert not given[:, 4].any()
        assert not given[0, 1:].any()
    if head != "logits":
        th.testing.assert_close(drawn.sum(1), th.ones(len(drawn)))
    noise = th.zeros_like(drawn)
    noise[:, 4] = 0.5
    one, other = made.evaluate_actions(rows, drawn), made.evaluate_actions(rows, drawn + noise)
    assert one[1].equal(other[1])
    assert one[1].isfinite().all()


def test_where_nobody_is_there_all_is_finite() -> None:
    """No shares, no gradients that are no numbers."""
    made, rows = policy(context="attention"), observations(3)
    entities(rows)[1, :, -1] = 0.0
    actions, values = decided(made, rows)
    assert not actions[1].any()
    assert values.isfinite().all()
    value, density, entropy = made.evaluate_actions(rows, actions)
    assert entropy is not None
    (value.sum() + density.sum() + entropy.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


def test_the_flat_policy_knows_places() -> None:
    """The same heads and masks, without the symmetry."""
    made, rows = policy(FlatSimplexPolicy, net_arch=[8]), observations()
    entities(rows)[:, 4, -1] = 0.0
    changed = rows.clone()
    entities(changed)[:, [0, 1]] = entities(rows)[:, [1, 0]]
    actions, others = decided(made, rows)[0], decided(made, changed)[0]
    assert not actions[:, 4].any()
    assert (others[:, [1, 0, 2, 3, 4]] - actions).abs().max() > 1e-3
    plain = spaces.Box(-9.0, 9.0, SPACE.shape)
    assert FlatSimplexPolicy(plain, ACTIONS[""], lambda _: 1e-3).predict(rows.numpy())[0].shape == (7, M)


@pytest.mark.parametrize(("kind", "spread"), [(LogisticNormal, 0.0), (LogisticNormal, -1.0), (DirichletShares, 1.5)])
def test_densities_integrate_to_one(kind: type[EntityDistribution], spread: float) -> None:
    """Over two entities by trapezoids, over three on a grid, to 1e-3; an absent entity changes nothing."""
    log = th.tensor([spread], dtype=th.float64)
    pair, three = th.tensor([[0.3, -0.5]], dtype=th.float64), th.tensor([[0.3, -0.5, 0.1]], dtype=th.float64)
    one = th.linspace(1e-6, 1 - 1e-6, 100_001, dtype=th.float64)
    density = kind().proba_distribution(pair.expand(len(one), 2), log).log_prob(th.stack([one, 1 - one], -1)).exp()
    assert float(th.trapezoid(density, one)) == pytest.approx(1.0, abs=1e-3)
    middles = (th.arange(1000, dtype=th.float64) + 0.5) / 1000
    x, y = (grid.flatten() for grid in th.meshgrid(middles, middles, indexing="ij"))
    shares = th.stack([x, y, 1 - x - y], -1)[x + y < 1 - 1e-9]
    shares = shares[shares[:, 2] > 0]
    densities = kind().proba_distribution(three.expand(len(shares), 3), log).log_prob(shares).exp()
    assert float(densities.sum()) * 1e-6 == pytest.approx(1.0, abs=1e-3)
    four = th.tensor([[0.3, -0.5, -np.inf, 0.1]], dtype=th.float64)
    given = th.tensor([[0.2, 0.5, 0.0, 0.3]], dtype=th.float64)
    assert th.equal(
        kind().proba_distribution(four, log).log_prob(given),
        kind().proba_distribution(three, log).log_prob(given[:, [0, 1, 3]]),
    )


def test_the_dirichlet_is_scipys() -> None:
    """Density, entropy and mean."""
    made = DirichletShares().proba_distribution(th.tensor([[0.3, -0.5, 0.1]], dtype=th.float64), th.tensor([0.7]))
    theirs = dirichlet(made.concentration[0].numpy())
    shares = np.array([0.2, 0.5, 0.3])
    assert float(made.log_prob(th.tensor(shares[None]))) == pytest.approx(theirs.logpdf(shares), abs=1e-9)
    assert float(made.entropy()) == pytest.approx(theirs.entropy(), abs=1e-9)
    np.testing.assert_allclose(made.mode()[0].numpy(), theirs.mean(), atol=1e-12)


def test_the_entropy_is_that_of_the_centred_logarithms() -> None:
    """Of shares drawn a hundred thousand times."""
    scores = th.tensor([[0.3, -0.5, 0.1]], dtype=th.float64).expand(100_000, 3)
    made = LogisticNormal().proba_distribution(scores, th.tensor([-0.5], dtype=th.float64))
    th.manual_seed(0)
    shares = made.sample()
    measured = -(made.log_prob(shares) + shares.log().sum(-1) + 0.5 * np.log(3.0)).mean()
    assert float(measured) == pytest.approx(float(made.entropy()[0]), abs=0.01)


class Bandit(gym.Env[Any, Any]):
    """Which of five entities is best stands in one of their channels."""

    observation_space: spaces.Space[Any] = EntityBox(-9.0 * np.ones(15), 9.0 * np.ones(15), 5, 3)

    def __init__(self, low: float = 0.0) -> None:
        """Of shares, or of logits where ``low`` is -1."""
        self.low = low
        self.action_space: spaces.Space[Any] = spaces.Box(low, 1.0, (5,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Other entities."""
        super().reset(seed=seed)
        self.table = self.np_random.normal(size=(5, 3)).clip(-9, 9).astype(np.float32)
        self.table[:, 2] = 1.0
        return self.table.ravel().copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """An episode is one action."""
        shares = action if self.low == 0.0 else np.exp(3 * action) / np.exp(3 * action).sum()
        reward = float(self.table[:, 0] @ shares)
        return self.reset()[0], reward, True, False, {}


@pytest.mark.parametrize(("kind", "head"), [(PPO, "logistic_normal"), (PPO, "dirichlet"), (PPO, "logits"), (A2C, None)])
def test_it_learns(kind: Any, head: str | None) -> None:
    """More than half of what the best shares earn, from about nothing."""
    env = DummyVecEnv([lambda: Bandit(-1.0 if head == "logits" else 0.0)] * 8)
    env.seed(0)
    sizes = {"n_steps": 64, "batch_size": 128, "n_epochs": 6} if kind is PPO else {"n_steps": 8}
    own = {"learning_rate": 1e-2, "gamma": 0.0, "policy_kwargs": {"head": head}, **sizes}
    made = kind(EquivariantPolicy, env, seed=0, device="cpu", **own)
    before, _ = evaluate_policy(made, env, 200, warn=False)
    after, _ = evaluate_policy(made.learn(6000), env, 200, warn=False)
    assert before < 0.2  # type: ignore[operator]
    assert after > 0.5 * 1.163  # type: ignore[operator]  # the mean of the largest of five


@pytest.mark.parametrize("head", ["logistic_normal", "dirichlet"])
def test_sac_knows_the_symmetry_in_actor_and_critics(head: str) -> None:
    """Actions are permuted and values stay; the absent count nowhere, and of weights only their share of the sum."""
    th.manual_seed(0)
    made = EquivariantSACPolicy(SPACE, ACTIONS[""], lambda _: 1e-3, head=head, encoder="rnn", context="mean")
    with th.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * th.randn_like(parameter))
    rows, order = observations(), th.tensor([3, 0, 4, 1, 2])
    entities(rows)[:, 4, -1] = 0.0
    permuted = rows.clone()
    entities(permuted)[:, :, :] = entities(rows)[:, order]
    changed = rows.clone()
    entities(changed)[:, 4, :-1] = 99.0
    with th.no_grad():
        actions, others = made.actor(rows, True), made.actor(permuted, True)
        th.testing.assert_close(others, actions[:, order], rtol=0, atol=1e-6)
        assert (actions[:, 4] == -1.0).all()
        assert made.actor(changed, True).equal(actions)
        drawn = made.actor(rows)
        values, same = made.critic(rows, drawn), made.critic(permuted, drawn[:, order])
        moved = drawn.clone()
        moved[:, 4] = 0.7
        halved = 0.5 * (drawn + 1.0) - 1.0
        for value, permuted_value, another, half in zip(
            values, same, made.critic(changed, moved), made.critic(rows, halved), strict=True
        ):
            th.testing.assert_close(permuted_value, value, rtol=0, atol=1e-6)
            assert another.equal(value)
            th.testing.assert_close(half, value, rtol=0, atol=1e-5)
    actor: Any = made.actor
    sampled, density = actor.action_log_prob(rows)
    shares = actor.get_distribution(rows).log_prob(0.5 * (sampled + 1.0))
    th.testing.assert_close(density, shares - 3 * np.log(2.0), rtol=1e-2, atol=1e-2)  # small shares are rounded
    (sum(made.critic(rows, sampled)) - density).mean().backward()
    assert actor.network.score[0].weight.grad.abs().sum() > 0


def test_sac_learns(tmp_path: Path) -> None:
    """More than half of what the best shares earn; saved, loaded and found by name."""
    env = DummyVecEnv([Bandit] * 8)
    env.seed(0)
    own: dict[str, Any] = {
        "learning_rate": 1e-2,
        "gamma": 0.0,
        "ent_coef": 0.02,
        "gradient_steps": 2,
        "batch_size": 128,
    }
    made = SAC(EquivariantSACPolicy, env, seed=0, device="cpu", **own)
    after, _ = evaluate_policy(made.learn(900), env, 200, warn=False)
    assert after > 0.5 * 1.163  # type: ignore[operator]
    made.save(tmp_path / "model")
    rows: Any = env.reset()
    again = SAC.load(tmp_path / "model", device="cpu").predict(rows, deterministic=True)[0]
    np.testing.assert_array_equal(again, made.predict(rows, deterministic=True)[0])
    market: Any = as_vec_env(MARKET, n_tasks=2)
    named = LearnerSpec.of("SAC", arguments={"policy": "EquivariantSACPolicy", "learning_starts": 10}).make(market, 0)
    assert type(named.learn(30).policy) is EquivariantSACPolicy
    for bad, message in (
        ({"head": "logits"}, "`head` must be one of"),
        ({"spread_init": 9.0}, "`spread_init` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            SAC(EquivariantSACPolicy, market, policy_kwargs=bad)
    with pytest.raises(ValueError, match="`action_space` must be shares"):
        EquivariantSACPolicy(SPACE, ACTIONS["logits"], lambda _: 1e-3)


@pytest.mark.parametrize("kind", [EquivariantPolicy, FlatSimplexPolicy])
def test_models_are_saved_and_loaded(kind: Any, tmp_path: Path) -> None:
    """By Stable-Baselines3, with or without the learner: the same actions."""
    env = as_vec_env(MARKET, n_tasks=2)
    own = {"context": "mean", "encoder": "rnn", "hidden": 8} if kind is EquivariantPolicy else {"net_arch": [8]}
    arguments = {"head": "dirichlet", "spread_init": 0.5, **own}
    made = PPO(kind, env, n_steps=8, batch_size=16, seed=0, device="cpu", policy_kwargs=arguments).learn(16)
    rows: Any = env.reset()
    made.save(tmp_path / "model")
    made.policy.save(str(tmp_path / "policy"))
    again, alone = PPO.load(tmp_path / "model", env, device="cpu"), kind.load(str(tmp_path / "policy"), device="cpu")
    expected = made.predict(rows, deterministic=True)[0]
    for loaded in (again, alone):
        np.testing.assert_array_equal(loaded.predict(rows, deterministic=True)[0], expected)
    again.learn(16)


def test_the_space_of_entities_tells_what_belongs_together() -> None:
    """Through every interface, with task features behind, and through files."""
    quantity = Quantity("x", "1", "")
    codec = Entities(2, (quantity,) * 4, (3.0, 3.0, 3.0, 1.0), None, 1, 2)
    assert not list(codec.faults())
    assert list(Entities(2, (quantity,) * 4, (3.0, 3.0, 3.0, 1.0), None, 2, 2).faults())
    shown = as_vec_env(MARKET, n_tasks=2, task_observation="append").observation_space
    for space, width in (
        (codec.space, 0),
        (codec.with_features(np.zeros(3, np.float32), np.ones(3, np.float32)), 3),
        (shown, 3),
    ):
        assert isinstance(space, EntityBox)
        assert space.shape == (space.m * space.n_channels + width,)
        again = decode_space(json.loads(json.dumps(encode_space(space))))
        assert isinstance(again, EntityBox)
        assert again == space
        assert again.blocks == space.blocks
        assert again == spaces.Box(space.low, space.high)
        assert again != EntityBox(space.low, space.high, 1, space.n_channels)
        assert f"m={space.m}" in repr(again)
    assert shown.m == family(MARKET).observations.m  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("space", "actions", "own", "message"),
    [
        (SPACE, spaces.Discrete(3), {}, "`action_space` must be"),
        (SPACE, spaces.Box(-2.0, 1.0, (M,)), {}, "`action_space` must be"),
        (SPACE, ACTIONS["logits"], {"head": "dirichlet"}, "`head` must be one of logits"),
        (SPACE, ACTIONS[""], {"head": "dirichlett"}, "Did you mean 'dirichlet'"),
        (SPACE, ACTIONS[""], {"spread_init": np.inf}, "`spread_init` must be a finite"),
        (SPACE, ACTIONS[""], {"context": "meen"}, "Did you mean 'mean'"),
        (SPACE, ACTIONS[""], {"hidden": 0}, "`hidden` must be an integer of at least 1"),
        (SPACE, ACTIONS[""], {"use_sde": True}, "`use_sde` must be False"),
        (SPACE, spaces.Box(0.0, 1.0, (M + 1,)), {}, "must be an EntityBox of 6 entities"),
        (spaces.Box(-1.0, 1.0, (M * CHANNELS,)), ACTIONS[""], {}, "must be an EntityBox of 5 entities"),
        (EntityBox(-np.ones(10), np.ones(10), 5, 2), ACTIONS[""], {"encoder": "rnn"}, "needs observations with series"),
    ],
)
def test_bad_arguments(space: Any, actions: Any, own: dict[str, Any], message: str) -> None:
    """Named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        EquivariantPolicy(space, actions, lambda _: 1e-3, **own)


@pytest.mark.parametrize(("m", "channels", "window"), [(0, 2, 0), (2, 6, 0), (2, 3, 3), (2, 3, -1)])
def test_blocks_that_do_not_fit(m: int, channels: int, window: int) -> None:
    """Are refused."""
    with pytest.raises(ValueError, match=r"Received"):
        EntityBox(-np.ones(10), np.ones(10), m, channels, window)


def test_masks_must_not_be_normalised() -> None:
    """A mask that is neither 0 nor 1 is no mask."""
    env = VecNormalize(as_vec_env(MARKET, n_tasks=2))
    made = PPO(EquivariantPolicy, env, n_steps=8, batch_size=16, seed=0, device="cpu")
    with pytest.raises(ValueError, match=r"must be 0 or 1.*norm_obs=False"):
        made.learn(16)


def test_by_name(tmp_path: Path) -> None:
    """From the command line, where the model is played again, and from a benchmark's file."""
    options = ["--n-tasks", "2", "--total-timesteps", "32", "-a", "n_steps=8", "-a", "batch_size=16"]
    chosen = ["-a", "policy=EquivariantPolicy", "-a", 'policy_kwargs={"context": "mean"}', "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, ["train", "PPO", MARKET, *options, *chosen])
    assert done.exit_code == 0, done.output
    kept = Kept.of_training(tmp_path / "run.json", tmp_path / "model.zip").learner()
    assert type(kept.policy) is EquivariantPolicy
    assert kept.policy.layers["context"] == "mean"
    arguments = {"policy": "FlatSimplexPolicy", "policy_kwargs": {"head": "dirichlet"}}
    learners = {"flat": {"class": "PPO", "arguments": arguments}}
    table = {"learners": learners, "families": {MARKET: {"n_tasks": 2}}, "seeds": 1, "protocol": {"n_eval_episodes": 1}}
    ((_, run),) = Experiment.of_dict(table).runs()
    run.check()
    listed = CliRunner().invoke(app, ["list"], env={"COLUMNS": "200"}).output
    assert "FlatSimplexPolicy" in listed
    assert "the absent get nothing" in CliRunner().invoke(app, ["list", "FlatSimplexPolicy"]).output


@pytest.mark.parametrize(
    ("learner", "name", "message"),
    [
        ("PPO", "EquivariantPolic", "Did you mean 'EquivariantPolicy'"),
        ("PPO", "lifelong_gym.registry:family", "must be a subclass of"),
        ("SAC", "EquivariantPolicy", "`policy` of SAC must be a subclass of"),
    ],
)
def test_names_of_no_policy(learner: str, name: str, message: str) -> None:
    """Are refused before anything is made."""
    env: Any = as_vec_env(MARKET, n_tasks=2)
    with pytest.raises(ValueError, match=message):
        LearnerSpec.of(learner, arguments={"policy": name}).make(env, 0)
