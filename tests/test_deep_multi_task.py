"""Deep learners for many tasks, on Stable-Baselines3's own classes: each against what it must equal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from lifelong_gym import sample_tasks
from lifelong_gym.agents import MultiHeadPPO, MultiHeadSAC, SoftModularPPO, SoftModularSAC
from lifelong_gym.agents.deep.multi_task.multi_head import MultiHeadPolicy, MultiHeadSACPolicy
from lifelong_gym.agents.deep.multi_task.multi_head_sac import ScaledReplayBuffer
from lifelong_gym.agents.deep.multi_task.networks import Heads, SoftModules
from lifelong_gym.agents.deep.multi_task.pcgrad import surgery
from lifelong_gym.agents.deep.multi_task.popart import PopArt, ReturnStatistics
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.wrappers import as_vec_env

ID, HORIZON, N_TASKS, WIDTH = "LifelongCartPole-v0", 10, 3, 4
TASKS = sample_tasks(ID, N_TASKS, seed=0, preset="hetero")
SMALL = {"net_arch": [8, 8]}
OF_PPO: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
OF_SAC: dict[str, Any] = {"learning_starts": 6, "batch_size": 12, "buffer_size": 100, "train_freq": 2}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "heads-ppo": (MultiHeadPPO, {**OF_PPO, "pcgrad": True}),
    "heads-ppo-popart": (MultiHeadPPO, {**OF_PPO, "popart": 0.5}),
    "heads-sac": (MultiHeadSAC, {**OF_SAC, "pcgrad": True}),
    "heads-sac-popart": (MultiHeadSAC, {**OF_SAC, "popart": 0.5}),
    "modules-ppo": (SoftModularPPO, {**OF_PPO, "pcgrad": True}),
    "modules-sac": (SoftModularSAC, OF_SAC),
}
N_STEPS = 3 * 16  # a rollout, and dozens of SAC's updates
every_kind = pytest.mark.parametrize(("kind", "own"), KINDS.values(), ids=KINDS)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come in one order."""
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(n_threads)


def env(n_tasks: int = N_TASKS, sees: str = "one_hot") -> Any:
    """One row a task."""
    return as_vec_env(ID, tasks=TASKS[list(range(n_tasks))], horizon=HORIZON, task_observation=sees)


def made(kind: Any, own: dict[str, Any], of: Any = None, **more: Any) -> Any:
    """A learner."""
    given = {"policy_kwargs": dict(SMALL), "seed": 0, "device": "cpu", **own, **more}
    return kind("MlpPolicy", env() if of is None else of, **given)


def numbers(model: Any) -> th.Tensor:
    """All of its policy, one after another."""
    return th.cat([tensor.flatten().double() for tensor in model.policy.state_dict().values()])


def rows(tasks: list[int], seed: int = 0) -> th.Tensor:
    """Observations of these tasks."""
    seen = th.randn(len(tasks), WIDTH, generator=th.Generator().manual_seed(seed))
    return th.cat([seen, nn.functional.one_hot(th.tensor(tasks), N_TASKS)], dim=1)


def policy(kind: Any, **more: Any) -> Any:
    """A policy of small networks."""
    seen = spaces.Box(-np.inf, np.inf, (WIDTH + N_TASKS,), np.float32)
    acts = spaces.Box(-1.0, 1.0, (2,), np.float32)
    return kind(seen, acts, lambda progress: 1e-3, n_tasks=N_TASKS, **{**SMALL, **more})


def gradients(of: nn.Module, loss: th.Tensor) -> dict[str, th.Tensor]:
    """Of all parameters."""
    of.zero_grad(set_to_none=False)
    loss.backward()
    return {name: p.grad.clone() for name, p in of.named_parameters() if p.grad is not None}


# What it must equal.


@pytest.mark.parametrize("pcgrad", [False, True])
@pytest.mark.parametrize(("plain", "kind", "own"), [(PPO, MultiHeadPPO, OF_PPO), (SAC, MultiHeadSAC, OF_SAC)])
def test_one_task_is_the_plain_algorithm(plain: Any, kind: Any, own: dict[str, Any], pcgrad: bool) -> None:
    """To the bit: what it learns without the task's column."""
    expected = made(plain, own, env(1, "hide")).learn(30)
    found = made(kind, own, env(1), pcgrad=pcgrad).learn(30)
    assert th.equal(numbers(found), numbers(expected))


def test_heads_begin_alike() -> None:
    """Whatever the task, an untrained policy says the same, which is what the plain one says."""
    th.manual_seed(0)
    many = policy(MultiHeadPolicy)
    seen = rows([0, 0, 0])
    for task in range(1, N_TASKS):
        other = th.cat([seen[:, :WIDTH], rows([task] * 3)[:, WIDTH:]], dim=1)
        for one, same in zip(many(seen, deterministic=True), many(other, deterministic=True), strict=True):
            assert th.equal(one, same)


@pytest.mark.parametrize("pcgrad", [False, True])
def test_heads_do_not_leak(pcgrad: bool) -> None:
    """What tasks 0 and 2 learn moves their heads and the body, and leaves task 1's alone; PPO, and SAC's both parts."""
    batch, actions = rows([0, 2, 0, 2]), th.rand(4, 2)
    ppo, sac = policy(MultiHeadPolicy, pcgrad=pcgrad), policy(MultiHeadSACPolicy, pcgrad=pcgrad)
    losses = {
        ppo: lambda: sum(part.sum() for part in ppo.evaluate_actions(batch, actions)),
        sac.actor: lambda: sum(part.sum() for part in sac.actor.action_log_prob(batch)),
        sac.critic: lambda: sum(part.sum() for part in sac.critic(batch, actions)),
    }
    for module, loss in losses.items():
        found = gradients(module, loss())
        of_heads = {name: gradient for name, gradient in found.items() if name.startswith(module.own)}
        assert len(of_heads) >= 4
        for name, gradient in of_heads.items():
            assert not gradient[1].any(), name
            assert gradient[0].any(), name
            assert gradient[2].any(), name
        assert all(gradient.any() for name, gradient in found.items() if name not in of_heads)


def test_surgery_of_known_gradients() -> None:
    """Orthogonal ones are added, opposed ones leave nothing; of two at odds, each loses what points at the other."""
    assert th.equal(surgery(th.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])), th.tensor([3.0, 2.0, 0.0]))
    assert not surgery(th.tensor([[1.0, -2.0], [-3.0, 6.0]])).any()
    assert not surgery(th.zeros(2, 3)).any()
    a, b = th.tensor([1.0, 0.0]), th.tensor([-1.0, 1.0])
    expected = (a - (a @ b) / (b @ b) * b) + (b - (a @ b) / (a @ a) * a)
    th.testing.assert_close(surgery(th.stack([a, b])), expected)
    agreeing = th.rand(5, 20)
    th.testing.assert_close(surgery(agreeing), agreeing.sum(dim=0))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_pcgrad_is_surgery_on_gradients_task_by_task(sign: float) -> None:
    """Of what tasks share; gradients of heads are added. At odds or not, it's the same as one task after another."""
    th.manual_seed(0)
    plain, operated = policy(MultiHeadPolicy), policy(MultiHeadPolicy, pcgrad=True)
    operated.load_state_dict(plain.state_dict())
    tasks = th.tensor([0, 2, 2, 0, 2, 0])
    batch = th.cat([rows([0, 0, 0]), rows([2, 2, 2])])[[0, 3, 4, 1, 5, 2]]
    weights = th.where(tasks == 0, 1.0, 0.5 * sign)

    def loss(of: Any, which: th.Tensor) -> th.Tensor:
        values, log_prob, _ = of.evaluate_actions(batch[which], th.full((len(tasks), 2), 0.3)[which])
        found: th.Tensor = (weights[which] * (values.flatten() + log_prob)).sum()
        return found

    by_task = [gradients(plain, loss(plain, (tasks == task).nonzero().flatten())) for task in (0, 2)]
    found = gradients(operated, loss(operated, th.arange(len(tasks))))
    shared = [name for name in found if not name.startswith(MultiHeadPolicy.own)]
    together = surgery(th.stack([th.cat([own[name].flatten() for name in shared]) for own in by_task]))
    th.testing.assert_close(th.cat([found[name].flatten() for name in shared]), together, rtol=1e-4, atol=1e-6)
    for name in found.keys() - set(shared):
        th.testing.assert_close(found[name], by_task[0][name] + by_task[1][name])
    plainly = gradients(plain, loss(plain, th.arange(len(tasks))))
    agree = all(th.allclose(found[name], plainly[name], rtol=1e-4, atol=1e-6) for name in shared)
    assert agree == (sign > 0)


def test_soft_modules_are_the_paper_s_sums() -> None:
    """Routed module by module, sample by sample."""
    th.manual_seed(0)
    network = SoftModules(6, 1, 2, [5, 4], n_modules=3, embedding=7)  # the task's columns are the second and third
    values = th.randn(4, 6)
    found = network(values)
    for value, result in zip(values, found, strict=True):
        seen, task = th.cat([value[:1], value[3:]]), value[1:3]
        state = network.state(seen)
        u = state * network.task(task)
        p1 = network.down[0](u.relu())
        p2 = network.down[1]((network.up[0](p1) * u).relu())
        g = [state.relu()] * 3
        for layer, p in enumerate((p1, p2)):
            share = p.view(3, 3).softmax(dim=1)
            h = [network.modules_of_layer[layer][j](g[j]).relu() for j in range(3)]  # type: ignore[index]
            g = [sum((share[i, j] * h[j] for j in range(3)), th.zeros(1)) for i in range(3)]
        th.testing.assert_close(result, th.cat(g))
    assert network.out == found.shape[1] == 12


def test_one_soft_module_is_a_plain_network() -> None:
    """There is nothing to be routed: the task makes no difference."""
    network = SoftModules(5, 3, 2, [6, 4], n_modules=1, embedding=8)
    values = th.randn(10, 5)
    layers = [network.state, *(modules[0] for modules in network.modules_of_layer)]  # type: ignore[index]
    expected = values[:, :3]
    for layer in layers:
        expected = layer(expected).relu()
    th.testing.assert_close(network(values), expected)


# Returns on one scale.


def test_popart_keeps_what_heads_say() -> None:
    """Values stay while statistics move, of the tasks that move and of the others; returns become mean 0, spread 1."""
    th.manual_seed(0)
    popart = PopArt(Heads(nn.Linear(5, 1), N_TASKS), rate=0.1)
    latent = th.cat([th.randn(6, 5), nn.functional.one_hot(th.tensor([0, 1, 2, 0, 1, 2]), N_TASKS)], dim=1)
    before, weights = popart(latent), popart.heads.weight.clone()
    tasks, returns = th.tensor([0, 0, 0, 2, 2, 2]), th.tensor([-600.0, -500.0, -100.0, 1.0, 3.0, 2.0])
    for k in range(3):
        popart.update(returns * (1 + k), tasks)
        th.testing.assert_close(popart(latent), before, rtol=1e-4, atol=1e-4)
    assert not th.allclose(popart.heads.weight[[0, 2]], weights[[0, 2]])
    assert th.equal(popart.heads.weight[1], weights[1])
    fresh = PopArt(Heads(nn.Linear(5, 1), N_TASKS), rate=0.1)
    fresh.update(returns, tasks)
    for task in (0, 2):
        scaled = fresh.normalised(returns, tasks)[tasks == task]
        assert scaled.mean().item() == pytest.approx(0.0, abs=1e-6)
        assert scaled.std(correction=0).item() == pytest.approx(1.0, rel=1e-5)


def test_statistics_average_and_then_follow() -> None:
    """First steps make means; later ones are of the given size."""
    statistics = ReturnStatistics(1, rate=0.25)
    for value in (1.0, 2.0, 3.0, 4.0):
        statistics.update(th.tensor([value]), th.tensor([0]))
    assert statistics.mean.item() == pytest.approx(2.5)
    assert statistics.deviation.item() == pytest.approx(np.std([1.0, 2.0, 3.0, 4.0]))
    statistics.update(th.tensor([10.0]), th.tensor([0]))
    assert statistics.mean.item() == pytest.approx(0.75 * 2.5 + 0.25 * 10.0)


def test_ppo_learns_normalised_returns_and_says_real_ones() -> None:
    """What it trains on is on the heads' scale, and old values agree with what the policy says there."""
    model = made(MultiHeadPPO, {**OF_PPO, "popart": 1.0, "learning_rate": 0.0})
    model.learn(N_STEPS)
    buffer = model.rollout_buffer
    seen = th.as_tensor(buffer.observations)
    values, _, _ = model.policy.evaluate_actions(seen, th.as_tensor(buffer.actions))
    np.testing.assert_allclose(values.detach().flatten(), buffer.values.flatten(), rtol=1e-3, atol=1e-4)
    tasks = buffer.observations[:, -N_TASKS:].argmax(axis=1)
    for task in range(N_TASKS):
        own = buffer.returns.flatten()[tasks == task]
        assert (own.mean(), own.std()) == (pytest.approx(0.0, abs=1e-5), pytest.approx(1.0, abs=1e-4))
    np.testing.assert_allclose(buffer.advantages, buffer.returns - buffer.values, atol=1e-6)


def test_sac_counts_rewards_in_deviations() -> None:
    """Critics and targets say, in rewards, what they said before an episode ended; samples are scaled by task."""
    model = made(MultiHeadSAC, {**OF_SAC, "popart": 0.5})
    batch, actions = rows([0, 1, 2]), th.zeros(3, 1)
    networks = (model.policy.critic, model.policy.critic_target)
    before = [value for network in networks for value in network(batch, actions)]
    model._ended(batch[1].numpy(), [-3.0, -1.0, -20.0])
    unit = model.policy.statistics.deviation
    returns = [-20.0, -1.0 - 20.0 * 0.99, -3.0 - 0.99 - 20.0 * 0.99**2]
    assert unit.tolist() == pytest.approx([1.0, np.std(returns), 1.0])
    after = [value * unit[:, None] for network in networks for value in network(batch, actions)]
    for one, same in zip(before, after, strict=True):
        th.testing.assert_close(same.float(), one)
    buffer = ScaledReplayBuffer(3, model.observation_space, model.action_space, "cpu")
    for k in range(3):
        one = batch[k : k + 1].numpy()
        buffer.add(one, one, np.zeros((1, 1)), np.array([6.0]), np.array([False]), [{}])
    assert buffer._get_samples(np.arange(3)).rewards.flatten().tolist() == [6.0, 6.0, 6.0]
    buffer.units = np.array([1.0, 2.0, 3.0])
    assert buffer._get_samples(np.arange(3)).rewards.flatten().tolist() == [6.0, 3.0, 2.0]


# What all learners keep.


@every_kind
def test_it_learns_is_saved_and_goes_on(kind: Any, own: dict[str, Any], tmp_path: Path) -> None:
    """The seed decides; what was loaded acts as what was saved, statistics and optimiser included, and learns on."""
    model, again = (made(kind, own).learn(N_STEPS) for _ in range(2))
    fresh = made(kind, own)
    assert th.isfinite(numbers(model)).all()
    assert th.equal(numbers(model), numbers(again))
    assert not th.equal(numbers(model), numbers(fresh))
    assert not th.equal(numbers(fresh), numbers(made(kind, own, seed=1)))
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", env(), device="cpu")
    assert th.equal(numbers(loaded), numbers(model))
    assert (loaded.n_tasks, loaded.pcgrad) == (N_TASKS, own.get("pcgrad", False))
    seen = rows([0, 1, 2]).numpy()
    alone = kind.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(
        alone.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    loaded.learn(N_STEPS, reset_num_timesteps=False)
    assert loaded.num_timesteps == 2 * N_STEPS
    assert not th.equal(numbers(loaded), numbers(model))


@every_kind
def test_callbacks_can_stop_it(kind: Any, own: dict[str, Any]) -> None:
    """As they can stop SB3's."""
    model = made(kind, own).learn(10 * N_STEPS, callback=lambda local, _: local["self"].num_timesteps < 6)
    assert model.num_timesteps == 6


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (MultiHeadPPO, {"pcgrad": 1}, "`pcgrad` must be True or False. Received 1"),
        (SoftModularSAC, {"pcgrad": None}, "`pcgrad` must be True or False. Received None"),
        (MultiHeadPPO, {"popart": 0.0}, "`popart` must be above 0. Received 0.0"),
        (MultiHeadSAC, {"popart": 1.5}, r"`popart` must be in \[0, 1\]. Received 1.5"),
        (MultiHeadSAC, {"popart": 0.1, "n_steps": 3}, "`n_steps` must be 1 with `popart`. Received 3"),
        (SoftModularPPO, {"n_tasks": 0}, "`n_tasks` must be an integer of at least 1. Received 0"),
        (SoftModularPPO, {"n_tasks": 2}, "`n_tasks` must be 3, as in the env. Received 2"),
        (SoftModularPPO, {"policy_kwargs": {"n_modules": 0}}, "`n_modules` must be .* at least 1. Received 0"),
        (MultiHeadPPO, {"use_sde": True}, "`use_sde` must be False. Received True"),
        (MultiHeadSAC, {"use_sde": True}, "`use_sde` must be False. Received True"),
    ],
)
def test_bad_arguments_are_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    """By name."""
    with pytest.raises(ValueError, match=message):
        kind("MlpPolicy", env(), device="cpu", **arguments)


def test_envs_must_tell_the_task() -> None:
    """As their last columns, unchanged; foreign envs don't say how many there are."""
    with pytest.raises(ValueError, match=r"task_observation=\"one_hot\"`. Received 'hide'"):
        MultiHeadPPO("MlpPolicy", env(sees="hide"))
    with pytest.raises(ValueError, match="norm_obs=False"):
        MultiHeadSAC("MlpPolicy", VecNormalize(env()))
    with pytest.raises(ValueError, match="`n_tasks` must be given"):
        MultiHeadPPO("MlpPolicy", "CartPole-v1")
    with pytest.raises(ValueError, match=r"a vector that ends in 4 columns .*Received Box"):
        MultiHeadPPO("MlpPolicy", "CartPole-v1", n_tasks=4)
    model = made(MultiHeadPPO, OF_PPO, VecNormalize(env(), norm_obs=False)).learn(N_STEPS)
    with pytest.raises(ValueError, match="norm_obs=False"):
        model.set_env(VecNormalize(env()))
    assert not model.get_env().norm_obs


@pytest.mark.parametrize("name", ["MultiHeadPPO", "MultiHeadSAC", "SoftModularPPO", "SoftModularSAC"])
def test_benchmarks_know_them_by_name(name: str) -> None:
    """They say themselves what they want to see, and rollouts are of the usual size."""
    spec = LearnerSpec.of(name, arguments={"pcgrad": True, "policy_kwargs": {"net_arch": [8]}})
    assert spec.task_observation == "one_hot"
    model = spec.make(env(), seed=0)
    assert type(model).__name__ == name
    assert model.n_tasks == N_TASKS
    assert model.policy.pcgrad
    assert getattr(model, "n_steps", 1) <= 704


def test_a_policy_is_made_again_from_what_it_says() -> None:
    """Its constructor's arguments are all told."""
    for kind, own in KINDS.values():
        model = made(kind, own)
        told = model.policy._get_constructor_parameters()
        again = type(model.policy)(**told)
        again.load_state_dict(model.policy.state_dict())
        assert told["n_tasks"] == N_TASKS
    widths = [again.actor.latent_pi.modules_of_layer[k][0].weight.shape[0] for k in range(2)]
    assert list(pairwise(widths)) == [(8, 8)]
