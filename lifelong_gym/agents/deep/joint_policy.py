"""The policies of many agents as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space_channels_first
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import is_vectorized_observation

from lifelong_gym.numerics.arrays import IntArray


class JointPolicy(BasePolicy):
    """Acts in a batch whose rows are those of a VecEnv, or tasks in their order: each by the policy of its agent.

    Args:
        observation_space: of a row.
        action_space: of a row.
        policies: one an agent.
        agent_of_row: index of the agent of each row of the VecEnv.
        n_tasks: where there are more of them than rows, task i is one of row ``i mod n_rows``.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        policies: Sequence[BasePolicy],
        agent_of_row: IntArray,
        n_tasks: int,
    ) -> None:
        """See the class."""
        super().__init__(observation_space, action_space)
        self.policies = th.nn.ModuleList(policies)
        self.agent_of_row = agent_of_row
        n_rows = len(agent_of_row)
        self._agent_of_batch = agent_of_row[np.arange(max(n_tasks, n_rows)) % n_rows]

    def agent_of_task(self, task: int) -> int:
        """Index of the agent that acts in a task."""
        return int(self._agent_of_batch[task])

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Actions, a row each.

        Raises:
            ValueError: a number of rows that isn't a multiple of the VecEnv's, or of tasks where there are more.
        """
        seen, n = np.asarray(observation), len(self._agent_of_batch)
        batch = is_vectorized_observation(seen, self.observation_space) if not self._is_transposed(seen) else True
        if (not batch and n > 1) or (batch and len(seen) % n):
            raise ValueError(
                f"`observation` must have one row for each of the {n} rows or tasks (or a multiple of that). "
                f"Received {len(seen) if batch else 1}. To act in task i alone, use `model.for_task(i)`"
            )
        rows = seen if batch else seen[None]
        agents = self._agent_of_batch[np.arange(len(rows)) % n]
        actions = np.zeros((len(rows), *(self.action_space.shape or ())), self.action_space.dtype)
        for agent in np.unique(agents).tolist():
            policy: Any = self.policies[agent]
            actions[agents == agent] = policy.predict(rows[agents == agent], deterministic=deterministic)[0]
        return (actions if batch else actions[0]), state

    def _is_transposed(self, seen: npt.NDArray[Any]) -> bool:
        """Whether it is a batch of images with channels first, as SB3's wrappers give them."""
        space = self.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 3 or seen.ndim != 4:
            return False
        height, width, channels = space.shape
        return seen.shape[1:] == (channels, height, width) and not is_image_space_channels_first(space)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        assert isinstance(observation, th.Tensor)
        return th.as_tensor(self.predict(observation.cpu().numpy(), deterministic=deterministic)[0])
