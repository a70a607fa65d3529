"""The main job: fifty different cart-poles, five trajectories each, and what sharing is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback

from lifelong_gym.agents import PGELLA, REINFORCE
from lifelong_gym.benchmark.disk import claim_folder
from lifelong_gym.benchmark.results import write_result
from lifelong_gym.benchmark.terminal import BOLD, say
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.measures import metrics
from lifelong_gym.measures.statistics import Interval, bootstrap
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.linear import best_policies
from lifelong_gym.registry import family, sample_tasks
from lifelong_gym.tasks.task_set import TaskSet

ENV = "LifelongCartPole-v0"
PRESET = "hetero"
EVALUATION_SEED = 2**31  # far from the training seeds, so that evaluation never sees training noise
N_STARTS = 8
EARLY = 20
THRESHOLD = 0.9
SHARING, ALONE, ONE_POLICY = "PG-ELLA", "from scratch", "one for all"
COLUMNS = ("jump-start", f"area to sweep {EARLY}", "area to the end", "asymptote", f"sweeps to {THRESHOLD:.0%}")


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


METHODS: Mapping[str, Callable[..., Any]] = {
    SHARING: lambda **arguments: PGELLA("LinearGaussianPolicy", n_basis=3, base="reinforce", **arguments),
    ALONE: lambda **arguments: REINFORCE("LinearGaussianPolicy", **arguments),
    ONE_POLICY: lambda **arguments: REINFORCE("LinearGaussianPolicy", shared=True, **arguments),
}


def performance(tasks: TaskSet, theta: FloatArray) -> FloatArray:
    """Mean reward per step of the mean policies on the same starts for everybody, shape (n_tasks,)."""
    run = rollout(ENV, tasks=tasks, theta=theta, n_trajectories=N_STARTS, seed=EVALUATION_SEED, sigma=0.0)
    return np.asarray(run.returns.mean(axis=1) / family(ENV).horizon)


class Recorder(BaseCallback):
    """Performance in every task before learning and after each sweep."""

    def __init__(self, tasks: TaskSet, swept: Callable[[], None]) -> None:
        """``swept`` is called after every sweep."""
        super().__init__()
        self._tasks = tasks
        self._swept = swept
        self.history: list[FloatArray] = []

    def _on_training_start(self) -> None:
        self.history.append(performance(self._tasks, self._theta()))

    def _on_step(self) -> bool:
        self.history.append(performance(self._tasks, self._theta()))
        self._swept()
        return True

    def _theta(self) -> FloatArray:
        theta: FloatArray = self.model.policy.thetas  # type: ignore[assignment]
        return theta


def learn(
    tasks: TaskSet, budget: DemoBudget, swept: Callable[[str], None]
) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Run all methods with all seeds.

    Returns:
        Per method the performance, shape (n_seeds, n_sweeps + 1, n_tasks), and the learner of its first seed.
    """
    total = budget.n_sweeps * budget.n_tasks * budget.n_trajectories * family(ENV).horizon
    curves: dict[str, FloatArray] = {}
    learners: dict[str, Any] = {}
    for name, make in METHODS.items():
        runs = []
        for seed in range(budget.n_seeds):
            recorder = Recorder(tasks, lambda name=name: swept(name))  # type: ignore[misc]
            learner = make(env=_parallel(tasks), n_trajectories=budget.n_trajectories, seed=seed)
            learner.learn(total, callback=recorder)
            learners.setdefault(name, learner)
            runs.append(recorder.history)
        curves[name] = np.array(runs)
    return curves, learners


def _parallel(tasks: TaskSet) -> Any:
    import pettingzoo

    return pettingzoo.make("parallel", ENV, tasks=tasks)


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
    """Learn, compare, and write table, plot, animation and result file into ``folder``."""
    from lifelong_gym.cli.animation import animate
    from lifelong_gym.reports.plots import learning_curves

    claim_folder(folder)
    tasks = sample_tasks(ENV, budget.n_tasks, seed=0, preset=PRESET)
    say(console, (f"Lifelong learning on {budget.n_tasks} cart-poles", BOLD))
    console.print(_introduction(budget))
    console.print(str(tasks), no_wrap=True, overflow="ellipsis", highlight=False, markup=False)
    with console.status("compiling the physics, and the best linear policy of every task for reference"):
        best = performance(tasks, best_policies(family(ENV), tasks))
        nothing = performance(tasks, np.zeros((1, 5)))
    with _progress(console) as progress:
        bars = {name: progress.add_task(name, total=budget.n_seeds * budget.n_sweeps) for name in METHODS}
        raw, learners = learn(tasks, budget, lambda name: progress.advance(bars[name]))
    curves = {n: metrics.normalised(runs, nothing, best).mean(axis=2) for n, runs in raw.items()}
    rows = figures(curves)
    console.print(table(rows))
    console.print(_verdict(curves))
    plot, film, result = folder / "learning_curves.png", folder / "policies.gif", folder / "result.json"
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
        animate(film, ENV, tasks, _three_unlike(tasks), learners[SHARING])
    write_result(result, _settings(tasks, budget), _everything(raw, rows, best, nothing))
    _farewell(console, plot, film, result)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TextColumn("sweeps"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


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


def _settings(tasks: TaskSet, budget: DemoBudget) -> dict[str, Any]:
    return {
        "env": ENV,
        "tasks": tasks.to_dict(),
        "budget": vars(budget),
        "seeds": list(range(budget.n_seeds)),
        "evaluation": {"seed": EVALUATION_SEED, "n_starts": N_STARTS, "sigma": 0.0},
        "methods": list(METHODS),
        "metrics": {"early": EARLY, "threshold": THRESHOLD, "interval": "95% percentile bootstrap over seeds"},
    }


def _everything(
    raw: Mapping[str, FloatArray], rows: Mapping[str, Mapping[str, Interval]], best: FloatArray, nothing: FloatArray
) -> dict[str, Any]:
    finite = {
        name: {column: [x if np.isfinite(x) else None for x in interval] for column, interval in row.items()}
        for name, row in rows.items()
    }
    return {"table": finite, "performance": dict(raw), "reference": best, "zero_policy": nothing}


def _farewell(console: Console, plot: Path, film: Path, result: Path) -> None:
    say(console, "\nWritten: ", (plot, BOLD), " (learning curves), ", (film, BOLD), " (three tasks, learned policies)")
    say(console, "and ", (result, BOLD), " (all figures, seeds and versions)")
    say(console, "Next: ", ("lifelong list", BOLD), " shows what there is, ")
    say(console, ("lifelong train PGELLA LifelongDoubleMass-v0 --preset hetero", BOLD), " learns another family, ")
    say(console, ("lifelong play", BOLD), " shows a trained model.")
