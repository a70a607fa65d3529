"""What a reader expects beside every result: doing nothing, chance, and the best policies that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.agents.policies import LinearGaussianPolicy
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.references import REFERENCE_VERSION, best_actions, best_policies, reference_returns
from lifelong_gym.envs.family import Bounded, Continuous
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.tasks import TaskSet
from lifelong_gym.wrappers import CoreVecEnv

N_RANDOM_EPISODES = 64

Actions = npt.NDArray[Any]


class Random:
    """Actions uniform over the action space."""

    def __init__(self, env: CoreVecEnv, seed: int = 0) -> None:
        """Take the action space."""
        self._space = env.action_space
        self._rng = np.random.default_rng(seed)

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Actions:
        """One action a row."""
        n, space = len(observations), self._space
        if isinstance(space, spaces.Discrete):
            return self._rng.integers(space.start, space.start + space.n, n)
        assert isinstance(space, spaces.Box)
        return self._rng.uniform(space.low, space.high, (n, *space.shape)).astype(space.dtype)


class Zero:
    """The action 0: doing nothing."""

    def __init__(self, env: CoreVecEnv, seed: int = 0) -> None:
        """Take the action space.

        Raises:
            ValueError: discrete actions.
        """
        if not isinstance(env.action_space, spaces.Box):
            raise ValueError(f"`zero` needs continuous actions, `random` doesn't. Received {env.action_space}")
        self._space = env.action_space

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Actions:
        """One action a row."""
        return np.zeros((len(observations), *self._space.shape), self._space.dtype)


class Reference:
    """The best policy known of each task: linear ones by LQR and search, tables by value iteration."""

    def __init__(self, env: CoreVecEnv, seed: int = 0) -> None:
        """Solve every task."""
        family, tasks = env.core.family, env.core.tasks
        self._tables: npt.NDArray[np.int64] | None = None
        if not isinstance(family.actions, Continuous):
            self._tables = best_actions(family, tasks)
            return
        assert isinstance(family.observations, Bounded)
        self._policy = LinearGaussianPolicy(
            family.observations.space,
            env.action_space,
            n_policies=len(tasks),
            feature_scale=family.feature_scale,
            action_bound=family.actions.bound,
        )
        self._policy.thetas = best_policies(family, tasks, env.core.reward)

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Actions:
        """One action a row, of which the i-th is in task ``i mod n_tasks``."""
        if self._tables is not None:
            return self._tables[np.arange(len(observations)) % len(self._tables), observations]
        return np.asarray(self._policy.predict(observations, deterministic=True)[0])


def measured_references(env_id: str, tasks: TaskSet, n_episodes: int, seed: int) -> dict[str, Any]:
    """The returns that others are compared with, on the very episodes of an `Evaluation`.

    Returns:
        ``version`` of the reference controllers, and per task: ``best``, of `Reference` (for discrete families the
        exact expectation); ``random``; ``zero``, which becomes 0 on the normalised scale: doing nothing, or
        ``random`` where actions are discrete.
    """
    env = CoreVecEnv.of(LifelongVectorEnv(env_id, len(tasks), tasks=tasks))
    family = env.core.family
    episodes = Evaluation.of(env_id, tasks, n_episodes, seed, "hide")
    chance = Evaluation.of(env_id, tasks, max(n_episodes, N_RANDOM_EPISODES), seed, "hide")
    random = chance.measure(Random(env)).returns.mean(axis=1)
    if isinstance(family.actions, Continuous):
        zero = episodes.measure(Zero(env)).returns.mean(axis=1)
        best = episodes.measure(Reference(env)).returns.mean(axis=1)
    else:
        zero, best = random, reference_returns(family, tasks, env.core.reward)
    return {"version": REFERENCE_VERSION, "best": best.tolist(), "zero": zero.tolist(), "random": random.tolist()}
