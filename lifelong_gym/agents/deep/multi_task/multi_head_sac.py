"""SAC with a head for each task."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch as th
from scipy.signal import lfilter
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, ReplayBufferSamples, Schedule
from stable_baselines3.common.vec_env import VecNormalize

from lifelong_gym.agents.deep.multi_task.algorithms import TaskSAC
from lifelong_gym.agents.deep.multi_task.multi_head import MultiHeadSACPolicy, checked_rate
from lifelong_gym.agents.deep.multi_task.popart import preserve
from lifelong_gym.numerics.arrays import FloatArray


class ScaledReplayBuffer(ReplayBuffer):
    """SB3's, whose samples have rewards in a unit of each task's own.

    Attributes:
        units: of the tasks that observations end in a column for, shape (n_tasks,); None: rewards are as they were.
    """

    units: FloatArray | None = None

    def _get_samples(self, batch_inds: npt.NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        if self.units is None:
            return samples
        units = th.as_tensor(self.units, dtype=th.float32, device=self.device)
        tasks = samples.observations[:, -len(units) :].argmax(dim=1)
        return samples._replace(rewards=samples.rewards / units[tasks, None])


class MultiHeadSAC(TaskSAC):
    """SB3's SAC with bodies that all tasks share and heads for each, which the task's columns choose.

    In an env of one task it learns what SAC learns without the task's column, to the bit. With ``popart``, each task's
    rewards are counted in the running deviation sigma of its discounted returns; where an episode moves it, heads of
    critics and their targets are changed so that, in rewards, they say what they said. A mean isn't taken away, which
    the entropy's share of a value would not allow.

    Args:
        policy: ``"MlpPolicy"``, or a subclass of `MultiHeadSACPolicy`.
        env: as in SB3, with a column for each task at the end of observations, as ``task_observation="one_hot"`` adds.
        learning_rate: as in SB3.
        n_tasks: how many tasks there are; None: what an env of ours says.
        pcgrad: whether tasks' gradients of what they share are brought together by PCGrad's surgery (Yu et al. 2020),
            the actor's and the critics' apart.
        popart: beta in (0, 1], by which statistics of returns follow an episode's; None: rewards are as they are.
        **more: as of SB3's SAC; with ``popart``, neither ``replay_buffer_class`` nor ``n_steps``.

    Raises:
        ValueError: a bad argument, or an env that doesn't tell tasks so.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MultiHeadSACPolicy}
    policy: MultiHeadSACPolicy

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        n_tasks: int | None = None,
        pcgrad: bool = False,
        popart: float | None = None,
        **more: Any,
    ) -> None:
        """See the class."""
        self.popart = checked_rate(popart)
        self._rewards: dict[int, list[float]] = {}  # of the episodes that rows are in
        if self.popart is not None:
            for name, needed in (("replay_buffer_class", None), ("n_steps", 1)):
                if more.get(name, needed) != needed:
                    raise ValueError(f"`{name}` must be {needed} with `popart`. Received {more[name]!r}")
            more["replay_buffer_class"] = ScaledReplayBuffer
        super().__init__(policy, env, learning_rate, n_tasks=n_tasks, pcgrad=pcgrad, **more)

    def _of_policy(self) -> dict[str, Any]:
        return {**super()._of_policy(), "popart": self.popart}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_rewards"]

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> tuple[int, BaseCallback]:
        if reset_num_timesteps or self._last_obs is None:
            self._rewards.clear()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: npt.NDArray[Any],
        new_obs: Any,
        reward: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        assert isinstance(self._last_obs, np.ndarray)
        before = self._last_obs
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        if self.popart is None:
            return
        for row, info in enumerate(infos):
            if not info.get("idle", False):
                self._rewards.setdefault(row, []).append(float(reward[row]))
            if dones[row]:
                self._ended(before[row], self._rewards.pop(row, []))

    def _ended(self, observation: npt.NDArray[Any], rewards: list[float]) -> None:
        """Let the task's deviation follow an episode's returns, and critics say what they said."""
        statistics, n_tasks = self.policy.statistics, self.n_tasks
        if not rewards:
            return
        assert statistics is not None
        assert n_tasks is not None
        returns = lfilter([1.0], [1.0, -self.gamma], rewards[::-1])  # from each step on, the last one first
        before = statistics.deviation
        task = th.full((len(returns),), int(observation[-n_tasks:].argmax()), device=self.device)
        statistics.update(th.as_tensor(returns.copy(), device=self.device), task)
        preserve([*self.policy.critic.heads, *self.policy.critic_target.heads], (statistics.deviation / before).float())

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take gradient steps on samples of the replay buffer."""
        if self.policy.statistics is not None:
            assert isinstance(self.replay_buffer, ScaledReplayBuffer)
            self.replay_buffer.units = self.policy.statistics.deviation.cpu().numpy()
        super().train(gradient_steps, batch_size)
