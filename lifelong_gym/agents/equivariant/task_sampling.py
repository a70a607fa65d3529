"""Sampling of tasks for the algorithms of Stable-Baselines3, as a callback."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from lifelong_gym.agents.contract.checks import flag, within
from lifelong_gym.agents.equivariant.samplers import SAMPLERS, TaskSampler, effective_share, importance
from lifelong_gym.agents.equivariant.task_buffers import TaskReplayBuffer
from lifelong_gym.envs.core import Core
from lifelong_gym.errors import one_of
from lifelong_gym.numerics.arrays import FloatArray

MOST_LOGGED = 50  # tasks that are logged one by one


class TaskSampling(BaseCallback):
    """Decides which tasks are learned from, and how much each counts; algorithms stay as Stable-Baselines3 has them.

    PPO, A2C and others that collect rollouts: the env, one of ours with ``schedule={"weights": [1.0] * n_tasks}``,
    draws the tasks of its next episodes with the sampler's probabilities p_t, and the advantage of a step counts
    ``(T p_t) ** -beta`` times, with the p_t that its episode was drawn with. With ``beta=1`` the objective stays the
    mean over all T tasks, whatever the sampler does; with less, tasks of high scores count more. Where advantages are
    normalised, as PPO's are by default, a factor that all share is lost, and ratios between tasks stay.

    SAC, TD3, DQN and others with a replay buffer: it must be a `TaskReplayBuffer`, and batches come from tasks with
    these probabilities. Their losses have no weights, so there ``beta`` is 0.

    Log: ``sampling/effective_share``, the effective sample size of the weights over the number of samples, the extremes
    of probabilities and weights, and, for up to 50 tasks, all of them.

    Args:
        sampler: ``"prioritized"``, ``"uniform"``, ``"regret"``, ``"progress"``, or a `TaskSampler`.
        sampler_kwargs: of a sampler that is named, such as ``{"alpha": 0.0}``.
        beta: in [0, 1]; default: 1, with replay buffers 0.
        by_max: divide weights by the largest of all tasks, as prioritised experience replay does: steps get smaller.
        verbose: as in SB3.

    Raises:
        ValueError: a bad argument; as soon as learning begins, an env or a buffer of another kind.

    >>> from stable_baselines3 import PPO
    >>> from lifelong_gym.wrappers import as_vec_env
    >>> env = as_vec_env("LifelongSimpleMass-v0", n_tasks=4, schedule={"weights": [1.0] * 4})
    >>> sampling = TaskSampling("prioritized", {"alpha": 0.7}, beta=0.5)
    >>> model = PPO("MlpPolicy", env, n_steps=64, device="cpu").learn(256, callback=sampling)
    >>> sampling.sampler.probabilities().shape
    (4,)
    """

    def __init__(
        self,
        sampler: str | TaskSampler = "prioritized",
        sampler_kwargs: dict[str, Any] | None = None,
        beta: float | None = None,
        by_max: bool = False,
        verbose: int = 0,
    ) -> None:
        """See the class."""
        super().__init__(verbose)
        if isinstance(sampler, TaskSampler) and sampler_kwargs:
            raise ValueError(f"`sampler_kwargs` go with a sampler that is named. Received {sampler_kwargs!r}")
        if not isinstance(sampler, TaskSampler):
            SAMPLERS[one_of("sampler", sampler, SAMPLERS)](1, **(sampler_kwargs or {}))
        self._named, self._sampler_kwargs = sampler, sampler_kwargs or {}
        self.beta = None if beta is None else within("beta", beta, 0.0, 1.0)
        self.by_max = flag("by_max", by_max)
        self._sampler = sampler if isinstance(sampler, TaskSampler) else None
        self._row_weights: FloatArray | None = None  # of the episodes that the rows are in
        self._steps: list[tuple[Any, Any]] = []  # tasks and weights of a rollout's steps

    @property
    def sampler(self) -> TaskSampler:
        """The sampler; one that is named is made when learning begins."""
        if self._sampler is None:
            raise ValueError("a sampler that is named is made when learning begins")
        return self._sampler

    def _init_callback(self) -> None:
        self._core = self._checked_core()
        n_tasks = len(self._core.tasks)
        if self._sampler is None:
            self._sampler = SAMPLERS[str(self._named)](n_tasks, **self._sampler_kwargs)
        if self.sampler.n_tasks != n_tasks:
            raise ValueError(f"`sampler` must be one of {n_tasks} tasks, as the env's. Received {self.sampler.n_tasks}")
        if isinstance(self.model, OffPolicyAlgorithm):
            self._check_off_policy(n_tasks)
        elif not isinstance(self.model, OnPolicyAlgorithm) or self._core.walk.weights is None:
            raise ValueError(
                'the env must draw its tasks by weights: make it with `schedule={"weights": [1.0] * n_tasks}`'
                if isinstance(self.model, OnPolicyAlgorithm)
                else f"tasks are sampled for algorithms with rollouts or replay buffers. Received {type(self.model)}"
            )
        self._returns, self._squares, self._lengths = (np.zeros(self._core.n_rows) for _ in range(3))

    def _checked_core(self) -> Core:
        try:
            core = self.training_env.get_attr("core")[0]
        except AttributeError:
            core = None
        env = self.training_env
        if not isinstance(core, Core) or core.settings.hide_task_id or core.n_rows != env.num_envs:
            raise ValueError(
                f"the env must be one that `as_vec_env` makes of ours, and tell its tasks. Received {env!r}"
            )
        return core

    def _check_off_policy(self, n_tasks: int) -> None:
        assert isinstance(self.model, OffPolicyAlgorithm)
        buffer = self.model.replay_buffer
        if not isinstance(buffer, TaskReplayBuffer) or buffer.n_tasks != n_tasks:
            raise ValueError(f"`replay_buffer_class` must be TaskReplayBuffer, of {n_tasks} tasks. Received {buffer!r}")
        if self.beta:
            raise ValueError(f"`beta` must be 0: losses on replayed batches have no weights. Received {self.beta}")
        if self.sampler.measure == "advantage":
            raise ValueError("the sampler asks for advantages, which algorithms with a replay buffer don't have")

    def _on_training_start(self) -> None:
        if isinstance(self.model, OnPolicyAlgorithm) and (self._row_weights is None or self._begins_anew):
            weights = self._core.walk.weights
            assert weights is not None
            self._set(weights / weights.sum())
            self._row_weights = self._weights[self._core.task_of_row]
        if self._begins_anew:
            for sums in (self._returns, self._squares, self._lengths):
                sums[:] = 0.0
        self._sample(self.sampler.probabilities())

    @property
    def _begins_anew(self) -> bool:
        """Whether all rows have just begun an episode."""
        return bool(self.locals.get("reset_num_timesteps", True))

    def _on_rollout_start(self) -> None:
        self._steps.clear()

    def _on_step(self) -> bool:
        infos, dones = self.locals["infos"], self.locals["dones"]
        tasks = np.array([info["task_id"] for info in infos])
        active = np.array([not info.get("idle", False) for info in infos])
        rewards = np.where(active, self.locals["rewards"], 0.0).astype(np.float64)
        self._returns += rewards
        self._squares += rewards**2
        self._lengths += active
        if self._row_weights is not None:
            self._steps.append((np.where(active, tasks, -1), self._row_weights.copy()))
            self._row_weights[dones] = self._weights[self._core.task_of_row[dones]]
        for row in np.flatnonzero(dones):
            self._episode_ended(int(row), int(tasks[row]))
        return True

    def _episode_ended(self, row: int, task: int) -> None:
        if self.sampler.measure == "return":
            self.sampler.update(task, float(self._returns[row]))
        elif self.sampler.measure == "reward_variance":
            mean = self._returns[row] / self._lengths[row]
            self.sampler.update(task, max(float(self._squares[row] / self._lengths[row] - mean**2), 0.0))
        self._returns[row] = self._squares[row] = self._lengths[row] = 0.0

    def _on_rollout_end(self) -> None:
        if isinstance(self.model, OnPolicyAlgorithm):
            self._weigh(self.model.rollout_buffer)
        self._sample(self.sampler.probabilities())
        self._log()

    def _weigh(self, buffer: RolloutBuffer) -> None:
        """Tell the sampler of advantages, and let them count as their tasks do."""
        tasks, weights = (np.array(part) for part in zip(*self._steps, strict=True))
        if self.sampler.measure == "advantage":
            for task in np.unique(tasks[tasks >= 0]):
                self.sampler.update(int(task), float(np.abs(buffer.advantages[tasks == task]).mean()))
        buffer.advantages *= weights

    def _sample(self, probabilities: FloatArray) -> None:
        """From now on, tasks are drawn with these."""
        self._set(probabilities)
        if isinstance(self.model, OffPolicyAlgorithm):
            assert isinstance(self.model.replay_buffer, TaskReplayBuffer)
            self.model.replay_buffer.set_probabilities(probabilities)
        else:
            self.training_env.env_method("set_weights", probabilities)

    def _set(self, probabilities: FloatArray) -> None:
        beta = float(isinstance(self.model, OnPolicyAlgorithm)) if self.beta is None else self.beta
        self._probabilities, weights = probabilities, importance(probabilities, beta)
        self._weights = weights / weights.max() if self.by_max else weights

    def _log(self) -> None:
        probabilities, weights = self._probabilities, self._weights
        self.logger.record("sampling/effective_share", effective_share(probabilities, weights))
        for name, values in (("probability", probabilities), ("weight", weights)):
            self.logger.record(f"sampling/{name}_min", float(values.min()))
            self.logger.record(f"sampling/{name}_max", float(values.max()))
            for task, value in enumerate(values if len(values) <= MOST_LOGGED else ()):
                self.logger.record(f"sampling/{name}/{task}", float(value), exclude="stdout")
