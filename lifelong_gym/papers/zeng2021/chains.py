"""The chains of section 2.2 in exact numbers, what Adam optimises on them, and what graphs do to the three forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from lifelong_gym.agents import DCPG
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.envs.tabular.chain import chain_tasks
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.tabular import TabularModel, softmax_rows
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.wrappers import graph_of, mixing_matrix

from . import learning

ID, MIDDLE, N_STATES = "LifelongChain-v0", 2, 5
SHARES = np.linspace(0.0, 1.0, 21)
ADAM = {"optimizer_class": "Adam", "optimizer_kwargs": {"eps": 1e-8}}
NEAR = 1e-6  # distance from the mean, of the first one, at which nodes count as agreed
TRACES = 1e-9  # by which an entry that is printed may miss the true one


def policy_of(q: float, second: float = 1.0, fourth: float = 1.0) -> FloatArray:
    """That turns left in S3, S2 and S4 with these probabilities, (5, 2)."""
    left = np.array([0.5, second, q, fourth, 0.5])
    return np.stack([left, 1.0 - left], axis=1)


def total(models: Sequence[TabularModel], policy: FloatArray, gamma: float) -> float:
    """The sum of returns."""
    return sum(model.value(policy, gamma) for model in models)


def stochastic(settings: Values, progress: Progress) -> dict[str, Any]:
    """Chain 1: the best of a grid over all three states, the paper's closed form, and the deterministic policies."""
    gamma, models = settings["gamma"], learning.exact(ID, chain_tasks(1))
    found = {at: total(models, policy_of(*at), gamma) for at in product(SHARES[:: settings["stride"]], repeat=3)}
    best = max(found, key=lambda at: found[at])
    closed = 2.0 * gamma / (2.0 - gamma**2)
    values = [total(models, policy_of(q), gamma) for q in SHARES]
    progress(1.0)
    return {
        **{"best": found[best], "q": best[0], "others": min(best[1:]), "excess": abs(found[best] - closed)},
        **{"closed": closed, "deterministic": values[-1], "gain": values[10] - max(values[0], values[-1])},
        "curve": {"at": rounded(SHARES), "values": rounded(values)},
    }


def slope(models: Sequence[TabularModel], policy: FloatArray, gamma: float) -> float:
    """The largest component of equation (16) at a policy, deterministic ones too."""
    parts = [m.visitation(policy, gamma)[:, None] / (1 - gamma) * policy * m.advantages(policy, gamma) for m in models]
    return float(np.abs(np.sum(parts, axis=0)).max())


def visits(model: TabularModel, policy: FloatArray, gamma: float) -> FloatArray:
    """Column j: discounted visits of an episode that starts in state j, (5, 5)."""
    return np.stack([replace(model, start=each).visitation(policy, gamma) for each in np.eye(N_STATES)], axis=1)


def printed(g: float, p: float) -> dict[str, FloatArray]:
    """The matrices of visits of both policies that the supplement prints, by name."""
    n, m, k, h = g * g * p - g * g + 1, 1 - g * g * p, 2 - g * g, 1 - g
    corner = g * (2 - g * g * p * p + 2 * g * g * p - g * g - 2 * p) / k
    first = [
        [1, g * (1 - p), 0, 0, 0],
        [0, h, 0, 0, 0],
        [0, g * p * h / n, h / n, g * h * (1 - p) / n, 0],
        [0, g * g * p * h / n, g * h / n, h / n, 0],
        [0, g**3 * p * p / n, g * g * p / n, g * p / n, 1],
    ]
    second = [
        [1, g * p, 0, 0, 0],
        [0, h, 0, 0, 0],
        [0, g * h * (1 - p) / m, h / m, g * h * p / m, 0],
        [0, g * g * h * (1 - p) / m, g * h / m, h / m, 0],
        [0, g**3 * (1 - p) ** 2 / m, g * g * (1 - p) / m, g * (1 - p) / m, 1],
    ]
    third = [
        [1, corner, g * g * (1 - p) / k, g**3 * (1 - p) ** 2 / k, 0],
        [0, h * (g * g * p - g * g + 2) / k, g * h / k, g * g * h * (1 - p) / k, 0],
        [0, 2 * g * h * (1 - p) / k, 2 * h / k, 2 * g * h * (1 - p) / k, 0],
        [0, g * g * h * p / k, g * h / k, h * (2 - g * g * p) / k, 0],
        [0, g**3 * p * p / k, g * g * p / k, g * p * (2 - g * g * p) / k, 1],
    ]
    fourth = [
        [1, g * p * (2 - g * g * p) / k, g * g * p / k, g * g * h * p / k, 0],
        [0, h * (2 - g * g * p) / k, g * h / k, g * g * h * p / k, 0],
        [0, 2 * g * h * (1 - p) / k, 2 * h / k, 2 * g * h * p / k, 0],
        [0, g * g * h * (1 - p) / k, g * h / k, h * (2 - g * g + g * g * p) / k, 0],
        [0, g**3 * (1 - p) ** 2 / k, g * g * (1 - p) / k, corner, 1],
    ]
    names = ("D1 of π1", "D2 of π1", "D1 of π3", "D2 of π3")
    return {name: np.array(rows, float) for name, rows in zip(names, (first, second, third, fourth), strict=True)}


def stationary(settings: Values, progress: Progress) -> dict[str, Any]:
    """Chain 2: values, slopes and the second derivative at the paper's three points, and which printed numbers err."""
    g, p = settings["gamma"], settings["p"]
    models = learning.exact(ID, chain_tasks(2, p))
    always, uniform = policy_of(0.0, 0.5, 0.5), policy_of(0.5, 0.5, 0.5)
    values = [total(models, policy_of(q, 0.5, 0.5), g) for q in SHARES]
    general = (
        g * (-2 * g * g * p + g * g + 2 * p - 1) / (g**4 * p * p - g**4 * p + g * g - 1),
        g * (2 - 4 * p) / (2 - g * g),
    )
    found = total(models, always, g), total(models, uniform, g)
    at, h = SHARES[10], 1e-3
    sides = [total(models, policy_of(at + d, 0.5, 0.5), g) for d in (-h, h)]
    wrong = [
        f"{name} ({row + 1},{column + 1})"
        for (name, matrix), (policy, model) in zip(
            printed(g, p).items(), product((always, uniform), models), strict=True
        )
        for row, column in np.argwhere(np.abs(matrix - visits(model, policy, g)) > TRACES).tolist()
    ]
    progress(1.0)
    closed = 32 * g**3 * (2 * p - 1) * (1 - g * g * (2 * p * p - 2 * p + 1)) / (2 - g * g) ** 3
    return {
        **{"pi_1": found[0], "pi_3": found[1], "gap": found[0] - found[1], "below_best": max(values) - found[0]},
        **{"off_general": float(np.abs(np.subtract(found, general)).max()), "curvature": closed},
        **{"curvature_seen": (sum(sides) - 2 * found[1]) / h**2, "above_worst": found[1] - min(values)},
        **{"slope_1": slope(models, always, g), "slope_3": slope(models, uniform, g), "wrong": wrong},
        **{"printed_1": (2 * p - 1) / (8 * 2**0.5 * (p - 2) * (p + 1)), "printed_3": (4 - 8 * p) / 3},
        **{"n_wrong": len(wrong), "curve": {"at": rounded(SHARES), "values": rounded(values)}},
    }


def lefts(model: DCPG) -> FloatArray:
    """Probability of L in S3, of all agents."""
    return softmax_rows(learning.thetas(model))[:, MIDDLE, 0]


def adam(settings: Values, progress: Progress) -> dict[str, Any]:
    """Chain 1, the second task's rewards multiplied: which q is best, which is reached, and how much of the best."""
    one, other = chain_tasks(1)
    factor, gamma = settings["factor"], settings["gamma"]
    tasks = [one, {**other, "reward_s1": -factor, "reward_s5": factor}]
    more = {"policy_kwargs": ADAM, "share_moments": settings["share_moments"]} if settings["adam"] else {}
    model = learning.tables(ID, tasks, settings, **more)
    learning.learn(model, settings["rounds"], lambda done: None, progress)
    exact, fine = learning.exact(ID, tasks), np.linspace(0.0, 1.0, 2001)
    values = np.array([total(exact, policy_of(q), gamma) for q in fine])
    reached = min(total(exact, policy, gamma) for policy in softmax_rows(learning.thetas(model)))
    return {"best": float(fine[values.argmax()]), "q": float(lefts(model).mean()), "share": reached / values.max()}


def theorem_1(gammas: Sequence[float], sigma_n: float, weight: float = 0.0, n_states: int = N_STATES) -> float:
    """The largest step that (10) allows."""
    curved = sum(16.0 / (1.0 - gamma) ** 3 for gamma in gammas)
    return (1.0 + sigma_n) / (curved + 4.0 * len(gammas) * weight / n_states)


def graphs(settings: Values, progress: Progress) -> dict[str, Any]:
    """Chain 1, half of the agents in each task: how far agents are apart, and the gradient that is left.

    ``gradient``: a curve of the least, over rounds so far, of the largest, over agents, norm of the mean gradient.
    """
    n, gamma, rate = settings["n_agents"], settings["gamma"], settings["rate"]
    one, other = chain_tasks(1)
    model = learning.tables(ID, [one] * (n // 2) + [other] * (n - n // 2), settings)
    pair, norms, distances = learning.exact(ID, (one, other)), [], []

    def note(done: int) -> None:
        theta = learning.thetas(model)
        slopes = [0.5 * sum(m.gradient(each, gamma) for m in pair) for each in theta]
        norms.append(max(float(np.linalg.norm(each)) for each in slopes))
        distances.append(float(np.linalg.norm(theta - theta.mean(axis=0), axis=(1, 2)).max()))

    learning.learn(model, settings["rounds"], note, progress)
    weights = mixing_matrix(graph_of(settings["topology"], range(n))).toarray()
    _, second, *_, last = np.linalg.svd(weights, compute_uv=False).tolist()
    best, q = 2.0 * gamma / (2.0 - gamma**2), lefts(model)
    worst = min(total(pair, policy, gamma) for policy in softmax_rows(learning.thetas(model))) / best
    least = np.minimum.accumulate(norms)
    return {
        **{"sigma_2": second, "gap": 1.0 / (1.0 - second), "allowed": theorem_1([gamma] * n, last)},
        **{"bound": rate * n / (1.0 - gamma) ** 2 / (1.0 - second), "distance": max(distances)},
        **{"q_least": float(q.min()), "q_most": float(q.max()), "share": worst, "gradient_end": float(least[-1])},
        **{"agreed": int(np.ceil(np.log(NEAR) / np.log(second))), "bytes": model.channel.ledger.bytes},
        "gradient": {"at": learning.marks(settings["rounds"])[1:], "values": rounded(least[1:])},
    }
