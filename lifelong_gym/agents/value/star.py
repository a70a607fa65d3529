"""A hub and its agents: whatever they tell each other goes through the channel, and arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lifelong_gym.agents.value.features import Arrays
from lifelong_gym.errors import SharingError
from lifelong_gym.wrappers import Channel, hub_of

MAX_TRIES = 10_000


class Star:
    """Messages between a hub and its agents; what doesn't arrive is sent again, and counted again, until it does.

    Args:
        channel: in whose graph a node is their hub, see `hub_of`; its own messages cost nothing.
        agents: the nodes that have rows.

    Attributes:
        hub: its node.
        channel: as given.

    Raises:
        ValueError: there is no such node, or the channel's faults change what is sent.
    """

    def __init__(self, channel: Channel, agents: Sequence[Any]) -> None:
        """Find the hub."""
        self.channel, self._agents = channel, list(agents)
        if channel.faults is not None and channel.faults.noise > 0.0:
            raise ValueError(f"`faults` must leave messages as they are. Received noise={channel.faults.noise:g}")
        self.hub = hub_of(channel.graph, self._agents)

    def up(self, messages: Mapping[int, Arrays]) -> dict[int, Arrays]:
        """What agents, by their numbers, tell the hub, as it arrives there."""
        pairs = {agent: (self._agents[agent], self.hub) for agent in messages}
        return self._delivered(messages, pairs)

    def down(self, messages: Mapping[int, Arrays]) -> dict[int, Arrays]:
        """What the hub tells agents, by their numbers, as it arrives there."""
        pairs = {agent: (self.hub, self._agents[agent]) for agent in messages}
        return self._delivered(messages, pairs)

    def _delivered(self, messages: Mapping[int, Arrays], pairs: Mapping[int, tuple[Any, Any]]) -> dict[int, Arrays]:
        arrived = {agent: message for agent, message in messages.items() if pairs[agent][0] == pairs[agent][1]}
        waiting = {agent: message for agent, message in messages.items() if agent not in arrived}
        for _ in range(MAX_TRIES):
            if not waiting:
                return arrived
            inboxes = self.channel.send({pairs[agent]: message for agent, message in waiting.items()})
            for agent in list(waiting):
                sender, receiver = pairs[agent]
                if sender in inboxes[receiver]:
                    arrived[agent] = inboxes[receiver][sender]
                    del waiting[agent]
        raise SharingError(f"messages of agents {sorted(waiting)} haven't arrived in {MAX_TRIES} rounds")
