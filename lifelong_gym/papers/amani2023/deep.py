"""SharedExperienceDQN: agents go through the tasks in orders of their own, and are tested in all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pettingzoo
import torch as th

from lifelong_gym import registry
from lifelong_gym.agents import SharedExperienceDQN
from lifelong_gym.agents.deep.continual.library import Library
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.optima import policy_return
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.papers.sweeps import EVALUATION_SEED, Progress, Values
from lifelong_gym.wrappers import Faults, ParameterSharing, as_vec_env

NOISE = 0.05  # of greedy policies in tests


def sizes(settings: Values) -> dict[str, Any]:
    """What environments are made with, beside their tasks."""
    return {"horizon": settings["horizon"], **settings["env_arguments"]}


class Exact:
    """Expected returns where all is known: 5% noise, the horizon of the env."""

    def __init__(self, settings: Values) -> None:
        """Of the tasks."""
        family = registry.family(settings["env"])
        self.horizon = int(settings["horizon"])
        self.models: list[TabularModel] = [tabular_model(family, task) for task in settings["tasks"]]
        n, self.n_actions = self.models[0].R.shape
        self.seen = np.arange(n)
        self.random = [self._worth(task, np.full((n, self.n_actions), 1 / self.n_actions)) for task in self.tasks]

    @property
    def tasks(self) -> range:
        """Their numbers."""
        return range(len(self.models))

    def __call__(self, policies: Sequence[Any]) -> list[float]:
        """Of one policy a task; those that are the same one are asked once."""
        asked = {id(policy): policy for policy in policies}
        best = {key: policy.predict(self.seen, deterministic=True)[0] for key, policy in asked.items()}
        greedy = {key: (1 - NOISE) * np.eye(self.n_actions)[at] + NOISE / self.n_actions for key, at in best.items()}
        return [self._worth(task, greedy[id(policy)]) for task, policy in enumerate(policies)]

    def _worth(self, task: int, policy: FloatArray) -> float:
        return policy_return(self.models[task], policy, self.horizon)


class Sampled:
    """Mean returns of so many episodes a task, which all begin alike for everybody; 5% noise."""

    def __init__(self, settings: Values) -> None:
        """Of the tasks."""
        self.env: Any = as_vec_env(settings["env"], tasks=settings["tasks"], **sizes(settings))
        actions: Any = self.env.action_space
        self.episodes, self.n_actions = int(settings["episodes"]), int(actions.n)
        self.random = self([None] * self.env.num_envs)

    @property
    def tasks(self) -> range:
        """Their numbers."""
        return range(self.env.num_envs)

    def __call__(self, policies: Sequence[Any]) -> list[float]:
        """Of one policy a task; None: at random."""
        self.env.seed(EVALUATION_SEED)
        rng, seen = np.random.default_rng(EVALUATION_SEED), self.env.reset()
        found: list[list[float]] = [[] for _ in policies]
        returns = np.zeros(len(policies))
        while min(map(len, found)) < self.episodes:
            seen, rewards, dones, _ = self.env.step(self._actions(policies, seen, rng))
            returns += rewards
            for i in np.flatnonzero(dones):
                found[i].append(float(returns[i]))
            returns[dones] = 0.0
        return [float(np.mean(each[: self.episodes])) for each in found]

    def _actions(self, policies: Sequence[Any], seen: Any, rng: np.random.Generator) -> Any:
        n = len(policies)
        drawn, noise = rng.integers(0, self.n_actions, n), rng.random(n)
        best = [
            drawn[i] if policy is None else policy.predict(seen[i], deterministic=True)[0]
            for i, policy in enumerate(policies)
        ]
        return np.where(noise < NOISE, drawn, best)


def made(settings: Values) -> tuple[SharedExperienceDQN, Any]:
    """The agents, and the rounds that they go through; they have a hub where they share."""
    given = {"tasks": settings["tasks"], "n_agents": settings["n_agents"], "schedule": {"rounds": "permutation"}}
    env: Any = pettingzoo.make("parallel", settings["env"], **given, **sizes(settings))
    nodes = {"hub": [], **{agent: [agent] for agent in env.possible_agents}}
    faults = Faults(**settings["faults"], seed=settings["seed"])
    rounds = as_vec_env(ParameterSharing(env, "star", nodes=nodes, faults=faults))
    rounds.seed(settings["seed"])
    names = ("signature", "threshold", "meeting_steps", "borrow_share", "pretrain", "exploration_steps", "seed")
    own = {name: settings[name] for name in names}
    own |= {name: settings[name] or None for name in ("borrow", "continual", "continual_kwargs", "presence")}
    own |= {"algorithm_kwargs": settings["dqn"], "policy_kwargs": {"net_arch": settings["net"]}}
    batched = settings["n_agents"] > 1
    made = SharedExperienceDQN(settings["policy"], rounds, settings["rate"], batched=batched, device="cpu", **own)
    return made, rounds


class Tests:
    """What each agent is worth in every task, now and then; labels are those that it found for the task it was in."""

    def __init__(self, model: SharedExperienceDQN, rounds: Any, test: Exact | Sampled) -> None:
        """See the class."""
        self.model, self.rounds, self.test = model, rounds, test
        self.labels: list[dict[int, int]] = [{} for _ in model.agents]
        self.history: list[list[list[float]]] = []
        self.right: list[bool] = []
        self.names: list[dict[int, int]] = [{} for _ in model.agents]  # by label, the task it was given to first

    def look(self) -> None:
        """Test everybody in everything."""
        self.history.append([self.test(self._policies(i)) for i in range(len(self.model.agents))])

    def end_round(self) -> None:
        """Note who took its task for which; labels are the hub's, or each agent's own."""
        shared = self.model.settings.borrow is not None
        for i, task in enumerate(self.rounds.core.task_of_row.tolist()):
            label = self.model.label_of(self.model.agents[i].node)
            if label is not None:
                self.labels[i][task] = label
                first = self.names[0 if shared else i].setdefault(label, task)
                self.right.append(first == task)

    def _policies(self, i: int) -> list[Any]:
        """The policy that an agent has for each task: one for all, but with a library."""
        agent: Any = self.model.agents[i]
        now = agent.policy
        if not isinstance(agent.way, Library):
            return [now] * len(self.test.tasks)
        found = []
        for task in self.test.tasks:
            label = self.labels[i].get(task)
            kept = None if label is None or label == self.model.label_of(agent.node) else agent.way.policy_of(label)
            found.append(now if kept is None else self._restored(agent, kept))
        return found

    def _restored(self, agent: Any, kept: dict[str, th.Tensor]) -> Any:
        policy = agent.copy_of_policy()
        policy.load_state_dict(kept)
        return policy


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """All rounds. ``final`` (n_agents, n_tasks): returns at the end; ``history``: means of tasks, by evaluation.

    ``now``: returns in each agent's own task at the end of its round, ``lost``: what of it is gone at the end, means.
    """
    if not settings["tested"]:
        return {"tested": 0, "final": [], "history": [], "random": [], "lost": 0.0, "right": 0.0, "bytes": 0}
    th.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of meetings all held to be alike: counted as wrong
        model, rounds = made(settings)
        tests = Tests(model, rounds, Exact(settings) if is_exact(settings) else Sampled(settings))
        n, n_tasks, marks = settings["n_agents"], len(settings["tasks"]), settings["marks"]
        tests.look()
        own, places = np.zeros((n, n_tasks)), range(n)
        for round in range(n_tasks):
            for part in range(marks):
                steps = n * (settings["steps"] // marks)
                model.learn(steps, reset_num_timesteps=False, log_interval=None)
                tests.look()
                progress((round + (part + 1) / marks) / n_tasks)
            tasks = rounds.core.task_of_row.copy()
            own[places, tasks] = np.array(tests.history[-1])[places, tasks]
            tests.end_round()
            if round + 1 < n_tasks:
                rounds.next_round()
    history = np.array(tests.history)
    return {
        **{"tested": 1, "final": history[-1].tolist(), "random": tests.test.random},
        **{"history": history.mean(axis=2).T.tolist(), "steps": settings["steps"] // marks},
        **{"mean": float(history[-1].mean()), "now": float(own.mean()), "lost": float((own - history[-1]).mean())},
        **{"chance": float(np.mean(tests.test.random)), "right": float(np.mean([*map(float, tests.right)] or [0.0]))},
        **{"labels": len({label for of in tests.labels for label in of.values()})},
        "bytes": 0 if model.settings.borrow is None else model.channel.ledger.bytes / n,
    }


def is_exact(settings: Values) -> bool:
    """Whether returns can be computed."""
    family = registry.family(settings["env"])
    observations: Any = family.observations
    return isinstance(family, KernelFamily) and bool(observations.n <= 1000)
