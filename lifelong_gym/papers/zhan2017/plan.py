"""What is run for Zhan et al. (2017): domains, methods, budgets, and every job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lifelong_gym.papers.jobs import Measurement
from lifelong_gym.papers.zhan2017.methods import (
    BASES,
    BASES_R,
    CHANNELS,
    ENAC,
    FEW_LABELS,
    GOMTL,
    GOMTL_RWR,
    HETERO_LABELS,
    HIDDEN_LABELS,
    LOSSY,
    LOST_R,
    MAIN,
    MEAN,
    PGELLA,
    PRINTED,
    REDUCE,
    REINFORCE,
    RWR,
    SCRATCH,
    SHARED,
    all_methods,
)

HERE = "lifelong_gym.papers.zhan2017"
LEARN, NOVEL, CONSENSUS = f"{HERE}.learning:learn", f"{HERE}.novel:learn", f"{HERE}.consensus:measure"
TRUTH = f"{HERE}.hidden:truth"
TASK_SEED = 0


@dataclass(frozen=True)
class Domain:
    """One of the paper's systems.

    Attributes:
        name: for people.
        env: its id.
        sigma: of the exploration, in units of a.
        n_basis: columns of L on the paper's ranges.
        sweeps: in the full version.
        n_hetero: columns of L on ``hetero``.
        n_hidden: columns of the true basis of ``known_basis``.
    """

    name: str
    env: str
    sigma: float
    n_basis: int
    sweeps: int
    n_hetero: int
    n_hidden: int


DOMAINS = {
    "SM": Domain("simple mass", "LifelongSimpleMass-v0", 0.1, 1, 25, 2, 2),
    "DM": Domain("double mass", "LifelongDoubleMass-v0", 0.1, 2, 30, 3, 2),
    "CP": Domain("cart-pole", "LifelongCartPole-v0", 0.3, 2, 45, 3, 3),
    "DIP": Domain("double pendulum", "LifelongDoubleInvertedPendulum-v0", 0.5, 2, 30, 3, 3),
    "HC": Domain("helicopter", "LifelongCH47-v0", 0.3, 2, 30, 3, 2),
}

LOSS = 0.1


@dataclass(frozen=True)
class SweepBudget:
    """How much is run.

    Attributes:
        quick: a look at everything in two minutes: too little for conclusions.
        n_tasks: of each domain.
        n_seeds: runs of each method.
        n_trajectories: a task and sweep.
        share: of the full version's sweeps.
        n_problems: of a consensus study, solved side by side.
        n_novel: tasks a seed, each learned by itself.
        n_iterations: of ADMM with P = I, at most.
    """

    quick: bool = False
    n_tasks: int = 50
    n_seeds: int = 10
    n_trajectories: int = 50
    share: float = 1.0
    n_problems: int = 10
    n_novel: int = 2
    n_iterations: int = 500

    def sweeps(self, full: int) -> int:
        """At least two."""
        return max(2, round(full * self.share))


FULL = SweepBudget()
QUICK = SweepBudget(
    True, n_tasks=10, n_seeds=3, n_trajectories=20, share=0.12, n_problems=3, n_novel=1, n_iterations=50
)


@dataclass(frozen=True)
class SweepStudy:
    """Methods side by side on the same tasks.

    Attributes:
        name: of the files and in the summary.
        domain: key of `DOMAINS`.
        labels: methods.
        sweeps: in the full version.
        preset: what tasks are drawn from.
        n_trajectories: a task and sweep; None: the budget's.
        n_basis: columns of L; None: the domain's.
        sigma: of the exploration; None: the domain's.
        bias: whether policies have a constant feature.
    """

    name: str
    domain: str
    labels: tuple[str, ...]
    sweeps: int
    preset: str = "default"
    n_trajectories: int | None = None
    n_basis: int | None = None
    sigma: float | None = None
    bias: bool = False

    def settings(self, label: str, budget: SweepBudget) -> dict[str, Any]:
        """Of one method's jobs."""
        domain = DOMAINS[self.domain]
        made = all_methods(
            self.n_trajectories or budget.n_trajectories,
            self.sigma or domain.sigma,
            self.n_basis or domain.n_basis,
            self.bias,
        )
        return {
            "env": domain.env,
            "preset": self.preset,
            "n_tasks": budget.n_tasks,
            "task_seed": TASK_SEED,
            "sweeps": budget.sweeps(self.sweeps),
            "learner": made[label],
            "loss": LOSS if label in LOSSY else 0.0,
        }


FEW = 10  # trajectories of the noisy studies; eNAC on the helicopter needs as many
HETERO_TRAJECTORIES, HIDDEN_TRAJECTORIES, BROAD = 5, 20, 0.6


def studies() -> Iterator[SweepStudy]:
    """All studies of learning."""
    for key, domain in DOMAINS.items():
        yield SweepStudy(f"main-{key}", key, MAIN, domain.sweeps)
    yield SweepStudy("few-HC", "HC", (*FEW_LABELS, MEAN), 45, n_trajectories=FEW)
    yield SweepStudy("few-DM", "DM", FEW_LABELS, 30, n_trajectories=FEW)
    yield SweepStudy("channel-HC", "HC", CHANNELS, 8, n_trajectories=FEW)
    yield SweepStudy("paper-HC", "HC", (ENAC, RWR, PGELLA, GOMTL, GOMTL_RWR, REDUCE, SHARED), 12, "paper", n_basis=4)
    for key in ("SM", "DM", "HC"):
        yield SweepStudy(f"printed-{key}", key, (PRINTED, RWR), 20)
    for key, domain in DOMAINS.items():
        labels = (*HETERO_LABELS, LOST_R) if key == "CP" else HETERO_LABELS
        yield SweepStudy(f"hetero-{key}", key, labels, 30, "hetero", HETERO_TRAJECTORIES, domain.n_hetero, BROAD, True)
        n = HIDDEN_TRAJECTORIES
        yield SweepStudy(f"hidden-{key}", key, HIDDEN_LABELS, 25, "known_basis", n, domain.n_hidden, BROAD, True)


def jobs(budget: SweepBudget) -> list[Measurement]:
    """All jobs, the longest first."""
    return [*_consensus(budget), *_truth(budget), *_learning(budget), *_novel(budget)]


def _learning(budget: SweepBudget) -> Iterator[Measurement]:
    for study in studies():
        for label in study.labels:
            settings = study.settings(label, budget)
            yield from (Measurement(study.name, label, seed, LEARN, settings) for seed in range(budget.n_seeds))


def _novel(budget: SweepBudget) -> Iterator[Measurement]:
    yield from _novel_of(SweepStudy("novel-HC", "HC", (ENAC, RWR, *BASES), 20), budget)
    yield from _novel_of(
        SweepStudy("novel-CP", "CP", (REINFORCE, *BASES_R), 40, "hetero", HETERO_TRAJECTORIES, 3, BROAD, True), budget
    )


def _novel_of(study: SweepStudy, budget: SweepBudget) -> Iterator[Measurement]:
    for label in study.labels:
        settings = {
            **study.settings(label, budget),
            "n_tasks": budget.n_tasks - 1,
            "n_novel": budget.n_novel,
            "novel_sweeps": budget.sweeps(20),
            "scratch": label in SCRATCH,
        }
        yield from (Measurement(study.name, label, seed, NOVEL, settings) for seed in range(budget.n_seeds))


GRAPH = "chain+20"
GRAPHS = ("chain", "ring", "star", GRAPH, "complete")
WHITENED, RAW = "whitened", "raw"
PENALTY = 0.3
WHITENED_GRID = (0.1, PENALTY, 1.0, 3.0, 10.0)
RAW_GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def most_whitened(budget: SweepBudget) -> int:
    """Iterations of ADMM where it is whitened."""
    return min(2 * budget.n_iterations, 300)


def _consensus(budget: SweepBudget) -> Iterator[Measurement]:
    """Algorithm 1 on every domain, Algorithm 2 on the helicopter; then graphs."""
    common = {
        "n_problems": budget.n_problems,
        "n_trajectories": budget.n_trajectories,
        "task_seed": TASK_SEED,
        "n_nodes": 10,
        "iterations": {WHITENED: most_whitened(budget), RAW: budget.n_iterations},
    }
    cases = [*((key, "theta", GRAPH) for key in DOMAINS), ("HC", "basis", GRAPH)]
    cases += [("HC", "theta", graph) for graph in GRAPHS if graph != GRAPH]
    for key, algorithm, graph in cases:
        domain = DOMAINS[key]
        settings = {
            **common,
            "env": domain.env,
            "sigma": domain.sigma,
            "algorithm": algorithm,
            "n_basis": 4,
            "graph": graph,
            "penalties": {WHITENED: list(WHITENED_GRID), RAW: list(RAW_GRID) if graph == GRAPH else []},
        }
        yield Measurement("consensus", f"{key} {algorithm} {graph}", 0, CONSENSUS, settings)


def _truth(budget: SweepBudget) -> Iterator[Measurement]:
    for key, domain in DOMAINS.items():
        settings = {
            "env": domain.env,
            "preset": "known_basis",
            "n_tasks": budget.n_tasks,
            "task_seed": TASK_SEED,
            "n_hidden": domain.n_hidden,
        }
        yield Measurement("truth", key, 0, TRUTH, settings)
