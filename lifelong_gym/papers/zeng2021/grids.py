"""Figure 2: five maps of grid worlds; and the one case that is within Theorem 2, with what the theorems ask there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lifelong_gym.envs.tabular.maps import grid_world_map
from lifelong_gym.numerics.optima import joint_optimum, joint_path, optimal_actions
from lifelong_gym.numerics.tabular import TabularModel, softmax_rows
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.wrappers import graph_of, mixing_matrix

from . import chains, learning

ID = "LifelongGridWorld-v0"
PAIRS = 20  # random tables that Lemma B.5 is held against


def figure_2(settings: Values, progress: Progress) -> dict[str, Any]:
    """Whole episodes on a map: each agent's share of the exact optimum and its goals, and the way of the first one.

    ``share``, ``goals``: of the worst agent; ``best``: share of the best one; ``path``: cells of the most likely way.
    """
    gamma, tasks = settings["gamma"], grid_world_map(settings["system"])
    learned = [{**task, "random_start": settings["random_start"]} for task in tasks]
    rate = settings["rate"] / (len(tasks) if settings["nodes"] == "one" else 1)  # a node of all climbs their sum
    episodes = {"n_episodes": settings["n_episodes"]}
    model = learning.tables(ID, learned, {**settings, "rate": rate}, base_kwargs=episodes)
    learning.learn(model, settings["rounds"], lambda done: None, progress)
    exact = learning.exact(ID, tasks)
    optimum = joint_optimum(exact, gamma)
    paths = [joint_path(exact, policy, gamma) for policy in softmax_rows(learning.thetas(model))]
    goals, shares = [int((path.returns > 0.0).sum()) for path in paths], [path.value / optimum.value for path in paths]
    best = int(np.argmax(shares))
    return {
        **{"optimum": optimum.value, "possible": int((optimum.returns > 0.0).sum()), "length": len(optimum.actions)},
        **{"share": min(shares), "best": shares[best], "goals": min(goals), "best_goals": goals[best]},
        **{"path": paths[best].states, "best_path": optimum.states, "agents": len(paths)},
        **{"bytes": learning.sent(model, settings), "steps": model.num_timesteps},
    }


def summed(models: Sequence[TabularModel]) -> TabularModel:
    """One task with the sum of the rewards of several that share their moves."""
    first = models[0]
    return TabularModel(first.P, np.sum([model.R for model in models], axis=0), first.start, first.ends)


def theorem_2(models: Sequence[TabularModel], topology: str, gamma: float, epsilon: float) -> dict[str, float]:
    """What Theorem 2 asks for to come within ``epsilon`` of the optimum, K at half of the largest step; Theorem 1's."""
    n, one = len(models), summed(models)
    shape = one.n_states * one.n_actions
    best = np.eye(one.n_actions)[optimal_actions(one, gamma)]
    coefficient = float(one.mismatch(best, gamma, one.start).max())
    sigma = np.linalg.svd(mixing_matrix(graph_of(topology, range(n))).toarray(), compute_uv=False)
    weight = epsilon / (2.0 * n * coefficient)
    beta = n * (8.0 / (1.0 - gamma) ** 3 + 2.0 * weight / one.n_states)
    largest = 2.0 * n * weight + n / (1.0 - gamma) ** 2
    step = min(1.0 + sigma[-1], weight * n * (1.0 - sigma[1]) / (4.0 * shape * largest)) / beta
    half = 0.5 * step
    first = 2.0 / ((1.0 + sigma[-1]) / half - beta)
    second = weight * n / (2.0 * shape) - 2.0 * half * beta * largest / (1.0 - sigma[1])
    rounds = first * n**3 / (1.0 - gamma) / (half * second) ** 2
    first_step = chains.theorem_1([gamma] * n, float(sigma[-1]), weight, one.n_states)
    asked = {"coefficient": coefficient, "weight": weight, "step": float(step), "rounds": float(rounds)}
    return {**asked, "theorem_1": first_step}


def smoothness(model: TabularModel, gamma: float, seed: int) -> dict[str, float]:
    """The most of Lemma B.5's constants that random policies reach: of a gradient, and of how fast it changes."""
    rng, seen = np.random.default_rng(seed), {"lipschitz": 0.0, "smooth": 0.0}
    for _ in range(PAIRS):
        here = rng.normal(size=model.R.shape)
        there = here + rng.normal(scale=0.1, size=here.shape)
        slopes = [model.gradient(each, gamma) for each in (here, there)]
        size = np.linalg.norm(slopes[0]) * (1.0 - gamma) ** 2 / 2.0
        bend = np.linalg.norm(slopes[1] - slopes[0]) / np.linalg.norm(there - here) * (1.0 - gamma) ** 3 / 8.0
        seen = {"lipschitz": max(seen["lipschitz"], float(size)), "smooth": max(seen["smooth"], float(bend))}
    return seen


def within(settings: Values, progress: Progress) -> dict[str, Any]:
    """Map B where nothing absorbs and episodes begin anywhere, exact gradients: theorems beside what is reached.

    ``share``: of the optimum, the worst agent's; ``point``: the mismatch coefficient where episodes begin in one cell.
    """
    gamma = settings["gamma"]
    tasks = [{**task, "absorbing": 0, "random_start": 1} for task in grid_world_map("B")]
    exact = learning.exact(ID, tasks)
    optimum = joint_optimum(exact, gamma).value
    model = learning.tables(ID, tasks, settings)
    learning.learn(model, settings["rounds"], lambda done: None, progress)
    values = [chains.total(exact, policy, gamma) for policy in softmax_rows(learning.thetas(model))]
    one = summed(exact)
    best = np.eye(one.n_actions)[optimal_actions(one, gamma)]
    alone = one.mismatch(best, gamma, np.eye(one.n_states)[0])
    asked = theorem_2(exact, settings["topology"], gamma, settings["epsilon"] * optimum)
    return {
        **{"optimum": optimum, "share": min(values) / optimum, "never": int(np.isinf(alone).sum()), **asked},
        **smoothness(exact[0], gamma, settings["seed"]),
    }
