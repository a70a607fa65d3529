"""Learners with parts of Stable-Baselines3's, as a third party would write them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lifelong_gym.agents import MultiAgentAlgorithm


class AveragingPPO(MultiAgentAlgorithm):
    """PPO agents that average their parameters with their neighbours' after each update."""

    default: ClassVar[str] = "PPO"

    def communicate(self) -> None:
        """One round of averaging."""
        own = {agent.node: agent.policy.state_dict() for agent in self.agents}
        for node, mixed in self.channel.mix(own).items():
            for name, tensor in own[node].items():
                tensor.copy_(mixed[name])


class ReplayingDQN(MultiAgentAlgorithm):
    """DQN agents that send their neighbours the steps they have just taken, to be replayed there too."""

    default: ClassVar[str] = "DQN"
    arrays: ClassVar[tuple[str, ...]] = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

    def communicate(self) -> None:
        """One round of exchange."""
        buffers: dict[Any, Any] = {agent.node: agent.algorithm.replay_buffer for agent in self.agents}
        inboxes = self.channel.exchange({node: self._newest(buffer) for node, buffer in buffers.items()})
        for node, buffer in buffers.items():
            for received in inboxes[node].values():
                for seen, after, action, reward, done, timeout in zip(*(received[n] for n in self.arrays), strict=True):
                    infos = [{"TimeLimit.truncated": bool(flag)} for flag in timeout]
                    buffer.add(seen, after, action, reward, done, infos)

    def _newest(self, buffer: Any) -> dict[str, Any]:
        frequency: Any = self.agents[0].algorithm.train_freq
        places = (buffer.pos - np.arange(frequency.frequency, 0, -1)) % buffer.buffer_size
        return {name: getattr(buffer, name)[places] for name in self.arrays}


class Apart(MultiAgentAlgorithm):
    """DQN agents that tell each other nothing."""

    default: ClassVar[str] = "DQN"
