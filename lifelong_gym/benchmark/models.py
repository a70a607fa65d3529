"""Models that `lifelong train` and `lifelong benchmark --keep-models` have kept, to act and to be evaluated again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_gym import registry
from lifelong_gym.benchmark.acting import InTask
from lifelong_gym.benchmark.evaluation import Evaluation, Measured
from lifelong_gym.benchmark.families import SETTINGS
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.benchmark.normalised import Normalised
from lifelong_gym.benchmark.outputs import model_name
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.benchmark.results import read_result
from lifelong_gym.benchmark.writer import SUFFIX
from lifelong_gym.errors import integer
from lifelong_gym.tasks.task_set import TaskSet


@dataclass(frozen=True)
class Kept:
    """What was learned, and in what.

    Attributes:
        agent: name of the class.
        env_id: of the family.
        tasks: `TaskSet.to_dict()` of the tasks.
        task_observation: what a policy sees of the task.
        model: path of the model, with ``{}`` for the index of the task where each task has one of its own.
        arguments: of the family itself.
        settings: of the envs, such as ``reward`` and ``horizon``, that aren't the defaults.
        n_agents: who learned, where agents aren't tasks; else None.
        meeting_steps: by which these may recognise a task.
        norm: whether the model holds statistics that its observations are normalised by.
    """

    agent: str
    env_id: str
    tasks: Mapping[str, Any]
    task_observation: str
    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    n_agents: int | None = None
    meeting_steps: int = 0
    norm: bool = False

    @classmethod
    def of_training(cls, result: Path, model: Path) -> Kept:
        """What `lifelong train` wrote.

        Raises:
            FileNotFoundError: nothing there.
            ValueError: a damaged result file.
        """
        settings = read_result(result)["settings"]
        agent = settings["agent"].partition("+")[0]
        learned = (settings["tasks"], settings["task_observation"], _plain(model))
        norm = settings.get("norm", False)
        return cls(agent, settings["env"], *learned, settings.get("env_arguments", {}), norm=norm)

    @classmethod
    def of_run(cls, path: Path) -> Kept:
        """What stands beside a run file of a benchmark.

        Raises:
            ValueError: no run file, or a damaged one.
        """
        if path.suffix != SUFFIX:
            raise ValueError(f"`run` must be a folder, or a run file with the ending {SUFFIX}. Received {path}")
        learner, family, protocol = (read_run(path).settings[key] for key in ("learner", "family", "protocol"))
        model = model_name(_plain(path.with_suffix("")), "{}" if learner["alone"] else None)
        learned = (family["tasks"], learner["task_observation"], model)
        settings = {name: family[name] for name in SETTINGS if name in family}
        agents = (protocol.get("n_agents"), protocol.get("meeting_steps", 0))
        of_family = (family.get("arguments", {}), settings)
        return cls(learner["class"], family["id"], *learned, *of_family, *agents, learner.get("norm", False))

    @property
    def made_with(self) -> dict[str, Any]:
        """Keyword arguments of the envs, but for the tasks."""
        return {**self.settings, **self.arguments}

    @property
    def alone(self) -> bool:
        """Whether each task has a model of its own."""
        return self.model.format(0) != self.model.format(1)

    def learner(self, task: int = 0) -> Any:
        """From the model file; that of a task where each has its own.

        Raises:
            FileNotFoundError: it wasn't kept.
            CheckpointError: it lacks what its observations are normalised by.
        """
        path = Path(self.model.format(task))
        if not path.exists():
            raise FileNotFoundError(f"there is no model at {path}: `lifelong benchmark --keep-models` keeps them")
        kind = learner_class(self.agent)
        return Normalised.load(kind, path) if self.norm else kind.load(path)

    def policy(self, task: int) -> Any:
        """That of a task, or where agents aren't tasks of the first agent, with ``predict`` for single observations.

        Raises:
            FileNotFoundError: it wasn't kept.
        """
        learner = self.learner(task)
        if self.n_agents is not None:
            return InTask(learner, 0, self.n_agents)
        if not hasattr(learner, "for_task"):
            return InTask(learner, 0 if self.alone else task, 1 if self.alone else len(self.tasks["uids"]))
        return learner.for_task(0 if self.alone else task)

    def measured(self, n_episodes: int, seed: int) -> Measured:
        """Evaluate in all tasks; those without a model of their own are NaN.

        Raises:
            FileNotFoundError: no model was kept.
        """
        tasks = TaskSet.of(registry.family(self.env_id, **self.arguments).parameters, self.tasks)
        seen, agents = (self.task_observation, self.made_with), (self.n_agents, self.meeting_steps)
        everything = Evaluation.of(self.env_id, tasks, n_episodes, seed, *seen, *agents)
        if not self.alone:
            return everything.measure(self.learner())
        there = [task for task in range(len(tasks)) if Path(self.model.format(task)).exists()]
        alone = [everything.only(task).measure(self.learner(task)) for task in there or [0]]
        nothing = Measured(np.full((len(tasks), n_episodes), np.nan), np.full(len(tasks), np.nan))
        if alone[0].violations is not None:
            nothing = nothing._replace(violations=np.full(len(tasks), np.nan))
        return nothing.but(np.array(there or [0]), alone)


def _plain(path: Path) -> str:
    """For ``str.format``."""
    return str(path).replace("{", "{{").replace("}", "}}")


def evaluate(path: Path | str, n_episodes: int | None = None, seed: int | None = None) -> Measured:
    """Evaluate the models of a finished benchmark run again, in the same or in other episodes.

    Args:
        path: of the run file; its models stand beside it (`lifelong benchmark --keep-models`).
        n_episodes: of each task; default: as many as in the run.
        seed: of the episodes; default: that of the run, which gives the returns of its last evaluation.

    Returns:
        Returns (n_tasks, n_episodes), and shares of failed episodes (n_tasks,). NaN in tasks that a learner from
        scratch didn't learn.

    Raises:
        FileNotFoundError: no models were kept.
        ValueError: no run file, or a damaged one, or a number out of range.
    """
    protocol = read_run(path).settings["protocol"]
    n = protocol["n_eval_episodes"] if n_episodes is None else integer("n_episodes", n_episodes)
    first = protocol["evaluation_seed"] if seed is None else integer("seed", seed, least=0)
    return Kept.of_run(Path(path)).measured(n, first)
