"""What a learner may know of the environment it was given: which tasks there are and which row is in which."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family, KnownFamily
from lifelong_gym.numerics.arrays import BoolArray, IntArray
from lifelong_gym.registry import family, own_arguments
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import Budget, CoreVecEnv, HiddenTasks, ParameterSharing, as_vec_env
from lifelong_gym.wrappers.bridge import Bridge


def to_vec_env(env: Any) -> VecEnv:
    """Whatever a learner accepts as ``env``, as a VecEnv: see `as_vec_env`; a single Gymnasium env is one row."""
    if isinstance(env, gym.Env):
        from stable_baselines3.common.vec_env import DummyVecEnv

        return DummyVecEnv([lambda: env])
    return as_vec_env(env)


def core_of(env: VecEnv) -> Core | None:
    """The core that a VecEnv of ours drives, through wrappers; None for any other."""
    inner = env.unwrapped
    return inner.core if isinstance(inner, CoreVecEnv) else None


def tasks_of(env: VecEnv) -> TaskSet | None:
    """The tasks that all rows share, as infos name them; None where each row is a task of its own."""
    core = core_of(env)
    if core is not None:
        return None if core.settings.hide_task_id else core.tasks
    if not env.has_attr("tasks"):
        return None
    first, *others = env.get_attr("tasks")
    return first if isinstance(first, TaskSet) and all(tasks == first for tasks in others) else None


def n_tasks_of(env: VecEnv) -> int:
    """Number of tasks."""
    tasks = tasks_of(env)
    return env.num_envs if tasks is None else len(tasks)


def present_tasks(env: VecEnv) -> IntArray:
    """The tasks that come up in the env as it is now, in increasing order."""
    inner = env.unwrapped
    if not isinstance(inner, CoreVecEnv) or inner.core.settings.hide_task_id:
        return np.arange(n_tasks_of(env))
    return inner.present


def in_rounds(env: VecEnv) -> bool:
    """Whether rows are agents that stay in their tasks until they are told to go on."""
    core, inner = core_of(env), env.unwrapped
    return inner.in_rounds if isinstance(inner, HiddenTasks) else core is not None and core.walk.in_rounds


def budget_of(env: VecEnv) -> Budget | None:
    """What limits the steps of each task; None where nothing does."""
    inner = env.unwrapped
    return inner.budget if isinstance(inner, CoreVecEnv) else None


def before_steps(env: VecEnv, n_steps: int) -> None:
    """Tell whoever counts that at most so many steps, perhaps none yet, are about to be taken."""
    inner = env.unwrapped
    if isinstance(inner, (CoreVecEnv, HiddenTasks)):
        inner.before_steps(n_steps)


def idle_rows(env: VecEnv) -> BoolArray:
    """Rows that no step is left for, shape (num_envs,)."""
    inner = env.unwrapped
    return inner.idle if isinstance(inner, (CoreVecEnv, HiddenTasks)) else np.zeros(env.num_envs, bool)


def task_of_rows(env: VecEnv) -> IntArray:
    """The task of each row's current episode, shape (num_envs,).

    Raises:
        ValueError: several tasks share the rows, but the infos hide which.
    """
    core = core_of(env)
    tasks = tasks_of(env)
    if tasks is None:
        if _walks_in_hiding(env):
            raise ValueError("the environment's rows change their task but `hide_task_id=True` hides which it is")
        return np.arange(env.num_envs)
    if core is not None:
        return core.task_of_row.copy()
    return np.array([info["task_id"] for info in env.unwrapped.reset_infos], np.int64)


def _walks_in_hiding(env: VecEnv) -> bool:
    """Whether rows are single envs of ours whose tasks are hidden: these walk through all of them."""
    if isinstance(env.unwrapped, Bridge) or not env.has_attr("hide_task_id"):
        return False
    return any(env.get_attr("hide_task_id"))


def sharing_of(env: VecEnv) -> ParameterSharing | None:
    """What the environment's agents exchange parameters by; None where they don't."""
    sharing = getattr(env.unwrapped, "sharing", None)
    return sharing if isinstance(sharing, ParameterSharing) else None


def fused_core(env: VecEnv) -> Core | None:
    """The core, if `lifelong_gym.rollout` simulates exactly what stepping ``env`` would; else None.

    Wrappers may change anything: those are stepped.
    """
    if not isinstance(env, CoreVecEnv) or not env.can_rollout or tasks_of(env) is None:
        return None
    return env.core if env.core.settings.backend in ("numba", "numpy") else None


def units_of(env: VecEnv) -> dict[str, tuple[float, ...]]:
    """The family's ``feature_scale`` and ``action_bound``; empty where observations are not the family's own."""
    kind = _family_of(env)
    if kind is None or not kind.actions.bound or not kind.observations.is_vector:
        return {}
    if env.observation_space != kind.observations.space or unwrap_vec_normalize(env) is not None:
        return {}
    return {"feature_scale": kind.feature_scale, "action_bound": kind.actions.bound}


def _family_of(env: VecEnv) -> Family | KnownFamily | None:
    core, inner = core_of(env), env.unwrapped
    if isinstance(inner, HiddenTasks):
        return inner.family
    if core is not None:
        return core.family
    if tasks_of(env) is None:
        return None
    spec = env.get_attr("spec")[0]
    name = None if spec is None else spec.kwargs.get("family")
    return None if name is None else family(name, **own_arguments(name, spec.kwargs))
