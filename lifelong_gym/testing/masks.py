"""Whether observations of entities say who is there as the family's ``present`` does."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.envs.backends.family_simulator import FamilySimulator, family_simulator
from lifelong_gym.envs.backends.simulator_rows import EpisodeStream, KernelSimulator, kernel_simulator
from lifelong_gym.envs.family import Family, KernelFamily, SimulatorFamily, reward_name
from lifelong_gym.envs.spaces import Entities
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.testing.common import SEED, draw_actions, task_sets


def check_masks(id: str, kind: Family, settings: dict[str, Any]) -> None:
    """The last channel of each entity is 1 or 0; where an action has a number an entity, as ``present`` says.

    Whoever reads the observation leaves out those that are absent, and the codec of the actions gives them nothing:
    both must mean the same ones, from the first observation to the last.
    """
    if not isinstance(kind.observations, Entities):
        return
    horizon = settings.get("horizon") or kind.horizon
    for name, tasks in task_sets(kind, 8).items():
        actions = draw_actions(kind, (len(tasks), horizon)).reshape(len(tasks), horizon, -1).astype(np.float64)
        for task in range(len(tasks)):
            _check_episode(id, kind, _simulator(kind, tasks, task, settings), actions[task], f"{name}, task {task}")


def _simulator(kind: Family, tasks: TaskSet, task: int, settings: dict[str, Any]) -> KernelSimulator | FamilySimulator:
    """At the start of an episode."""
    reward = reward_name(kind, tasks.preset, settings.get("reward"))
    made: KernelSimulator | FamilySimulator
    if isinstance(kind, KernelFamily):
        made = kernel_simulator(kind, tasks, reward, False)(task)
    else:
        assert isinstance(kind, SimulatorFamily)
        made = family_simulator(kind, tasks, reward, False)(task)
    made.reset(EpisodeStream(task, 0, philox.row_key(SEED + task)))
    return made


def _check_episode(
    id: str, kind: Family, simulator: KernelSimulator | FamilySimulator, actions: FloatArray, where: str
) -> None:
    _check_now(id, kind, simulator, f"{where}, after `reset`")
    for step, action in enumerate(actions):
        _, terminated, _ = simulator.step(tuple(action.tolist()), step)
        _check_now(id, kind, simulator, f"{where}, step {step}")
        if terminated:
            break
    simulator.close()


def _check_now(id: str, kind: Family, simulator: KernelSimulator | FamilySimulator, where: str) -> None:
    codec = kind.observations
    assert isinstance(codec, Entities)
    seen = codec.blocks(np.asarray(simulator.observe()))[:, -1]
    if not np.isin(seen, (0.0, 1.0)).all():
        i = int(np.flatnonzero(~np.isin(seen, (0.0, 1.0)))[0])
        raise AssertionError(f"{id}: the last channel of entity {i} must be 1 or 0 ({where}). Received {seen[i]:g}")
    there = np.array(simulator.present())
    if kind.actions.size == codec.m and not np.array_equal(seen, there):
        shown = ["(" + ", ".join(f"{x:g}" for x in values) + ")" for values in (there, seen)]
        raise AssertionError(
            f"{id}: observations must say who is there as `present` does, {shown[0]} ({where}). Received {shown[1]}; "
            "a family without `present` has everybody there"
        )
