"""Learners of all studies: so many rounds, or so many steps, and what is noted in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pettingzoo
from stable_baselines3.common.callbacks import BaseCallback

from lifelong_gym import registry
from lifelong_gym.agents import DCPG
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.wrappers import ParameterSharing

ENDLESS = 10**12  # steps: callbacks end the learning
N_MARKS = 21


class RoundMarks(BaseCallback):
    """Calls a function before learning and after so many rounds, and ends the learning after the last of these."""

    def __init__(self, marks: Sequence[int], note: Callable[[int], None], progress: Progress) -> None:
        """See the class."""
        super().__init__()
        self._marks, self._note, self._progress, self._done = set(marks), note, progress, 0

    def _on_training_start(self) -> None:
        self._note(0)

    def _on_step(self) -> bool:
        self._done += 1
        if self._done in self._marks:
            self._note(self._done)
            self._progress(self._done / max(self._marks))
        return self._done < max(self._marks)


def marks(rounds: int) -> list[int]:
    """Rounds after which something is noted, each about as many times the one before.

    >>> marks(8)
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    return [0, *sorted({round(n) for n in np.geomspace(1, rounds, N_MARKS)})]


def tables(env: str, tasks: Any, settings: Values, **more: Any) -> DCPG:
    """Tables of logits, an agent a task unless ``nodes`` say otherwise, as settings have them."""
    sharing = {name: settings[name] for name in ("topology", "nodes", "weights") if settings[name]}
    if sharing.get("weights") == "none":
        sharing["weights"] = np.eye(len(tasks))
    if sharing.get("nodes") == "one":
        sharing["nodes"] = {"all": [f"task_{i}" for i in range(len(tasks))]}
    rows = pettingzoo.make("parallel", env, tasks=tasks)
    own = {name: settings[name] for name in ("base", "form", "relative_entropy", "seed")}
    base = {"gamma": settings["gamma"], **more.pop("base_kwargs", {})}
    return DCPG("SoftmaxPolicy", ParameterSharing(rows, **sharing), settings["rate"], base_kwargs=base, **own, **more)


def learn(model: DCPG, rounds: int, note: Callable[[int], None], progress: Progress) -> None:
    """All rounds, noting now and then."""
    model.learn(ENDLESS, callback=RoundMarks(marks(rounds), note, progress), log_interval=None)


def exact(env: str, tasks: Sequence[Any]) -> list[TabularModel]:
    """Exact models of tasks."""
    return [tabular_model(registry.family(env), task) for task in tasks]


def policies(model: DCPG) -> list[Any]:
    """All agents' own."""
    return [agent.policy for agent in model.agents]


def thetas(model: DCPG) -> FloatArray:
    """Logits of all agents, (n_agents, n_states, n_actions)."""
    return np.stack([policy.theta for policy in policies(model)])


def sent(model: DCPG, settings: Values) -> int:
    """Bytes; agents that learn alone hear nothing, whatever the channel counts."""
    return 0 if settings["weights"] == "none" else int(model.channel.ledger.bytes)
