"""What `lifelong train` leaves: a model, what it was trained on, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from lifelong_gym.benchmark.disk import claim_folder, keep
from lifelong_gym.benchmark.results import write_result
from lifelong_gym.benchmark.terminal import BOLD, say, working
from lifelong_gym.tasks.task_set import TaskSet

RESULT, MODEL = "run.json", "model.zip"
N_EPISODES, EVALUATION_SEED = 8, 1_000_000


def check_saving(learner: Any, agent: str, folder: Path, console: Console) -> None:
    """Save the untrained learner and forget it again, so that a long training doesn't end in an error."""
    if not hasattr(learner, "save"):
        raise ValueError(f"{agent} can't be saved: it has no `save`. `lifelong benchmark` doesn't need one")
    with (
        working(console, f"seeing that {claim_folder(folder)} has room for the model"),
        TemporaryDirectory(prefix=".", dir=folder) as probe,
    ):
        learner.save(Path(probe) / MODEL)


def write_trained(learner: Any, folder: Path, settings: Mapping[str, Any], tasks: TaskSet, console: Console) -> Path:
    """Save the model, evaluate it and write that beside it; returns the folder, or another where it is full."""
    from lifelong_gym.benchmark.evaluation import Evaluation

    model = keep(folder / MODEL, learner.save)
    model.with_name(RESULT).unlink(missing_ok=True)  # of an earlier model in this folder
    with working(console, f"evaluating the learned policies in {N_EPISODES * len(tasks):,} episodes"):
        how = (N_EPISODES, EVALUATION_SEED, settings["task_observation"], settings.get("env_arguments"))
        evaluation = Evaluation.of(settings["env"], tasks, *how)
        measured = evaluation.measure(learner)
    returns = measured.returns.mean(axis=1)
    figures = {"return_per_task": returns, "failed": measured.failed, **_steps(learner)}
    result = keep(model.with_name(RESULT), lambda path: write_result(path, settings, figures))
    say(console, f"Mean return of the learned policies: {returns.mean():.2f}")
    say(console, "Written: ", (model, BOLD), " and ", (result, BOLD))
    if result.parent != folder:
        say(console, ("warning: ", "yellow"), f"{folder} could not be written to any more")
    return result.parent


def _steps(learner: Any) -> dict[str, int]:
    return {"num_timesteps": learner.num_timesteps} if hasattr(learner, "num_timesteps") else {}
