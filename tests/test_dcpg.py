"""Decentralised policy gradient: what it is without messages, what is mixed and when, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
import stable_baselines3
import torch as th

from lifelong_gym import sample_tasks
from lifelong_gym.agents import DCPG
from lifelong_gym.agents.decentralised.entropy import with_relative_entropy
from lifelong_gym.agents.decentralised.settings import MixingSettings
from lifelong_gym.agents.decentralised.shared import moments_of, numbers_of
from lifelong_gym.errors import CheckpointError, UnknownNameError
from lifelong_gym.wrappers import CoreVecEnv, Faults, ParameterSharing, as_vec_env
from tests.test_arguments import meanings
from tests.test_multi_agent import CART, GRID, PPO, SMALL, Log, assert_same, killed_after
from tests.test_multi_agent import KilledError as Killed

TASKS = sample_tasks(CART, 3, seed=0, preset="hetero")
SGD = {**SMALL, "optimizer_class": "SGD"}
RING = {"topology": "ring"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Whose sums come in one order."""
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(n_threads)


def env_of(n: int = 3, id: str = CART, **sharing: Any) -> CoreVecEnv:
    """A task an agent; episodes end often."""
    tasks = TASKS[range(n)] if id == CART else sample_tasks(id, n, seed=0)
    env = pettingzoo.make("parallel", id, tasks=tasks, horizon=5, backend="numpy")
    venv = as_vec_env(ParameterSharing(env, **{**RING, **sharing}))
    assert isinstance(venv, CoreVecEnv)
    return venv


def make(env: Any = None, **more: Any) -> DCPG:
    """One that has learned nothing."""
    own: dict[str, Any] = {"base_kwargs": PPO, "policy_kwargs": SMALL, "seed": 0, "device": "cpu"}
    return DCPG("MlpPolicy", env or env_of(), **{"learning_rate": 0.01, **own, **more})


def of_nodes(model: DCPG) -> dict[Any, dict[str, Any]]:
    """Copies of all nodes' numbers."""
    return {
        holder.node: {name: tensor.clone() for name, tensor in numbers_of(holder.policy).items()}
        for holder in model._holders()
    }


# ----------------------------------------------------------------------------------------------------- without messages


@pytest.mark.parametrize(
    ("base", "arguments", "same_start"),
    [
        ("ppo", PPO, False),
        ("ppo", PPO, True),
        ("a2c", {}, False),
        ("sb3_contrib:TRPO", {"n_steps": 8, "batch_size": 4}, False),
    ],
)
def test_without_mixing_agents_are_alone(base: str, arguments: dict[str, Any], same_start: bool) -> None:
    """With the identity for weights: N separate runs, to the bit, also of a rate that changes with progress."""

    def rate(remaining: float) -> float:
        return 1e-3 * remaining + 1e-5

    model = make(
        env_of(2, weights=np.eye(2)), base=base, base_kwargs=arguments, learning_rate=rate, same_start=same_start
    )
    first = copy.deepcopy(model.agents[0].policy.state_dict())
    model.learn(48 if arguments else 30)
    kind: Any = type(model.agents[0].algorithm)
    for i, agent in enumerate(model.agents):
        env = as_vec_env(CART, tasks=TASKS[[i]], horizon=5, backend="numpy")
        own: Any = copy.deepcopy({**arguments, "policy_kwargs": SMALL, "device": "cpu"})
        alone = kind("MlpPolicy", env, rate, seed=model.seed_of(i), **own)
        if same_start:
            alone.policy.load_state_dict(first)
        alone.learn(24 if arguments else 15)
        for name, tensor in alone.policy.state_dict().items():
            assert th.equal(tensor, agent.policy.state_dict()[name]), name
    assert model.channel.ledger.bytes > 0


def test_equal_agents_stay_equal() -> None:
    """Mixing equals changes nothing: agents that begin alike and take no step agree, but for rounding."""
    model = make(learning_rate=1e-30).learn(24)
    assert model.consensus_error()["all"] < 1e-6


# -------------------------------------------------------------------------------------------------------- what is mixed


class Watched(DCPG):
    """Notes what nodes hold before and after training, and PPO's ratios before each."""

    def train(self) -> None:
        """As it is, watched."""
        self.before = of_nodes(self)
        for agent in self.agents:
            buffer = agent.algorithm.rollout_buffer
            seen, actions = (th.as_tensor(a.reshape(8, -1)) for a in (buffer.observations, buffer.actions))
            _, log_prob, _ = agent.algorithm.policy.evaluate_actions(seen, actions)
            np.testing.assert_allclose(log_prob.detach(), buffer.log_probs.ravel(), rtol=0, atol=1e-6)
        super().train()

    def communicate(self) -> None:
        """As it is, watched."""
        self.trained = of_nodes(self)
        super().communicate()


def expected_of(model: Watched, name: str, n_mixing: int = 1) -> np.ndarray[Any, Any]:
    """What mixing should give, by its definition."""
    weights = np.linalg.matrix_power(model.channel.weights.toarray(), n_mixing)
    nodes = model.channel.nodes
    start, end = (np.stack([held[n][name].numpy() for n in nodes]) for held in (model.before, model.trained))
    averaged = np.einsum("ij,j...->i...", weights, end if model.form == "adapt" else start)
    return averaged if model.form == "adapt" else averaged + end - start


@pytest.mark.parametrize("form", ["adapt", "literal"])
def test_forms_mix_by_their_definitions(form: str) -> None:
    """After training and before collecting, so that PPO's first ratios are 1; critics stay their owners'."""
    model = Watched("MlpPolicy", env_of(), 0.01, base_kwargs=PPO, policy_kwargs=SMALL, form=form, n_mixing=2, seed=0)
    model.learn(72)
    held = of_nodes(model)
    for name, shared in [
        ("action_net.weight", True),
        ("mlp_extractor.policy_net.0.bias", True),
        ("value_net.bias", False),
    ]:
        mixed = np.stack([held[node][name] for node in model.channel.nodes])
        own = np.stack([model.trained[node][name] for node in model.channel.nodes])
        np.testing.assert_allclose(mixed, expected_of(model, name, 2) if shared else own, atol=1e-6)
        assert shared != np.array_equal(mixed, own)
    n_shared = sum(held["task_0"][name].numel() for name in model._shared)
    assert model.channel.ledger.snapshot() == {"rounds": 6, "messages": 36, "bytes": 36 * 4 * n_shared}


def test_tracking_keeps_the_mean_step() -> None:
    """With plain gradient steps: estimates' mean is the steps' mean; twice the bytes."""
    model = Watched(
        "MlpPolicy", env_of(), 0.01, base_kwargs=PPO, policy_kwargs=SGD, form="tracking", seed=0, device="cpu"
    ).learn(72)
    name = "action_net.weight"
    steps = np.stack([model.trained[n][name] - model.before[n][name] for n in model.channel.nodes])
    estimates = np.stack([model._kept[str(n)].tensors[f"{name}~"] for n in model.channel.nodes])
    np.testing.assert_allclose(estimates.mean(axis=0), steps.mean(axis=0), atol=1e-7)
    moved = np.stack([of_nodes(model)[n][name] for n in model.channel.nodes])
    start = np.stack([model.before[n][name] for n in model.channel.nodes])
    weights = model.channel.weights.toarray()
    np.testing.assert_allclose(moved, np.einsum("ij,jkl->ikl", weights, start) + estimates, atol=1e-7)
    n_shared = sum(model.before["task_0"][each].numel() for each in model._shared)
    assert model.channel.ledger.bytes == 3 * 6 * 2 * 4 * n_shared


@pytest.mark.parametrize(
    ("share", "mixed", "own"),
    [
        ("all", ["value_net.bias", "action_net.bias"], []),
        ("features", ["mlp_extractor.policy_net.0.weight"], ["action_net.weight", "value_net.weight"]),
        (["action_net.*", "value_net.b*"], ["action_net.bias", "value_net.bias"], ["value_net.weight"]),
    ],
)
def test_what_is_shared(share: Any, mixed: list[str], own: list[str]) -> None:
    """By a word or by patterns; after one round of a complete graph of two, shared layers are equal."""
    held = of_nodes(make(env_of(2), share=share).learn(16))
    for name in mixed:
        assert th.allclose(held["task_0"][name], held["task_1"][name], atol=1e-7), name
    for name in own:
        assert not th.allclose(held["task_0"][name], held["task_1"][name], atol=1e-7), name


def test_moments_are_mixed_if_wanted() -> None:
    """Those of shared parameters; by default Adam's are the agents' own; a relay hands them on."""
    nodes = {"relay": [], "one": ["task_0"], "two": ["task_1"]}
    for flag in (False, True):
        model = make(env_of(2, nodes=nodes, topology="complete"), share_moments=flag, n_mixing=20).learn(16)
        one, two = (moments_of(agent.policy, ["action_net.weight"]) for agent in model.agents)
        assert sorted(one) == ["action_net.weight@exp_avg", "action_net.weight@exp_avg_sq"]
        for name, value in one.items():
            assert th.allclose(value, two[name], rtol=1e-4) == flag
            assert not flag or th.allclose(model.relays[0].moments.tensors[name], value, rtol=1e-4)


def test_weights_of_tasks_scale_steps() -> None:
    """An agent whose weight is 0 follows the others; half a weight is half a step."""
    plain, halved = (make(env_of(2), task_weights=weights) for weights in (None, [0.5, 0.0]))
    start = of_nodes(plain)["task_0"]["action_net.weight"]
    alone = make(env_of(2, weights=np.eye(2))).learn(16)
    step = of_nodes(alone)["task_0"]["action_net.weight"] - start
    halved.learn(16)
    for node in ("task_0", "task_1"):
        np.testing.assert_allclose(of_nodes(halved)[node]["action_net.weight"], start + step / 4, atol=1e-7)


def test_mixing_now_and_then() -> None:
    """Every second sweep, also when learning goes on."""
    model = make(mix_every=2).learn(72)
    assert model.channel.ledger.rounds == 1
    model.learn(24, reset_num_timesteps=False)
    assert model.channel.ledger.rounds == 2


def test_relays_and_nodes_of_several_tasks() -> None:
    """A relay holds an average and hands it on; consensus is measured; the log tells of it."""
    nodes = {"hub": [], "big": ["task_2", "task_0"], "small": ["task_1"]}
    model, log = make(env_of(nodes=nodes, topology="star", seed=1)), Log()
    start = of_nodes(model)
    assert model.consensus_error()["all"] == 0
    model.set_logger(stable_baselines3.common.logger.Logger(None, [log]))
    model.learn(24)
    held = of_nodes(model)
    assert [agent.node for agent in model.agents] == ["big", "small"]
    assert not th.equal(held["hub"]["action_net.weight"], start["hub"]["action_net.weight"])
    assert model.for_node("hub").state_dict()["action_net.weight"].equal(held["hub"]["action_net.weight"])
    assert model.for_task(2).state_dict()["action_net.weight"].equal(held["big"]["action_net.weight"])
    error = model.consensus_error()
    flat = np.stack([held[node]["action_net.weight"].numpy().ravel() for node in held]).astype(np.float64)
    spread = np.linalg.norm(flat - flat.mean(axis=0)) / np.sqrt(3) / np.linalg.norm(flat.mean(axis=0))
    assert error["action_net.weight"] == pytest.approx(spread, rel=1e-6)
    assert log.values["sharing/consensus_error"] == error["all"] > 0
    assert log.values["sharing/sigma_2"] == pytest.approx(np.linalg.svd(model.channel.weights.toarray())[1][1])
    assert log.values["sharing/bytes"] == model.channel.ledger.bytes
    assert "rollout/ep_rew_task_1" in log.values
    with pytest.raises(UnknownNameError, match=r"unknown node 'hubb'. Did you mean 'hub'"):
        model.for_node("hubb")


def test_rows_without_a_channel_are_a_ring() -> None:
    """Any env of ours will do; its ring is saved with the learner."""
    model = make(as_vec_env(CART, tasks=TASKS, horizon=5, backend="numpy")).learn(24)
    assert model.channel.nodes == ("row_0", "row_1", "row_2")
    assert model.channel.ledger.rounds == 1


def test_relative_entropy_takes_the_place_of_entropy() -> None:
    """On a table, all states once, its gradient is that of the regulariser of the theory."""
    model = make(env_of(id=GRID), relative_entropy=0.03)
    assert model.agents[0].algorithm.ent_coef == 0.03
    policy: Any = model.agents[0].policy
    kind = with_relative_entropy(stable_baselines3.common.policies.ActorCriticPolicy)
    assert type(policy) is kind
    table: Any = kind(policy.observation_space, policy.action_space, lambda _: 1e-3, net_arch=[])
    with th.no_grad():
        table.action_net.weight.normal_()
        table.action_net.bias.zero_()
    _, _, entropy = table.evaluate_actions(th.arange(100), th.zeros(100, dtype=th.long))
    entropy.mean().backward()
    probabilities = th.softmax(table.action_net.weight.detach().T, dim=1)
    expected = (1 / 4 - probabilities) / 100
    np.testing.assert_allclose(table.action_net.weight.grad.T, expected, atol=1e-8)
    model.learn(24)


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its blocks of Python, one after another."""
    page = (Path(__file__).parents[1] / "docs" / "dcpg.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)), {})
    assert "task_0 -> task_1" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("arguments", "sharing"),
    [
        ({"form": "literal", "share_moments": True}, {"faults": Faults(loss=0.5, seed=1), "compress": "int8"}),
        ({"form": "tracking", "policy_kwargs": SGD}, {"topology": "random_pairs"}),
    ],
)
def test_killed_and_resumed_to_the_bit(arguments: Any, sharing: Any, tmp_path: Path) -> None:
    """Networks, optimisers, relays, estimates, copies and streams are all in the file."""
    nodes = {"relay": [], "one": ["task_0"], "two": ["task_2", "task_1"]}
    env: Any = lambda: env_of(nodes=nodes, **sharing)  # noqa: E731 (made anew each time)
    whole = make(env(), **arguments).learn(72)
    model = make(killed_after(env(), 12), **arguments)
    with pytest.raises(Killed):
        model.learn(72, callback=stable_baselines3.common.callbacks.CheckpointCallback(1, str(tmp_path), "run"))
    resumed = DCPG.load(tmp_path / "run_24_steps", env=env(), device="cpu")
    resumed.learn(48, reset_num_timesteps=False)
    assert_same(resumed, whole)
    acting = DCPG.load(tmp_path / "run_24_steps", device="cpu")
    assert acting.for_node("relay").state_dict().keys() == resumed.for_node("relay").state_dict().keys()
    with pytest.raises(CheckpointError, match="without rows"):
        DCPG.load(tmp_path / "run_24_steps", env=env_of(nodes={**nodes, "more": []}, **sharing), device="cpu")


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"base": "pppo"}, "unknown base 'pppo'. Did you mean 'ppo'"),
        ({"base": 3}, "unknown base 3"),
        ({"base_kwargs": [3]}, r"`base_kwargs` must be a mapping from argument to value. Received \[3\]"),
        ({"policy_kwargs": "small"}, "`policy_kwargs` must be a mapping"),
        ({"learning_rate": -1.0}, "`learning_rate` must be above 0"),
        ({"n_mixing": np.nan}, "n_mixing"),
        ({"base": "stable_baselines3:SAC"}, "`base` must be an on-policy algorithm"),
        ({"base": stable_baselines3.DQN}, "`base` must be an on-policy algorithm"),
        ({"base": "sb3_contrib:RecurrentPPO"}, "`base` must have no recurrent policies.*RecurrentPPO"),
        ({"base_kwargs": {"n_stepps": 3}}, "n_stepps"),
        ({"form": "literally"}, "unknown form 'literally'"),
        ({"form": "tracking"}, "plain gradient steps.*The optimiser is Adam"),
        ({"form": "tracking", "policy_kwargs": SGD, "mix_every": 2}, "`mix_every` must be 1"),
        ({"share": "actor"}, "unknown share 'actor'"),
        ({"share": []}, "`share` must be one of"),
        ({"share": ["action_net.*", "actor.*"]}, "'actor.*' matches no parameter. There are: "),
        ({"share": "features", "policy_kwargs": {"net_arch": []}}, "must leave something to be shared"),
        ({"share_moments": 1}, "`share_moments` must be True or False"),
        ({"n_mixing": 0}, "n_mixing"),
        ({"task_weights": [1.0]}, "`task_weights` must be of 3 tasks. Received 1"),
        ({"task_weights": [1.0, -1.0, 1.0]}, r"`task_weights\[1\]` must be at least 0"),
        ({"relative_entropy": 0.1}, "actions aren't Discrete"),
        ({"relative_entropy": 0.1, "base_kwargs": {"ent_coef": 0.1}}, "must not have `ent_coef`"),
        ({"policy_kwargs": {"optimizer_class": "Adamm"}}, "unknown optimizer_class 'Adamm'. Did you mean 'Adam'"),
    ],
)
def test_bad_arguments(arguments: Any, problem: str) -> None:
    """Named, with what there is, before anything is made."""
    with pytest.raises((ValueError, TypeError), match=problem):
        make(**arguments)


def test_arguments_are_said_and_kept_as_they_are(tmp_path: Path) -> None:
    """The docstring tells all in the signature's order; those of mixing in their settings' words and defaults."""
    told, parameters = meanings(DCPG, "Args"), inspect.signature(DCPG).parameters
    assert list(told) == [name for name in parameters if not name.startswith("_")]
    for name, meaning in meanings(MixingSettings, "Attributes").items():
        assert told[name] == meaning
    for field in dataclasses.fields(MixingSettings):
        assert (parameters[field.name].annotation, parameters[field.name].default) == (field.type, field.default)
    weights: Any = np.array([1, 2, 3], np.float32)
    of_numpy: Any = {"n_mixing": np.int8(2), "relative_entropy": np.float32(0), "task_weights": weights}
    model = make(base=stable_baselines3.A2C, base_kwargs={"n_steps": np.int8(3)}, share=("action_net.*",), **of_numpy)
    assert (model.base, model.share) == ("stable_baselines3.a2c.a2c:A2C", ["action_net.*"])
    model.save(tmp_path / "model")
    loaded = DCPG.load(tmp_path / "model", device="cpu")
    assert (loaded.n_mixing, loaded.task_weights, loaded.base_kwargs) == (2, [1.0, 2.0, 3.0], {"n_steps": 3})


def test_weights_of_one_node() -> None:
    """Its tasks have one step together, so one weight."""
    env = env_of(nodes={"both": ["task_0", "task_1"], "one": ["task_2"]})
    with pytest.raises(ValueError, match=r"the same in all tasks of a node. 'both' has"):
        make(env, task_weights=[1.0, 2.0, 1.0])


def test_networks_that_differ() -> None:
    """Both nodes are named, with the first layer that differs; nothing is sent."""

    class Uneven(DCPG):
        def _agent(self, index: int, node: Any, own: Any) -> Any:
            self.policy_kwargs = {"net_arch": [8 + index]}
            return super()._agent(index, node, own)

    env = env_of()
    with pytest.raises(
        ValueError, match=r"'task_0' and 'task_1' must be alike. 'mlp_extractor.policy_net.0.weight' has"
    ):
        Uneven("MlpPolicy", env, base_kwargs=PPO)
    assert env.sharing is not None
    assert env.sharing.channel.ledger.rounds == 0


def test_a_policy_that_is_not_finite() -> None:
    """Its node is named; nothing is mixed, and no parameter of another changes."""
    model = make().learn(24)
    numbers_of(model.agents[1].policy)["action_net.bias"][0] = np.nan
    before, rounds = of_nodes(model), model.channel.ledger.rounds
    with pytest.raises(ValueError, match=r"node 'task_1' must be finite, but 'action_net.bias' isn't"):
        model.learn(24)
    assert model.channel.ledger.rounds == rounds
    assert all(th.equal(of_nodes(model)["task_0"][name], tensor) for name, tensor in before["task_0"].items())


def test_a_step_that_is_not_finite() -> None:
    """All parameters before it stay in force, and a warning names the node."""

    class Broken(DCPG):
        def communicate(self) -> None:
            numbers_of(self.agents[2].policy)["action_net.bias"][0] = np.inf
            super().communicate()

    model = Broken("MlpPolicy", env_of(), 0.01, base_kwargs=PPO, policy_kwargs=SMALL, seed=0)
    before = of_nodes(model)
    with pytest.warns(UserWarning, match="policy of node 'task_2' must be finite, but 'action_net.bias' isn't"):
        model.learn(24)
    assert model.channel.ledger.rounds == 0
    assert all(th.equal(of_nodes(model)["task_0"][name], tensor) for name, tensor in before["task_0"].items())
