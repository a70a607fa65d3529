"""The state of the environment that a learner is in the middle of, as a part of the learner's own."""

from __future__ import annotations

import copy
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.errors import CheckpointError
from lifelong_gym.wrappers import Channel, CoreVecEnv, graph_of, hub_of, rows_of_nodes

HUB = "hub"  # of a channel of one's own


def channel_of(env: VecEnv | None) -> Channel | None:
    """Through which the env's agents speak; None where they don't."""
    channel = None if env is None else getattr(env.unwrapped, "channel", None)
    return channel if isinstance(channel, Channel) else None


def channel_by_a_hub(env: VecEnv) -> Channel:
    """Through which the env's agents speak, or else one of a star around a hub that is no agent.

    Raises:
        ValueError: nobody reaches all of them.
    """
    rows = rows_of_nodes(env)
    channel = channel_of(env) or Channel(graph_of("star", [HUB, *rows]))
    hub_of(channel.graph, rows)
    return channel


class EnvironmentState:
    """Rows, streams and schedule of a VecEnv of ours, and what the channel of its agents has sent.

    Where tasks are hidden from the learner, rows are its owner's to keep. While there is no environment, it is what a
    file said of one.

    Attributes:
        channel: through which agents speak; None where they don't.
    """

    def __init__(self) -> None:
        """Of none."""
        self._env: VecEnv | None = None
        self._said: dict[str, Any] = {}
        self.channel: Channel | None = None

    def enter(self, env: VecEnv, channel: Channel | None) -> None:
        """Be the state of these, as they are, from now on."""
        self._env, self.channel, self._said = env, channel, {}

    def state_dict(self) -> dict[str, Any]:
        """Of the rows and, where there is one, of the channel."""
        if self._env is None:
            return copy.deepcopy(self._said)
        channel, rows = self.channel, self._env
        return {
            "rows": rows.state_dict() if isinstance(rows, CoreVecEnv) else None,
            "channel": None if channel is None else channel.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the environment in that state.

        Raises:
            CheckpointError: it is of another one; nothing has changed then.
        """
        if self._env is None or not state:
            self._said = copy.deepcopy(state)
            return
        channel, rows = self.channel, self._env
        if state.keys() != {"rows", "channel"} or (channel is None) != (state["channel"] is None):
            raise CheckpointError("it must be of rows and, as here, with or without a channel")
        before = None if channel is None else channel.state_dict()
        try:
            if channel is not None:
                channel.load_state_dict(state["channel"])
            if state["rows"] is not None and isinstance(rows, CoreVecEnv):
                rows.load_state_dict(state["rows"])
        except BaseException:
            if channel is not None and before is not None:
                channel.load_state_dict(before)
            raise
