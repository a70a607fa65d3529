"""What our bridges to Stable-Baselines3 share: episode statistics, attributes of rows, seeds, the way to share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from lifelong_gym.envs.adapter import check_options

if TYPE_CHECKING:
    from lifelong_gym.wrappers.channel import Channel
    from lifelong_gym.wrappers.parameter_sharing import ParameterSharing

Indices = None | int | Iterable[int]


class Bridge(VecEnv):
    """What both bridges share: episode statistics, attributes of rows, seeds, the way to share parameters."""

    sharing: ParameterSharing | None = None

    @property
    def channel(self) -> Channel | None:
        """Through which agents exchange parameters; None where they don't."""
        return None if self.sharing is None else self.sharing.channel

    def __init__(self, num_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self._actions: Any = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._began = time.monotonic()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Remember the actions, shape (num_envs, ...)."""
        self._actions = actions

    def _count(self, rewards: npt.NDArray[Any], active: Any = True) -> None:
        self._returns += rewards
        self._lengths += active

    def _episode(self, row: int) -> dict[str, float]:
        """SB3's statistics of the episode that ended in this row."""
        seconds = round(time.monotonic() - self._began, 6)
        episode = {"r": float(self._returns[row]), "l": int(self._lengths[row]), "t": seconds}
        self._returns[row], self._lengths[row] = 0.0, 0
        return episode

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Options for the next reset: those of all rows, or a list with each row's.

        Raises:
            ValueError: no dict, nor one a row; nothing has changed then.
        """
        each = options if isinstance(options, list) else [options] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"`options` must be a dict, or {self.num_envs} of them. Received {len(each)}")
        super().set_options([dict(check_options(one)) for one in each])

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """True for Monitor, whose statistics these rows carry."""
        return [issubclass(wrapper_class, Monitor)] * len(list(self._get_indices(indices)))

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """The attribute once per row: the row's own, as of an env that is one of many, or what all rows share."""
        return [self._attribute(attr_name, row) for row in self._get_indices(indices)]

    def _attribute(self, name: str, row: int) -> Any:
        return getattr(self, name)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Rows have no attributes of their own to set."""
        raise AttributeError(f"rows have no attribute {attr_name!r} of their own; make the env with other settings")

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Rows have no methods of their own to call."""
        raise AttributeError(f"rows have no method {method_name!r} of their own; call the VecEnv instead")
