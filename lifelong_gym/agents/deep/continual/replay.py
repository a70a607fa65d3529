"""Replay of earlier tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from lifelong_gym.agents.contract.checks import count, within
from lifelong_gym.agents.deep.continual.base import Continual
from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer, Supply
from lifelong_gym.agents.deep.replay.memory import Memory

REMEMBERED = "remembered"


class Replay(Continual):
    """A share of every batch is of earlier tasks, all of them alike (the replay of CLEAR, Rolnick et al., 2019).

    For any off-policy algorithm made with ``replay_buffer_class=PackedReplayBuffer``. Where a task ends, its replay is
    put aside, and the next one begins with none of its own.

    Args:
        share: of each batch, in [0, 1).
        memory_bytes: of all tasks' replay, packed; beyond that the largest one's older half is forgotten.
    """

    algorithms: ClassVar[tuple[type[BaseAlgorithm], ...]] = (OffPolicyAlgorithm,)

    def __init__(self, share: float = 0.5, memory_bytes: int = 40_000_000) -> None:
        """See the class."""
        super().__init__()
        self.share = within("share", share, 0.0, 1.0, below=True)
        self.memory = Memory(count("memory_bytes", memory_bytes))

    @property
    def optimiser(self) -> Any:
        """The algorithm's, or its actor's; nothing is added to gradients."""
        return self.policy.optimizer if hasattr(self.policy, "optimizer") else self.policy.actor.optimizer

    def attached(self) -> None:
        """Look at the replay.

        Raises:
            TypeError: it isn't a `PackedReplayBuffer`.
        """
        if not isinstance(self._buffer, PackedReplayBuffer):
            raise TypeError(f"`replay_buffer_class` must be PackedReplayBuffer. Received {type(self._buffer)}")
        self.memory.form = self._buffer.form
        self._buffer.sources[REMEMBERED] = Supply(self.share, lambda: list(self.memory.stores.values()))

    @property
    def _buffer(self) -> Any:
        model: Any = self.model
        return model.replay_buffer

    def parts(self) -> Mapping[str, Any]:
        """Also what is remembered."""
        return {**super().parts(), "memory": self.memory}

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """Put this task's replay aside."""
        label = int(info.get("task", 1 + max(self.memory.stores, default=-1)))
        for store in self._buffer.stores:
            self.memory.add(label, store)
        self._buffer.reset()
