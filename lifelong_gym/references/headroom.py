"""How much room a preset leaves between one shared policy and each task's own, and how few dimensions bridge it.

Where the headroom is nil, no multi-task method can be told from another. Run it with
``python -m lifelong_gym.references.headroom LifelongCartPole-v0 --preset hetero``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import completed, first_best, leading_directions
from lifelong_gym.references.linear import (
    NEAR,
    REGULARISATION,
    LinearSearch,
    Trial,
    best_policies,
    shared_policy,
    spread,
)
from lifelong_gym.references.reference import reference_class
from lifelong_gym.references.search import maximise
from lifelong_gym.registry import FAMILIES, family

RANKS = (1, 2, 3)
ROUNDS = 8
BASIS_GENERATIONS, COEFFICIENT_GENERATIONS = 100, 60
WORTHWHILE = 1e-3  # share of the cost below which another round isn't worth its time


@dataclass(frozen=True)
class Headroom:
    """Mean reward per step over a preset's tasks, of linear policies from fixed starts and without noise.

    Attributes:
        family_id: which family.
        preset: which preset.
        n_tasks: how many tasks were drawn.
        seed: of that draw.
        zero: of the policy that does nothing.
        shared: of the best single policy for all tasks.
        per_task: of each task's best policy.
        recovered: share of ``per_task - zero`` that the best basis of 1, 2, 3 dimensions recovers.
        removed: share of the zero policy's cost that a task's best policy removes, on average over tasks.
        removed_worst: the same of the task with the smallest share.
    """

    family_id: str
    preset: str
    n_tasks: int
    seed: int
    zero: float
    shared: float
    per_task: float
    recovered: tuple[float, ...]
    removed: float
    removed_worst: float

    @property
    def headroom(self) -> float:
        """``(per_task - shared) / (per_task - zero)``: 0 where one policy serves all tasks, 1 where it is useless."""
        return (self.per_task - self.shared) / (self.per_task - self.zero)


def measure(family_id: str, preset: str, n_tasks: int = 30, seed: int = 0) -> Headroom:
    """Measure a preset's headroom; a few seconds to a few minutes.

    Shared policies and bases are found by search, so their figures are lower bounds: the headroom is an upper one.

    Args:
        family_id: id of a family with continuous actions.
        preset: one of its presets.
        n_tasks: how many tasks to draw; small samples flatter `Headroom.recovered`.
        seed: of that draw.

    Raises:
        ValueError: unknown id or preset, discrete actions.
    """
    kind = family(family_id)
    tasks = kind.parameters.sample(n_tasks, seed, preset)
    trial = Trial.of(kind, tasks)
    own = best_policies(kind, tasks)
    common = shared_policy(kind, tasks, candidates=own)
    zero, shared, best = trial.values(trial.zero), trial.values(common), trial.values(own)
    spanned = _spanned(trial, own, common)
    best = np.max([best, shared, *spanned], axis=0)  # search may find a task's best policy on the way to another's
    gap = best.mean() - zero.mean()
    removed = (best - zero) / -zero
    return Headroom(
        family_id,
        preset,
        n_tasks,
        seed,
        float(zero.mean()),
        float(shared.mean()),
        float(best.mean()),
        tuple(float((values.mean() - zero.mean()) / gap) for values in spanned),
        float(removed.mean()),
        float(removed.min()),
    )


def _spanned(trial: Trial, own: FloatArray, common: FloatArray) -> list[FloatArray]:
    """Mean reward per step of each task with the best basis of 1, 2, 3 dimensions found, each (n_tasks,).

    A basis begins with the main directions of the tasks' best policies, or with the smaller basis and the main
    direction of what that leaves over, whichever serves better; it and the coefficients are then refined in turns.
    """
    curvature, best = trial.curvature(own), trial.values(own).mean()
    metric = np.linalg.cholesky(curvature.mean(axis=0)).T
    basis = _main_directions(common[None], metric, 1, own[:0].T)
    policies, values, results = np.broadcast_to(common, own.shape), trial.values(common), []
    for rank in RANKS:
        new = _main_directions(own, metric, rank - basis.shape[1], basis)
        bases = [_main_directions(own, metric, rank, basis[:, :0]), np.column_stack([basis, new])]
        for done in range(ROUNDS):
            before = values.mean()
            if best - before < WORTHWHILE * np.abs(best):
                break
            fits = [_coefficients(trial, each, np.stack([own, policies]), curvature) for each in bases]
            chosen = int(first_best(np.array([rewards.mean() for _, rewards in fits])))
            coefficients, values = fits[chosen]
            if done > 0 and values.mean() - before < WORTHWHILE * np.abs(before):
                break
            basis = _refined(trial, bases[chosen], coefficients, curvature)
            bases, policies = [basis], coefficients @ basis.T
        results.append(values)
    return results


def _main_directions(policies: FloatArray, metric: FloatArray, n: int, beside: FloatArray) -> FloatArray:
    """The n directions in which policies extend most, apart from those they are given beside.

    Args:
        policies: shape (n_policies, d).
        metric: ``|metric c|`` measures a change c.
        n: how many; where the policies extend no further, the axes in order, as far as they add any.
        beside: directions that are taken, (d, n_taken).

    Returns:
        Shape (d, n).
    """
    taken = np.linalg.qr(metric @ beside)[0]
    free = np.eye(len(metric)) - taken @ taken.T
    whitened = policies @ metric.T
    found = leading_directions((whitened @ free).T, n, float(np.linalg.norm(whitened)))
    n_taken = taken.shape[1]
    more = completed(np.column_stack([taken, found]), n_taken + n)[:, n_taken:]
    return np.asarray(np.linalg.solve(metric, more), np.float64)


def _coefficients(
    trial: Trial, basis: FloatArray, guesses: FloatArray, curvature: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Each task's best policy in the span of a basis (d, k), searched from the best of all tasks' guesses.

    Args:
        trial: the tasks.
        basis: its columns span the policies.
        guesses: policies that need not lie in the span, (n_guesses, n_tasks, d).
        curvature: see `Trial.curvature`.

    Returns:
        Coefficients, (n_tasks, k), and the tasks' mean rewards per step, (n_tasks,).
    """
    inner = basis.T @ curvature @ basis
    solutions = np.linalg.solve(inner, basis.T @ curvature @ guesses[..., None])
    nearest = np.asarray(solutions.reshape(-1, basis.shape[1]), np.float64)
    start = nearest[first_best(trial.crossed(nearest @ basis.T))]

    def objective(coefficients: FloatArray, at: IntArray) -> FloatArray:
        return trial.mean_rewards(coefficients @ basis.T, at)

    return maximise(objective, start, spread(inner, NEAR), generations=COEFFICIENT_GENERATIONS)


def _refined(trial: Trial, basis: FloatArray, coefficients: FloatArray, curvature: FloatArray) -> FloatArray:
    """A better basis (d, k) for given coefficients (n_tasks, k)."""
    d, k = basis.shape

    def objective(flat: FloatArray, _: IntArray) -> FloatArray:
        bases = flat.reshape(-1, d, k)
        policies = np.einsum("mdk,nk->nmd", bases, coefficients)
        means: FloatArray = trial.crossed(policies).mean(axis=0)
        return means.reshape(flat.shape[:2])

    changes = np.einsum("nij,nk,nl->ikjl", curvature, coefficients, coefficients).reshape(d * k, d * k)
    changes = changes / len(coefficients) + REGULARISATION * np.trace(changes) / (d * k) * np.eye(d * k)
    found, _ = maximise(objective, basis.reshape(1, -1), spread(changes[None], NEAR), generations=BASIS_GENERATIONS)
    return found[0].reshape(d, k)


COLUMNS = (
    "family",
    "preset",
    "headroom",
    "r1",
    "r2",
    "r3",
    "removed (worst task)",
    "J zero",
    "J shared",
    "J per task",
)


def table(results: Sequence[Headroom]) -> str:
    """Results as a Markdown table.

    >>> result = Headroom("LifelongCartPole-v0", "hetero", 30, 0, -4.0, -3.0, -0.2, (0.5, 0.9, 1.0), 0.95, 0.9)
    >>> print(table([result]))
    | family | preset | headroom | r1 | r2 | r3 | removed (worst task) | J zero | J shared | J per task |
    |---|---|---|---|---|---|---|---|---|---|
    | LifelongCartPole-v0 | hetero | 0.737 | 0.500 | 0.900 | 1.000 | 0.95 (0.90) | -4.000 | -3.000 | -0.200 |
    """
    lines = [_row(COLUMNS), "|" + "---|" * len(COLUMNS)]
    for r in results:
        shares = [f"{share:.3f}" for share in (r.headroom, *r.recovered)]
        means = [f"{mean:.3f}" for mean in (r.zero, r.shared, r.per_task)]
        lines.append(_row([r.family_id, r.preset, *shares, f"{r.removed:.2f} ({r.removed_worst:.2f})", *means]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the headroom of the presets asked for, as a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m lifelong_gym.references.headroom", description=main.__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="families; default: all whose reference is linear")
    parser.add_argument("--preset", action="append", help="may be repeated; default: all that a family has")
    parser.add_argument("--n-tasks", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    ids = chosen.ids or [id for id in FAMILIES if reference_class(family(id)) is LinearSearch]
    results = [
        measure(id, preset, chosen.n_tasks, chosen.seed)
        for id in ids
        for preset in chosen.preset or family(id).parameters.presets
        if chosen.ids or preset in family(id).parameters.presets
    ]
    print(table(results))


if __name__ == "__main__":
    main()
