"""The main job: fifty different cart-poles, five trajectories each, and what sharing is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lifelong_gym.benchmark.disk import claim_folder
from lifelong_gym.benchmark.experiment import Experiment
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.models import Kept
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.records import Run, read_run, united
from lifelong_gym.benchmark.runner import Outcome, run_experiment
from lifelong_gym.benchmark.terminal import BOLD, say
from lifelong_gym.errors import LifelongGymError
from lifelong_gym.measures import metrics
from lifelong_gym.measures.statistics import Interval, bootstrap
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet

ENV = "LifelongCartPole-v0"
PRESET = "hetero"
EVALUATION_SEED = 2**31  # far from the training seeds, so that evaluation never sees training noise
N_STARTS = 8
EARLY = 20
THRESHOLD = 0.9
SHARING, ALONE, ONE_POLICY = "PG-ELLA", "from scratch", "one for all"
COLUMNS = ("jump-start", f"area to sweep {EARLY}", "area to the end", "asymptote", f"sweeps to {THRESHOLD:.0%}")


class DemoError(LifelongGymError, RuntimeError):
    """A run of the demo that failed."""


@dataclass(frozen=True)
class DemoBudget:
    """How much is run.

    Attributes:
        n_tasks: cart-poles.
        n_trajectories: per task and sweep.
        n_sweeps: in each, every task is observed once.
        n_seeds: independent runs of each method.
    """

    n_tasks: int = 50
    n_trajectories: int = 5
    n_sweeps: int = 100
    n_seeds: int = 10

    @property
    def experiment(self) -> Experiment:
        """Three methods on the same tasks, evaluated before learning and after each sweep."""
        sweep = {"n_trajectories": self.n_trajectories}
        methods = (
            LearnerSpec(SHARING, "PGELLA", {"n_basis": 3, "base": "reinforce", **sweep}),
            LearnerSpec(ALONE, "REINFORCE", sweep),
            LearnerSpec(ONE_POLICY, "REINFORCE", {"shared": True, **sweep}),
        )
        protocol = Protocol(
            episodes_per_task=self.n_sweeps * self.n_trajectories,
            n_evaluations=self.n_sweeps,
            n_eval_episodes=N_STARTS,
            evaluation_seed=EVALUATION_SEED,
        )
        return Experiment(methods, (FamilySpec.of(ENV, self.n_tasks, PRESET),), protocol, tuple(range(self.n_seeds)))


def learned(outcome: Outcome) -> dict[str, list[Run]]:
    """The runs of each method, by seed.

    Raises:
        DemoError: one failed.
    """
    for name, why in outcome.failed.items():
        raise DemoError(f"{name}: {why}")
    runs, _ = united(sorted(map(read_run, [*outcome.written, *outcome.skipped]), key=lambda run: run.seed))
    return {method: [run for run in runs if run.learner == method] for method in (SHARING, ALONE, ONE_POLICY)}


def curves_of(runs: Mapping[str, Sequence[Run]]) -> dict[str, FloatArray]:
    """Normalised performance, mean over tasks: per method of shape (n_seeds, n_sweeps + 1)."""
    return {method: np.array([run.performance().mean(axis=1) for run in each]) for method, each in runs.items()}


def figures(curves: Mapping[str, FloatArray]) -> dict[str, dict[str, Interval]]:
    """The table: per method and metric an estimate with its 95% bootstrap interval over seeds.

    Args:
        curves: normalised mean performance over tasks, per method of shape (n_seeds, n_sweeps + 1).
    """
    rows = {}
    for name, runs in curves.items():
        columns = (
            bootstrap(metrics.jump_start(runs, curves[ALONE], at=1)),
            bootstrap(metrics.area_under_curve(runs, EARLY + 1)),
            bootstrap(metrics.area_under_curve(runs)),
            bootstrap(metrics.asymptote(runs)),
            bootstrap(metrics.time_to_threshold(runs, THRESHOLD), np.median),
        )
        rows[name] = dict(zip(COLUMNS, columns, strict=True))
    return rows


def table(rows: Mapping[str, Mapping[str, Interval]]) -> Table:
    """For the terminal: a column a method."""
    result = Table(
        title="Normalised performance: 0 is doing nothing, 1 the best linear policy of each task",
        caption="jump-start: after the first sweep, above scratch. In brackets 95% bootstrap intervals over seeds.",
        show_lines=True,
    )
    result.add_column("", no_wrap=True)
    for name in rows:
        result.add_column(name, justify="right", no_wrap=True)
    for column in COLUMNS:
        result.add_row(column, *[str(row[column]).replace(" ", "\n", 1) for row in rows.values()])
    return result


def run(folder: Path, budget: DemoBudget, console: Console) -> None:
    """Learn, compare, and write run files, table, plot and animation into ``folder``; what is there is kept."""
    from lifelong_gym.cli.animation import animate
    from lifelong_gym.reports.plots import learning_curves

    claim_folder(folder)
    experiment = budget.experiment
    (family,) = experiment.families
    tasks = family.tasks
    say(console, (f"Lifelong learning on {budget.n_tasks} cart-poles", BOLD))
    console.print(_introduction(budget))
    console.print(str(tasks), no_wrap=True, overflow="ellipsis", highlight=False, markup=False)
    runs = learned(run_experiment(experiment, folder, console, outputs=Outputs(keep_models=True)))
    curves = curves_of(runs)
    console.print(table(figures(curves)))
    console.print(_verdict(curves))
    plot, film = folder / "learning_curves.png", folder / "policies.gif"
    learning_curves(
        plot,
        curves,
        title=f"{budget.n_tasks} cart-poles ({PRESET}), {budget.n_trajectories} trajectories a task and sweep",
        x_label="sweeps over all tasks",
        y_label="normalised performance, mean over tasks",
        levels={"best linear policy of each task": 1.0},
        markers=[EARLY],
    )
    with console.status("playing the learned policies"):
        animate(film, ENV, tasks, _three_unlike(tasks), Kept.of_run(runs[SHARING][0].path).learner())
    _farewell(console, plot, film, folder)


def _introduction(budget: DemoBudget) -> str:
    return (
        "Each has its own masses, pole and motor, and sensors that may be wired the wrong way\n"
        "round: no policy fits all. Every sweep gives each task only "
        f"{budget.n_trajectories} trajectories. Three\n"
        "ways to use them, with the same normalised REINFORCE underneath, "
        f"{budget.n_seeds} seeds each:\n"
        "PG-ELLA (three basis vectors shared by all), every task from scratch, one policy for all.\n"
    )


def _three_unlike(tasks: TaskSet) -> list[int]:
    """Three tasks with different sensor polarities."""
    polarity = np.stack([tasks.column("sensor_gain_3"), tasks.column("sensor_gain_4")], axis=1)
    _, first = np.unique(polarity, axis=0, return_index=True)
    return sorted(first.tolist())[:3]


def _verdict(curves: Mapping[str, FloatArray]) -> str:
    early = {name: metrics.area_under_curve(runs, EARLY + 1) for name, runs in curves.items()}
    lead = bootstrap(early[SHARING] - early[ALONE])
    late = bootstrap(metrics.asymptote(curves[SHARING]) - metrics.asymptote(curves[ALONE]))
    ahead = "Sharing is ahead" if lead.low > 0 else "Sharing is behind" if lead.high < 0 else "No clear difference"
    return (
        f"{ahead} in the first {EARLY} sweeps: by {lead} of normalised performance over learning from scratch "
        f"(95% interval); at the end the difference is {late}."
    )


def _farewell(console: Console, plot: Path, film: Path, folder: Path) -> None:
    say(console, "\nWritten: ", (plot, BOLD), " (learning curves), ", (film, BOLD), " (three tasks, learned policies)")
    say(console, "and run files in ", (folder, BOLD), " (every return, seeds and versions)")
    say(console, "Next: ", (f"lifelong report {folder}", BOLD), " makes all tables and figures of them, ")
    say(console, ("lifelong list", BOLD), " shows what there is, ")
    say(console, ("lifelong train PGELLA LifelongDoubleMass-v0 --preset hetero", BOLD), " learns another family, ")
    say(console, ("lifelong play", BOLD), " shows a trained model.")
