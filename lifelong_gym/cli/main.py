"""The command ``lifelong``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown

from lifelong_gym import registry
from lifelong_gym.benchmark.disk import DiskError, claim_file, claim_folder, reason
from lifelong_gym.benchmark.learners import known, learner_class, policies
from lifelong_gym.benchmark.terminal import BOLD, say, working
from lifelong_gym.cli.listing import (
    agents_table,
    describe_environment,
    environments_table,
    final_tables,
    policies_table,
)
from lifelong_gym.cli.options import (
    Agents,
    Constraints,
    EnvArgument,
    EnvArguments,
    Envs,
    ExperimentFile,
    Horizon,
    NAgents,
    Only,
    Physics,
    ProtocolName,
    Reward,
    Rounds,
    Seeds,
    Sets,
    TunedFile,
    arguments_of,
    families_of,
    sets_of,
)
from lifelong_gym.cli.training import MODEL, RESULT, check_saving, write_trained
from lifelong_gym.cli.tuning import tune
from lifelong_gym.errors import LifelongGymError, unknown
from lifelong_gym.imports import load, search_current_folder

if TYPE_CHECKING:
    from lifelong_gym.benchmark.runner import Outcome

console = Console()
app = typer.Typer(
    help="Environments and methods for lifelong, multi-task, decentralised and federated reinforcement learning.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _readable_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A user's mistake ends in one line and exit code 2, not in a traceback."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (LifelongGymError, ValueError, ImportError, OSError) as error:
            say(Console(stderr=True), ("error: ", "bold red"), reason(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            Console(stderr=True).print("interrupted: nothing half-written is left")
            raise typer.Exit(130) from None

    return wrapped


@app.command()
@_readable_errors
def demo(
    folder: Annotated[Path, typer.Option(help="Where to write runs, plot and animation.")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(min=2, help="Independent runs of each method.")] = 10,
    sweeps: Annotated[int, typer.Option(min=21, help="How often every task is observed.")] = 100,
) -> None:
    """Watch lifelong learning: fifty different cart-poles, five trajectories a task.

    PG-ELLA, which shares three basis vectors between the tasks, against learning each task from scratch and against
    one policy for all. Ends with a table, a plot and an animation; an interrupted demo goes on.

    Example: `lifelong demo --seeds 5`
    """
    from lifelong_gym.cli.demo import DemoBudget, run

    run(folder, DemoBudget(n_seeds=seeds, n_sweeps=sweeps), console)


@app.command("list")
@_readable_errors
def list_(
    name: Annotated[
        str | None, typer.Argument(help="Id of an environment, or name of an agent or policy; may be `module:Name`.")
    ] = None,
    references: Annotated[bool, typer.Option(help="Also compute the reference returns of ten tasks.")] = False,
    env_argument: EnvArguments = None,
) -> None:
    """Show what there is: environments, agents and policies, or one of them with parameters and presets.

    Examples: `lifelong list`, `lifelong list LifelongCartPole-v0 --references`, `lifelong list PGELLA`
    """
    search_current_folder(name or "")
    if name is None:
        console.print(environments_table())
        console.print(agents_table())
        console.print(policies_table())
        say(console, "Next: ", ("lifelong list LifelongCartPole-v0", BOLD), ", or ", ("lifelong demo", BOLD), ".")
    elif name in registry.FAMILIES or (":" in name and registry.names_family(name)):
        describe_environment(console, name, references, arguments_of(env_argument))
    elif name in policies():
        console.print(Markdown(f"# {name}\n\n{inspect.getdoc(load(policies()[name]))}"))
    elif name in known() or ":" in name:
        kind = learner_class(name)
        console.print(Markdown(f"# {name}\n\n{inspect.getdoc(kind)}"))
    else:
        raise unknown("environment, agent or policy", name, [*registry.FAMILIES, *known(), *policies()])


@app.command()
@_readable_errors
def train(
    agent: Annotated[str, typer.Argument(help="Name of an agent, or `module:Class`.")],
    env: EnvArgument,
    n_tasks: Annotated[int, typer.Option(min=1, help="How many tasks to draw.")] = 10,
    task_seed: Annotated[int, typer.Option(help="Seed of the draw of the tasks.")] = 0,
    preset: Annotated[str, typer.Option(help="What to draw the tasks from.")] = "default",
    seed: Annotated[int, typer.Option(help="Seed of the learning.")] = 0,
    total_timesteps: Annotated[int, typer.Option(min=1, help="Environment steps, all tasks together.")] = 1_000_000,
    argument: Annotated[
        list[str] | None, typer.Option("--argument", "-a", help="Constructor argument `name=value` (value as JSON).")
    ] = None,
    env_argument: EnvArguments = None,
    folder: Annotated[Path | None, typer.Option(help="Where to write; default: `runs/AGENT-ENV-seedN`.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier run in that folder.")] = False,
) -> None:
    """Train an agent on an environment's tasks and save the model.

    Example: `lifelong train PGELLA LifelongCartPole-v0 --preset hetero --n-tasks 50 -a n_basis=3`
    """
    from lifelong_gym.benchmark.learners import LearnerSpec
    from lifelong_gym.benchmark.results import file_name
    from lifelong_gym.envs.parallel import LifelongParallelEnv
    from lifelong_gym.wrappers import CoreVecEnv

    search_current_folder(agent, env)
    arguments = arguments_of(argument)
    spec = LearnerSpec.of(agent, arguments=arguments)
    env = registry.resolve(env)
    own = registry.family(env, **arguments_of(env_argument)).given_arguments
    folder = folder or Path("runs") / f"{file_name(spec.label)}-{env.rpartition(':')[2]}-seed{seed}"
    if (folder / RESULT).exists() and not overwrite:
        raise FileExistsError(f"{folder} holds a run already: pass --overwrite, or another --folder")
    with working(console, f"making {n_tasks:,} task{'s' * (n_tasks > 1)} and the learner"):
        tasks = registry.sample_tasks(env, n_tasks, task_seed, preset, **own)
        parallel = LifelongParallelEnv(env, tasks=tasks, task_observation=spec.task_observation, **own)
        learner = spec.make(CoreVecEnv.of(parallel), seed)
    check_saving(learner, agent, folder, console)
    takes_bar = "progress_bar" in inspect.signature(learner.learn).parameters
    learner.learn(total_timesteps, **({"progress_bar": True} if takes_bar else {}))
    settings = {
        "agent": agent,
        "arguments": arguments,
        "env": env,
        **({"env_arguments": own} if own else {}),
        "tasks": tasks.to_dict(),
        "task_observation": spec.task_observation,
        **({"norm": True} if spec.norm else {}),
        "seed": seed,
        "total_timesteps": total_timesteps,
    }
    written = write_trained(learner, folder, settings, tasks, console)
    say(console, "Next: ", (f"lifelong play {written} {env} --task 0", BOLD))
    if written != folder:
        raise typer.Exit(1)


@app.command()
@_readable_errors
def play(
    run: Annotated[
        Path,
        typer.Argument(help="Folder that `lifelong train` wrote, or run file of `lifelong benchmark --keep-models`."),
    ],
    env: EnvArgument,
    task: Annotated[int, typer.Option(min=0, help="Index of the task.")] = 0,
    video: Annotated[Path | None, typer.Option(help="Write a film (.gif, .webp, .mp4) instead of a window.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the start.")] = 0,
    physics: Physics = None,
) -> None:
    """Show a trained agent in one of its tasks, in a window or as a film; on another engine with --physics.

    Example: `lifelong play runs/PGELLA-LifelongCartPole-v0-seed0 LifelongCartPole-v0 --task 3 --video out.gif`
    """
    from lifelong_gym.benchmark.models import Kept
    from lifelong_gym.cli import animation
    from lifelong_gym.envs.single import LifelongEnv

    if not run.is_file() and not (run / RESULT).is_file():
        raise DiskError(
            f"`run` must be a folder that `lifelong train` wrote, or a run file. There is no {run / RESULT}"
        )
    kept = Kept.of_run(run) if run.is_file() else Kept.of_training(run / RESULT, run / MODEL)
    search_current_folder(kept.agent, env)
    if kept.env_id != registry.resolve(env):
        raise ValueError(f"`env` must be {kept.env_id}, which {run} was trained on. Received {env}")
    if video is not None:
        animation.check_suffix(video)
        claim_file(video)
    policy = kept.policy(task)
    look: dict[str, Any] = {
        "task_observation": kept.task_observation,
        "render_mode": "human" if video is None else "rgb_array",
    }
    made_with = {**kept.made_with, **_given(physics=physics)}
    single = LifelongEnv(env, tasks=kept.tasks, **made_with, **look)
    if video is None:
        total = animation.play(single, policy, task, seed)
    else:
        total = animation.film_episode(video, single, policy, task, seed)
        say(console, "Written: ", (video, BOLD))
    single.close()
    say(console, f"Sum of rewards in task {task}: {total:.2f}")
    say(console, "Next: another task with ", ("--task N", BOLD), f" (of {len(kept.tasks['uids'])})")


@app.command()
@_readable_errors
def benchmark(
    experiment: ExperimentFile = None,
    agents: Agents = "PGELLA,REINFORCE,PPO",
    envs: Envs = "LifelongCartPole-v0",
    protocol: ProtocolName = "multi_task",
    seeds: Seeds = None,
    n_tasks: Annotated[int | None, typer.Option(min=1, help="Tasks of each family.")] = None,
    preset: Annotated[str | None, typer.Option(help="What tasks are drawn from; default: `hetero`.")] = None,
    task_seed: Annotated[int, typer.Option(min=0, help="Seed of that draw.")] = 0,
    env_argument: EnvArguments = None,
    reward: Reward = None,
    physics: Physics = None,
    horizon: Horizon = None,
    constraint: Constraints = None,
    evaluate: Sets = None,
    n_agents: NAgents = None,
    rounds: Rounds = None,
    episodes_per_task: Annotated[int | None, typer.Option(min=1, help="Training budget.")] = None,
    n_evaluations: Annotated[int | None, typer.Option(min=1, help="How often to evaluate.")] = None,
    tuned: TunedFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small budgets: a minute or two on two cores.")] = False,
    folder: Annotated[Path, typer.Option(help="Where runs are written, and continued.")] = Path("runs/benchmark"),
    processes: Annotated[int | None, typer.Option(min=1, help="How many run at once; default: all cores.")] = None,
    only: Only = None,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep them, to be played.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Curves for TensorBoard, in that folder.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Curves for Weights & Biases.")] = False,
) -> None:
    """Compare learners on families, under one protocol, over seeds, in parallel.

    Finished runs are kept: after an interruption, the same command goes on. A folder takes further seeds, learners,
    families and protocols. With `--only` and `--seeds 5:10` several machines share an experiment; copy their folders
    together afterwards.

    Example: `lifelong benchmark --agents PGELLA,ENAC,PPO --envs LifelongCartPole-v0,LifelongCH47-v0 --quick`
    """
    from lifelong_gym.benchmark.experiment import Experiment, named, read_toml, seeds_of
    from lifelong_gym.benchmark.outputs import Outputs
    from lifelong_gym.benchmark.runner import run_experiment

    drawn = _given(n_tasks=n_tasks, preset=preset, task_seed=task_seed)
    budget = _given(episodes_per_task=episodes_per_task, n_evaluations=n_evaluations)
    made_with = _given(reward=reward, physics=physics, horizon=horizon)
    own, limits = arguments_of(env_argument), arguments_of(constraint)
    tables = {"arguments": own, "constraints": limits, "evaluate": sets_of(evaluate)}
    family = {**drawn, **made_with, **{key: table for key, table in tables.items() if table}}
    typed = {
        "learners": agents.split(","),
        "families": families_of(envs, family),
        "protocol": {"name": protocol, **budget, **_given(n_agents=n_agents, rounds=rounds)},
        "quick": quick,
    }
    content = typed if experiment is None else read_toml(experiment)
    content |= {} if tuned is None else {"tuned": str(tuned)}
    search_current_folder(*named(content))
    names, numbers = only.split(",") if only else (), None if seeds is None else seeds_of(seeds)
    described = Experiment.of_dict(content).part(names, numbers)
    _conclude(run_experiment(described, folder, console, processes, Outputs(keep_models, tensorboard, wandb)), folder)


def _conclude(outcome: Outcome, folder: Path) -> None:
    """Say what became of an experiment, and exit with 1 where a run failed."""
    for table in final_tables(outcome.written + outcome.skipped):
        console.print(table)
    say(console, f"{len(outcome.written)} runs written, {len(outcome.skipped)} were there: ", (folder, BOLD))
    for name, why in outcome.failed.items():
        say(console, ("failed: ", "red"), f"{name}: {why}")
    say(console, "Next: ", (f"lifelong report {folder}", BOLD))
    if outcome.failed:
        raise typer.Exit(1)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@app.command()
@_readable_errors
def report(
    runs: Annotated[Path, typer.Argument(help="Folder with runs, in folders of any depth.")],
    folder: Annotated[Path | None, typer.Option(help="For figures and tables; default: `report` in there.")] = None,
    html: Annotated[Path | None, typer.Option(help="The page; default: `report.html` in that folder.")] = None,
) -> None:
    """Make tables (Markdown, LaTeX, CSV), figures (PDF, SVG, PNG) and one page from what `lifelong benchmark` wrote.

    Example: `lifelong report runs/benchmark --html report.html`
    """
    from lifelong_gym.reports.report import write_report

    page, *others = write_report(runs, folder, html)
    place = others[0].parent.parent
    say(console, "Written: ", (page, BOLD), f", and {len(others)} files of tables and figures in ", (place, BOLD))
    say(console, f"Next: open {page} in a browser, or load the data: `lifelong_gym.benchmark.load({str(runs)!r})`")


@app.command()
@_readable_errors
def reproduce(
    paper: Annotated[
        str, typer.Argument(help="`bouammar2015`, `zhan2017`, or a folder with a `paper.toml` of one's own.")
    ],
    quick: Annotated[bool, typer.Option("--quick", help="A look at everything, in minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The paper's own size.")] = False,
    only: Annotated[
        str, typer.Option(help="A single run, `study/system/method/seed3`, or all below `study` or `study/system`.")
    ] = "",
    folder: Annotated[Path | None, typer.Option(help="For measurements; default: `runs/PAPER`.")] = None,
    page_folder: Annotated[Path | None, typer.Option(help="For the page; default: the same.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="How many run at once; default: all cores.")] = None,
) -> None:
    """Run a paper's experiments again, and write a page that says which of its claims hold.

    What is measured already is kept: after an interruption, the same command goes on. With `--only`, the numbers of
    those runs are shown, and no page is written; with `--page-folder` beside it, they are added to the page there,
    whose own numbers needn't be measured again.

    Examples: `lifelong reproduce zhan2017 --quick`, `lifelong reproduce zhan2017 --only main/CP/eNAC/seed3`
    """
    from lifelong_gym.papers.reproduce import Reproduction, folder_of

    if quick and full:
        raise ValueError("`--quick` and `--full` can't be had together")
    source = folder_of(paper)
    folder = folder or Path("runs") / source.resolve().name
    budget = "quick" if quick else "full" if full else "default"
    found = Reproduction.of(source, budget, folder)
    pages = page_folder or (None if only else folder)
    if pages:
        claim_folder(pages / found.code.name)
    cells = found.measure(console, processes, only, pages)
    if not pages:
        for cell in cells:
            said = ", ".join(f"{of} {value}" for of, value in found.quantities(cell).items())
            say(console, (cell.title, BOLD), f": {said}")
        return
    say(console, "Next: read ", (found.write(pages, console), BOLD))


app.command()(_readable_errors(tune))


if __name__ == "__main__":
    app()
