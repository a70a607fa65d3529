"""A PettingZoo wrapper whose agents share parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import networkx as nx
from pettingzoo.utils.env import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper

from lifelong_gym.errors import integer, unknown
from lifelong_gym.wrappers.channel import Channel
from lifelong_gym.wrappers.faults import Faults
from lifelong_gym.wrappers.ledger import Ledger
from lifelong_gym.wrappers.topology import Node, graph_of


class ParameterSharing(BaseParallelWrapper[Any, Any, Any]):
    """A parallel env together with the one channel by which its agents exchange parameters.

    Episodes are those of the env; what is sent through the channel neither touches them nor is forgotten at a reset.

    Args:
        env: any PettingZoo ParallelEnv.
        topology: ``"ring"``, ``"star"``, ``"complete"``, ``"chain"``, ``"chain+20"``, ``"random_pairs"`` or a
            networkx graph, see `graph_of`.
        weights: of averages: ``"metropolis"``, ``"max_degree"`` or a matrix, see `mixing_matrix`.
        nodes: which agents communicate as one. None: each agent is a node of its own; a number k: nodes
            ``node_0`` ... hold the agents in order, split as evenly as possible; or a mapping from node to its
            agents, who may be none: ``{"server": [], ...}`` with ``topology="star"`` is a server without a task.
        faults: for experiments, see `Faults`.
        seed: of a topology's random edges or pairs.
        compress: of averages: None, ``"int8"`` or ``"top_k"``, see `Channel`.

    Attributes:
        channel: which learners take; it knows nothing of the env.
        members: the agents of each node.

    Raises:
        TypeError: not a ParallelEnv.
        ValueError: anything else that doesn't fit; names the agent, node or edge.
    """

    def __init__(
        self,
        env: ParallelEnv[Any, Any, Any],
        topology: str | nx.Graph = "ring",
        weights: Any = "metropolis",
        nodes: int | Mapping[Any, Iterable[Any]] | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        compress: str | None = None,
    ) -> None:
        """See the class."""
        if not isinstance(env, ParallelEnv):
            raise TypeError(f"`env` must be a PettingZoo ParallelEnv. Received {type(env)}")
        super().__init__(env)
        self.members = _members(nodes, env.possible_agents)
        self.channel = Channel(graph_of(topology, self.members, seed), weights, faults, compress)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Of the channel, in order."""
        return self.channel.nodes

    @property
    def graph(self) -> nx.Graph:
        """Of the channel."""
        return self.channel.graph

    @property
    def ledger(self) -> Ledger:
        """Rounds, messages and bytes so far."""
        return self.channel.ledger

    def exchange(self, values: Any, senders: Iterable[Node] | None = None) -> dict[Node, dict[Node, Any]]:
        """See `Channel.exchange`."""
        return self.channel.exchange(values, senders)

    def send(self, values: Mapping[Any, Any]) -> dict[Node, dict[Node, Any]]:
        """See `Channel.send`."""
        return self.channel.send(values)

    def mix(self, values: Any, n_rounds: int = 1) -> Any:
        """See `Channel.mix`."""
        return self.channel.mix(values, n_rounds)

    def all_reduce(self, values: Any) -> Any:
        """See `Channel.all_reduce`."""
        return self.channel.all_reduce(values)


def _members(nodes: int | Mapping[Any, Iterable[Any]] | None, agents: Sequence[Any]) -> dict[Node, list[Any]]:
    """The agents of each node; each agent in one node."""
    if nodes is None:
        return {agent: [agent] for agent in agents}
    if not isinstance(nodes, Mapping):
        k, n = integer("nodes", nodes, 1, len(agents)), len(agents)
        return {f"node_{i}": list(agents[i * n // k : (i + 1) * n // k]) for i in range(k)}
    members = {node: list(its) for node, its in nodes.items()}
    home: dict[Any, Node] = {}
    for node, its in members.items():
        for agent in its:
            if agent not in agents:
                raise unknown("agent", agent, agents)
            if agent in home:
                raise ValueError(f"each agent must be in one node. {agent!r} is in {home[agent]!r} and {node!r}")
            home[agent] = node
    homeless = [agent for agent in agents if agent not in home]
    if homeless:
        raise ValueError(f"each agent must be in one node. In none: {', '.join(map(repr, homeless))}")
    return members
