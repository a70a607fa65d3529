"""DistMT-LSVI: agents that find out which task they face, learn what nobody has learned, and forget nothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence, Set
from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract import sweeps
from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.contract.environment import to_vec_env
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.deep.environment_state import EnvironmentState, channel_by_a_hub
from lifelong_gym.agents.value.environment import check_agents, features_of, horizon_of
from lifelong_gym.agents.value.features import Arrays, DenseFeatures, Features
from lifelong_gym.agents.value.hub import UNKNOWN, Cluster, Hub, Report
from lifelong_gym.agents.value.lookup_policy import LookupPolicy
from lifelong_gym.agents.value.meeting import label_in
from lifelong_gym.agents.value.regressions import Regressions, Solution, Summary
from lifelong_gym.agents.value.settings import LSVISettings
from lifelong_gym.agents.value.star import Star
from lifelong_gym.agents.value.walkers import Walked, Walkers
from lifelong_gym.errors import CheckpointError, unknown
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.wrappers import Channel, CoreVecEnv, rows_of_nodes, steps_left

MANY = 1_000_000  # episodes of a round that nobody waits for


class DistMTLSVI(MultiTaskAlgorithm):
    """Distributed multi-task least-squares value iteration (Amani et al., 2023).

    In each round every agent explores its task for ``k1`` episodes and reports to a hub, which says whether it is a
    task that somebody has met before. If so, the agent has its policy already; if not, it explores for ``k2`` episodes
    more, and what it learned is added to the table that all agents have. A sweep is a round. Sums over transitions are
    kept up to date, so that an episode costs the same however many there were; nothing else is kept of them.

    An agent is a row, or a node of one row of the env's `ParameterSharing`, and stays in its task for a round, as under
    ``schedule={"rounds": ...}``. All they tell each other goes through the channel: of the `ParameterSharing`, in whose
    graph some node must reach all agents, or else of a star around a hub without a task. The family's ``features``,
    (n_obs, n_actions, d), are what regressions are on; where it has none, they are one-hot.

    Args:
        policy: ``"LookupPolicy"``.
        env: an id, a PettingZoo ParallelEnv of ours, in a `ParameterSharing` or not, a vector env of ours, or what
            `as_vec_env` made of one; with Discrete observations and actions.
        learning_rate: not used: least squares have none; part of Stable-Baselines3's signature.
        constants: ``"practical"``; or ``"theory"``: bonuses and episodes as Amani et al. (2023) have them, all their
            factors being ``c``, for ``max_tasks``.
        identify: by what tasks are told apart: ``"value"``: optimal values, which must be ``c_sep`` apart; or
            ``"model"``: what is observed next, which needs no ``c_sep``.
        reuse: whether learning a task goes on from what was seen to identify it.
        pool: whether agents in the same new task share the episodes that it takes.
        verify: whether agents tell the hub their regressions under ``identify="value"``, too, so that it can warn of
            tasks that it takes for one.
        k1: episodes to identify a task; None: by the constants.
        k2: episodes to learn one; None: by the constants.
        beta: of the bonuses; None: by the constants.
        c: factor of the paper's constants.
        c_sep: by which values of tasks differ, of rewards in [0, 1].
        epsilon: by which policies may miss the optimal value; of the paper's constants.
        delta: probability with which that may fail; of the paper's constants.
        max_tasks: how many tasks there are at most; None: nobody knows.
        reward_range: the smallest and the largest reward; they are scaled to [0, 1].
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's and numba's.

    Attributes:
        exploration: bonuses and episodes.
        episodes: explored in all, by each agent, (n_agents,).

    Raises:
        ValueError: arguments out of range, spaces that aren't Discrete, features of norms above 1, agents that don't
            stay in their tasks, a graph without a hub, or more episodes than a budget leaves to a round.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"LookupPolicy": LookupPolicy}
    policy: LookupPolicy
    _rollouts: Walked

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule = 1.0,
        *,
        constants: str = "practical",
        identify: str = "value",
        reuse: bool = False,
        pool: bool = False,
        verify: bool = True,
        k1: int | None = None,
        k2: int | None = None,
        beta: float | None = None,
        c: float = 1.0,
        c_sep: float = 0.25,
        epsilon: float = 0.05,
        delta: float = 0.05,
        max_tasks: int | None = None,
        reward_range: Sequence[float] = (0.0, 1.0),
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        settings = LSVISettings(
            constants,
            identify,
            reuse,
            pool,
            verify,
            k1,
            k2,
            beta,
            c,
            c_sep,
            epsilon,
            delta,
            max_tasks,
            reward_range,
        )
        for name, value in vars(settings).items():
            setattr(self, name, value)
        self._settings, self._environment = settings, EnvironmentState()
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        super().__init__(policy, env, learning_rate, **vars(common))

    # How it is made.

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        if self.env is not None:
            self._enter(self.env)
            self.policy = self._policy_in(self.env, policy_arguments)
        else:
            assert policy_arguments is not None
            self.policy = LookupPolicy(self.observation_space, self.action_space, **policy_arguments)
        n_agents, horizon = (int(self.policy.arguments[name]) for name in ("n_agents", "horizon"))
        self.exploration = self._settings.scheduled(_size(self.policy.features), horizon, n_agents)
        self.episodes: IntArray = np.zeros(n_agents, np.int64)
        self._hub = Hub(self._settings, self.policy.features)

    def _enter(self, env: VecEnv) -> None:
        """Check an env, and be in it."""
        rows = rows_of_nodes(env)
        check_agents(env, rows)
        star = Star(channel_by_a_hub(env), list(rows))
        features, horizon = features_of(env), horizon_of(env)
        self.exploration = self._settings.scheduled(_size(features), horizon, len(rows))
        self._check_budget(env, horizon, len(rows))
        self._star, self._features, self._horizon = star, features, horizon
        self._rows = np.array([own[0] for own in rows.values()], np.int64)
        self._environment.enter(env, star.channel)

    def _check_budget(self, env: VecEnv, horizon: int, n_agents: int) -> None:
        """Whether a round is long enough."""
        left, wanted = steps_left(env), self.exploration
        room = MANY if left is None else left // (n_agents * horizon)
        said = f"k1 = {wanted.k1} and k2 = {wanted.k2} episodes"
        if self._settings.constants == "theory" and wanted.most > room:
            warnings.warn(f"the paper's constants ask for {said} of each agent, and a round has {room}", stacklevel=2)
        elif left is not None and wanted.most > room:
            raise ValueError(f"`k1` and `k2` must fit into a round of {room} episodes. Received {said}")

    def _policy_in(self, env: VecEnv, policy_arguments: dict[str, Any] | None) -> LookupPolicy:
        d = self._features.weights[0] if isinstance(self._features, DenseFeatures) else 0
        own = {"horizon": self._horizon, "n_agents": len(self._rows), "d": d, "beta": self.exploration.beta_2}
        given = own if policy_arguments is None else policy_arguments
        for name in ("horizon", "n_agents", "d"):
            if given[name] != own[name]:
                raise ValueError(f"`env` must have {name} = {given[name]}, as it was. Received {own[name]}")
        policy = LookupPolicy(self.observation_space, self.action_space, **given)
        return policy.with_features(self._features)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, of as many agents, with the same features and horizon.

        Raises:
            ValueError: another one; nothing has changed then.
        """
        venv = to_vec_env(env)
        if hasattr(self, "policy"):
            check_agents(venv, rows_of_nodes(venv))
            if horizon_of(venv) != self._horizon or not np.array_equal(features_of(venv).phi, self._features.phi):
                raise ValueError(f"`env` must have the same features and horizon, {self._horizon}")
        super().set_env(venv, force_reset)
        if hasattr(self, "policy"):
            self._enter(venv)

    def _policy_arguments(self) -> dict[str, Any]:
        return dict(self.policy.arguments)

    def _parts(self) -> Parts:
        return {**super()._parts(), "hub": self._hub, "environment": self._environment, "episodes": self.episodes}

    def _settle(self, given: Set[str]) -> None:
        if self.env is not None and not np.array_equal(self.policy.features.phi, self._features.phi):
            raise CheckpointError("features must be those of the environment")
        self.policy.refresh()

    def _policy_of(self, task: int) -> BasePolicy:
        return self.policy.of_label(int(self.policy.labels[task % len(self.policy.labels)]))

    def _grow(self, n_tasks: int) -> None:
        raise ValueError(f"tasks can't be added: agents, {self.n_tasks}, find out by themselves which there are")

    # What it has learned.

    @property
    def clusters(self) -> list[Cluster]:
        """Of the tasks that are known: label, members with their values, spread, and warnings."""
        return self._hub.clusters

    @property
    def channel(self) -> Channel:
        """Through which the agents and the hub speak."""
        return self._star.channel

    @property
    def labels(self) -> IntArray:
        """Of the task that each agent was taken to be in last, (n_agents,); -1: none."""
        labels: IntArray = self.policy.labels.numpy().copy()
        return labels

    def for_agent(self, agent: int) -> BasePolicy:
        """The policy that an agent, by its number, has in the task it is taken to be in, a copy."""
        return self.for_task(agent)

    def for_label(self, label: int) -> BasePolicy:
        """The policy of a known task, a copy.

        Raises:
            UnknownNameError: no such label.
        """
        known = range(len(self.policy.theta))
        if isinstance(label, bool) or label not in known:
            raise unknown("label", label, [f"0 ... {len(known) - 1}"] if known else ["none yet"])
        return self.policy.of_label(int(label))

    def meet(self, env: VecEnv, agent: int) -> BasePolicy | None:
        """The policy of the task that an env's one row is in, by ``k1`` episodes; None: nobody has met that task.

        Raises:
            ValueError: the env hasn't got these steps, or rewards are outside of ``reward_range``.
        """
        del agent  # all know the same
        policy, known = self.policy, (self._hub, self._settings, self.exploration)
        label = label_in(env, int(policy.arguments["horizon"]), policy.features, *known)
        return None if label is None else policy.of_label(label)

    # How it learns.

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's, but that rounds begin their episodes by themselves."""
        sweeps.begin(self, total_timesteps, reset_num_timesteps, tb_log_name)
        return self._total_timesteps, self._init_callback(callback, progress_bar)

    def collect_rollouts(self) -> tuple[Walked, int]:
        """Let the agents explore, tell the hub, and explore again where their tasks are new.

        Raises:
            ValueError: rewards outside of ``reward_range``.
            SharingError: a message hasn't arrived in 10,000 rounds.
        """
        assert self.env is not None
        if steps_left(self.env) == 0:
            return Walked(), 0
        n = len(self._rows)
        known = Regressions(self._features, n, self._horizon)
        walkers = Walkers(self.env, self._rows, known, self._settings.reward_range)  # type: ignore[arg-type]
        walkers.explore(np.full(n, self.exploration.k1), self.exploration.beta_1)
        self._reports = self._reported([known.summary(agent) for agent in range(n)])
        labels, self._groups = self._identified()
        plans = self._explored(walkers, known)
        follow = self._followed(labels, plans)
        walkers.follow(lambda agents, steps, seen: follow[agents, steps, seen])
        self._labels, self._plans = labels, plans
        self._end_round()
        return walkers.walked, walkers.walked.n_steps

    def _reported(self, summaries: Sequence[Summary]) -> list[Report]:
        """What the hub hears of all agents."""
        with_models = self._settings.identify == "model" or self._settings.verify
        messages: dict[int, Arrays] = {}
        for agent, summary in enumerate(summaries):
            value = summary.planned(self.exploration.beta_1, self._settings.nothing).value
            models = summary.packed(with_rewards=False) if with_models else {}
            messages[agent] = {"value": np.array(value), **models}
        arrived = self._star.up(messages)
        return [
            Report(
                float(arrived[agent]["value"]),
                Summary.unpacked(self._features, arrived[agent]) if with_models else None,
            )
            for agent in range(len(summaries))
        ]

    def _identified(self) -> tuple[IntArray, list[list[int]]]:
        """What agents hear from the hub: labels, and how many share a new task."""
        labels = self._hub.labels(self._reports)
        groups = self._hub.groups(self._reports, np.flatnonzero(labels == UNKNOWN).tolist())
        shared = {agent: len(group) if self._settings.pool else 1 for group in groups for agent in group}
        told = {
            agent: {"label": np.array(label), "shared": np.array(shared.get(agent, 0))}
            for agent, label in enumerate(labels.tolist())
        }
        self._star.down(told)
        return labels, groups

    def _explored(self, walkers: Walkers, known: Regressions) -> list[Solution]:
        """Let agents learn their new tasks, and tell the hub; the plan of each group."""
        settings, (k1, k2) = self._settings, (self.exploration.k1, self.exploration.k2)
        n_episodes = np.zeros(len(self._rows), np.int64)
        for group in self._groups:
            share = -(-k2 // len(group)) if settings.pool else k2
            n_episodes[group] = max(share - (k1 if settings.reuse else 0), 0)
        if not settings.reuse:
            known.forget(np.array([agent for group in self._groups for agent in group], np.int64))
        walkers.explore(n_episodes, self.exploration.beta_2)
        self.episodes += k1 + n_episodes
        return self._pooled(known) if settings.pool else self._founded(known)

    def _pooled(self, known: Regressions) -> list[Solution]:
        """The hub plans with the sums of all members."""
        members = [agent for group in self._groups for agent in group]
        arrived = self._star.up({agent: known.summary(agent).packed(with_rewards=True) for agent in members})
        plans = []
        for group in self._groups:
            first, *others = [Summary.unpacked(self._features, arrived[agent]) for agent in group]
            for other in others:
                first = first + other
            plans.append(first.planned(self.exploration.beta_2, self._settings.nothing))
        return plans

    def _founded(self, known: Regressions) -> list[Solution]:
        """Every member plans and tells the hub, which keeps what the first one says."""
        members = [agent for group in self._groups for agent in group]
        plans = {
            agent: known.summary(agent).planned(self.exploration.beta_2, self._settings.nothing) for agent in members
        }
        self._star.up({agent: plan.packed(self._features) for agent, plan in plans.items()})
        return [plans[group[0]] for group in self._groups]

    def _followed(self, labels: IntArray, plans: Sequence[Solution]) -> IntArray:
        """Actions of each agent by steps taken and observation: of the table, or of what it has just learned."""
        new = [self.policy.greedy(plan.theta, plan.gram) for plan in plans]
        group_of = {agent: i for i, group in enumerate(self._groups) for agent in group}
        return np.stack(
            [
                new[group_of[agent]] if label == UNKNOWN else self.policy.table[label]
                for agent, label in enumerate(labels.tolist())
            ]
        )

    def _end_round(self) -> None:
        """Let everybody go on to another task, unless somebody else says when."""
        inner = self.env
        if isinstance(inner, CoreVecEnv) and inner.budget is None and inner.core.walk.in_rounds:
            inner.next_round()

    def train(self) -> None:
        """Let the hub take up what it heard, and tell everybody the policies of new tasks."""
        for plan in self._plans:
            if not (np.isfinite(plan.theta).all() and np.isfinite(plan.gram).all()):
                raise FloatingPointError("the weights of a plan are not finite")
        labels = self._hub.file(self._n_updates, self._reports, self._labels, self._groups)
        if self._plans:
            told = {
                f"{i}.{name}": array
                for i, plan in enumerate(self._plans)
                for name, array in plan.packed(self._features).items()
            }
            self._star.down(dict.fromkeys(range(len(self._rows)), told))
        self.policy.learned(self._plans, labels)
        self.logger.record("train/n_tasks_known", len(self.clusters))
        self.logger.record("train/n_agents_in_new_tasks", sum(map(len, self._groups)))


def _size(features: Features) -> int:
    """Numbers of a feature vector."""
    return math.prod(features.weights)
