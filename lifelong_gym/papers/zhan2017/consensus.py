"""How fast nodes agree, and how fast on the right solution: ADMM on the problems that sweeps really pose."""

from __future__ import annotations

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
from lifelong_gym.papers.sweeps import Progress, Values, environment
from lifelong_gym.wrappers import Channel, colouring, graph_of

SAFETY = 1e-6
RIDGE, SPARSITY = 1e-4, 1e-3  # mu_2 and mu_1, which the paper doesn't print
COARSE, FINE = 1e-2, 1e-8
N_TASKS = 50  # that share a basis


class Problems(NamedTuple):
    """What nodes minimise together: ``sum_i x'A_i x / 2 - b_i'x``, n times; (n_nodes, n, k, k) and (n_nodes, n, k)."""

    matrix: FloatArray
    vector: FloatArray

    @property
    def total(self) -> FloatArray:
        """The sum of A, (n, k, k)."""
        return regularised(self.matrix.sum(axis=0))

    def scaled(self) -> Problems:
        """Each problem so that the trace of its whole matrix is k, or penalties would have different meanings."""
        scale = np.einsum("vnkk->n", self.matrix) / self.matrix.shape[-1]
        return Problems(self.matrix / scale[:, None, None], self.vector / scale[:, None])


def problems(settings: Values) -> Problems:
    """Those of a first sweep: Algorithm 1's, a task each, or Algorithm 2's, one for L, in several draws."""
    n, many, n_nodes = settings["n_problems"], settings["algorithm"] == "basis", settings["n_nodes"]
    tasks = registry.sample_tasks(settings["env"], N_TASKS if many else n, settings["task_seed"])
    env = environment(settings, tasks)
    arguments: dict[str, Any] = {"sigma": settings["rwr_sigma"], "bias": False, **units_of(env)}
    policy = LinearGaussianPolicy(env.observation_space, env.action_space, n_policies=len(tasks), **arguments)
    base, n_trajectories = base_learner("rwr"), settings["n_trajectories"]
    sampled = (
        sample(env, policy, n_trajectories, seed=draw, first_visit=0, credit=base.credit(ONE_PLACE)).statistics
        for draw in range(n if many else 1)
    )
    if many:
        points = (base.point(policy.thetas, run, 1.0) for run in sampled)
        found = [_basis_problem(point, settings, draw) for draw, point in enumerate(points)]
        return Problems(*(np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))).scaled()
    (run,) = sampled
    parts = (run.fisher_matrix(), run.score)  # of trajectories, which are dealt out to the nodes
    shares = ([part[:, node::n_nodes].sum(axis=1) for node in range(n_nodes)] for part in parts)
    return Problems(*map(np.stack, shares)).scaled()


def _basis_problem(point: OperatingPoint, settings: Values, draw: int) -> Problems:
    """For L with its columns stacked, as each node knows it from its own tasks."""
    (n_tasks, d), n_nodes = point.target.shape, settings["n_nodes"]
    knowledge = SharedBasis(n_tasks, d, settings["n_basis"], SPARSITY, RIDGE)
    knowledge.begin(point.target, np.random.default_rng(draw))
    knowledge.encode(np.arange(n_tasks), point)
    shares = [np.arange(node, n_tasks, n_nodes) for node in range(n_nodes)]
    codes = knowledge.array("codes")
    parts = [sums(codes[own], OperatingPoint(point.target[own], point.curvature[own])) for own in shares]
    matrix, vector = (np.array(part)[:, None] / n_tasks for part in zip(*parts, strict=True))
    return Problems(matrix + RIDGE / n_nodes * np.eye(matrix.shape[-1]), vector)


def iterated(posed: Problems, channel: Channel, whitened: bool, penalty: float, n: int) -> dict[str, FloatArray]:
    """Errors of ADMM from zero after each iteration, relative to the norm of the solution, (n_iterations, n) each.

    Of ``agreement``, of the ``distance`` to the solution, and of the ``average`` over iterations, which the paper's
    theorem is about.
    """
    plain = np.broadcast_to(np.eye(posed.matrix.shape[-1]), posed.total.shape)
    metric = regularised(posed.total / len(posed.matrix), SAFETY) if whitened else plain
    consensus = Consensus(channel, posed.matrix, posed.vector, metric, penalty)
    solution = np.linalg.solve(posed.total, posed.vector.sum(axis=0)[..., None])[..., 0]
    scale = np.maximum(np.linalg.norm(solution, axis=1), np.finfo(float).tiny)
    errors, total = [], np.zeros_like(posed.vector)
    for iteration in range(n):
        x = consensus.iterate()
        total += x
        differences = (x - x.mean(axis=0), x - solution, total / (iteration + 1) - solution)
        errors.append([np.sqrt(np.square(part).sum(axis=2).mean(axis=0)) / scale for part in differences])
        if np.max(errors[-1][:2]) < FINE / 10:
            break
    return dict(zip(("agreement", "distance", "average"), np.array(errors).swapaxes(0, 1), strict=True))


def iterations_to(errors: FloatArray, level: float) -> list[float | None]:
    """Iterations until each problem's error stays below a level; None: never within these."""
    last = [int(np.flatnonzero(above).max(initial=-1)) for above in (errors > level).T]
    return [None if at == len(errors) - 1 else at + 2.0 for at in last]


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Run ADMM with each penalty.

    ``colours``: rounds an iteration takes; ``rows`` hold by penalty ``to_coarse`` and ``to_fine`` (iterations until
    the distance stays below 1e-2 and 1e-8), and, ``at`` some, what `iterated` finds, geometric means over problems.
    """
    posed, channel = problems(settings), Channel(graph_of(settings["graph"], range(settings["n_nodes"])))
    rows = []
    for penalty in settings["penalties"]:
        errors = iterated(posed, channel, settings["metric"] == "whitened", penalty, settings["iterations"])
        rows.append({"penalty": penalty, **_row(errors)})
        progress(len(rows) / len(settings["penalties"]))
    return {"rows": rows, "colours": len(colouring(channel.graph)), "penalty": settings["penalty"]}


def _row(errors: dict[str, FloatArray]) -> dict[str, Any]:
    n = len(errors["distance"])
    # Every iteration first, then ever fewer: at most 50.
    at = np.unique(np.minimum(n - 1, np.round(np.geomspace(1, n, 50)).astype(int) - 1))
    curves = {name: np.exp(np.log(np.maximum(curve, 1e-300)).mean(axis=1)) for name, curve in errors.items()}
    to = {"to_coarse": iterations_to(errors["distance"], COARSE), "to_fine": iterations_to(errors["distance"], FINE)}
    return {**to, **{name: rounded(curve, 3)[at] for name, curve in curves.items()}, "at": (at + 1).tolist()}
