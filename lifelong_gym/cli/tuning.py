"""`lifelong tune`: settings of a learner on a family."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lifelong_gym.benchmark.terminal import BOLD, say
from lifelong_gym.cli.options import EnvArgument, arguments_of
from lifelong_gym.imports import search_current_folder


def tune(
    agent: Annotated[str, typer.Argument(help="Name of a learner as `lifelong benchmark` takes it.")],
    env: EnvArgument,
    trials: Annotated[int, typer.Option(min=1, help="All together, those of earlier calls too.")] = 15,
    n_tasks: Annotated[int, typer.Option(min=1, help="Of every trial.")] = 20,
    preset: Annotated[str | None, typer.Option(help="What tasks are drawn from; default: `hetero`.")] = None,
    episodes_per_task: Annotated[int, typer.Option(min=1, help="Training budget of a trial.")] = 250,
    n_evaluations: Annotated[int, typer.Option(min=1, help="At which trials may be pruned.")] = 5,
    n_eval_episodes: Annotated[int, typer.Option(min=1, help="A task and evaluation.")] = 8,
    argument: Annotated[
        list[str] | None, typer.Option("--argument", "-a", help="Constructor argument `name=value` of all trials.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="What to search, `module:NAME`; default: the learner's `search_space`, or ours.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where studies are kept, and continued.")] = Path("runs/tune"),
    processes: Annotated[int | None, typer.Option(min=1, help="How many trials run at once; default: cores.")] = None,
) -> None:
    """Search for settings of a learner on a family, on tasks and seeds that no benchmark reports.

    The first trial has the defaults; others are drawn by Optuna and pruned where they do worse than the median. After
    an interruption, the same command goes on. What is found is in `tuned.toml`, which benchmarks take by `--tuned`.

    Example: `lifelong tune PPO+append LifelongCartPole-v0`
    """
    import tomli_w

    from lifelong_gym.benchmark.families import FamilySpec
    from lifelong_gym.benchmark.learners import LearnerSpec
    from lifelong_gym.benchmark.protocol import Protocol
    from lifelong_gym.benchmark.search_spaces import Search
    from lifelong_gym.benchmark.tuning import EVALUATION_SEED, TASK_SEED, TUNED, Tuning
    from lifelong_gym.benchmark.tuning import tune as search

    console = Console()
    search_current_folder(agent, env, space or "")
    learner = LearnerSpec.of(agent, arguments=arguments_of(argument))
    family = FamilySpec.of(env, n_tasks, preset, TASK_SEED)
    budget: dict[str, Any] = {
        "episodes_per_task": episodes_per_task,
        "n_evaluations": n_evaluations,
        "n_eval_episodes": n_eval_episodes,
    }
    protocol = Protocol(**budget, evaluation_seed=EVALUATION_SEED)
    asked: dict[str, Any] = {"trials": trials, "n_tasks": n_tasks, "preset": family.preset, **budget}
    asked |= {} if space is None else {"space": space}
    words = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += [word for name, value in learner.arguments.items() for word in ("-a", f"{name}={json.dumps(value)}")]
    command = shlex.join(["lifelong", "tune", agent, env, *words])
    table = search(
        Tuning(learner, family, protocol, Search(learner.kind, space), folder, command), trials, console, processes
    )
    say(console, tomli_w.dumps({"learners": {learner.label: table}}))
    say(console, "Written: ", (folder / TUNED, BOLD))
    say(console, "Next: ", (f"lifelong benchmark --agents {agent} --envs {env} --tuned {folder / TUNED}", BOLD))
