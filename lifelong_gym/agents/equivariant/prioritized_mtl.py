"""Prioritised multi-task learning: direct policy gradients through what has happened, task by task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import update_learning_rate

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.contract.checks import choice, count, finite, flag, within
from lifelong_gym.agents.contract.environment import before_steps, to_vec_env
from lifelong_gym.agents.contract.kinds import Attributes
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.deep.agent import copy_of_policy
from lifelong_gym.agents.deep.environment_state import EnvironmentState, channel_of
from lifelong_gym.agents.equivariant.differentiable import DifferentiableTasks, historic
from lifelong_gym.agents.equivariant.policies import EntityPolicy, EquivariantPolicy, FlatSimplexPolicy
from lifelong_gym.agents.equivariant.samplers import PrioritizedSampler, effective_share, importance
from lifelong_gym.agents.equivariant.scorers import SCORERS, Batch
from lifelong_gym.agents.equivariant.task_memory import TaskMemory
from lifelong_gym.envs.core import Core
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.wrappers import CoreVecEnv, steps_left

CERTAIN = -20.0  # log of the spread: actions that are drawn are those of the mode, up to rounding
SETTINGS_OF_HEADS = ("head", "spread_init")


@dataclass(frozen=True)
class Ended:
    """Episodes that ended in a sweep, shapes (1, n_episodes)."""

    returns: FloatArray
    steps: IntArray


class PrioritizedMTL(MultiTaskAlgorithm):
    """One policy for all tasks by direct policy gradients; tasks that score high are learned from more often.

    For families whose noise has happened, such as `LifelongPortfolio-v0`: with prices known, rewards are functions of
    actions that can be differentiated. An update draws a task t with probability p_t in proportion to its score's power
    ``alpha``, takes ``batch_size`` consecutive steps of it, recent ones rather than old ones, and goes up the gradient
    of ``w_t`` times their mean reward, with ``w_t = (T p_t) ** -beta``. What the policy is shown of the state comes
    from a memory of each task's states (in a portfolio, a portfolio vector memory), which updates overwrite by what
    their actions lead to; rewards are chained, so that an action's derivative counts what it costs at the next step. A
    batch's score is smoothed into its task's. ``alpha=0`` is ordinary multi-task learning (MTL), and an env of one
    task single-task learning (STL).

    A sweep takes ``n_steps`` environment steps in each task that the last sweep learned from (the first one, in every
    row), each row from its own clock on, and makes ``gradient_steps`` updates. Acting only tells the memory what the
    policy of now would hold: a task's past is known from when it comes up. Policies are deterministic.

    Paper: Multi-Task Learning for Resource Allocation with Permutation Invariance (anonymous), algorithm 1. Memory and
    recent batches: Jiang, Xu and Liang 2017.

    Log: ``train/loss``, the mean of the weighted losses, ``train/score``, and, of the last probabilities,
    ``sampling/effective_share`` as in `TaskSampling`, ``sampling/probability_min`` and ``_max``.

    Args:
        policy: ``"EquivariantPolicy"`` or ``"FlatSimplexPolicy"``.
        env: an id, a PettingZoo ParallelEnv or a vector env of ours, or what `as_vec_env` made of one; of a family with
            a ``history``, see `lifelong_gym.envs.family.Historic`.
        learning_rate: of Adam, or a function of the remaining progress (1 to 0).
        alpha: at least 0, how far scores decide what is learned from; 0: all tasks alike.
        beta: in [0, 1]: 1 leaves the mean over tasks the objective; with less, tasks of high scores count more.
        smoothing: in [0, 1), gamma of `PrioritizedSampler`: how slowly scores change.
        scorer: what a batch scores: ``"deviation"``, the largest of its shares' distances from equal ones,
            ``"mean_deviation"``, their mean, ``"reward_variance"`` or ``"gradient_norm"``.
        by_max: divide weights by the largest of all tasks, as the paper does: steps get smaller.
        batch_size: consecutive steps of an update; of a shorter task, all.
        recency: in [0, 1): a batch that begins a step earlier is less likely by this share; 0: all alike.
        n_steps: environment steps of a row that acts, a sweep.
        gradient_steps: updates a sweep.
        policy_kwargs: of the policy, such as ``{"encoder": "rnn", "hidden": 25}``; its head has no meaning here.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: of the policy.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "EquivariantPolicy": EquivariantPolicy,
        "FlatSimplexPolicy": FlatSimplexPolicy,
    }
    policy: EntityPolicy

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule = 1e-3,
        *,
        alpha: float = 0.5,
        beta: float = 1.0,
        smoothing: float = 0.2,
        scorer: str = "deviation",
        by_max: bool = True,
        batch_size: int = 50,
        recency: float = 1e-3,
        n_steps: int = 1,
        gradient_steps: int = 1,
        policy_kwargs: Mapping[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        self.alpha, self.beta = within("alpha", alpha, 0.0, 100.0), within("beta", beta, 0.0, 1.0)
        self.smoothing = within("smoothing", smoothing, 0.0, 1.0, below=True)
        self.scorer, self.by_max = choice("scorer", scorer, SCORERS), flag("by_max", by_max)
        self.batch_size = count("batch_size", batch_size)
        self.recency = within("recency", recency, 0.0, 1.0, below=True)
        self.n_steps, self.gradient_steps = count("n_steps", n_steps), count("gradient_steps", gradient_steps)
        self.memory, self._environment = TaskMemory(), EnvironmentState()
        self._drawn: list[int] = []  # what the last sweep learned from
        self._model: DifferentiableTasks | None = None
        own = _policy_settings(policy_kwargs or {})
        if env is not None:
            env = to_vec_env(env)
            checked_core(env)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        super().__init__(policy, env, learning_rate, **{**vars(common), "_init_setup_model": False})
        self.policy_kwargs = own
        if _init_setup_model:
            self._enter()
            self.set_random_seed(seed)
            self._setup_model()

    # What is kept.

    def _parts(self) -> Parts:
        return {
            **super()._parts(),
            "policy.optimizer": self.policy.optimizer,
            "sampler": self.sampler,
            "memory": self.memory,
            "drawn": Attributes(self, ["_drawn"]),
            "environment": self._environment,
        }

    def _policy_arguments(self) -> dict[str, Any]:
        return {}

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        self.sampler = PrioritizedSampler(self.n_tasks, self.alpha, self.smoothing)
        kind: Any = self.policy_aliases[self.policy_name]
        settings = {"spread_init": CERTAIN, **self.policy_kwargs}
        made = kind(self.observation_space, self.action_space, self.lr_schedule, **settings)
        self.policy = made.to(self.device)
        self.policy.set_training_mode(False)

    def _policy_of(self, task: int) -> BasePolicy:
        return copy_of_policy(self.policy)

    def _grow(self, n_tasks: int) -> None:
        grown = PrioritizedSampler(n_tasks, self.alpha, self.smoothing)
        grown.scores[: self.n_tasks] = self.sampler.scores
        self.sampler = grown

    # Tasks and their environment.

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, with some or all of the tasks.

        Raises:
            ValueError: other spaces or unknown tasks, or an env that isn't of ours; nothing has changed then.
            FamilyError: its noise hasn't happened.
        """
        venv = to_vec_env(env)
        checked_core(venv)
        super().set_env(venv, force_reset)
        self._enter()

    @property
    def _rows(self) -> CoreVecEnv:
        assert isinstance(self.env, CoreVecEnv)
        return self.env

    def _enter(self) -> None:
        """Look back at the tasks as the env has them."""
        core = checked_core(self._rows)
        assert self.tasks is not None
        self._model = DifferentiableTasks(core, self.tasks)
        self.memory.history, self.memory.clock = self._model.history, self._model.clock
        self._environment.enter(self._rows, channel_of(self._rows))

    # A sweep.

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's, but that episodes a loaded model is in the middle of go on."""
        if not reset_num_timesteps and self._rows.core.begun:
            self._last_obs = self._observed(np.arange(self._rows.num_envs))
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _observed(self, rows: IntArray) -> Any:
        core = self._rows.core
        observations = core.empty_observations()
        core.observe(rows, observations)
        return observations[rows]

    def collect_rollouts(self) -> tuple[Ended, int]:
        """Take ``n_steps`` steps in the tasks that were learned from last, and remember what they led to."""
        env, n = self._rows, self.n_steps
        rows = self._acting_rows()
        left, n_running = steps_left(env), int(np.count_nonzero(~env.idle[rows]))
        if left is not None and left <= n * n_running:  # whoever saves when a stage ends does so between sweeps
            n = 1
        before_steps(env, n * n_running)
        ended: list[tuple[float, int]] = []
        n_taken = 0
        for _ in range(n):
            for task in self._places[env.core.task_of_row[rows[~env.idle[rows]]]].tolist():
                self.memory.meet(task)
            actions, _ = self.policy.predict(self._observed(rows), deterministic=True)
            infos = env.step_rows(rows, actions)[3]
            acted = np.array(["idle" not in info for info in infos])
            n_taken += int(np.count_nonzero(acted))
            ended += [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info]
            self._remember(rows[acted])
        returns, steps = np.array(ended, np.float64).reshape(-1, 2).T
        return Ended(returns[None], steps[None].astype(np.int64)), n_taken

    def _acting_rows(self) -> IntArray:
        """Rows in the tasks that were learned from last, or all; with those that idle, which may begin."""
        tasks, idle = self._places[self._rows.core.task_of_row], self._rows.idle
        acting = np.isin(tasks, self._drawn) & ~idle
        return np.flatnonzero(acting | idle if acting.any() else np.ones_like(idle))

    def _remember(self, rows: IntArray) -> None:
        states, tasks = self._rows.state[rows], self._places[self._rows.core.task_of_row[rows]]
        for task, state in zip(tasks.tolist(), states, strict=True):
            if task in self.memory.states:  # a stage's tasks are met when steps are taken in them
                self.memory.write(task, state[None])

    def _suffices(self, n_episodes: int, n_steps: int) -> bool:
        return n_steps > 0

    def train(self) -> None:
        """Make ``gradient_steps`` updates, each from a task that is drawn."""
        update_learning_rate(self.policy.optimizer, self._step_size())
        rng = np.random.default_rng([self.noise_seed, self._n_updates])
        self._drawn, losses, scores = [], [], []
        for _ in range(self.gradient_steps):
            tasks, probabilities, weights = self._sampling()
            drawn = int(rng.choice(len(tasks), p=probabilities))
            self._drawn.append(int(tasks[drawn]))
            loss, score = self._update(self._drawn[-1], float(weights[drawn]), rng)
            self.sampler.update(self._drawn[-1], score)
            losses.append(loss)
            scores.append(score)
        self._log_updates(losses, scores)

    def _sampling(self) -> tuple[IntArray, FloatArray, FloatArray]:
        """The tasks that have come up, with which probabilities they are drawn, and how much each then counts."""
        tasks = np.array(self.memory.tasks)
        probabilities = self.sampler.probabilities()[tasks]
        probabilities /= probabilities.sum()
        weights = importance(probabilities, self.beta)
        return tasks, probabilities, weights / weights.max() if self.by_max else weights

    def _update(self, task: int, weight: float, rng: np.random.Generator) -> tuple[float, float]:
        """Go up the gradient of a batch's weighted mean reward; returns the loss and the batch's score."""
        assert self._model is not None
        whole = self.memory.states[task]
        n = min(self.batch_size, len(whole))
        first = len(whole) - n - steps_back(len(whole) - n, self.recency, float(rng.random()))
        states = whole[first : first + n].copy()
        seen = self._model.observe(task, states).to(self.device)
        actions = self.policy.get_distribution(seen).mode().cpu()
        shares, present = self._model.shares(task, states, actions)
        after, rewards = self._model.chained(task, states, shares)
        loss = -weight * rewards.mean()
        finite("a batch's states and loss", np.append(after.detach().numpy(), loss.item()))
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = self._gradient_norm() / weight if self.scorer == "gradient_norm" else 0.0
        self.policy.optimizer.step()
        self.memory.write(task, after.detach().numpy())
        return loss.item(), SCORERS[self.scorer](Batch(shares.detach(), present, rewards.detach(), norm))

    def _gradient_norm(self) -> float:
        gradients = [p.grad for p in self.policy.parameters() if p.grad is not None]
        return float(th.stack([gradient.norm() for gradient in gradients]).norm())

    # The log.

    def _log_updates(self, losses: list[float], scores: list[float]) -> None:
        _, probabilities, weights = self._sampling()
        self.logger.record("train/loss", float(np.mean(losses)))
        self.logger.record("train/score", float(np.mean(scores)))
        self.logger.record("sampling/effective_share", effective_share(probabilities, weights))
        self.logger.record("sampling/probability_min", float(probabilities.min()))
        self.logger.record("sampling/probability_max", float(probabilities.max()))

    def _log_rollouts(self) -> None:
        found = self._rollouts
        if found is not None and found.returns.size:
            self.logger.record("rollout/ep_rew_mean", float(found.returns.mean()))
            self.logger.record("rollout/ep_len_mean", float(found.steps.mean()))


def steps_back(n: int, recency: float, uniform: float) -> int:
    """How many of n possible steps a batch begins before the last it could, by inverting a cut geometric distribution.

    Args:
        n: at most so many.
        recency: in [0, 1): each further step back is less likely by this share; 0: all alike.
        uniform: in [0, 1).
    """
    if recency == 0.0:
        return int(uniform * (n + 1))
    all_of_it = -math.expm1((n + 1) * math.log1p(-recency))
    return min(int(math.log1p(-uniform * all_of_it) / math.log1p(-recency)), n)


def checked_core(env: Any) -> Core:
    """The core of an env in which tasks can be looked back at.

    Raises:
        ValueError: not a VecEnv of ours without wrappers, or tasks that are hidden or observed.
        FamilyError: see `historic`.
    """
    if not isinstance(env, CoreVecEnv):
        raise ValueError(f"`env` must be one of ours, or what `as_vec_env` made of one, unwrapped. Received {env!r}")
    historic(env.core.family)
    settings = env.core.settings
    if settings.hide_task_id or env.core.walk.in_rounds:
        raise ValueError("`env` must tell its tasks, whose past is looked back at: hide_task_id=False, no rounds")
    for name, needed in (("task_observation", "hide"), ("physics", "kernel")):
        if getattr(settings, name) != needed:
            raise ValueError(f"`env` must be made with {name}={needed!r}. Received {getattr(settings, name)!r}")
    return env.core


def _policy_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the policy, without what a deterministic one has no use for."""
    for name in SETTINGS_OF_HEADS:
        if name in given:
            raise ValueError(f"`policy_kwargs` must not have {name!r}: the policy is deterministic. Received {given!r}")
    return dict(given)
