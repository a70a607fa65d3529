"""Learners that act: by as much of Stable-Baselines3's signature as they take, in all rows or in some."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np


class Acting:
    """Calls ``learner.predict`` with as much of SB3's signature as it takes, from the beginning of episodes on."""

    def __init__(self, learner: Any) -> None:
        """Look at the signature."""
        parameters = inspect.signature(learner.predict).parameters
        any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        self._takes = {name for name in ("state", "episode_start", "deterministic") if any_name or name in parameters}
        self._predict = learner.predict
        self._state: Any = None
        self._is_first = True

    def __call__(self, observations: Any) -> Any:
        """Actions of all rows."""
        given = {
            "state": self._state,
            "episode_start": np.full(len(observations), self._is_first),
            "deterministic": True,
        }
        answer = self._predict(observations, **{name: given[name] for name in self._takes})
        self._is_first = False
        if not isinstance(answer, tuple):
            return answer
        actions, self._state = answer
        return actions


class InTask:
    """A learner's policy in one of its tasks, for learners that have no ``for_task``.

    ``predict`` gets a batch of a row a task, as in an evaluation, of which one row counts.
    """

    def __init__(self, learner: Any, task: int, n_tasks: int) -> None:
        """Nothing is asked yet."""
        self._act, self._task, self._n_tasks = Acting(learner), task, n_tasks

    def predict(self, observation: Any, deterministic: bool = True) -> tuple[Any, None]:
        """The deterministic action for one observation."""
        return self._act(np.stack([observation] * self._n_tasks))[self._task], None


class Met:
    """A learner whose agents have met the task that all rows are in.

    Args:
        learner: has ``predict``, which is asked where an agent has no policy of its own.
        policies: what each agent's meeting returned: something with ``predict``, for batches of one row, or None.
    """

    def __init__(self, learner: Any, policies: Sequence[Any]) -> None:
        """See the class."""
        self._learner = learner
        self._policies = {agent: policy for agent, policy in enumerate(policies) if policy is not None}
        self._is_asked = len(self._policies) < len(policies)

    def predict(self, observations: Any, state: Any = None) -> tuple[Any, Any]:
        """Deterministic actions of all agents, and who acts in the rest of the episode."""
        everybody, own = state or (
            Acting(self._learner),
            {agent: Acting(policy) for agent, policy in self._policies.items()},
        )
        actions = {agent: np.asarray(act(observations[[agent]]))[0] for agent, act in own.items()}
        if not self._is_asked:
            return np.stack(list(actions.values())), (everybody, own)
        shared = np.array(everybody(observations))
        for agent, action in actions.items():
            shared[agent] = action
        return shared, (everybody, own)
