"""The protocol ``rounds``: agents that know no tasks, evaluated in all of them after every round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO

from lifelong_gym.benchmark import load
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError
from lifelong_gym.benchmark.models import evaluate
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.referee import BudgetError
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.registry import family, sample_tasks
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.report import write_report
from lifelong_gym.reports.study import studies
from lifelong_gym.wrappers import AgentBudget, as_vec_env, steps_left
from tests.running import run_here

ID = f"{__name__}:Mass"
CLIMBER = "tests.toy_learners:Climber"
HORIZON, N_TASKS, N_AGENTS, N_ROUNDS = 7, 3, 2, 4


class Mass(type(family("LifelongSimpleMass-v0"))):  # type: ignore[misc]
    """Without a search for its best policies, which takes long."""

    reference = None


def experiment(*learners: str, n_agents: int | None = N_AGENTS, **protocol: Any) -> Experiment:
    """Four rounds of two episodes."""
    budget = {"name": "rounds", "episodes_per_task": 2 * N_ROUNDS, "n_evaluations": N_ROUNDS, "n_eval_episodes": 2}
    drawn = {"n_tasks": N_TASKS, "horizon": HORIZON}
    rounds = {**budget, "n_agents": n_agents, "rounds": "permutation", **protocol}
    tables = {name.rpartition(":")[2]: {"class": name} for name in learners}
    return Experiment.of_dict({"learners": tables, "families": {ID: drawn}, "protocol": rounds, "seeds": 1})


class Watching:
    """Does nothing, and writes down what it is shown."""

    last: Watching

    def __init__(self, env: Any, seed: int = 0) -> None:
        self.env, self.batches, self.events, self.steps = env, [], [], []  # type: ignore[var-annotated]
        Watching.last = self

    def learn(self, total_timesteps: int) -> None:
        """Take more steps than there are."""
        self.env.reset()
        still = np.zeros((self.env.num_envs, *self.env.action_space.shape), np.float32)
        for _ in range(total_timesteps // self.env.num_envs + 3):
            _, _, done, infos = self.env.step(still)
            self.steps.append((done.copy(), infos))

    def predict(self, observations: Any) -> Any:
        """Nothing, but in agent 1 something."""
        self.batches.append(np.array(observations))
        actions = np.zeros((len(observations), *self.env.action_space.shape), np.float32)
        actions[1::N_AGENTS] = 0.5
        return actions

    def on_task_start(self, info: dict[str, Any]) -> None:
        """A round begins."""
        self.events.append(("start", info))

    def on_task_end(self, info: dict[str, Any]) -> None:
        """A round ends."""
        self.events.append(("end", info))


def test_what_agents_are_shown_and_measured(tmp_path: Path) -> None:
    """Their rounds, never their tasks; each earns in each task what stepping by hand gives."""
    (run,) = run_here(experiment(f"{__name__}:Watching"), tmp_path)
    watching = Watching.last
    infos = [info for _, each in watching.steps for info in each if not info.get("idle")]
    assert not any("task_id" in info for info in infos)
    for name in ("core", "tasks"):
        assert not hasattr(watching.env, name)
        with pytest.raises(AttributeError):
            watching.env.get_attr(name)
    assert [info["round"] for info in infos] == np.repeat(np.arange(N_ROUNDS), 2 * HORIZON * N_AGENTS).tolist()
    assert watching.events == [(what, {"round": k}) for k in range(N_ROUNDS) for what in ("start", "end")]
    assert {len(batch) for batch in watching.batches} == {N_AGENTS}
    assert len(watching.batches) == (N_ROUNDS + 1) * N_TASKS * 2 * HORIZON

    assert run.times.tolist() == [k * N_AGENTS * 2 * HORIZON for k in range(N_ROUNDS + 1)]
    assert run.task_timesteps is not None
    assert run.task_timesteps.sum(axis=1).tolist() == run.times.tolist()
    assert run.returns.shape == (N_ROUNDS + 1, N_TASKS, N_AGENTS * 2)
    assert (run.n_agents, run.of_agents().shape) == (N_AGENTS, (N_ROUNDS + 1, N_AGENTS, N_TASKS))
    first = run.settings["protocol"]["evaluation_seed"]
    for task in range(N_TASKS):
        for agent, push in enumerate((0.0, 0.5)):
            env = LifelongVectorEnv(ID, 2, tasks=run.settings["family"]["tasks"], horizon=HORIZON)
            env.reset(seed=[first + task, first + N_TASKS + task], options={"task": task})
            pushed = np.full((2, 1), push, np.float32)
            returns = sum(env.step(pushed)[1] for _ in range(HORIZON))
            assert run.agent(agent).returns[-1, task] == pytest.approx(returns)


@pytest.mark.parametrize("n_agents", [1, 5])
def test_steps_of_every_agent_and_round_are_exact(n_agents: int) -> None:
    """To the last one, whatever episodes were cut, and however many resets there were in between."""
    tasks = sample_tasks("LifelongSimpleMass-v0", N_TASKS)
    schedule = {"rounds": "permutation"}
    venv: Any = as_vec_env(LifelongVectorEnv(ID, n_agents, tasks=tasks, horizon=HORIZON, schedule=schedule))
    venv.budget = AgentBudget(venv.core, 3, 10)
    venv.seed(5)
    venv.reset()
    seen = []
    for step in range(34):
        tasks_now, active = venv.core.task_of_row.copy(), venv.budget.active()
        if step == 13:
            venv.reset()
            tasks_now, active = venv.core.task_of_row.copy(), venv.budget.active()
        _, _, done, infos = venv.step(np.zeros((n_agents, 1), np.float32))
        assert [not info.get("idle", False) for info in infos] == active.tolist()
        seen.append((tasks_now, active, done))
    assert all(active.all() for _, active, _ in seen[:30])
    assert not any(active.any() for _, active, _ in seen[30:])
    ends = [step for step, (_, _, done) in enumerate(seen) if done.all()]
    assert ends == [6, 9, 19, 26, 29]  # of episodes: full, cut by the round, begun anew by the reset, full, cut
    for rows in np.array([tasks_now for tasks_now, _, _ in seen[:30]]).T:
        assert all(len(set(rows[10 * k : 10 * k + 10])) == 1 for k in range(3))
        assert sorted(rows[::10]) == [0, 1, 2]  # a permutation
    assert venv.budget.taken.tolist() == [30] * n_agents
    counted = np.concatenate([tasks_now[active] for tasks_now, active, _ in seen])
    assert venv.budget.of_tasks.tolist() == np.bincount(counted, minlength=N_TASKS).tolist()


def test_a_state_goes_on_within_a_round() -> None:
    """In the same tasks, with what was counted."""
    tasks = sample_tasks("LifelongSimpleMass-v0", N_TASKS)

    def made() -> Any:
        rows = LifelongVectorEnv(ID, 2, tasks=tasks, horizon=HORIZON, schedule={"rounds": "permutation"})
        venv: Any = as_vec_env(rows)
        venv.budget = AgentBudget(venv.core, 3, 10)
        venv.seed(5)
        venv.reset()
        return venv

    whole, again, still = made(), made(), np.zeros((2, 1), np.float32)
    for _ in range(24):
        whole.step(still)
    again.load_state_dict(whole.state_dict())
    for _ in range(8):
        (one, *_), (other, *_) = whole.step(still), again.step(still)
        assert np.array_equal(one, other)
    assert whole.budget.of_tasks.tolist() == again.budget.of_tasks.tolist()
    assert whole.budget.of_tasks.sum() == 60


def test_what_is_no_agent_s_business() -> None:
    """Choosing tasks, ending rounds, announcing steps in tasks."""
    venv: Any = as_vec_env(LifelongVectorEnv(ID, 2, n_tasks=3, schedule={"rounds": "uniform"}))
    venv.budget = AgentBudget(venv.core, 2, 10)
    venv.set_options({"task": 1})
    with pytest.raises(ValueError, match=r"`task` must be None: rounds say which task each agent is in"):
        venv.reset()
    venv.set_options()
    venv.reset()
    with pytest.raises(ValueError, match="agents in rounds take their steps here"):
        venv.announce(np.array([0]), 5)
    venv.next_round()
    with pytest.raises(ValueError, match="`next_round` is called by who counts the steps here"):
        venv.reset()


@pytest.mark.parametrize(
    ("learner", "protocol", "message"),
    [
        ("PGELLA", {}, r"^learners\.PGELLA on families\..*it can't run under `schedule"),
        ("REINFORCE", {}, r"^learners\.REINFORCE on families\..*it can't run under `schedule"),
        ("A2C+one_hot", {}, r'`task_observation` must be "hide" under the protocol `rounds`\. Received \'one_hot\''),
        ("A2C+scratch", {}, r"it learns every task from scratch, and agents in rounds don't know which"),
        ("reference", {}, r"the best policies known are those of tasks"),
        ("zero", {"n_agents": 0}, r"^protocol: `n_agents` must be an integer of at least 1\. Received 0"),
        (
            "zero",
            {"rounds": "permutations"},
            r"^protocol: unknown rounds 'permutations'\. Did you mean 'permutation'\?",
        ),
        ("zero", {"n_evaluations": 3}, r"the number of rounds, must divide `episodes_per_task`, 8\. Received 3"),
        (
            "zero",
            {"name": "multi_task"},
            r"`n_agents`, `rounds` and `meeting_steps` belong to the protocol 'rounds'\. Received 'm",
        ),
    ],
)
def test_what_can_t_be_is_refused(learner: str, protocol: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(ExperimentError, match=message):
        experiment(learner, **protocol).check()


def test_from_a_description_to_a_page(tmp_path: Path) -> None:
    """PPO with one policy for all agents, and a method of somebody else's with one for each."""
    ppo = {"class": "PPO", "arguments": {"n_steps": 14, "batch_size": 14}}
    climber = {"class": CLIMBER, "arguments": {"each": True}}
    content = {**experiment("zero").to_dict(), "learners": {"PPO": ppo, "Climber": climber}, "seeds": 2}
    runs = run_here(Experiment.of_dict(content), tmp_path, Outputs(keep_models=True))
    assert all(run.settings["protocol"]["n_agents"] == N_AGENTS for run in runs)
    ((study,), left_out) = studies(runs)
    assert not left_out
    (table,) = tables(study)
    cells = dict(zip([column.name for column in table.columns], table.rows["Climber"], strict=True))
    interval = cells["worst agent"].interval
    assert interval is not None
    worst = [run.of_agents()[-1].mean(axis=1).min() for run in study.runs["Climber"]]
    assert interval.estimate == pytest.approx(np.mean(worst))
    assert load(tmp_path).groupby("agent").task.nunique().to_dict() == {0: N_TASKS, 1: N_TASKS}
    page = write_report(tmp_path)[0].read_text()
    assert all(words in page for words in ("rounds protocol", "2 episodes a task for each of 2 agents"))
    last = next(run for run in runs if run.learner == "PPO")
    assert np.array_equal(evaluate(last.path).returns, last.returns[-1])


def test_ppo_acts_the_same_whoever_it_is() -> None:
    """One policy for all: in the same episodes, agents earn the same, up to how torch adds."""
    evaluation = Evaluation.of(ID, sample_tasks(ID, N_TASKS), 2, 7, "hide", {"horizon": HORIZON}, N_AGENTS)
    model = PPO("MlpPolicy", as_vec_env(ID, n_tasks=2), n_steps=8, batch_size=16, seed=0, device="cpu")
    returns = evaluation.measure(model).returns.reshape(N_TASKS, N_AGENTS, 2)
    assert returns[:, 0] == pytest.approx(returns[:, 1], rel=1e-5)


class Meeting(Watching):
    """Pushes in each task as hard as its first two steps there say, where agent 0 has looked."""

    n_steps = 2

    def meet(self, env: Any, agent: int) -> Any:
        """A policy of agent 0, none of agent 1."""
        assert (env.num_envs, agent in range(N_AGENTS), hasattr(env, "tasks")) == (1, True, False)
        assert steps_left(env) == 2 * HORIZON if not self.limit else self.limit
        assert env.observation_space == self.env.observation_space
        env.reset()
        for _ in range(self.n_steps if agent == 0 else 0):
            seen, *_ = env.step(np.ones((1, 1), np.float32))
        return None if agent else Pushing(float(seen[0, 0]))

    limit = 0


class Greedy(Meeting):
    """Takes more steps than it may."""

    limit, n_steps = 3, 4


class Strange(Meeting):
    """Brings back what can't act."""

    def meet(self, env: Any, agent: int) -> Any:
        """A number."""
        return 5


class Pushing:
    """Always as hard."""

    def __init__(self, push: float) -> None:
        self.push, self.n_calls = float(np.clip(push, -1.0, 1.0)), 0

    def predict(self, observation: Any, state: Any = None, deterministic: bool = False) -> Any:
        """Half as hard in each next step of an episode, and the number of that."""
        assert len(observation) == 1
        assert deterministic
        n = 0 if state is None else state
        return np.full((1, 1), self.push / 2**n, np.float32), n + 1


def test_agents_meet_a_task_before_they_are_measured(tmp_path: Path) -> None:
    """In a row of their own, in that very task; what it brings back acts in all its episodes, and steps are counted."""
    (run,) = run_here(experiment(f"{__name__}:Meeting"), tmp_path, Outputs(keep_models=False))
    assert run.settings["protocol"]["meeting_steps"] == 2 * HORIZON
    assert run.meeting_steps is not None
    assert run.meeting_steps.tolist() == [[[2, 0]] * N_TASKS] * (N_ROUNDS + 1)
    assert run.times.tolist() == [k * N_AGENTS * 2 * HORIZON for k in range(N_ROUNDS + 1)]
    first = run.settings["protocol"]["evaluation_seed"]
    made: dict[str, Any] = {"tasks": run.settings["family"]["tasks"], "horizon": HORIZON}
    for task in range(N_TASKS):
        room = LifelongVectorEnv(ID, 1, **made)
        room.reset(seed=int(np.random.SeedSequence([first + task, 0]).generate_state(1)[0]), options={"task": task})
        pushes = [np.ones((1, 1), np.float32)] * 2
        seen = [room.step(push)[0] for push in pushes][-1]
        push = Pushing(float(seen[0, 0])).push
        env = LifelongVectorEnv(ID, 2, **made)
        env.reset(seed=[first + task, first + N_TASKS + task], options={"task": task})
        returns = sum(env.step(np.full((2, 1), push / 2**k, np.float32))[1] for k in range(HORIZON))
        assert run.agent(0).returns[-1, task] == pytest.approx(returns)
    (still,) = run_here(experiment(f"{__name__}:Watching"), tmp_path)
    assert still.meeting_steps is None
    assert np.array_equal(run.agent(1).returns, still.agent(1).returns)
    assert not np.array_equal(run.agent(0).returns, still.agent(0).returns)


def test_meetings_have_so_many_steps(tmp_path: Path) -> None:
    """Not one more; a protocol may have none; what comes back must act."""
    with pytest.raises(BudgetError, match=r"`meet` must take at most 3 steps, `meeting_steps`.* Agent 0 asked for 4"):
        run_here(experiment(f"{__name__}:Greedy", meeting_steps=3), tmp_path / "greedy")
    with pytest.raises(TypeError, match=r"`meet` must return a policy with a method `predict`, or None\. Received 5"):
        run_here(experiment(f"{__name__}:Strange"), tmp_path / "strange")
    (run,) = run_here(experiment(f"{__name__}:Strange", meeting_steps=0), tmp_path / "none")
    assert run.meeting_steps is None
    for name, number in (("multi_task", 5), ("rounds", -1)):
        with pytest.raises(ExperimentError, match="`meeting_steps`"):
            experiment("zero", name=name, n_agents=None, rounds="uniform", meeting_steps=number)
