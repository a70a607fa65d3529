"""Learners made of Stable-Baselines3's algorithms: one an agent, in one process, saved and resumed as one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import stable_baselines3
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym import imports
from lifelong_gym.agents.contract import checkpoint, persistence, sweeps
from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.contract.environment import before_steps, to_vec_env
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.deep.agent import Agent, refuse_memory
from lifelong_gym.agents.deep.classes import with_classes
from lifelong_gym.agents.deep.environment_state import EnvironmentState, channel_of
from lifelong_gym.agents.deep.joint_policy import JointPolicy
from lifelong_gym.errors import CheckpointError, unknown
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.wrappers import Channel, NodeRows, rows_of_nodes, steps_left

ALGORITHMS = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
OURS = ("policy", "env", "learning_rate", "policy_kwargs", "seed", "device", "verbose", "tensorboard_log")
OURS_TOO = ("_init_setup_model", "monitor_wrapper", "stats_window_size")


class Finished:
    """The episodes that ended in one sweep, all agents' one after another.

    Attributes:
        returns: shape (1, n_episodes).
        steps: shape (1, n_episodes).
        of_agent: mean returns of the agents of whose episodes some ended.
        of_task: and of the tasks, by number, where these are known.
    """

    def __init__(self, agents: Sequence[Agent]) -> None:
        """Of what the agents have just collected."""
        tallies = [agent.tally for agent in agents]
        self.returns: FloatArray = np.array([[r for tally in tallies for r in tally.returns]], np.float64)
        self.steps: IntArray = np.array([[n for tally in tallies for n in tally.lengths]], np.int64)
        self.of_agent = [float(np.mean(tally.returns)) for tally in tallies if tally.returns]
        of_task: dict[int, list[float]] = {}
        for tally in tallies:
            for task, total in zip(tally.tasks, tally.returns, strict=True):
                of_task.setdefault(task, []).append(total)
        self.of_task = {task: float(np.mean(totals)) for task, totals in sorted(of_task.items()) if task >= 0}


class MultiAgentAlgorithm(MultiTaskAlgorithm):
    """Agents that each learn by an algorithm of Stable-Baselines3's, and may tell each other what they learned.

    The env's nodes are the agents: those of its `ParameterSharing`, or every row by itself. In each sweep they collect
    in turns, each by stepping its own rows, then train in turns, and then `communicate`: before anybody collects
    again, so that what was collected with some parameters is learned from with the same. Each has random
    streams of its own, so that agents that share nothing are what they would be alone, to the bit: agent i equals
    ``PPO(policy, env_of_its_rows, seed=model.seed_of(i), **algorithm_kwargs)``. A learning rate or an exploration that
    changes with progress does so with the learner's.

    A subclass overrides `communicate`, extends `_parts` by what else it keeps, and names its algorithm in ``default``.

    Args:
        policy: name of one of the algorithm's policies, such as ``"MlpPolicy"``, or its class.
        env: an id, a PettingZoo ParallelEnv of ours, in a `ParameterSharing` or not, a vector env of ours, or what
            `as_vec_env` made of one.
        learning_rate: positive, or a function of the remaining progress; None: the algorithm's own.
        algorithm: ``"A2C"``, ``"DDPG"``, ``"DQN"``, ``"PPO"``, ``"SAC"``, ``"TD3"``, or ``module:Class`` of another
            that extends SB3's on-policy or off-policy base; None: ``default``.
        algorithm_kwargs: others of its constructor's arguments; JSON-native, if the learner is to be saved.
        policy_kwargs: of the policy; JSON-native, if the learner is to be saved: classes may be names, such as
            ``{"optimizer_class": "SGD", "features_extractor_class": "SmallCNN"}``, or ``module:Class``.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: of PyTorch.

    Attributes:
        agents: one a node with rows, in the order of nodes; none before there is an env or a file.
    """

    default: ClassVar[str] = "PPO"
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = stable_baselines3.PPO.policy_aliases
    agents: Sequence[Agent] = ()
    policy: JointPolicy
    _collecting = False
    _before: bytes | None = None  # what a file held before agents began to collect, where it may be asked for

    def __init_subclass__(cls) -> None:
        """Its policies are those of its algorithm, unless it says which."""
        super().__init_subclass__()
        if "policy_aliases" not in vars(cls):
            cls.policy_aliases = _algorithm(cls.default).policy_aliases

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        algorithm: str | None = None,
        algorithm_kwargs: Mapping[str, Any] | None = None,
        policy_kwargs: Mapping[str, Any] | None = None,
        *,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        self.algorithm = self.default if algorithm is None else algorithm
        self._kind = _algorithm(self.algorithm)
        self.policy_aliases = self._kind.policy_aliases  # type: ignore[misc]  # those of this algorithm
        self.algorithm_kwargs = _checked(self._kind, algorithm_kwargs or {})
        rate = inspect.signature(self._kind).parameters["learning_rate"].default
        self._environment = EnvironmentState()
        super().__init__(
            policy,
            env,
            rate if learning_rate is None else learning_rate,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        self.policy_kwargs = dict(policy_kwargs or {})
        if _init_setup_model:
            self._setup_model()

    # What a learner adds.

    def communicate(self) -> None:
        """Let agents tell each other what they learned, through the `channel`: after all have trained.

        Here: nothing.
        """

    @property
    def channel(self) -> Channel:
        """Through which the agents speak.

        Raises:
            ValueError: the env has none.
        """
        channel = self._environment.channel
        if channel is None:
            raise ValueError("`env` must have a channel: wrap the ParallelEnv in `ParameterSharing`")
        return channel

    def _channel_in(self, env: VecEnv) -> Channel | None:
        """Through which the agents speak in an env: its own."""
        return channel_of(env)

    # How it is made.

    def seed_of(self, agent: int) -> int:
        """The seed of an agent's algorithm and rows."""
        return int(np.random.SeedSequence([self.noise_seed, agent]).generate_state(1)[0])

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        nodes = {} if self.env is None else rows_of_nodes(self.env)
        rows = {str(node): own.tolist() for node, own in nodes.items()}
        if len(rows) < len(nodes):
            raise ValueError(f"nodes must have names of their own. Received {list(nodes)}")
        saved = rows if policy_arguments is None else policy_arguments["rows"]
        if nodes and saved != rows:
            raise ValueError(f"`env` must have nodes of rows {saved}. Received {rows}")
        real = {str(node): node for node in nodes}
        self.agents = [
            self._agent(i, real.get(name, name), np.array(own, np.int64)) for i, (name, own) in enumerate(saved.items())
        ]
        agent_of_row = np.zeros(sum(len(own) for own in saved.values()), np.int64)
        for i, own in enumerate(saved.values()):
            agent_of_row[own] = i
        self.n_envs = len(agent_of_row)
        if self.env is not None:
            self._environment.enter(self.env, self._channel_in(self.env))
        policies = [agent.policy for agent in self.agents]
        self.policy = JointPolicy(self.observation_space, self.action_space, policies, agent_of_row, self.n_tasks)

    def _agent(self, index: int, node: Any, own: IntArray) -> Agent:
        rows = NodeRows(self.observation_space, self.action_space, own)
        if self.env is not None:
            rows.attach(self.env)
        seed, kind = self.seed_of(index), self._kind_of_policy()
        return Agent(self._kind, kind, node, rows, seed, self.device, self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """Of an agent's algorithm, besides those that are its own."""
        policy_kwargs = with_classes(self.policy_kwargs)
        return {"learning_rate": self.learning_rate, "policy_kwargs": policy_kwargs, **self.algorithm_kwargs}

    def _kind_of_policy(self) -> Any:
        """What the agents' algorithm is given as its policy."""
        return self.policy_name

    def _policy_arguments(self) -> dict[str, Any]:
        return {"rows": {str(agent.node): agent.rows.rows.tolist() for agent in self.agents}}

    def _parts(self) -> Parts:
        own: dict[str, Any] = {str(agent.node): agent for agent in self.agents}
        return {**own, "environment": self._environment}

    def _policy_of(self, task: int) -> BasePolicy:
        return self.agents[self.policy.agent_of_task(task)].copy_of_policy()

    def _grow(self, n_tasks: int) -> None:
        policies, agent_of_row = [agent.policy for agent in self.agents], self.policy.agent_of_row
        self.policy = JointPolicy(self.observation_space, self.action_space, policies, agent_of_row, n_tasks)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the random streams of all agents; those of their rows count from the next reset on."""
        if seed is not None:
            self.noise_seed = seed
        for i, agent in enumerate(self.agents if seed is not None else ()):
            agent.seed(self.seed_of(i))

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, of the same nodes with the same rows.

        Raises:
            ValueError: other spaces, nodes or unknown tasks; nothing has changed then.
        """
        venv = to_vec_env(env)
        nodes = rows_of_nodes(venv)
        rows = {str(node): own.tolist() for node, own in nodes.items()}
        if self.agents and rows != self._policy_arguments()["rows"]:
            raise ValueError(f"`env` must have nodes of rows {self._policy_arguments()['rows']}. Received {rows}")
        super().set_env(venv, force_reset)
        for agent, node in zip(self.agents, nodes, strict=False):
            agent.node = node
            agent.rows.attach(venv)
            if force_reset:
                agent.algorithm._last_obs = None
        self._environment.enter(venv, self._channel_in(venv))

    # How it learns.

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's, but that each agent begins its own rows' episodes."""
        sweeps.begin(self, total_timesteps, reset_num_timesteps, tb_log_name)
        for agent in self.agents:
            share = agent.rows.num_envs / self.n_envs
            agent.begin(self._total_timesteps * share, reset_num_timesteps)
        return self._total_timesteps, self._init_callback(callback, progress_bar)

    def collect_rollouts(self) -> tuple[Finished, int]:
        """Let the agents collect in turns, each until it has something to train on."""
        assert self.env is not None
        left = steps_left(self.env)
        if left == 0:
            return Finished([]), 0
        ahead = sum(agent.n_ahead() for agent in self.agents)
        # Policies stay as they are until all is collected: who evaluates at any step of it may do so now.
        before_steps(self.env, ahead if left is None else min(ahead, left))
        if not ahead or (
            left is not None and left <= ahead
        ):  # a stage may end in the midst of it: a benchmark saves then
            self._before = persistence.content(self)
        self._collecting = True
        try:
            for agent in self.agents:
                agent.collect()
        finally:
            self._collecting, self._before = False, None
        return Finished(self.agents), sum(agent.tally.n_steps for agent in self.agents)

    def save(
        self,
        path: checkpoint.Target,  # type: ignore[override]  # any path, not only SB3's kinds
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """As `MultiTaskAlgorithm.save`; while agents collect, what is written is the state before that.

        Raises:
            CheckpointError: as there, or nobody has said that there would be a save while agents collect, as a budget
                does by its end.
        """
        if not self._collecting:
            super().save(path, exclude, include)
            return
        checkpoint.check_target(path, "write")
        if self._before is None:
            raise CheckpointError("nothing was saved: agents are in the middle of collecting. Save between sweeps")
        checkpoint.write(path, self._before)

    def _suffices(self, n_episodes: int, n_steps: int) -> bool:
        return n_steps > 0

    def train(self) -> None:
        """Let the agents train in turns, and then `communicate`."""
        for agent in self.agents:
            if agent.tally.n_steps:
                agent.train()
        self.communicate()

    def _log_rollouts(self) -> None:
        record, found = self.logger.record, self._rollouts
        if isinstance(found, Finished) and found.of_agent:
            record("rollout/ep_rew_mean", float(np.mean(found.of_agent)))
            record("rollout/ep_rew_worst_agent", min(found.of_agent))
            record("rollout/ep_len_mean", float(found.steps.mean()))
        logged = [agent.logged() for agent in self.agents]
        for name in sorted({name for entries in logged for name in entries}):
            record(name, float(np.mean([entries[name] for entries in logged if name in entries])))


def _algorithm(name: str) -> type[BaseAlgorithm]:
    """SB3's by its name, others as ``module:Class``."""
    if isinstance(name, str) and ":" in name:
        kind = imports.load(name)
    elif name in ALGORITHMS:
        kind = getattr(stable_baselines3, name)
    else:
        raise unknown("algorithm", name, [*ALGORITHMS, "module:Class"])
    if not (isinstance(kind, type) and issubclass(kind, BaseAlgorithm)):
        raise TypeError(f"`algorithm` must be an algorithm in SB3's form. Received {name!r}")
    refuse_memory("algorithm", kind)
    return kind


def _checked(kind: type[BaseAlgorithm], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that an algorithm's constructor takes and we don't give it; lists, which JSON knows, as tuples."""
    known = [name for name in inspect.signature(kind).parameters if name not in (*OURS, *OURS_TOO)]
    for name in arguments:
        if name not in known:
            raise unknown("argument of `algorithm_kwargs`", name, known)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
