"""One learner on many tasks, measured after every sweep by fused rollouts of its mean policies.

Stepping evaluation episodes takes as long as learning from many more fused ones, and run files hold neither a
learner's basis nor its processor time. Hence this, beside `lifelong_gym.benchmark.run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from lifelong_gym import registry
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.envs.parallel import LifelongParallelEnv
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.imports import load
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.jobs import Progress
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import CoreVecEnv, Faults, ParameterSharing, as_vec_env

EVALUATION_SEED = 2**31  # far from the seeds that anything is trained with
N_STARTS = 4
N_NODES, N_EDGES = 10, 20  # as in the paper; the edges are besides a chain's
ERRORS = {
    "agreement": "train/agreement_error",
    "distance": "train/distance_to_central",
    "basis_agreement": "train/basis_agreement_error",
    "basis_distance": "train/basis_distance_to_central",
}


def mean_rewards(env_id: str, tasks: TaskSet, theta: FloatArray, bias: bool) -> FloatArray:
    """J: mean reward per step of mean policies on the same starts for everybody, shape (n_tasks,)."""
    run = rollout(env_id, tasks=tasks, theta=theta, n_trajectories=N_STARTS, seed=EVALUATION_SEED, sigma=0.0, bias=bias)
    means: FloatArray = run.returns.mean(axis=1) / registry.family(env_id).horizon
    return means


def drawn_tasks(settings: Mapping[str, Any]) -> TaskSet:
    """The tasks that settings speak of."""
    return registry.sample_tasks(settings["env"], settings["n_tasks"], settings["task_seed"], settings["preset"])


def environment(env_id: str, tasks: TaskSet, faults: float = 0.0, seed: int = 0) -> CoreVecEnv:
    """A row a task; with faults, ten nodes reach each other over a channel that loses this share of the messages."""
    parallel: Any = LifelongParallelEnv(env_id, tasks=tasks)
    if faults:
        parallel = ParameterSharing(parallel, **_network(len(tasks)), faults=Faults(loss=faults, seed=seed))
    env = as_vec_env(parallel)
    assert isinstance(env, CoreVecEnv)
    return env


def _network(n_tasks: int) -> dict[str, Any]:
    """The paper's nodes and edges, or as many as there is room for."""
    n = min(N_NODES, n_tasks)
    return {"nodes": n, "topology": f"chain+{min(N_EDGES, (n - 1) * (n - 2) // 2)}"}


def make_learner(settings: Mapping[str, Any], tasks: TaskSet) -> Any:
    """The learner that settings describe, for some tasks."""
    learner, seed = settings["learner"], settings["seed"]
    env = environment(settings["env"], tasks, settings["loss"], seed)
    return load(learner["class"])("LinearGaussianPolicy", env, seed=seed, **learner["arguments"])


class SweepHistory(BaseCallback):
    """Values before learning and after each sweep, what was sent, how far nodes were apart, and processor time."""

    def __init__(self, measure: Callable[[FloatArray], FloatArray], swept: Callable[[int], None]) -> None:
        """``measure`` gets the policies, ``swept`` the number of sweeps done."""
        super().__init__()
        self._measure, self._swept = measure, swept
        self._resumed = 0.0
        self.values: list[FloatArray] = []
        self.sent: list[dict[str, int]] = []
        self.errors: list[dict[str, float]] = []
        self.seconds: list[float] = []

    def _on_training_start(self) -> None:
        self.values.append(self._measure(self._theta()))
        self._resumed = time.process_time()

    def _on_step(self) -> bool:
        self.seconds.append(time.process_time() - self._resumed)
        self.values.append(self._measure(self._theta()))
        known = self.model.logger.name_to_value
        self.errors.append({name: float(known[key]) for name, key in ERRORS.items() if key in known})
        channel = getattr(self.model, "channel", None)
        if channel is not None:
            self.sent.append(channel.ledger.snapshot())
        self._swept(len(self.seconds))
        self._resumed = time.process_time()
        return True

    def _theta(self) -> FloatArray:
        theta: FloatArray = self.model.policy.thetas  # type: ignore[assignment]
        return theta


def run_sweeps(learner: Any, n_sweeps: int, history: SweepHistory, n_tasks: int) -> None:
    """Learn for some sweeps over the environment's tasks."""
    n_steps = n_sweeps * n_tasks * learner.n_trajectories * learner.env.core.horizon
    learner.learn(n_steps, callback=history, log_interval=None)


def learn(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Run one learner.

    Returns:
        ``values``: J, (n_sweeps + 1, n_tasks); ``seconds``: of the processor, a sweep, evaluations aside; ``bytes``
        and ``rounds`` so far after each sweep (empty where nothing is sent); ``errors`` by name, a number a sweep;
        ``basis``: L, (d, n_basis), or None.
    """
    tasks = drawn_tasks(settings)
    learner = make_learner(settings, tasks)
    n_sweeps = settings["sweeps"]
    history = SweepHistory(
        lambda theta: mean_rewards(settings["env"], tasks, theta, learner.bias),
        lambda done: progress(done / n_sweeps),
    )
    run_sweeps(learner, n_sweeps, history, len(tasks))
    knowledge = getattr(learner, "knowledge", None)
    names = history.errors[-1]
    return {
        "values": rounded(np.array(history.values)),
        "seconds": rounded(np.array(history.seconds), 3),
        "bytes": [sent["bytes"] for sent in history.sent],
        "rounds": [sent["rounds"] for sent in history.sent],
        "errors": {name: rounded(np.array([errors[name] for errors in history.errors]), 3) for name in names},
        "basis": None if knowledge is None else knowledge.array("basis").copy(),
    }
