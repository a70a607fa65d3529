"""Budgets: every task gets its steps to the last one and no more, however a learner takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import VecCheckNan, VecEnv

from lifelong_gym import sample_tasks
from lifelong_gym.agents import ENAC, REINFORCE
from lifelong_gym.agents.linear.sampling import sweep_size
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import PLANS, Protocol
from lifelong_gym.benchmark.referee import BudgetError, Mark, Plan, Referee
from lifelong_gym.envs.control.simple_mass import SimpleMass
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.wrappers import Budget, CoreVecEnv, Stage

MASS, GRID = "LifelongSimpleMass-v0", "LifelongGridWorld-v0"
POLICY = "LinearGaussianPolicy"


class Ending(SimpleMass):  # type: ignore[misc]
    """Mass-springs whose episodes may end early."""

    @staticmethod
    def terminated(state: Any) -> bool:
        """Beyond 2 to the right."""
        return state[0] > 2.0


ENDING = f"{__name__}:Ending"


def env(id: str, n_rows: int, n_tasks: int, horizon: int) -> CoreVecEnv:
    """Mass-springs count by themselves the steps that are taken in each task, also in fused rollouts."""
    counting: Any = {} if id == GRID else {"constraints": {"position": 1.0}}
    made = LifelongVectorEnv(id, n_rows, tasks=sample_tasks(id, n_tasks), horizon=horizon, **counting)
    return CoreVecEnv.of(made)


def step(venv: VecEnv, rng: np.random.Generator) -> list[dict[str, Any]]:
    """One random step; the infos."""
    space: Any = venv.action_space
    shape = (venv.num_envs, *space.shape)
    actions = rng.uniform(-1, 1, shape) if space.shape else rng.integers(space.n, size=shape)
    return venv.step(actions)[3]


def steps(venv: CoreVecEnv, total: int, n: int, rng: np.random.Generator) -> None:
    """Step by step, beginning anew in the middle of episodes now and then; counts all rows, as SB3 does."""
    venv.reset()
    for _ in range(total // venv.num_envs):
        step(venv, rng)
        if rng.random() < 0.1:
            venv.reset()


def overshoots(venv: CoreVecEnv, total: int, n: int, rng: np.random.Generator) -> None:
    """Nearly twice as long as it should."""
    steps(venv, 2 * total - venv.num_envs, n, rng)


def sweeps(venv: CoreVecEnv, total: int, n: int, rng: np.random.Generator) -> None:
    """Announces whole episodes, at most n at a time."""
    while len(venv.present):
        left = venv.episodes_left
        assert left is not None
        venv.announce(venv.present, min(n, left[venv.present].min()) * venv.core.horizon)


def learns(venv: CoreVecEnv, total: int, n: int, rng: np.random.Generator) -> None:
    """One of ours."""
    REINFORCE(POLICY, venv, n_trajectories=n, seed=0).learn(total)


def learns_by_stepping(venv: CoreVecEnv, total: int, n: int, rng: np.random.Generator) -> None:
    """One of ours that can't simulate what a wrapper may change, and overshoots."""
    REINFORCE(POLICY, VecCheckNan(venv), n_trajectories=n, seed=0).learn(3 * total)


def mixes(venv: CoreVecEnv, total: int, n: int, rng: np.random.Generator) -> None:
    """One of ours, and some steps by hand."""
    model = REINFORCE(POLICY, venv, n_trajectories=n, seed=0)
    venv.reset()
    step(venv, rng)
    model.learn(total)


@st.composite
def protocols(draw: st.DrawFn) -> tuple[Protocol, int]:
    """A protocol and a number of tasks."""
    name = draw(st.sampled_from(list(PLANS)))
    n_tasks = draw(st.integers(2 if name == "transfer" else 1, 6))
    return Protocol(name=name, episodes_per_task=draw(st.integers(2, 13)), n_evaluations=2), n_tasks


@settings(max_examples=25, deadline=None)
@given(
    protocols(),
    st.sampled_from([steps, overshoots, sweeps, learns, learns_by_stepping, mixes]),
    st.sampled_from([MASS, GRID, ENDING]),
    st.integers(1, 5),
    st.integers(2, 7),
    st.integers(0, 99),
)
def test_every_task_gets_its_due(
    drawn: tuple[Protocol, int], learn: Callable[..., None], id: str, horizon: int, n: int, seed: int
) -> None:
    """``episodes_per_task`` times the horizon, in stages' order, whatever the plan and however it is learned."""
    protocol, n_tasks = drawn
    if learn not in (steps, overshoots, sweeps) and id == GRID:
        id = MASS
    venv = env(id, protocol.n_rows(n_tasks), n_tasks, horizon)
    plan = protocol.plan(n_tasks, horizon, seed)
    passed: list[tuple[Mark, IntArray]] = []
    referee = Referee(venv, plan, lambda mark: passed.append((mark, referee.budget.taken.copy())))
    learn(venv, plan.total_timesteps, n, np.random.default_rng(seed))
    referee.finish()
    due = np.full(n_tasks, protocol.episodes_per_task * horizon)
    assert np.array_equal(referee.budget.taken, due)
    if venv.core.safety is not None and learn is not sweeps:
        assert np.array_equal(venv.core.safety.n_steps, due)
    assert [mark for mark, _ in passed] == plan.marks
    for mark, taken in passed:
        assert taken.sum() <= mark.num_timesteps
        later = [task for stage in plan.stages[mark.stage + 1 :] for task in stage.tasks]
        assert not taken[later].any()
    assert np.array_equal(passed[-1][1], due)


@pytest.mark.parametrize("protocol", ["lifelong", "transfer"])
@pytest.mark.parametrize(
    "name",
    ["ENAC", "GOMTL", "PGELLA", "ProjectedPG", "RWR", "SafeLifelongPG", "ScalablePGELLA", "A2C", "DQN"],
)
def test_every_learner_uses_its_budget_up(name: str, protocol: str) -> None:
    """Ours, whose sweeps don't divide the episodes, and SB3's."""
    many = Protocol(name=protocol, episodes_per_task=14, n_evaluations=1)
    n_tasks, horizon = 3, 4
    plan = many.plan(n_tasks, horizon, 0)
    venv = env(GRID if name == "DQN" else MASS, many.n_rows(n_tasks), n_tasks, horizon)
    referee = Referee(venv, plan, lambda mark: None)
    arguments = {} if name in ("A2C", "DQN") else {"n_trajectories": 6}
    model = LearnerSpec.of(name, arguments=arguments).make(venv, 0)
    with referee.hearing(model):
        model.learn(plan.total_timesteps)
        referee.finish()
    assert referee.budget.taken.tolist() == [14 * horizon] * n_tasks
    assert model.num_timesteps == plan.total_timesteps or name == "A2C"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 3), min_size=1), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(1, 7),
    st.sampled_from([MASS, GRID]),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_rows_idle_rather_than_overshoot(
    drawn: list[tuple[set[int], int]], n_rows: int, id: str, horizon: int, seed: int
) -> None:
    """Any stages on any number of rows: steps are exact, and idle rows change nothing."""
    stages = [Stage(tuple(sorted(tasks)), timesteps) for tasks, timesteps in drawn]
    venv, rng = env(id, n_rows, 4, horizon), np.random.default_rng(seed)
    budget = venv.budget = Budget(venv.core, stages)
    due = np.sum([np.isin(np.arange(4), stage.tasks) * stage.timesteps for stage in stages], axis=0)
    venv.reset()
    n_calls, counted = 0, np.zeros(4, np.int64)
    while not budget.is_over:
        idle, present, tasks = venv.idle, venv.present, venv.core.task_of_row.copy()
        assert set(tasks[~idle]) <= set(present.tolist())
        infos = step(venv, rng)
        assert np.array_equal([info.get("idle", False) for info in infos], idle)
        np.add.at(counted, tasks[~idle], 1)
        n_calls += 1
    assert np.array_equal(budget.taken, due)
    assert np.array_equal(counted, due)
    assert n_calls == sum(-(-stage.total_timesteps // n_rows) for stage in stages)


def test_an_idle_row_repeats_its_last_observation() -> None:
    """With reward 0, no end, and nothing counted for it; a new stage takes it up again."""
    venv = env(MASS, 2, 2, horizon=10)
    venv.budget = Budget(venv.core, [Stage((0,), 3), Stage((1,), 2)])
    venv.seed(0)
    venv.reset()
    action = np.ones((2, 1))
    last: Any
    first: Any
    last, _, done, infos = venv.step(action)
    assert done.tolist() == [False, True]  # one step is left for two rows
    assert infos[1]["TimeLimit.truncated"]
    assert infos[1]["episode"]["l"] == 1
    assert np.array_equal(infos[1]["terminal_observation"], last[1])
    first, rewards, done, infos = venv.step(action)
    assert [info.get("idle") for info in infos] == [None, True]
    assert rewards[1] == 0.0
    assert done.tolist() == [True, False]
    assert infos[0]["episode"]["l"] == 2
    assert [info["task_id"] for info in infos] == [0, 0]
    assert venv.core.task_of_row.tolist() == [1, 1]
    assert not np.array_equal(first[1], last[1])  # the first observation in the next task
    ended: Any
    ended, _, done, infos = venv.step(action)
    assert done.tolist() == [True, True]
    assert infos[1]["episode"]["l"] == 1
    for _ in range(3):
        again: Any
        again, rewards, done, infos = venv.step(action)
        assert np.array_equal(again, ended)
        assert rewards.tolist() == [0.0, 0.0]
        assert not done.any()
        assert all(info["idle"] for info in infos)
    assert np.array_equal(np.asarray(venv.reset()), ended)
    assert venv.core.safety is not None
    assert venv.core.safety.n_steps.tolist() == [3, 2]
    assert venv.core.clock.steps.tolist() == [1, 1]


def test_rows_go_on_in_tasks_that_have_steps() -> None:
    """A row whose task is spent goes on in its scheduled one, or where that is spent, where most steps are left."""
    venv = env(MASS, 2, 4, horizon=10)
    venv.budget = Budget(venv.core, [Stage((0, 1, 2, 3), 4)])
    venv.set_options([{"task": 0}, {"task": 0}])
    venv.reset()
    log = [(venv.core.task_of_row.tolist(), venv.step(np.zeros((2, 1)))[2].tolist()) for _ in range(8)]
    assert [tasks for tasks, _ in log] == [[0, 0]] * 2 + [[1, 1]] * 2 + [[2, 3]] * 4
    assert [done for _, done in log] == ([[False] * 2, [True] * 2] * 2 + [[False] * 2] * 3 + [[True] * 2])
    assert venv.budget.taken.tolist() == [4, 4, 4, 4]


def test_tasks_without_steps_are_refused() -> None:
    """As options, in announcements, and when a run goes on; nothing has changed then."""
    venv = env(MASS, 2, 3, horizon=10)
    budget = venv.budget = Budget(venv.core, [Stage((0, 2), 20)])
    venv.set_options([{"task": 0}, {"task": 1}])
    with pytest.raises(ValueError, match=r"`task` must be one that has steps left, of \[0, 2\]. Received 1"):
        venv.reset()
    with pytest.raises(ValueError, match=r"task 2 has 20 steps left \(see `episodes_left`\). Received 30"):
        venv.announce(np.array([2]), 30)
    with pytest.raises(ValueError, match=r"task 1 has 0 steps left"):
        venv.announce(np.array([0, 1]), 10)
    assert budget.taken.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"`taken` must be steps of the stages. Received \[0, 1, 0\]"):
        Budget(venv.core, [Stage((0, 2), 20)], [0, 1, 0])


@pytest.mark.parametrize(("taken", "stage", "left"), [([0, 0], 0, [6, 0]), ([6, 0], 1, [0, 6]), ([6, 4], 1, [0, 2])])
def test_a_budget_goes_on(taken: list[int], stage: int, left: list[int]) -> None:
    """With the steps that had been taken."""
    venv = env(MASS, 1, 2, horizon=2)
    budget = Budget(venv.core, [Stage((0,), 6), Stage((1,), 6)], taken)
    assert (budget.stage, budget.left.tolist(), budget.taken.tolist()) == (stage, left, taken)
    assert venv.core.present.tolist() == [stage]
    assert Budget(venv.core, [Stage((0,), 6)], [6, 0]).is_over


@pytest.mark.parametrize(
    ("episodes", "n_tasks", "n_rows"), [(30, 40, 30), (30, 20, 15), (250, 20, 10), (250, 50, 50), (251, 50, 1)]
)
def test_rows_that_share_a_task_divide_its_episodes(episodes: int, n_tasks: int, n_rows: int) -> None:
    """The largest such number up to the number of tasks; where each task has its row, all."""
    for name in PLANS:
        rows = Protocol(name=name, episodes_per_task=episodes).n_rows(n_tasks)
        assert rows == (n_rows if name in ("lifelong", "transfer") else n_tasks)


def test_sweeps_spread_the_episodes() -> None:
    """Evenly, over sweeps of at least so many as asked; fewer come at once; stepped rows' episodes are all taken."""

    def sizes(n: int, episodes: int, n_rows: int = 1, wrap: Callable[..., VecEnv] = lambda venv: venv) -> list[int]:
        venv = env(MASS, n_rows, 1, horizon=2)
        budget = venv.budget = Budget(venv.core, [Stage((0,), 2 * episodes)])
        found = []
        while not budget.is_over:
            found.append(sweep_size(wrap(venv), n))
            venv.announce(venv.present, 2 * found[-1])
        return found

    assert sizes(5, 30) == [5] * 6
    assert sizes(5, 12) == [6, 6]
    assert sizes(5, 3) == [3]
    assert sizes(5, 14) == [7, 7]
    assert sizes(4, 14) == [5, 5, 4]
    assert sizes(5, 30, n_rows=15) == [5] * 6
    assert sizes(5, 30, n_rows=15, wrap=VecCheckNan) == [15, 15]
    assert sizes(20, 30, n_rows=10, wrap=VecCheckNan) == [30]
    assert sweep_size(env(MASS, 1, 1, horizon=2), 5) == 5


def test_too_small_budgets_are_refused_before_training() -> None:
    """Where the base learner can't learn from the episodes that there are."""
    venv = env(MASS, 1, 2, horizon=2)
    venv.budget = Budget(venv.core, [Stage((0, 1), 2 * 4)])
    with pytest.raises(
        ValueError, match=r"a sweep of 4 episodes a task, which the budget allows, is too small: .*at least 5"
    ):
        ENAC(POLICY, venv)
    venv.budget = Budget(venv.core, [Stage((0, 1), 2 * 5)])
    assert ENAC(POLICY, venv, seed=0).learn(20).num_timesteps == 20
    venv.budget = Budget(venv.core, [Stage((0, 1), 2 * 4), Stage((1,), 2 * 4)])
    with pytest.raises(ValueError, match="of 4 episodes a task"):  # the second stage has one task to share a policy
        ENAC(POLICY, venv, shared=True)


def test_more_evaluations_than_steps_are_refused() -> None:
    """Two of them would come at the same time."""
    with pytest.raises(ValueError, match=r"`n_evaluations` must be at most 6, the steps of a stage. Received 7"):
        Protocol(name="lifelong", episodes_per_task=2, n_evaluations=7).plan(2, 3, 0)


def test_patience_ends() -> None:
    """After as many idle steps as there were real ones."""
    venv = env(MASS, 2, 2, horizon=3)
    Referee(venv, Plan((Stage((0, 1), 6),), 1), lambda mark: None)
    venv.reset()
    rng = np.random.default_rng(0)
    for _ in range(12):
        step(venv, rng)
    with pytest.raises(BudgetError, match="must stop after about 12 steps; it has asked for 26"):
        step(venv, rng)


def test_a_sweep_goes_on_when_its_stage_ends() -> None:
    """Steps taken by hand leave a sweep without its last episodes: nothing is learned from it, and learning goes on."""
    venv = env(MASS, 2, 2, horizon=4)
    Referee(venv, Plan((Stage((0,), 16), Stage((1,), 16)), 1), lambda mark: None)
    venv.reset()
    step(venv, np.random.default_rng(0))
    model = REINFORCE(POLICY, VecCheckNan(venv), n_trajectories=4, seed=0).learn(1000)
    assert model._n_updates == 2  # from 2 episodes of the first task, and from 4 of the second
    assert model.policy.thetas.any(axis=1).all()
    assert model.num_timesteps == 30
    assert venv.budget is not None
    assert venv.budget.taken.tolist() == [16, 16]


def test_too_small_a_rest_is_not_learned_from() -> None:
    """Where episodes may end early, what is left for the last sweep isn't known before."""
    venv = env(ENDING, 1, 1, horizon=4)
    Referee(venv, Plan((Stage((0,), 4 * 9),), 1), lambda mark: None)
    model = ENAC(POLICY, venv, seed=0, n_trajectories=5)
    venv.reset()
    for _ in range(4 * 6):
        step(venv, np.random.default_rng(0))
    before = model.policy.thetas.copy()
    assert np.array_equal(model.learn(1000).policy.thetas, before)
    assert venv.budget is not None
    assert venv.budget.is_over


def test_admitting_never_replaces_a_schedule() -> None:
    """It is refused where the user gave one."""
    venv = CoreVecEnv.of(LifelongVectorEnv(MASS, 2, n_tasks=3, schedule=[0, 2]))
    with pytest.raises(ValueError, match=r"`schedule` is None: a schedule says.*Received schedule=\[0, 2\]"):
        venv.core.admit([1])
    assert venv.core.present.tolist() == [0, 2]
