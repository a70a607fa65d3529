"""What a reader expects beside every result: doing nothing, chance, and the best policies that are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.lines import check_levels
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references import reference
from lifelong_gym.registry import family
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import CoreVecEnv, HiddenTasks

N_RANDOM_EPISODES = 64

Actions = npt.NDArray[Any]


class Random:
    """Actions uniform over the action space."""

    def __init__(self, env: CoreVecEnv | HiddenTasks, seed: int = 0) -> None:
        """Take the action space."""
        self._actions = env.family.actions
        self._rng = np.random.default_rng(seed)

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Actions:
        """One action a row."""
        return self._actions.draw(self._rng, (len(observations),))


class Zero:
    """The action 0: doing nothing."""

    def __init__(self, env: CoreVecEnv | HiddenTasks, seed: int = 0) -> None:
        """Take the action space.

        Raises:
            ValueError: discrete actions.
        """
        rest = env.family.actions.rest
        if rest is None:
            raise ValueError(f"`zero` needs continuous actions, `random` doesn't. Received {env.action_space}")
        self._rest = rest

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Actions:
        """One action a row."""
        return np.tile(self._rest, (len(observations), 1))


class BestKnown:
    """The best policy known of each task, as the family names it."""

    def __init__(self, env: CoreVecEnv, seed: int = 0) -> None:
        """Solve every task.

        Raises:
            ValueError: the family names no reference.
        """
        core = env.core
        best = reference.reference_of(core.family, core.tasks, core.reward, core.horizon)
        if best is None:
            raise ValueError(f"`reference` needs a family that names its own. {type(core.family).__name__} names none")
        self._best = best

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Actions:
        """One action a row, of which the i-th is in task ``i mod n_tasks``."""
        return np.asarray(self._best.predict(observations))


def measured_references(
    env_id: str, tasks: TaskSet, n_episodes: int, seed: int, **arguments: Any
) -> dict[str, Any] | None:
    """Solve the tasks and measure what that is worth, see `measured`.

    None where the family names no reference, or one that is no better than doing nothing.
    """
    known = reference.reference_of(family(env_id, **arguments), tasks)
    return None if known is None or not known.leaves_room() else measured(known, env_id, n_episodes, seed)


def measured(
    known: reference.Reference, env_id: str, n_episodes: int, seed: int, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The returns that others are compared with, on the very episodes of an `Evaluation`.

    Args:
        known: the best policies.
        env_id: of the family.
        n_episodes: a task.
        seed: of the episodes.
        settings: of the envs. Under other ``physics`` than the family's own, what the best policies known for those
            earn is measured, whatever the family says of them.

    Returns:
        The reference's ``version``, ``how`` it finds the best, and per task: ``best``; ``random``; ``zero``, which
        becomes 0 on the normalised scale: doing nothing, or ``random`` where that has no meaning.

    Raises:
        ValueError: its returns don't fit the tasks, or leave nothing to normalise by.
    """
    tasks, made_with = known.tasks, {**(settings or {}), **known.family.given_arguments}
    env = CoreVecEnv.of(LifelongVectorEnv(env_id, len(tasks), tasks=tasks, **made_with))
    episodes = Evaluation.of(env_id, tasks, n_episodes, seed, "hide", made_with)
    chance = Evaluation.of(env_id, tasks, max(n_episodes, N_RANDOM_EPISODES), seed, "hide", made_with)

    def measure(policy: Any) -> FloatArray:
        means: FloatArray = episodes.measure(policy).returns.mean(axis=1)
        return means

    random = chance.measure(Random(env)).returns.mean(axis=1)
    zero = known.zero(measure)
    if zero is None:
        zero = random if known.family.actions.rest is None else measure(Zero(env))
    best = measure(known) if "physics" in (settings or {}) else known.best(measure)
    levels = {"best": best, "zero": zero, "random": random}
    check_levels(levels, len(tasks), f"{env_id}: ")
    lists = {name: np.asarray(values, np.float64).tolist() for name, values in levels.items()}
    return {"version": known.version, "how": known.how, **lists}
