"""The wrapper that gives a parallel env's agents a channel."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from pettingzoo.test import parallel_api_test, parallel_seed_test
from stable_baselines3 import PPO

from lifelong_gym.registry import FAMILIES
from lifelong_gym.wrappers import Faults, ParameterSharing, as_vec_env, graph_of
from tests.making import CART_POLE, parallel, same
from tests.test_channel import channel, numbers

each_id = pytest.mark.parametrize("id", sorted(FAMILIES))


@each_id
def test_pettingzoos_checkers(id: str) -> None:
    """The wrapped env is an env like the bare one."""
    parallel_api_test(ParameterSharing(parallel(id)), num_cycles=250)
    parallel_seed_test(lambda: ParameterSharing(parallel(id), topology="star"))


@each_id
def test_sharing_touches_no_episode(id: str) -> None:
    """The same numbers with and without, whatever is sent meanwhile."""
    bare, shared = (
        parallel(id, horizon=5),
        ParameterSharing(parallel(id, horizon=5), faults=Faults(loss=0.3, noise=0.1)),
    )
    assert same(bare.reset(seed=3), shared.reset(seed=3))
    bare.action_space("task_0").seed(1)
    while bare.agents:
        actions = dict.fromkeys(bare.agents, bare.action_space("task_0").sample())
        shared.mix(numbers(3))
        assert same(bare.step(actions), shared.step(actions))
    shared.reset()
    assert shared.ledger.rounds == 5


def test_the_wrapper_hands_on() -> None:
    """The channel's attributes and methods, and the env's."""
    env = ParameterSharing(parallel(CART_POLE, n_tasks=4), topology="star", weights="max_degree")
    assert env.nodes == env.channel.nodes == tuple(env.possible_agents)
    assert env.mix(np.eye(4))[1].tolist() == [0.25, 0.75, 0, 0]
    assert env.all_reduce(np.ones(4)).tolist() == [4] * 4
    assert list(env.exchange(np.ones(4))["task_3"]) == ["task_0"]
    assert env.ledger is env.channel.ledger
    assert env.ledger.snapshot() == {"rounds": 4, "messages": 18, "bytes": 6 * 32 + 12 * 8}
    assert env.graph.degree["task_0"] == 3
    assert len(env.tasks) == 4
    again = pickle.loads(pickle.dumps(env))
    assert again.channel.state_dict() == env.channel.state_dict()


def test_the_seed_draws_the_graph() -> None:
    """Its random edges, and nothing else."""
    graphs = [ParameterSharing(parallel(CART_POLE, n_tasks=8), "chain+5", seed=seed).graph for seed in (3, 3, 4)]
    assert nx.utils.graphs_equal(graphs[0], graphs[1])
    assert nx.utils.graphs_equal(graphs[0], graph_of("chain+5", graphs[0], seed=3))
    assert not nx.utils.graphs_equal(graphs[0], graphs[2])


@pytest.mark.parametrize(
    ("nodes", "members"),
    [
        (1, {"node_0": [0, 1, 2, 3, 4]}),
        (2, {"node_0": [0, 1], "node_1": [2, 3, 4]}),
        (5, {f"node_{i}": [i] for i in range(5)}),
        ({"server": [], "x": [4, 0], "y": [1, 2, 3]}, {"server": [], "x": [4, 0], "y": [1, 2, 3]}),
    ],
)
def test_agents_by_node(nodes: Any, members: dict[str, list[int]]) -> None:
    """In order and as evenly as possible, or as the user says; a server needs no task."""
    if isinstance(nodes, dict):
        nodes = {node: [f"task_{i}" for i in its] for node, its in nodes.items()}
    env = ParameterSharing(parallel(CART_POLE, n_tasks=5), "star", nodes=nodes)
    assert env.members == {node: [f"task_{i}" for i in its] for node, its in members.items()}
    assert env.nodes == tuple(members)
    assert env.graph.degree[env.nodes[0]] == len(members) - 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"nodes": 4}, r"`nodes` must be an integer of at least 1 and at most 3. Received 4"),
        ({"nodes": {"x": ["task_0", "task_1"]}}, r"each agent must be in one node. In none: 'task_2'"),
        ({"nodes": {"x": ["task_0", "task_1"], "y": ["task_1"]}}, r"'task_1' is in 'x' and 'y'"),
        ({"nodes": {"x": ["task_7"]}}, r"unknown agent 'task_7'"),
        ({"topology": nx.Graph([("task_0", "task_1")])}, r"Missing: 'task_2'"),
        ({"weights": np.ones((3, 3))}, r"The row of 'task_0' sums to 3.0"),
        ({"faults": Faults(stops={"task_9": [(0, 1)]})}, r"unknown node 'task_9'"),
    ],
)
def test_wrappers_that_are_refused(settings: dict[str, Any], problem: str) -> None:
    """With the agent's or node's name."""
    with pytest.raises(ValueError, match=problem):
        ParameterSharing(parallel(CART_POLE), **settings)


def test_only_parallel_envs_are_wrapped() -> None:
    """Others have no agents that act at once."""
    env: Any = CART_POLE
    with pytest.raises(TypeError, match=r"must be a PettingZoo ParallelEnv. Received <class 'str'>"):
        ParameterSharing(env)


def test_ppo_policies_share_their_features() -> None:
    """A state_dict goes through and back; on a complete graph with equal weights, into the average."""
    models = {
        name: PPO("MlpPolicy", as_vec_env(CART_POLE, n_tasks=1), n_steps=16, batch_size=16, seed=seed, device="cpu")
        for seed, name in enumerate("abc")
    }
    wire = channel("complete", models, weights=np.full((3, 3), 1 / 3))
    states = {name: model.policy.mlp_extractor.state_dict() for name, model in models.items()}
    before = {name: {key: tensor.clone() for key, tensor in state.items()} for name, state in states.items()}
    for name, state in wire.mix(states).items():
        models[name].policy.mlp_extractor.load_state_dict(state)
    for key in before["a"]:
        mean = sum(before[name][key] for name in "abc") / 3
        for model in models.values():
            torch.testing.assert_close(model.policy.mlp_extractor.state_dict()[key], mean)
    n_floats = sum(tensor.numel() for tensor in before["a"].values())
    assert wire.ledger.snapshot() == {"rounds": 1, "messages": 6, "bytes": 6 * 4 * n_floats}
    models["a"].learn(32)


def test_sharing_imports_no_torch() -> None:
    """Nor Stable-Baselines3: a process that only talks needs neither."""
    code = "import sys; from lifelong_gym.wrappers import ParameterSharing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "stable_baselines3", "numba", "matplotlib"} & set(done.stdout.split()) == set()
