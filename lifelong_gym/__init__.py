"""Environments and methods for lifelong, multi-task, decentralised and federated reinforcement learning.

Importing the package registers its environments with Gymnasium and PettingZoo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lifelong_gym.registry import family, register_all, register_family, sample_tasks

if TYPE_CHECKING:
    from lifelong_gym.envs.rollout import rollout
    from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
    from lifelong_gym.tasks.parameters import Parameter
    from lifelong_gym.tasks.task_set import Task, TaskSet

__version__ = "0.1.0"
__all__ = [
    "Parameter",
    "ParameterSpace",
    "Preset",
    "Task",
    "TaskSet",
    "family",
    "register_family",
    "rollout",
    "sample_tasks",
]

_LAZY = {
    "Parameter": "lifelong_gym.tasks.parameters",
    "ParameterSpace": "lifelong_gym.tasks.parameter_space",
    "Preset": "lifelong_gym.tasks.parameter_space",
    "Task": "lifelong_gym.tasks.task_set",
    "TaskSet": "lifelong_gym.tasks.task_set",
    "rollout": "lifelong_gym.envs.rollout",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_all()
