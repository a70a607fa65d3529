"""How fast nodes agree, and how fast on the right solution: ADMM on the problems that sweeps really pose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lifelong_gym import registry
from lifelong_gym.agents.contract.environment import units_of
from lifelong_gym.agents.linear.base_learners import base_learner
from lifelong_gym.agents.linear.operating_point import ONE_PLACE, OperatingPoint, regularised
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sampling import sample
from lifelong_gym.agents.shared_basis.admm import Consensus
from lifelong_gym.agents.shared_basis.basis import SharedBasis, sums
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.sweeps import environment
from lifelong_gym.wrappers import Channel, colouring, graph_of

SAFETY = 1e-6
RIDGE, SPARSITY = 1e-4, 1e-3  # mu_2 and mu_1, which the paper doesn't print
COARSE, FINE = 1e-2, 1e-8
N_TASKS = 50  # that share a basis
WHITENED = "whitened"


class Problems(NamedTuple):
    """What nodes minimise together: ``sum_i x'A_i x / 2 - b_i'x``, n times; (n_nodes, n, k, k) and (n_nodes, n, k)."""

    matrix: FloatArray
    vector: FloatArray

    @property
    def total(self) -> FloatArray:
        """The sum of A, (n, k, k)."""
        total: FloatArray = regularised(self.matrix.sum(axis=0))
        return total

    def scaled(self) -> Problems:
        """Each problem so that the trace of its whole matrix is k, or penalties would have different meanings."""
        scale = np.einsum("vnkk->n", self.matrix) / self.matrix.shape[-1]
        return Problems(self.matrix / scale[:, None, None], self.vector / scale[:, None])

    @property
    def solution(self) -> FloatArray:
        """Of all nodes together, (n, k)."""
        return np.asarray(np.linalg.solve(self.total, self.vector.sum(axis=0)[..., None])[..., 0], np.float64)


class Errors(NamedTuple):
    """After each iteration, (n_iterations, n); relative to the norm of the solution."""

    agreement: FloatArray
    distance: FloatArray
    average: FloatArray  # of the mean over iterations, which the paper's theorem is about


def problems(settings: Mapping[str, Any]) -> Problems:
    """Those of a first sweep: Algorithm 1's, a task each, or Algorithm 2's, one for L, in several draws."""
    n, many = settings["n_problems"], settings["algorithm"] == "basis"
    tasks = registry.sample_tasks(settings["env"], N_TASKS if many else n, settings["task_seed"])
    env = environment(settings, tasks)
    arguments: dict[str, Any] = {"sigma": settings["rwr_sigma"], "bias": False, **units_of(env)}
    policy = LinearGaussianPolicy(env.observation_space, env.action_space, n_policies=len(tasks), **arguments)
    base, credit, found = base_learner("rwr"), base_learner("rwr").credit(ONE_PLACE), []
    for draw in range(n if many else 1):
        run = sample(env, policy, settings["n_trajectories"], seed=draw, first_visit=0, credit=credit).statistics
        if not many:
            return Problems(*(_split(part, settings["n_nodes"]) for part in (run.fisher_matrix(), run.score))).scaled()
        found.append(_basis_problem(base.point(policy.thetas, run, 1.0), settings, draw))
    return Problems(*(np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))).scaled()


def _split(values: FloatArray, n_nodes: int) -> FloatArray:
    """Sums over each node's trajectories, (n_nodes, n_tasks, ...), of values (n_tasks, n_trajectories, ...)."""
    nodes = np.arange(values.shape[1]) % n_nodes
    return np.stack([values[:, nodes == node].sum(axis=1) for node in range(n_nodes)])


def _basis_problem(point: OperatingPoint, settings: Mapping[str, Any], draw: int) -> Problems:
    """For L with its columns stacked, as each node knows it from its own tasks."""
    (n_tasks, d), n_nodes = point.target.shape, settings["n_nodes"]
    knowledge = SharedBasis(n_tasks, d, settings["n_basis"], SPARSITY, RIDGE)
    knowledge.begin(point.target, np.random.default_rng(draw))
    everyone = np.arange(n_tasks)
    knowledge.encode(everyone, point)
    codes, parts = knowledge.array("codes"), []
    for node in range(n_nodes):
        own = everyone[everyone % n_nodes == node]
        parts.append(sums(codes[own], OperatingPoint(point.target[own], point.curvature[own])))
    matrix = np.array([part[0] for part in parts])[:, None] / n_tasks
    matrix += RIDGE / n_nodes * np.eye(matrix.shape[-1])
    return Problems(matrix, np.array([part[1] for part in parts])[:, None] / n_tasks)


def iterated(posed: Problems, channel: Channel, whitened: bool, penalty: float, iterations: int) -> Errors:
    """Errors of ADMM from zero."""
    plain = np.broadcast_to(np.eye(posed.matrix.shape[-1]), posed.total.shape)
    metric = regularised(posed.total / len(posed.matrix), SAFETY) if whitened else plain
    consensus = Consensus(channel, posed.matrix, posed.vector, metric, penalty)
    solution = posed.solution
    scale = np.maximum(np.linalg.norm(solution, axis=1), np.finfo(float).tiny)
    errors, total = [], np.zeros_like(posed.vector)
    for iteration in range(iterations):
        x = consensus.iterate()
        total += x
        differences = (x - x.mean(axis=0), x - solution, total / (iteration + 1) - solution)
        errors.append([np.sqrt(np.square(part).sum(axis=2).mean(axis=0)) / scale for part in differences])
        if max(np.max(part) for part in errors[-1][:2]) < FINE / 10:
            break
    return Errors(*np.array(errors).swapaxes(0, 1))


def iterations_to(errors: FloatArray, level: float) -> list[float | None]:
    """Iterations until each problem's error stays below a level; None: never within these."""
    above = errors > level
    n = len(above) - np.argmax(above[::-1], axis=0)
    return [None if above[-1, i] else (float(n[i]) + 1 if above[:, i].any() else 1.0) for i in range(above.shape[1])]


def measure(settings: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Run ADMM with each penalty.

    ``condition`` is of the whole matrix, a number a problem; ``colours``, rounds an iteration takes; ``rows`` hold by
    penalty ``to_coarse`` and ``to_fine`` (iterations until the distance stays below 1e-2 and 1e-8), and `Errors`.
    """
    posed, channel = problems(settings), Channel(graph_of(settings["graph"], range(settings["n_nodes"])))
    rows = []
    for number, penalty in enumerate(settings["penalties"]):
        errors = iterated(posed, channel, settings["metric"] == WHITENED, penalty, settings["iterations"])
        rows.append({"penalty": penalty, **_row(errors)})
        progress((number + 1) / len(settings["penalties"]))
    condition = rounded(np.linalg.cond(posed.total), 4)
    colours = len(colouring(channel.graph))
    return {"condition": condition, "rows": rows, "colours": colours, "penalty": settings["penalty"]}


def _row(errors: Errors) -> dict[str, Any]:
    n = len(errors.distance)
    # Every iteration first, then ever fewer: at most 50.
    at = np.unique(np.minimum(n - 1, np.round(np.geomspace(1, n, 50)).astype(int) - 1))
    curves = {name: np.exp(np.log(np.maximum(curve, 1e-300)).mean(axis=1)) for name, curve in errors._asdict().items()}
    return {
        "to_coarse": iterations_to(errors.distance, COARSE),
        "to_fine": iterations_to(errors.distance, FINE),
        **{name: rounded(curve, 3)[at] for name, curve in curves.items()},
        "at": (at + 1).tolist(),
    }


def typical(counts: Sequence[float | None]) -> float:
    """Median of counts, of which None is never."""
    return float(np.median([np.inf if n is None else n for n in counts]))


def best_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of the penalty that is fastest to the fine level, or else to the coarse one."""
    return min(rows, key=lambda row: (typical(row["to_fine"]), typical(row["to_coarse"])))
