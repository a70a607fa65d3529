"""Policy gradients of tables of logits, from exact models or from whole episodes, in Stable-Baselines3's form."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.checks import count, number, within
from lifelong_gym.agents.decentralised.episodes import FlatEpisodes, most_steps, of_arrays, stepped
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.models import is_tabular, tabular_model
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.tabular import TabularModel, softmax_rows
from lifelong_gym.wrappers import NodeRows

LONGEST_MEMORY = 100  # visits of a state that its baseline is the mean of


class Baseline(th.nn.Module):
    """The mean return from each state on, of late.

    Attributes:
        mean: shape (n_states,).
        visits: that it is the mean of, shape (n_states,).
    """

    mean: th.Tensor
    visits: th.Tensor

    def __init__(self, n_states: int) -> None:
        super().__init__()
        for name in ("mean", "visits"):
            self.register_buffer(name, th.zeros(n_states, dtype=th.float64))

    def add(self, states: IntArray, returns: FloatArray) -> None:
        """Returns that were observed from states on."""
        mean, visits = self.mean.numpy(), self.visits.numpy()
        new = np.bincount(states, minlength=len(mean))
        sums = np.bincount(states, returns, minlength=len(mean))
        seen = new > 0
        total = np.maximum(np.minimum(visits + new, LONGEST_MEMORY), new)
        mean[seen] += (sums - new * mean)[seen] / total[seen]
        visits[seen] = np.minimum(visits + new, LONGEST_MEMORY)[seen]


class SoftmaxPolicy(BasePolicy):
    """``pi(a | s) ~ exp(logits[s, a])``: a table, of observations and actions that are Discrete.

    Args:
        observation_space: Discrete.
        action_space: Discrete.
        lr_schedule: the learning rate by the remaining progress.
        optimizer_class: of the logits; plain gradient steps by default.
        optimizer_kwargs: of the optimiser.

    Attributes:
        logits: float64, shape (n_states, n_actions), at first 0: uniform choice.
        critic: the running baseline of whole episodes.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        optimizer_class: type[th.optim.Optimizer] = th.optim.SGD,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """See the class."""
        for name, space in (("observation", observation_space), ("action", action_space)):
            if not isinstance(space, spaces.Discrete):
                raise ValueError(f"a table of logits must have Discrete spaces. The {name} space is {space}")
        super().__init__(
            observation_space, action_space, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs
        )
        assert isinstance(observation_space, spaces.Discrete)
        assert isinstance(action_space, spaces.Discrete)
        shape = int(observation_space.n), int(action_space.n)
        self.logits = th.nn.Parameter(th.zeros(shape, dtype=th.float64))
        self.critic = Baseline(shape[0])
        self.optimizer: th.optim.Optimizer = optimizer_class([self.logits], lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"lr_schedule": self._dummy_schedule, "optimizer_class": self.optimizer_class}
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "optimizer_kwargs": self.optimizer_kwargs,
            **own,
        }

    @property
    def probabilities(self) -> FloatArray:
        """Of actions by state, shape (n_states, n_actions)."""
        return softmax_rows(self.theta)

    @property
    def theta(self) -> FloatArray:
        """The logits, to be read."""
        logits: FloatArray = self.logits.detach().cpu().numpy()
        return logits

    def forward(self, obs: PyTorchObs) -> tuple[th.Tensor, None, None]:
        """Actions, sampled; there are neither values nor log-probabilities to be kept."""
        return self._predict(obs), None, None

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        assert isinstance(observation, th.Tensor)
        logits = self.logits.detach()[observation.to(self.logits.device).long().flatten()]
        return logits.argmax(dim=1) if deterministic else th.distributions.Categorical(logits=logits).sample()


class _TableAlgorithm(OnPolicyAlgorithm):
    """What exact and sampled gradients have in common."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"SoftmaxPolicy": SoftmaxPolicy}
    policy: SoftmaxPolicy  # type: ignore[assignment]  # no actor-critic

    def __init__(
        self,
        policy: str | type[SoftmaxPolicy],
        env: VecEnv,
        learning_rate: float | Schedule,
        gamma: float,
        ent_coef: float,
        policy_kwargs: dict[str, Any] | None,
        verbose: int,
        seed: int | None,
        device: th.device | str,
    ) -> None:
        """See the subclasses."""
        super().__init__(
            policy,  # type: ignore[arg-type]
            env,
            learning_rate,
            n_steps=1,
            gamma=within("gamma", gamma, 0.0, 1.0, below=True),
            gae_lambda=1.0,
            ent_coef=number("ent_coef", ent_coef),
            vf_coef=0.0,
            max_grad_norm=1.0,
            use_sde=False,
            sde_sample_freq=-1,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            monitor_wrapper=False,
        )

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        kind: Any = self.policy_class
        self.policy = kind(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.rollout_buffer = None  # type: ignore[assignment]  # nothing is kept step by step

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all that is random, whole episodes too."""
        super().set_random_seed(seed)
        self.seed = self.seed if seed is None else seed

    @property
    def rows(self) -> NodeRows:
        """Where it acts."""
        assert isinstance(self.env, NodeRows)
        return self.env

    def _climb(self, gradient: FloatArray) -> None:
        """A step of the optimiser up a gradient, to which that of relative entropy is added."""
        n_states, n_actions = gradient.shape
        pull = self.ent_coef / n_states * (1.0 / n_actions - self.policy.probabilities)
        self._update_learning_rate(self.policy.optimizer)
        self.policy.logits.grad = th.as_tensor(-(gradient + pull))
        self.policy.optimizer.step()
        self._n_updates += 1


class ExactPolicyGradient(_TableAlgorithm):
    """Gradients (8) of Zeng et al. (2021) from the models of a node's tasks, which are known; no step is taken.

    Each round counts as one step in each task, so that ``total_timesteps``, or a budget, says how many there are.

    Args:
        policy: ``"SoftmaxPolicy"``.
        env: the rows of a node, whose tasks can be written as tables.
        learning_rate: of the gradient of the sum over the tasks' values.
        gamma: discount, in [0, 1).
        ent_coef: weight of relative entropy.
        policy_kwargs: of the policy.
        verbose: 0: silent, 1: the log, 2: more.
        seed: of the actions that are sampled.
        device: of PyTorch.

    Raises:
        ValueError: tasks that are hidden, or not tabular.
    """

    def __init__(
        self,
        policy: str | type[SoftmaxPolicy],
        env: VecEnv,
        learning_rate: float | Schedule = 0.1,
        gamma: float = 0.99,
        ent_coef: float = 0.0,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
    ) -> None:
        """See the class."""
        self._known: tuple[Core, list[TabularModel]] | None = None
        super().__init__(policy, env, learning_rate, gamma, ent_coef, policy_kwargs, verbose, seed, device)
        if self.rows.is_attached:
            self.models  # noqa: B018 (refuses what has none, now)

    @property
    def models(self) -> list[TabularModel]:
        """Of the tasks of its rows."""
        core = self.rows.core
        if self._known is None or self._known[0] is not core:
            if not is_tabular(core.family) or core.settings.physics != "kernel":
                raise ValueError(
                    '`base="exact"` must have a model of every task: a kernel, and spaces that are Discrete. '
                    f"Received {type(core.family).__name__}"
                )
            models = [tabular_model(core.family, core.tasks[task], core.reward) for task in self.rows.tasks]
            self._known = core, models
        return self._known[1]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Take no step; count one a task."""
        callback.on_rollout_start()
        self.rows.announce(1)
        infos: list[dict[str, Any]] = [{}] * len(self.rows.tasks)
        self.num_timesteps += len(infos)
        callback.update_locals({"infos": infos})
        callback.on_step()
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """A step up the exact gradient."""
        theta = self.policy.theta
        slopes = [model.gradient(theta, self.gamma) for model in self.models]
        values = [model.value(self.policy.probabilities, self.gamma) for model in self.models]
        self.logger.record("train/value", float(sum(values)))
        self._climb(np.sum(slopes, axis=0))


class MonteCarloPolicyGradient(_TableAlgorithm):
    """Gradients from whole episodes: every visit counts, less a running mean of the returns from its state on.

    Where our own rollouts give the rows' episodes, they are simulated in one call; else rows are stepped.

    Args:
        policy: ``"SoftmaxPolicy"``.
        env: the rows of a node.
        learning_rate: of the gradient of the sum over the tasks' values.
        n_episodes: a task and round, or a row and round where rows are stepped.
        gamma: discount, in [0, 1).
        ent_coef: weight of relative entropy.
        policy_kwargs: of the policy.
        verbose: 0: silent, 1: the log, 2: more.
        seed: of everything that is random.
        device: of PyTorch.
    """

    def __init__(
        self,
        policy: str | type[SoftmaxPolicy],
        env: VecEnv,
        learning_rate: float | Schedule = 1.0,
        n_episodes: int = 10,
        gamma: float = 0.99,
        ent_coef: float = 0.0,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
    ) -> None:
        """See the class."""
        self.n_episodes = count("n_episodes", n_episodes)
        self._episodes: FlatEpisodes | None = None
        self._n_tasks = 1
        super().__init__(policy, env, learning_rate, gamma, ent_coef, policy_kwargs, verbose, seed, device)

    @property
    def n_ahead(self) -> int:
        """Environment steps of the next collecting, at most; 0 where nobody knows."""
        return most_steps(self.env, self.n_episodes)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Observe whole episodes."""
        callback.on_rollout_start()
        if self.rows.can_rollout:
            self._episodes = self._fused(callback)
        else:
            self._episodes, self._n_tasks = stepped(self, env, callback, self.n_episodes, self.gamma), env.num_envs
        callback.on_rollout_end()
        return True

    def _fused(self, callback: BaseCallback) -> FlatEpisodes:
        core, tasks = self.rows.core, self.rows.tasks
        self._n_tasks = len(tasks)
        self.rows.announce(self.n_episodes * core.horizon)
        found = rollout(
            core.family,
            tasks=core.tasks[tasks],
            theta=self.policy.theta[None],
            n_trajectories=self.n_episodes,
            horizon=core.horizon,
            reward=core.reward,
            seed=0 if self.seed is None else self.seed,
            first_visit=self._n_updates * self.n_episodes,
            backend=core.settings.backend,
            trajectories=True,
        )
        self._tell(callback, tasks, found.rewards.sum(axis=-1), found.alive.sum(axis=-1))
        flat: list[npt.NDArray[Any]] = [
            array.reshape(-1, array.shape[-1]) for array in (found.observations, found.actions, found.rewards)
        ]
        return of_arrays(flat[0][:, :-1], flat[1], flat[2], found.alive.reshape(flat[1].shape), self.gamma)

    def _tell(self, callback: BaseCallback, tasks: IntArray, returns: FloatArray, lengths: IntArray) -> None:
        """Let the callback hear of episodes and steps as if these had just been taken."""
        infos: list[dict[str, Any]] = [
            {"task_id": int(tasks[i]), "episode": {"r": float(returns[i, j]), "l": int(lengths[i, j])}}
            for i, j in np.ndindex(returns.shape)
        ]
        n_steps = int(lengths.sum())
        self.num_timesteps += n_steps
        callback.update_locals({"infos": infos + [{}] * (n_steps - len(infos))})
        callback.on_step()

    def train(self) -> None:
        """A step up the gradient that episodes gave."""
        if self._episodes is None:
            return
        found, critic = self._episodes, self.policy.critic
        states, actions = found.observations.astype(np.int64), found.actions.astype(np.int64)
        gained = self.gamma**found.times * (found.returns - critic.mean.numpy()[states])
        self._climb(self._slope(states, actions, gained) * self._n_tasks / found.number)
        critic.add(states, found.returns)
        self._episodes = None

    def _slope(self, states: IntArray, actions: IntArray, gained: FloatArray) -> FloatArray:
        """``sum_t gained_t (1[s_t, a_t] - 1[s_t] pi(. | s_t))``."""
        probabilities = self.policy.probabilities
        slope = np.zeros_like(probabilities)
        np.add.at(slope, (states, actions), gained)
        by_state = slope.sum(axis=1, keepdims=True)
        return slope - by_state * probabilities
