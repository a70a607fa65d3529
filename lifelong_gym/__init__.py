"""Environments and methods for lifelong, multi-task, decentralised and federated reinforcement learning.

Importing the package registers its environments with Gymnasium and PettingZoo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifelong_gym.imports import lazy
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

__getattr__ = lazy(
    __name__,
    {
        "envs.rollout": ["rollout"],
        "tasks.parameter_space": ["ParameterSpace", "Preset"],
        "tasks.parameters": ["Parameter"],
        "tasks.task_set": ["Task", "TaskSet"],
    },
)

register_all()
