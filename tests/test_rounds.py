"""Rows that are agents: rounds of unknown tasks, and tasks drawn by weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from pettingzoo.test import parallel_api_test
from stable_baselines3.common.vec_env import VecCheckNan

from lifelong_gym.agents import REINFORCE
from lifelong_gym.wrappers import as_vec_env
from tests.making import CART_POLE, GRID_WORLD

N_AGENTS, HORIZON, N_TASKS = 5, 3, 4
SETTINGS: dict[str, Any] = {"n_tasks": N_TASKS, "horizon": HORIZON, "backend": "numpy"}
UNIFORM, PERMUTATION = {"rounds": "uniform"}, {"rounds": "permutation"}
WEIGHTS = {"weights": [1.0, 2.0, 0.0, 1.0]}


def agents(id: str = CART_POLE, **settings: Any) -> Any:
    """A parallel env."""
    return pettingzoo.make("parallel", id, **{"n_agents": N_AGENTS, "schedule": PERMUTATION, **SETTINGS, **settings})


def rows(id: str = CART_POLE, **settings: Any) -> Any:
    """A vector env, whose rows begin anew in the step in which they end."""
    given = {"schedule": PERMUTATION, "autoreset_mode": "SameStep", **SETTINGS, **settings}
    return gym.make_vec(id, num_envs=N_AGENTS, **given).unwrapped


def walked(env: Any, n_rounds: int, n_episodes: int = 2) -> list[list[int]]:
    """The tasks of the rows, episode by episode; a round takes so many."""
    tasks: list[list[int]] = []
    for _ in range(n_rounds):
        for _ in range(n_episodes):
            env.reset(seed=None if tasks else 3)
            tasks.append(env.core.task_of_row.tolist())
        env.next_round()
    return tasks


@pytest.mark.parametrize("schedule", [UNIFORM, PERMUTATION], ids=str)
def test_rows_stay_in_their_tasks_for_a_round(schedule: dict[str, str]) -> None:
    """In the parallel and the vector env alike; a seed begins the same rounds anew."""
    parallel, vector = agents(schedule=schedule), rows(schedule=schedule)
    tasks = walked(parallel, 2 * N_TASKS)
    assert tasks == walked(vector, 2 * N_TASKS) == walked(parallel, 2 * N_TASKS)
    assert tasks[::2] == tasks[1::2]
    passes = np.array(tasks[::2]).reshape(2, N_TASKS, N_AGENTS)
    is_permutation = (np.sort(passes, axis=1) == np.arange(N_TASKS)[:, None]).all()
    assert is_permutation == (schedule == PERMUTATION)
    assert len(np.unique(passes)) == N_TASKS


def test_a_round_begins_with_the_next_episode_of_those_who_are_told() -> None:
    """Nobody changes task within an episode, and the others stay."""
    env = agents()
    with pytest.raises(ResetNeeded, match="call `reset` first"):
        env.next_round()
    _, infos = env.reset(seed=3)
    first = env.core.task_of_row.copy()
    assert infos == {f"agent_{i}": {"failed": False, "round": 0} for i in range(N_AGENTS)}
    env.next_round(["agent_1", "agent_4"])
    env.next_round("agent_4")
    for _ in range(HORIZON):
        *_, infos = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        assert [info["round"] for info in infos.values()] == [0] * N_AGENTS
        assert env.core.task_of_row.tolist() == first.tolist()
    _, infos = env.reset()
    assert [info["round"] for info in infos.values()] == [0, 1, 0, 0, 2]
    assert (env.core.task_of_row == first).tolist() == [True, False, True, True, False]


def test_infos_say_the_round_and_not_the_task() -> None:
    """In every interface and at every step, with the last info of an episode that of its own round."""
    vector = rows()
    for made in (gym.make(CART_POLE, schedule=PERMUTATION, **SETTINGS).unwrapped, vector, agents()):
        made.reset(seed=0)
        assert "task_id" not in str(made.reset()[1])
    assert "task_id" in rows(hide_task_id=False).reset()[1]
    vector.reset(seed=0)
    vector.next_round([0])
    for _ in range(HORIZON):
        infos = vector.step(np.zeros((N_AGENTS, 1)))[-1]
    assert infos["final_info"]["round"].tolist() == [0] * N_AGENTS
    assert infos["round"].tolist() == [1] + [0] * (N_AGENTS - 1)
    assert infos["_round"].all()
    single: Any = gym.make(CART_POLE, schedule=PERMUTATION, **SETTINGS)
    assert type(single.reset()[1]["round"]) is int
    assert type(single.step(np.zeros(1, np.float32))[-1]["round"]) is int


def test_a_row_is_the_same_through_every_interface() -> None:
    """Row i of SB3's env, of a vector env and agent i are the single env with ``seed + i``, round by round."""
    venv, vector = as_vec_env(agents()), rows()
    singles: list[Any] = [gym.make(CART_POLE, schedule=PERMUTATION, **SETTINGS).unwrapped for _ in range(N_AGENTS)]
    venv.seed(3)
    starts = [
        venv.reset(),
        vector.reset(seed=3)[0],
        np.stack([env.reset(seed=3 + i)[0] for i, env in enumerate(singles)]),
    ]
    rng = np.random.default_rng(0)
    for step in range(4 * HORIZON):
        assert np.array_equal(starts[0], starts[1])
        assert np.array_equal(starts[0], starts[2])
        if step % HORIZON == 1:
            venv.env_method("next_round", indices=[0, 2])
            vector.next_round([0, 2])
            singles[0].next_round()
            singles[2].next_round()
        actions = rng.uniform(-1, 1, (N_AGENTS, 1))
        ends = [env.step(action) for env, action in zip(singles, actions, strict=True)]
        alone = [env.reset()[0] if end[3] else end[0] for env, end in zip(singles, ends, strict=True)]
        starts = [venv.step(actions)[0], vector.step(actions)[0], np.stack(alone)]
    assert venv.reset_infos[0] == {"failed": False, "round": 4}
    assert vector.core.walk.rounds.tolist() == [4, 0, 4, 0, 0]


def test_the_noise_of_a_visit_is_the_same_in_any_round() -> None:
    """A row's k-th episode in a task is that of the single env with its seed which is sent there."""
    env = rows(schedule=UNIFORM)
    visits = np.zeros((N_AGENTS, N_TASKS), int)
    alone: Any = gym.make(CART_POLE, **SETTINGS).unwrapped
    starts = {}
    for i in range(N_AGENTS):
        for task in range(N_TASKS):
            for visit in range(6):
                seed = 3 + i if task == visit == 0 else None
                starts[i, task, visit] = alone.reset(seed=seed, options={"task": task})[0]
    for episode in range(6):
        observations, _ = env.reset(seed=None if episode else 3)
        for i, task in enumerate(env.core.task_of_row.tolist()):
            assert np.array_equal(observations[i], starts[i, task, visits[i, task]])
            visits[i, task] += 1
        if episode % 2:
            env.next_round()


def test_more_and_fewer_agents_than_tasks() -> None:
    """And a spec that makes the same env again."""
    assert agents(n_agents=2).possible_agents == ["agent_0", "agent_1"]
    assert len(agents(n_agents=9).possible_agents) == 9
    assert len(agents(n_agents=None).possible_agents) == N_TASKS
    assert as_vec_env(CART_POLE, n_agents=9, schedule=UNIFORM, **SETTINGS).num_envs == 9
    parallel_api_test(agents(GRID_WORLD, n_agents=6), num_cycles=30)
    spec = gym.make(CART_POLE, schedule=WEIGHTS, **SETTINGS).spec
    assert spec is not None
    again: Any = gym.make(EnvSpec.from_json(spec.to_json()))
    assert again.unwrapped.core.settings.schedule == WEIGHTS


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: rows(schedule=None).next_round(), 'where `schedule` is {"rounds": ...}.* Received schedule=None'),
        (lambda: rows(schedule="random").next_round(), "Received schedule='random'"),
        (lambda: as_vec_env(CART_POLE, **SETTINGS).env_method("next_round"), "Received schedule=None"),
        (lambda: agents(schedule=None), "`n_agents` goes with a `schedule` of .* Received n_agents=5, schedule=None"),
        (lambda: agents(n_agents=0), "`n_agents` must be an integer of at least 1. Received 0"),
        (lambda: begun(agents()).next_round(["agent_9"]), "unknown agent 'agent_9'"),
        (lambda: begun(rows()).next_round([0, 5]), r"`rows` must be in \[0, 4\]. Received \[0, 5\]"),
        (lambda: begun(rows()).next_round([1, 1]), "`rows` must be a row's index or a list of different ones"),
        (lambda: begun(rows()).next_round([True]), "`rows` must be a row's index"),
        (lambda: begun(rows()).next_round(0.5), "`rows` must be a row's index"),
        (
            lambda: rows().set_weights([1] * N_TASKS),
            r"where `schedule` is {\"weights\": .* Received schedule={'rounds'",
        ),
        (lambda: rows(schedule=WEIGHTS).set_weights([1, 1, 1, -1]), "`weights` must be 4 finite numbers"),
        (lambda: rows().core.admit([0]), "tasks can be admitted where `schedule` is None"),
    ],
)
def test_what_is_refused(act: Callable[[], Any], message: str) -> None:
    """With the argument, what it must be and what it was."""
    with pytest.raises(ValueError, match=message):
        act()


def begun(env: Any) -> Any:
    """The env, its first episodes begun."""
    env.reset(seed=0)
    return env


def test_nothing_changes_where_something_is_refused() -> None:
    """Neither rounds nor weights."""
    env = begun(rows())
    with pytest.raises(ValueError, match="rows"):
        env.next_round([0, 7])
    assert env.reset()[1]["round"].tolist() == [0] * N_AGENTS
    env.next_round([])
    assert env.reset()[1]["round"].tolist() == [0] * N_AGENTS
    weighted, other = rows(schedule=WEIGHTS), rows(schedule=WEIGHTS)
    with pytest.raises(ValueError, match="weights"):
        weighted.set_weights([0, 0, 0, 0])
    for seed in (3, None, None):
        assert weighted.reset(seed=seed)[1]["task_id"].tolist() == other.reset(seed=seed)[1]["task_id"].tolist()


def test_weights_change_between_episodes() -> None:
    """From each row's next episode on; the draws stay those of its seed, so a repeated run repeats."""
    venv: Any = as_vec_env(CART_POLE, n_agents=200, schedule=WEIGHTS, **SETTINGS)

    def run() -> list[Any]:
        venv.seed(3)
        venv.reset()
        tasks = [venv.core.task_of_row.copy()]
        VecCheckNan(venv).set_weights([0, 0, 1, 0])
        venv.step(np.zeros((200, 1)))
        assert np.array_equal(venv.core.task_of_row, tasks[0])
        for _ in range(HORIZON):
            venv.step(np.zeros((200, 1)))
        tasks.append(venv.core.task_of_row.copy())
        venv.env_method("set_weights", WEIGHTS["weights"])
        venv.reset()
        return [*tasks, venv.core.task_of_row.copy()]

    first = run()
    shares = np.array([np.bincount(drawn, minlength=N_TASKS) / 200 for drawn in first])
    expected: Any = [[0.25, 0.5, 0, 0.25], [0, 0, 1, 0], [0.25, 0.5, 0, 0.25]]
    np.testing.assert_allclose(shares, expected, atol=0.1)
    assert not np.array_equal(first[0], first[2])
    np.testing.assert_array_equal(run(), first)
    assert agents(schedule=WEIGHTS).possible_agents[0] == "agent_0"


def test_the_tasks_that_come_up_are_those_of_the_round() -> None:
    """Of the next episodes, once something is drawn; all of them before."""
    env = agents(n_agents=2)
    assert env.core.present.tolist() == list(range(N_TASKS))
    env.reset(seed=3)
    assert env.core.present.tolist() == np.unique(env.core.task_of_row).tolist()
    env.next_round()
    present = env.core.present.tolist()
    env.reset()
    assert present == np.unique(env.core.task_of_row).tolist()


@pytest.mark.parametrize("hidden", [True, False])
def test_a_search_that_seeds_every_sweep_is_refused(hidden: bool) -> None:
    """It would begin the rounds anew each time; no step is taken."""
    venv: Any = as_vec_env(agents(n_agents=2, hide_task_id=hidden))
    with pytest.raises(ValueError, match=r"seeds its episodes anew .* rounds"):
        REINFORCE("LinearGaussianPolicy", venv, seed=0, n_trajectories=2).learn(1)
    assert venv.core.clock.steps.tolist() == [0, 0]
