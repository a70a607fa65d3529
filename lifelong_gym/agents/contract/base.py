"""What all our learners share: Stable-Baselines3's contract, for many tasks at once."""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from collections.abc import Iterable, Set
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract import checkpoint, persistence, sweeps
from lifelong_gym.agents.contract.arguments import CommonSettings, normalise
from lifelong_gym.agents.contract.checks import flag, number, positive
from lifelong_gym.agents.contract.environment import before_steps, to_vec_env
from lifelong_gym.agents.contract.roster import NewTasks, Roster
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.contract.sweeps import Rollouts
from lifelong_gym.errors import unknown
from lifelong_gym.tasks.task_set import Task, TaskSet


class MultiTaskAlgorithm(BaseAlgorithm):
    """Learns many tasks in sweeps: in each, every task that comes up in the env is observed, then policies are trained.

    A sweep is whole: callbacks' ``on_step`` is called once after each, when training on it is done, so what they
    evaluate or save is a state that learning can go on from. Frequencies such as ``eval_freq`` count sweeps;
    ``num_timesteps`` counts environment steps of all tasks together. Where training on a sweep fails numerically, a
    `UserWarning` says so, and the last finite parameters stay in force.

    A subclass stores every constructor argument under its own name, implements the methods under "what a learner
    adds", and keeps all that learning depends on in the parts that `_parts` names.

    Args:
        policy: name of a policy, or its class.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv; None only in `load`.
        learning_rate: positive, or a function of the remaining progress (1 to 0) that is never negative.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; see the policy for what it computes with.

    Attributes:
        resumes_exactly: that what `save` writes is all that going on depends on; the benchmark relies on it.
        noise_seed: ``seed``, or what was drawn in its place.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {}
    resumes_exactly: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Bring the arguments of a learner to Python's types."""
        super().__init_subclass__()
        normalise(cls)

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule,
        *,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        if not callable(learning_rate):
            learning_rate = positive("learning_rate", learning_rate)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        seed = common.seed
        if env is None and _init_setup_model:
            raise ValueError("`env` is needed: an id, a ParallelEnv or a VecEnv. Received None")
        self.policy_name = self._alias(policy)
        super().__init__(
            self.policy_name,
            None if env is None else to_vec_env(env),
            learning_rate,
            tensorboard_log=tensorboard_log,
            verbose=common.verbose,
            device=device,
            support_multi_env=True,
            monitor_wrapper=False,
            seed=seed,
        )
        self.noise_seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._roster = Roster() if self.env is None else Roster.of(self.env)
        self._places = np.arange(self.n_tasks)  # the index of each of the env's tasks among ours
        self._rollouts: Rollouts | None = None
        self._setup_lr_schedule()
        if _init_setup_model:
            self.set_random_seed(seed)
            self._setup_model()

    @property
    def tasks(self) -> TaskSet | None:
        """The tasks; None where each row of the VecEnv is one of its own, or without an environment after `load`."""
        return self._roster.tasks

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return self._roster.n_tasks

    def _alias(self, policy: str | type[BasePolicy]) -> str:
        for name, kind in self.policy_aliases.items():
            if policy == name or policy is kind:
                return name
        raise unknown("policy", policy, self.policy_aliases)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        del verbose, monitor_wrapper
        return to_vec_env(env)

    # What a learner adds.

    @abstractmethod
    def _policy_arguments(self) -> dict[str, Any]:
        """Constructor arguments of the policy, besides its spaces; JSON-native."""

    @abstractmethod
    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        """Create ``self.policy`` and other modules; the policy's arguments are given when a file says them."""

    @abstractmethod
    def collect_rollouts(self) -> tuple[Rollouts, int]:
        """Observe every task that comes up once; returns what happened and the number of environment steps."""

    @abstractmethod
    def train(self) -> None:
        """Learn from ``self._rollouts``."""

    @abstractmethod
    def _policy_of(self, task: int) -> BasePolicy:
        """A copy of one task's policy."""

    @abstractmethod
    def _grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all; what has been learned of earlier ones stays."""

    def _parts(self) -> Parts:
        """What learning depends on, by name, see `state`; a learner with more than its policy extends this."""
        return {"policy": self.policy}

    def _suffices(self, n_episodes: int, n_steps: int) -> bool:
        """Whether there is something to train on; not without whole episodes, as when a budget ended them all."""
        return n_episodes > 0 and n_steps > 0

    def _counters(self) -> dict[str, int]:
        """Whole numbers that learning depends on; a learner with more of them extends this."""
        return {name: getattr(self, name) for name in ("n_tasks", "noise_seed", "num_timesteps", "_n_updates")}

    def _settle(self, given: Set[str]) -> None:
        """Let what follows from others follow, after tensors of these dotted names were replaced from outside.

        A learner with such parts, or with parameters that must keep conditions, extends this. A `CheckpointError` that
        it raises undoes the replacement.
        """

    # Acting and learning.

    def for_task(self, task: int | Task) -> BasePolicy:
        """The policy of one task as it is now, a copy; `evaluate_policy` accepts it.

        Args:
            task: its index, or a `Task` such as ``tasks[3]``, found by its uid.

        Raises:
            UnknownNameError: no such task.
        """
        return self._policy_of(self._roster.index(task))

    def add_tasks(self, tasks: NewTasks) -> Self:
        """Take up further tasks, behind those that are known.

        They have a policy at once, the one the learner has for tasks it hasn't seen. To learn in them, call `set_env`
        with an environment in which they come up: one with some or all of the tasks known then.

        Args:
            tasks: a `TaskSet`, its JSON form, or dicts of parameters, which get new uids. Tasks that are known already
                stay as they are.

        Raises:
            ValueError: tasks of another family, or with the uid of a known task but other values, or there are no
                parameters to know tasks by; nothing has changed then.
        """
        roster = self._roster.extended(tasks)
        if roster.n_tasks > self.n_tasks:
            self._grow(roster.n_tasks)
        self._roster = roster
        return self

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn in whole sweeps until at least ``total_timesteps`` environment steps were taken, or an env's budget.

        Args:
            total_timesteps: of all tasks together; 0: none.
            callback: SB3 callbacks; see the class for when they are called. One that returns False stops.
            log_interval: sweeps between two log entries; None: never.
            tb_log_name: name of the run in TensorBoard; default: the class's.
            reset_num_timesteps: count from 0 again; what was learned stays.
            progress_bar: show one.

        Raises:
            ValueError: bad arguments, or, before training on it, a learning rate that is negative or not finite.
        """
        if self.env is None:
            raise ValueError("the model was loaded without an environment: pass `env` to `load`, or call `set_env`")
        total_timesteps = sweeps.budget(total_timesteps, log_interval)
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name or type(self).__name__, progress_bar
        )
        callback.on_training_start(locals(), globals())
        iteration, go_on = 0, True
        while go_on and self.num_timesteps < total_timesteps:
            before_steps(self.env, 0)
            callback.on_rollout_start()
            self._rollouts, n_steps = self.collect_rollouts()
            infos, dones = sweeps.episodes(self._rollouts, self.start_time)
            self._update_info_buffer(infos)
            callback.update_locals(locals())
            callback.on_rollout_end()
            self.num_timesteps += n_steps
            if not self._suffices(len(dones), n_steps):
                go_on = n_steps > 0
                continue
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            sweeps.train(self)
            self._n_updates += 1
            iteration += 1
            if log_interval is not None and iteration % log_interval == 0:
                self.dump_logs(iteration)
            callback.update_locals({"iteration": iteration, "dones": dones})
            go_on = callback.on_step()
        callback.on_training_end()
        return self

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """From 1 to 0, and no further: the last sweep may overshoot."""
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._current_progress_remaining = min(max(self._current_progress_remaining, 0.0), 1.0)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        if progress_bar:
            callbacks = callback if isinstance(callback, list) else [callback]
            converted = [c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in callbacks]
            callback = CallbackList([*converted, sweeps.SweepProgressBar()])
        return super()._init_callback(callback)

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log of the last sweep."""
        elapsed = max((time.time_ns() - self.start_time) / 1e9, sys.float_info.epsilon)
        record = self.logger.record
        self._log_rollouts()
        if iteration > 0:
            record("time/iterations", iteration, exclude="tensorboard")
        record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / elapsed))
        record("time/time_elapsed", int(elapsed), exclude="tensorboard")
        record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _log_rollouts(self) -> None:
        """Record what the last sweep's episodes earned."""
        if self._rollouts is not None:
            of_task = self._rollouts.returns.mean(axis=1)
            self.logger.record("rollout/ep_rew_mean", float(of_task.mean()))
            self.logger.record("rollout/ep_rew_worst_task", float(of_task.min()))
            self.logger.record("rollout/ep_len_mean", float(self._rollouts.steps.mean()))

    def _step_size(self) -> float:
        """The learning rate now; `ValueError` where a schedule says what is none."""
        progress = self._current_progress_remaining
        step = number(f"learning_rate({progress:g})", self.lr_schedule(progress))
        self.logger.record("train/learning_rate", step)
        return step

    # Parameters and files.

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, with some or all of the tasks.

        Raises:
            ValueError: other spaces or unknown tasks; nothing has changed then.
        """
        venv = to_vec_env(env)
        check_for_correct_spaces(venv, self.observation_space, self.action_space)
        roster, places = self._roster.joined(venv)
        self.n_envs = venv.num_envs
        super().set_env(venv, force_reset)
        self._roster, self._places = roster, places

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """What was learned: the ``state_dict`` of each module and optimiser, by name."""
        return persistence.parameters_of(self)

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """Replace what was learned by a model file's contents or by `get_parameters` of another model.

        Args:
            load_path_or_dict: path of a model file, or the ``state_dict`` of modules and optimisers by name.
            exact_match: everything must be there; else only what is given is replaced.
            device: not used: tensors stay where they are.

        Raises:
            CheckpointError: names, shapes or values that don't fit, or parts that follow from others, which must be
                replaced instead; nothing has changed then.
            TypeError: neither a path, nor a file, nor a mapping.
        """
        del device
        persistence.set_parameters(self, load_path_or_dict, flag("exact_match", exact_match))

    def save(
        self,
        path: checkpoint.Target,  # type: ignore[override]  # any path, not only SB3's kinds
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write a model file from which learning goes on exactly as if it had not been interrupted.

        Args:
            path: where; ``.zip`` is added where there is no suffix, missing folders are made.
            exclude: must be None: a model file holds exactly what learning needs.
            include: must be None.

        Raises:
            TypeError: ``path`` is neither a path nor a binary file.
            CheckpointError: `load` would refuse the file, say, for parameters that aren't finite; none is written then.
        """
        if exclude is not None or include is not None:
            raise ValueError("`exclude` and `include` must be None: a model file holds exactly what learning needs")
        checkpoint.check_target(path, "write")
        checkpoint.write(path, persistence.content(self))

    @classmethod
    def load(  # type: ignore[override]  # any path, and any env that the constructor takes
        cls,
        path: checkpoint.Target,
        env: Any = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Read a model file. Nothing in it is executed.

        Args:
            path: where, with or without ``.zip``.
            env: to go on learning in, with some or all of the tasks; None: for acting only.
            device: see the class.
            custom_objects: must be None: nothing is unpickled that could be replaced.
            print_system_info: print the versions that wrote the file.
            force_reset: not used: every sweep begins with new episodes.
            **kwargs: constructor arguments that replace the saved ones.

        Raises:
            FileNotFoundError: no such file.
            TypeError: ``path`` is neither a path nor a binary file.
            CheckpointError: truncated, foreign, of another learner, or it doesn't fit ``env``.
        """
        del force_reset
        if custom_objects is not None:
            raise ValueError("`custom_objects` must be None: nothing is unpickled that could be replaced")
        venv = None if env is None else to_vec_env(env)
        return persistence.load(cls, path, venv, device, kwargs, print_system_info)
