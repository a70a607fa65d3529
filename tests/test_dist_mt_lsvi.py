"""DistMTLSVI: tasks are identified and solved, by as few episodes as sharing allows; what it promises as a learner."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from lifelong_gym.agents import DistMTLSVI
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError
from lifelong_gym.benchmark.models import evaluate
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.errors import CheckpointError, UnknownNameError
from lifelong_gym.numerics.optima import policy_return
from lifelong_gym.wrappers import AgentBudget, Faults, ParameterSharing, as_vec_env
from tests.running import run_here

ID, GRID, POLICY = "LifelongLinearMDP-v0", "LifelongGridWorld-v0", "LookupPolicy"
SIZES: dict[str, Any] = {"d": 3, "n_states": 4, "n_actions": 3, "n_stages": 3}
C_SEP = 0.15  # of three stages
ROUNDS: dict[str, Any] = {"schedule": {"rounds": "uniform"}, "backend": "python"}


def parallel(n_agents: int | None = 4, n_tasks: int = 3, **settings: Any) -> Any:
    """Agents that draw tasks."""
    given = {**SIZES, **ROUNDS, "preset": "separated", "n_tasks": n_tasks, "n_agents": n_agents, **settings}
    return pettingzoo.make("parallel", ID, **given)


def made(env: Any = None, seed: int = 0, **arguments: Any) -> DistMTLSVI:
    """With few episodes."""
    given: dict[str, Any] = {"k1": 150, "k2": 600, "c_sep": C_SEP, "seed": seed, **arguments}
    return DistMTLSVI(POLICY, as_vec_env(parallel() if env is None else env), **given)


class Truth:
    """Which tasks agents were in, and what their policies are worth there."""

    def __init__(self, model: DistMTLSVI) -> None:
        """Of a learner in an env whose tasks we see."""
        self.model, self._core = model, model.env.unwrapped.core  # type: ignore[union-attr]
        self.founders: list[int] = []
        self.right: list[bool] = []
        self.shares: list[float] = []

    def round(self) -> None:
        """Learn a round, and look."""
        self.model.learn(1, log_interval=None)
        tasks = self._core.task_of_row.tolist()
        for label, task in zip(self.model.labels.tolist(), tasks, strict=True):
            if label == len(self.founders):
                self.founders.append(task)
            self.right.append(self.founders[label] == task)
            self.shares.append(self.missing(label, task))

    def missing(self, label: int, task: int) -> float:
        """What a label's policy loses in a task, as a share of what the best gains over acting at random."""
        tabular = tabular_model(self._core.family, self._core.tasks[task])
        greedy, horizon = np.eye(tabular.n_actions)[self.model.policy.table[label]], self._core.horizon
        random = policy_return(tabular, np.full(tabular.R.shape, 1.0 / tabular.n_actions), horizon)
        value = self._core.tasks[task]["value"]
        return float((value - policy_return(tabular, greedy, horizon)) / (value - random))


@pytest.mark.parametrize("arguments", [{}, {"identify": "model", "reuse": True, "pool": True}], ids=str)
def test_tasks_are_identified_and_solved(arguments: dict[str, Any]) -> None:
    """Of all agents in all rounds at least 99% rightly, and 95% of their policies miss at most 10% of the headroom."""
    right, shares = [], []
    for seed in range(2):
        truth = Truth(made(parallel(task_seed=seed), seed, **arguments))
        for _ in range(4):
            truth.round()
        right += truth.right
        shares += truth.shares
        assert len(truth.model.clusters) == len(set(truth.founders))
        assert not any(cluster.warnings for cluster in truth.model.clusters)
    assert np.mean(right) >= 0.99
    assert np.mean(np.array(shares) <= 0.1) >= 0.95


def test_many_agents_need_few_episodes() -> None:
    """Until all tasks are known, ten agents explore at most a fifth of what one does, each."""
    spent = {}
    for n_agents in (1, 10):
        truth = Truth(made(parallel(n_agents, 4), k1=60, k2=500, identify="model", reuse=True, pool=True))
        while len(set(truth.founders)) < 4:
            truth.round()
        spent[n_agents] = truth.model.episodes.mean()
        assert len(truth.model.clusters) == 4
        assert all(truth.right)
    assert spent[10] <= spent[1] / 5


def test_twins_are_solved_by_model_and_reported_by_value() -> None:
    """Equal values, other dynamics: by value one cluster, and a warning says so."""
    solved = Truth(made(parallel(preset="twins"), identify="model"))
    for _ in range(2):
        solved.round()
    assert len(solved.model.clusters) == len(set(solved.founders)) == 3
    assert all(solved.right)
    assert max(solved.shares) <= 0.1
    reported = made(parallel(preset="twins"))
    with pytest.warns(UserWarning, match=r'other dynamics than the founder .* see identify="model"'):
        reported.learn(1, log_interval=None)
    assert len(reported.clusters) == 1
    assert reported.clusters[0].warnings


def test_all_traffic_is_counted() -> None:
    """Values and labels alone are eight bytes each; weights and Gram matrices are told once a new task."""
    model = made(verify=False)
    model.learn(1, log_interval=None)
    n_new, n = sum(len(group) for group in model._groups), 4
    plan = 8 * (3 * 3 + 3 * 6)  # H d weights and H halves of matrices
    first = n * 8 + n * 16 + n_new * plan + n * len(model.clusters) * plan
    assert model.channel.ledger.snapshot() == {"rounds": 4, "messages": 3 * n + n_new, "bytes": first}
    while model.logger.name_to_value["train/n_agents_in_new_tasks"] or len(model._plans):
        before = model.channel.ledger.snapshot()["bytes"]
        model.learn(1, log_interval=None)
    assert model.channel.ledger.snapshot()["bytes"] - before == n * 24
    assert model.channel.nodes[0] == "hub"


@pytest.mark.parametrize("arguments", [{}, {"pool": True, "identify": "model"}], ids=str)
def test_lost_messages_change_nothing_but_the_bill(arguments: dict[str, Any]) -> None:
    """They are sent again: the same labels and policies, by more messages."""
    models = []
    for faults in (None, Faults(loss=0.3, seed=1)):
        env = parallel()
        nodes: dict[Any, list[Any]] = {"server": [], **{agent: [agent] for agent in env.possible_agents}}
        models.append(made(ParameterSharing(env, "star", nodes=nodes, faults=faults), k1=40, k2=60, **arguments))
        models[-1].learn(1, log_interval=None)
    whole, lossy = models
    np.testing.assert_array_equal(whole.labels, lossy.labels)
    np.testing.assert_array_equal(whole.policy.table, lossy.policy.table)
    assert whole.channel.ledger.snapshot()["messages"] < lossy.channel.ledger.snapshot()["messages"]


@pytest.mark.parametrize("arguments", [{}, {"identify": "model", "reuse": True, "pool": True}], ids=str)
def test_a_killed_run_goes_on_to_the_bit(arguments: dict[str, Any], tmp_path: Path) -> None:
    """Saved after a round and loaded: the same labels, tables, clusters and bytes as without a stop."""
    few = {"k1": 40, "k2": 80, **arguments}
    whole, stopped = made(seed=3, **few), made(seed=3, **few)
    for _ in range(3):
        whole.learn(1, log_interval=None, reset_num_timesteps=False)
    stopped.learn(1, log_interval=None)
    stopped.save(tmp_path / "model")
    again = DistMTLSVI.load(tmp_path / "model", env=as_vec_env(parallel()))
    for _ in range(2):
        again.learn(1, log_interval=None, reset_num_timesteps=False)
    np.testing.assert_array_equal(whole.labels, again.labels)
    np.testing.assert_array_equal(whole.policy.theta, again.policy.theta)
    np.testing.assert_array_equal(whole.policy.table, again.policy.table)
    np.testing.assert_array_equal(whole.episodes, again.episodes)
    assert whole.clusters == again.clusters
    assert whole.channel.ledger.snapshot() == again.channel.ledger.snapshot()
    assert whole.num_timesteps == again.num_timesteps


def test_policies_of_agents_and_tasks(tmp_path: Path) -> None:
    """They act as the model does, depend on the steps taken, and are what SB3 evaluates; a file is enough to act."""
    model = made(identify="model")
    assert (model.predict(np.array([0, 0, 0, 0]))[0] == 0).all()  # nobody knows anything
    model.learn(1, log_interval=None)
    rng = np.random.default_rng(0)
    seen, steps = rng.integers(16, size=8), (np.arange(8) % 3,)
    together, after = model.predict(seen, steps)
    assert after is not None
    np.testing.assert_array_equal(after[0], steps[0] + 1)
    for row, label in enumerate(np.tile(model.labels, 2).tolist()):
        assert together[row] == model.policy.table[label, steps[0][row], seen[row]]
        for alone in (model.for_agent(row % 4), model.for_label(label)):
            assert alone.predict(seen[row : row + 1], (steps[0][row : row + 1],))[0][0] == together[row]
    begun = model.predict(seen, steps, episode_start=np.ones(8, bool))[0]
    np.testing.assert_array_equal(begun, model.predict(seen)[0])
    core = model.env.unwrapped.core  # type: ignore[union-attr]
    task = int(core.task_of_row[0])
    single = gym.make(ID, tasks=core.tasks, schedule=[task], backend="python", **SIZES)
    mean, _ = evaluate_policy(model.for_agent(0), single, n_eval_episodes=60, warn=False)
    assert mean == pytest.approx(core.tasks[task]["value"], abs=0.1)
    model.save(tmp_path / "model")
    loaded = DistMTLSVI.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(seen, steps)[0], together)
    assert loaded.clusters == model.clusters
    with pytest.raises(UnknownNameError, match="unknown label 9"):
        model.for_label(9)
    with pytest.raises(ValueError, match="one row for each of the 4 agents"):
        model.predict(seen[:3])
    with pytest.raises(ValueError, match="agents, 4, find out by themselves"):
        made(pettingzoo.make("parallel", ID, n_tasks=4, backend="python", **SIZES)).add_tasks([{"kernel": 5}])


def test_grid_worlds_need_no_features() -> None:
    """One-hot ones do: goals that end episodes tell tasks apart, and are reached in time."""
    shared = {f"obstacle_{i}_{where}": -1 for i in (1, 2, 3) for where in ("row", "column")}
    goals = ((5, 7), (7, 5))
    tasks = [
        {**shared, "start_row": 5, "start_column": 5, "goal_row": row, "goal_column": column} for row, column in goals
    ]
    given: dict[str, Any] = {"tasks": tasks, "horizon": 4, "backend": "python"}
    env = pettingzoo.make("parallel", GRID, n_agents=2, schedule={"rounds": "permutation"}, **given)
    arguments: dict[str, Any] = {"identify": "model", "reuse": True, "reward_range": (-1.0, 1.0)}
    model = made(env, k1=150, k2=500, **arguments)
    core, pairs = model.env.unwrapped.core, set()  # type: ignore[union-attr]
    for _ in range(2):
        model.learn(1, log_interval=None)
        pairs |= set(zip(core.task_of_row.tolist(), model.labels.tolist(), strict=True))
    assert len(pairs) == len(model.clusters) == 2
    for agent, task in enumerate(core.task_of_row.tolist()):
        single = gym.make(GRID, schedule=[task], **given)
        assert evaluate_policy(model.for_agent(agent), single, n_eval_episodes=1, warn=False)[0] == 1.0


@pytest.mark.parametrize("identify", ["value", "model"])
def test_a_known_task_is_recognised_elsewhere(identify: str) -> None:
    """In a row of one's own, with the policy of the table; what was learned, and the channel, stay as they were."""
    model = made(identify=identify, reuse=True)
    truth, tasks = Truth(model), model.env.unwrapped.core.tasks  # type: ignore[union-attr]

    def row(**which: Any) -> Any:
        env: Any = as_vec_env(gym.make_vec(ID, num_envs=1, **SIZES, **ROUNDS, **which))
        env.seed(3)
        return env

    assert model.meet(row(tasks=tasks[[0]]), 0) is None
    truth.round()

    def known() -> str:
        learned = {name: tensor.numpy().tobytes() for name, tensor in model.policy.state_dict().items()}
        return str((learned, [vars(cluster) for cluster in model.clusters], model.channel.ledger.snapshot()))

    before = known()
    for label, task in enumerate(truth.founders):
        met: Any = model.meet(row(tasks=tasks[[task]]), 3)
        assert np.array_equal(met.table[0], model.policy.table[label])
    new = next((task for task in range(3) if task not in truth.founders), None)
    assert new is None or model.meet(row(tasks=tasks[[new]]), 1) is None
    assert known() == before
    short = row(tasks=tasks[[0]])
    short.budget = AgentBudget(short.core, 1, 449)
    with pytest.raises(ValueError, match=r"must hold the 450 steps of k1 = 150 episodes\. Received 449"):
        model.meet(short, 0)
    model._settings = replace(model._settings, constants="theory", max_tasks=3)
    model.meet(short, 0)
    assert short.budget.taken.tolist() == [449]


def experiment(topology: str = "star", episodes: int = 400, n_agents: int = 2, **arguments: Any) -> Experiment:
    """Two rounds of agents in two tasks."""
    given = {"k1": 60, "k2": 100, "c_sep": C_SEP, **arguments}
    return Experiment.of_dict(
        {
            "learners": {"LSVI": {"class": "DistMTLSVI", "arguments": given}},
            "families": {ID: {"n_tasks": 2, "preset": "separated", "arguments": SIZES}},
            "protocol": {
                "name": "rounds",
                "episodes_per_task": episodes,
                "n_evaluations": 2,
                "n_eval_episodes": 1,
                "n_agents": n_agents,
                "topology": topology,
            },
            "seeds": 1,
        }
    )


def test_under_the_protocol_of_rounds(tmp_path: Path) -> None:
    """It is measured after every round, by every agent in all tasks, and spends its budget exactly."""
    (run,) = run_here(experiment(), tmp_path, Outputs(keep_models=True))
    assert run.meeting_steps is not None
    assert run.meeting_steps[0].sum() == 0
    assert (run.meeting_steps[1:] == 60 * 3).all()
    assert np.array_equal(evaluate(run.path).returns, run.returns[-1])
    assert run.times.tolist() == [0, 2 * 200 * 3, 2 * 400 * 3]
    assert run.returns.shape == (3, 2, 2)
    assert run.task_timesteps is not None
    assert run.task_timesteps[-1].sum() == 2 * 400 * 3
    for wrong, message in (
        (experiment("ring", n_agents=4), "a node must reach all agents to be their hub"),
        (
            experiment(episodes=200),
            r"`k1` and `k2` must fit into a round of 100 episodes. Received k1 = 60 and k2 = 100",
        ),
    ):
        with pytest.raises(ExperimentError, match=message):
            wrong.check()


def test_environments_that_can_t_be_are_refused() -> None:
    """Spaces, rows, schedules, graphs, rewards, other horizons; the learner goes on."""
    for env, message in (
        (pettingzoo.make("parallel", "LifelongCartPole-v0", n_tasks=2), "observations must be Discrete"),
        (parallel(schedule=None, n_agents=None, n_tasks=3), None),
        (gym.make_vec(ID, num_envs=2, n_tasks=3, backend="python", **SIZES), "agents must stay in their tasks"),
        (ParameterSharing(parallel(), nodes=2), "each agent must have one row. 'node_0' has 2"),
        (ParameterSharing(parallel(), "ring"), "a node must reach all agents to be their hub"),
        (ParameterSharing(parallel(), "star", faults=Faults(noise=0.1)), "must leave messages as they are"),
    ):
        if message is None:
            made(env)
            continue
        with pytest.raises(ValueError, match=message):
            made(env)
    with pytest.warns(UserWarning, match=r"the paper's constants ask for k1 = \d+ and k2 = \d+ episodes"):
        made(constants="theory", max_tasks=3, k1=None, k2=None)
    model = made(reward_range=(0.9, 1.0))
    with pytest.raises(ValueError, match=r"rewards must be in `reward_range`, \[0\.9, 1\]\. Received 0\."):
        model.learn(1, log_interval=None)
    model = made(k1=20, k2=20)
    with pytest.raises(ValueError, match="must have the same features and horizon, 3"):
        model.set_env(as_vec_env(parallel(horizon=2)))
    model.learn(1, log_interval=None)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    with pytest.raises(CheckpointError, match=r"must have horizon = 3, as it was\. Received 2"):
        DistMTLSVI.load(file, env=as_vec_env(parallel(horizon=2)))
