"""DistMTLSVI in linear processes whose values are known: Theorem 1 and Lemmas 1 to 4 in numbers, and what covers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pettingzoo

from lifelong_gym.agents import DistMTLSVI
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.optima import policy_return
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongLinearMDP-v0"
BOUNDS = (0.25, 0.5, 1.0, 2.0, 6.0)  # rounds of all agents over M log(M / delta), of which the paper has the last


def rounds_of(n_tasks: int, n_agents: int, delta: float, factor: float = 6.0) -> int:
    """T of Theorem 1, whose factor is 6.

    >>> rounds_of(10, 10, 0.05)
    32
    """
    return math.ceil(factor * n_tasks * math.log(n_tasks / delta) / n_agents)


class Truth:
    """Which tasks agents are in, and what policies are worth there, which no agent knows."""

    def __init__(self, model: DistMTLSVI) -> None:
        """Of a learner before its first round."""
        self.model, self.core = model, model.env.unwrapped.core  # type: ignore[union-attr]
        self.models = [tabular_model(self.core.family, task) for task in self.core.tasks]
        self.best = np.array([task["value"] for task in self.core.tasks])
        uniform = [np.full(each.R.shape, 1.0 / each.n_actions) for each in self.models]
        pairs = zip(self.models, uniform, strict=True)
        self.random = np.array([policy_return(model, policy, self.core.horizon) for model, policy in pairs])
        self.founders: list[int] = []  # the task that each label was given to first
        self.worth: dict[tuple[int, int], float] = {}

    def look(self) -> tuple[list[int], list[bool], list[float]]:
        """After a round: tasks of all agents, whether labels are right, and what policies miss of the headroom."""
        tasks, labels = self.core.task_of_row.tolist(), self.model.labels.tolist()
        for label, task in zip(labels, tasks, strict=True):
            if label == len(self.founders):
                self.founders.append(task)
        right = [self.founders[label] == task for label, task in zip(labels, tasks, strict=True)]
        return tasks, right, [self.missed(*pair) for pair in zip(labels, tasks, strict=True)]

    def missed(self, label: int, task: int) -> float:
        """(V* - V of a label's policy) / (V* - V of acting at random)."""
        if (label, task) not in self.worth:
            model = self.models[task]
            greedy = np.eye(model.n_actions)[self.model.policy.table[label]]
            lost = self.best[task] - policy_return(model, greedy, self.core.horizon)
            self.worth[label, task] = float(lost / (self.best[task] - self.random[task]))
        return self.worth[label, task]


def learner(settings: Values) -> DistMTLSVI:
    """Agents that draw tasks, as settings have them; every seed draws its own tasks."""
    given = {"preset": settings["preset"], "n_tasks": settings["n_tasks"], "task_seed": settings["seed"]}
    rounds = {"n_agents": settings["n_agents"], "schedule": {"rounds": "uniform"}}
    env = pettingzoo.make("parallel", ID, d=settings["d"], **given, **rounds)
    names = ("constants", "identify", "reuse", "pool", "k1", "k2", "c", "c_sep", "delta", "seed")
    own = {name: settings[name] for name in names}
    return DistMTLSVI("LookupPolicy", as_vec_env(env), max_tasks=settings["n_tasks"], **own)


def learn(settings: Values, progress: Progress) -> dict[str, Any]:
    """T rounds; shares of agents and rounds, errors in c_sep, and episodes and bytes an agent.

    ``solved_episodes``, ``solved_bytes``: until each task has a label whose policy misses at most ``epsilon`` of its
    headroom; at the end, with ``solved`` 0, where that never comes. ``episodes``: after T rounds; of those that aren't
    run, because all is solved (``stops``) or there would be too many, each takes K1.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # counted below
        model = learner(settings)
        truth, n = Truth(model), settings["n_agents"]
        theirs = rounds_of(settings["n_tasks"], n, settings["delta"])
        n_rounds = min(theirs, settings["most_rounds"])
        right, missed, until, met = list[bool](), list[float](), None, set[int]()
        for round in range(n_rounds):
            model.learn(1, log_interval=None)
            tasks, told, lost = truth.look()
            met.update(tasks)
            right, missed = right + told, missed + lost
            if until is None and is_solved(truth, settings["epsilon"]):
                until = spent(model, n)
            progress((round + 1) / n_rounds)
            if until is not None and settings["stops"]:
                break
    end, most = spent(model, n), settings["epsilon"]
    solved = end if until is None else until
    left = (theirs - round - 1) * model.exploration.k1  # rounds in which all is known
    return {
        **{"identified": float(np.mean(right)), "optimal": float(np.mean(np.array(missed) <= most))},
        **{"worst": max(missed), "solved": int(until is not None), "covered": len(met) / settings["n_tasks"]},
        **{"solved_episodes": solved[0], "solved_bytes": solved[1], "episodes": end[0] + left, "bytes": end[1]},
        **{"clusters": len(model.clusters), "warnings": sum(len(cluster.warnings) for cluster in model.clusters)},
        **errors(truth, settings["c_sep"]),
        "alone": settings["n_tasks"] * model.exploration.k2,
        "floor": model.exploration.k1 + (0 if settings["pool"] else model.exploration.k2),
    }


def is_solved(truth: Truth, epsilon: float) -> bool:
    """Whether each task has a policy of its own label."""
    good = {task for label, task in enumerate(truth.founders) if truth.missed(label, task) <= epsilon}
    return len(good) == len(truth.models)


def spent(model: DistMTLSVI, n_agents: int) -> tuple[float, float]:
    """Episodes and bytes, the mean of agents."""
    return float(model.episodes.mean()), model.channel.ledger.bytes / n_agents


def errors(truth: Truth, c_sep: float) -> dict[str, float]:
    """Of the values by which tasks are told apart, in c_sep: optimism, bias, and what lies in one cluster."""
    clusters = truth.model.clusters
    pairs = zip(clusters, truth.founders, strict=True)
    off = np.concatenate([np.array(cluster.values) - truth.best[task] for cluster, task in pairs]) / c_sep
    spread = max(cluster.spread for cluster in clusters) / c_sep
    within = {"eighth": float((np.abs(off) <= 1 / 8).mean()), "optimistic": float((off >= -1e-9).mean())}
    return {**within, "bias": float(off.mean()), "largest": float(np.abs(off).max()), "spread": float(spread)}


def coverage(settings: Values, progress: Progress) -> dict[str, Any]:
    """How often all tasks were met after so many rounds (Lemma 4), and what permutations leave to learn from scratch.

    ``covered``: by multiples of M log(M / delta), which `BOUNDS` names; ``scratch``: tasks that an agent learns where
    nobody has finished them before, beside sum_k (1 - k/M)^(N-1).
    """
    rng, m, n = np.random.default_rng(settings["seed"]), settings["n_tasks"], settings["n_agents"]
    lengths = [n * rounds_of(m, n, settings["delta"], bound) for bound in BOUNDS]
    drawn = rng.integers(0, m, (settings["draws"], max(lengths)))
    covered = [float(np.mean([len(set(row[:length])) == m for row in drawn])) for length in lengths]
    orders = np.argsort(rng.random((settings["draws"], n, m)), axis=-1).argsort(axis=-1)  # when each task comes
    scratch = (orders == orders.min(axis=1, keepdims=True)).sum(axis=-1).mean()
    progress(1.0)
    expected = expected_scratch(m, n)
    return {
        **{"covered": {"at": BOUNDS, "values": covered}, "half": covered[1], "one": covered[2], "six": covered[4]},
        **{"scratch": float(scratch), "expected": expected, "speed_up": m / expected},
    }


def expected_scratch(n_tasks: int, n_agents: int) -> float:
    """sum_k (1 - k/M)^(N-1): tasks that an agent learns from scratch, everybody in an order of its own.

    >>> round(10 / expected_scratch(10, 5), 2)
    3.95
    """
    shares: FloatArray = 1.0 - np.arange(n_tasks) / n_tasks
    return float((shares ** (n_agents - 1)).sum())
