"""The safety signal: by how much each step exceeds a user's limits, through every interface."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import lifelong_gym
from lifelong_gym.envs.constraints import SafetySignal
from lifelong_gym.envs.control.cart_pole import CartPole
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.settings import Settings
from lifelong_gym.envs.spaces import Continuous, Discrete
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.testing import check_parity
from lifelong_gym.wrappers import as_vec_env
from tests.broken_families import variant
from tests.making import CART_POLE, GRID_WORLD, parallel, same
from tests.stepping import FAMILIES

LIMITS = {"force_change": 0.9, "angle": 0.1, "velocity": 1.0, "force": 1.5}
N_TASKS, N_EPISODES, HORIZON, SEED = 3, 2, 25, 7
TASKS = lifelong_gym.sample_tasks(CART_POLE, N_TASKS, seed=1, preset="hetero")
# Beyond the Box, so that they are clipped; some rows fail and end early.
ACTIONS = np.random.default_rng(0).uniform(-2, 2, (N_TASKS, N_EPISODES, HORIZON, 1)).astype(np.float32)
ENDING: dict[str, Any] = {"tasks": TASKS, "horizon": HORIZON, "terminate_on_failure": True, "constraints": LIMITS}
BACKENDS: list[dict[str, Any]] = [{"backend": backend} for backend in ("python", "numpy", "numba")]

Signal = tuple[bytes, bool]
History = list[list[Signal]]  # per row


def make_single(**settings: Any) -> Any:
    """Without wrappers."""
    return gym.make(CART_POLE, **settings).unwrapped


def signal(info: dict[str, Any]) -> Signal:
    """A row's part of the infos, its types checked."""
    values, violation = info["constraint_values"], info["constraint_violation"]
    assert (values.dtype, values.ndim, type(violation)) == (np.float64, 1, bool)
    assert violation == (values > 0).any()
    return values.tobytes(), violation


# --------------------------------------------------------------------------------------------------------- the values


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_values_are_the_magnitude_minus_the_limit(family: Any) -> None:
    """Of every channel of state, action and change of action, at starts, steps and within failures."""
    assert isinstance(family.actions, Continuous)
    names = [channel.name for channel in family.state]
    limits = dict(zip(names, np.array(family.state_limits) / 3, strict=True))
    bound = np.array(family.actions.bound)
    actions = [channel.name for channel in family.actions.channels]
    limits |= {name: 0.6 * b for name, b in zip(actions, bound, strict=True)}
    limits |= {f"{name}_change": 0.3 * b for name, b in zip(actions, bound, strict=True)}
    env = gym.make(f"Lifelong{type(family).__name__}-v0", backend="python", constraints=limits, horizon=60).unwrapped
    rng = np.random.default_rng(0)
    failed = []
    for _ in range(2):
        _, info = env.reset(seed=3)
        u_before = np.zeros(len(bound))
        expected = [env.state, np.zeros(len(bound)), np.zeros(len(bound))]  # type: ignore[attr-defined]
        for step in range(60):
            np.testing.assert_array_equal(
                info["constraint_values"], np.abs(np.concatenate(expected)) - list(limits.values())
            )
            signal(info)
            given = rng.uniform(-1.5, 1.5, len(bound)) + (step > 20)
            *_, info = env.step(given)
            u = np.clip(given, -1, 1)
            expected = [env.state, bound * u, bound * u - bound * u_before]  # type: ignore[attr-defined]
            u_before = u
            failed.append(info["failed"])
    assert not failed[0]
    if type(family).__name__ in ("CartPole", "DoubleInvertedPendulum"):
        assert failed[-1]


def test_a_start_has_done_nothing() -> None:
    """Action and change count from 0 in every episode; a start beyond a limit is told but isn't a step."""
    env = make_single(tasks=TASKS, constraints={"angle": 0.1, "force": 1.5, "force_change": 0.5})
    _, info = env.reset(seed=0, options={"state": [0.0, 0.0, -0.3, 0.0]})
    np.testing.assert_array_equal(info["constraint_values"], [0.3 - 0.1, -1.5, -0.5])
    assert info["constraint_violation"] is True
    assert env.core.n_violations.sum() == env.core.safety.n_steps.sum() == 0
    for _ in range(2):
        env.reset(options={"state": np.zeros(4)})
        *_, info = env.step(np.array([-0.5]))
        np.testing.assert_array_equal(info["constraint_values"][1:], [-0.5, 0.5])
        *_, info = env.step(np.array([-0.25]))
        np.testing.assert_array_equal(info["constraint_values"][1:], [-1.0, 0.0])
        assert info["constraint_violation"] is False  # at the limit, not beyond it


def test_a_frozen_state_stays_violated_and_a_failure_elsewhere_is_none() -> None:
    """Failed states are clipped to twice the family's limits, at most which a limit may be."""
    env = make_single(tasks=TASKS, constraints={"angle": 0.5})
    env.reset(seed=0, options={"state": [0.0, 0.0, 0.5, 10.0]})
    for _ in range(5):
        *_, info = env.step(np.zeros(1))
        assert info["failed"]
        assert 0 < info["constraint_values"][0] <= 0.5
    assert env.core.n_violations[0] == 5
    env.reset(options={"task": 0, "state": [2.4, 10.0, 0.0, 0.0]})
    *_, info = env.step(np.zeros(1))
    assert (info["failed"], info["constraint_violation"]) == (True, False)
    assert (env.core.n_violations[0], env.core.safety.n_steps[0]) == (5, 6)


def test_what_is_not_a_number_is_violated() -> None:
    """By inf, so that it can be compared."""
    watched = SafetySignal(CartPole(), {"angle": 0.1, "force": 1.0}, 3, 2)
    states = np.array([[0.0, 0.0, np.nan, 0.0], [np.nan, 0.0, 0.0, 0.0], [0.0, 0.0, -np.inf, 0.0]])
    watched.begin(np.arange(3), states)
    np.testing.assert_array_equal(watched.values[:, 0], [np.inf, -0.1, np.inf])
    watched.step(states, np.zeros((3, 1)), np.array([True, True, False]), np.array([1, 1, 0]))
    assert watched.violated.tolist() == [True, False, True]
    assert (watched.n_steps.tolist(), watched.n_violations.tolist()) == ([0, 2], [0, 1])


def test_a_simulators_states_count() -> None:
    """MuJoCo's."""
    env = make_single(physics="mujoco", constraints={"angle": 0.01, "velocity": 0.1}, n_tasks=1)
    env.reset(seed=1)
    for _ in range(10):
        *_, info = env.step(np.ones(1))
        np.testing.assert_array_equal(info["constraint_values"], np.abs(env.state[[2, 1]]) - [0.01, 0.1])
    assert 0 < env.core.n_violations[0] <= 10


# ------------------------------------------------------------------------------------------------------ the interfaces


def singles(**settings: Any) -> tuple[History, list[int]]:
    """A single env a row."""
    history: History = []
    counts = []
    for row in range(N_TASKS):
        env = make_single(**ENDING, **settings)
        log: list[Signal] = []
        history.append(log)
        for k in range(N_EPISODES):
            _, info = env.reset(seed=SEED + row if k == 0 else None, options={"task": row})
            log.append(signal(info))
            for action in ACTIONS[row, k]:
                *_, terminated, truncated, info = env.step(action)
                log.append(signal(info))
                if terminated or truncated:
                    break
        counts.append(int(env.core.n_violations[row]))
        assert env.core.n_violations.sum() == counts[-1]
    return history, counts


def of_agents(**settings: Any) -> tuple[History, list[int]]:
    """The parallel env."""
    env = parallel(CART_POLE, **{**ENDING, "n_tasks": None, **settings})
    history: History = [[] for _ in range(N_TASKS)]
    for k in range(N_EPISODES):
        _, infos = env.reset(seed=SEED if k == 0 else None)
        step = 0
        while True:
            for agent, info in infos.items():
                history[int(agent[-1])].append(signal(info))
            if not env.agents:
                break
            *_, infos = env.step({agent: ACTIONS[int(agent[-1]), k, step] for agent in env.agents})
            step += 1
    return history, env.unwrapped.core.n_violations.tolist()


class Rows:
    """Which actions rows take that begin again on their own, and what is told of their first episodes."""

    def __init__(self, starts: list[Signal]) -> None:
        """All rows have begun."""
        self.history: History = [[start] for start in starts]
        self.at = [(0, 0)] * N_TASKS  # episode and step

    def actions(self) -> Any:
        """Of all rows."""
        return np.array([ACTIONS[row, k % N_EPISODES, step] for row, (k, step) in enumerate(self.at)])

    def add(self, row: int, told: Signal, next_start: Signal | None) -> None:
        """A row took a step, and perhaps began anew."""
        k, step = self.at[row]
        self.at[row] = (k, step + 1) if next_start is None else (k + 1, 0)
        if k < N_EPISODES:
            self.history[row].append(told)
        if next_start is not None and k + 1 < N_EPISODES:
            self.history[row].append(next_start)

    @property
    def are_done(self) -> bool:
        """Whether every row has run its episodes."""
        return min(k for k, _ in self.at) >= N_EPISODES


def row_of(infos: dict[str, Any], row: int) -> Signal:
    """One row of a vector env's infos."""
    assert infos["_constraint_values"][row]
    assert infos["_constraint_violation"][row]
    violation = bool(infos["constraint_violation"][row])
    return signal({"constraint_values": infos["constraint_values"][row], "constraint_violation": violation})


def of_rows(**settings: Any) -> tuple[History, None]:
    """The vector env, beginning anew in the same step."""
    env: Any = gym.make_vec(CART_POLE, num_envs=N_TASKS, autoreset_mode="SameStep", **ENDING, **settings)
    _, infos = env.reset(seed=SEED)
    rows = Rows([row_of(infos, row) for row in range(N_TASKS)])
    while not rows.are_done:
        _, _, terminated, truncated, infos = env.step(rows.actions())
        assert infos["constraint_values"].shape == (N_TASKS, len(LIMITS))
        for row, ended in enumerate(terminated | truncated):
            now = row_of(infos, row)
            rows.add(row, row_of(infos["final_info"], row) if ended else now, now if ended else None)
    return rows.history, None


def of_vec_env(**settings: Any) -> tuple[History, None]:
    """SB3's rows; the start of an episode that follows another in the same step isn't told there."""
    env: Any = as_vec_env(gym.make_vec(CART_POLE, num_envs=N_TASKS, **ENDING, **settings))
    env.seed(SEED)
    env.reset()
    rows = Rows([signal(info) for info in env.reset_infos])
    while not rows.are_done:
        _, _, done, infos = env.step(rows.actions())
        starts = env.core.safety.infos()
        for row, info in enumerate(infos):
            rows.add(row, signal(info), signal(starts[row]) if done[row] else None)
    return rows.history, None


@pytest.mark.parametrize("settings", BACKENDS, ids=str)
def test_every_interface_and_backend_tells_the_same(settings: dict[str, Any]) -> None:
    """To the bit, where rows end apart from each other."""
    expected, counts = singles(backend="python")
    assert len({len(log) for log in expected}) > 1
    assert sum(told for log in expected for _, told in log) > sum(counts) // 2 > 5
    for way in (singles, of_agents, of_rows, of_vec_env):
        found, counted = way(**settings)
        assert found == expected, way.__name__
        assert counted in (counts, None)


@pytest.mark.parametrize("settings", [{}, {"terminate_on_failure": True, "task_observation": "one_hot"}], ids=str)
def test_infos_are_gymnasiums(settings: dict[str, Any]) -> None:
    """Masks, final infos and types of all autoreset modes are those of SyncVectorEnv; all else keeps its bits."""
    check_parity(CART_POLE, horizon=20, preset="hetero", constraints=LIMITS, **settings)


@pytest.mark.parametrize("hidden", [False, True])
def test_without_constraints_nothing_is_told(hidden: bool) -> None:
    """With them, what else is told stays."""
    settings: dict[str, Any] = {"tasks": TASKS, "horizon": 4, "hide_task_id": hidden, "backend": "numpy"}
    makers: list[Callable[..., Any]] = [
        gym.make,
        lambda id, **rest: gym.make_vec(id, num_envs=2, **rest),
        lambda id, **rest: parallel(id, n_tasks=None, **rest),
    ]
    for make in makers:
        plain, watched = make(CART_POLE, **settings), make(CART_POLE, **settings, constraints=LIMITS)
        for _ in range(2):
            assert same(plain.reset(seed=1), without_signal(watched.reset(seed=1)))
            for _ in range(3):
                space = plain.action_space("task_0") if hasattr(plain, "agents") else plain.action_space
                action: Any = np.full(space.shape, 0.25)
                action = dict.fromkeys(plain.agents, action) if hasattr(plain, "agents") else action
                assert same(plain.step(action), without_signal(watched.step(action)))
        with pytest.raises(ValueError, match=r"where `constraints` are given. Received constraints=None"):
            _ = plain.unwrapped.core.n_violations
        assert plain.unwrapped.core.safety is None


def without_signal(results: Any) -> Any:
    """The results of `reset` or `step` without the signal, which must be there."""
    infos = results[-1]
    each = infos.values() if "task_0" in infos else [infos]
    for info in each:
        for name in ("constraint_values", "constraint_violation"):
            del info[name]
            info.pop(f"_{name}", None)
    return results


# ------------------------------------------------------------------------------------------------- making and errors


def test_a_spec_keeps_the_constraints() -> None:
    """In their order, through JSON and copies; what was given may change later."""
    given: dict[str, Any] = {"force": np.float32(1.5), "angle": np.float64(0.1), "velocity": 1}
    env = gym.make(CART_POLE, tasks=TASKS, constraints=given)
    given["angle"] = 0.3
    assert env.spec is not None
    for again in (gym.make(EnvSpec.from_json(env.spec.to_json())), gym.make(env.spec), copy.deepcopy(env)):
        core = again.unwrapped.core  # type: ignore[attr-defined]
        assert list(core.settings.constraints.items()) == [("force", 1.5), ("angle", 0.1), ("velocity", 1.0)]
        assert same(again.reset(seed=3), env.reset(seed=3))
        assert same(again.step(np.ones(1)), env.step(np.ones(1)))


def switched(state: Vector, action: Vector, room: Vector) -> Vector:
    """Warmer with the heater on, colder with it off."""
    return (state[0] + room[0] * (0.2 * action[0] - 0.1),)


Switch = variant("Switch", actions=Discrete(2), transition=switched)


def test_discrete_actions_leave_the_state() -> None:
    """Which can be limited; the action can't."""
    core = Core(Switch(), 2, Settings(n_tasks=2, constraints={"temperature": 0.5}, backend="numpy"))
    core.seed(np.arange(2), [0, 1])
    core.begin(np.arange(2), core.empty_observations())
    for _ in range(8):
        core.step(core.check_actions([0, 1], 2), np.ones(2, bool))
        assert core.safety is not None
        np.testing.assert_array_equal(core.safety.values, np.abs(core.states()) - 0.5)
    assert core.n_violations.sum() > 0
    with pytest.raises(ValueError, match=r"unknown channel in `constraints` 'power'. There are: temperature"):
        Core(Switch(), 2, Settings(n_tasks=2, constraints={"power": 0.5}))


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"angel": 0.2}, "unknown channel in `constraints` 'angel'. Did you mean 'angle'? There are: position, "),
        ({"force_chang": 0.2}, "Did you mean 'force_change'"),
        ({3: 0.2}, "unknown channel in `constraints` 3"),
        ({"angle": 0.0}, "`constraints`: the limit of angle must be positive and finite. Received 0.0"),
        ({"force": -1}, "the limit of force must be positive and finite. Received -1"),
        ({"angle": float("nan")}, "the limit of angle must be positive and finite. Received nan"),
        ({"force": float("inf")}, "the limit of force must be positive and finite. Received inf"),
        ({"angle": "0.2"}, "the limit of angle must be positive and finite. Received '0.2'"),
        ({"angle": True}, "the limit of angle must be positive and finite. Received True"),
        ({"angle": [0.1, 0.2]}, "the limit of angle must be positive and finite. Received [0.1, 0.2]"),
        ({"angle": 0.6}, "the limit of angle must be at most 0.5 rad, beyond which a state fails. Received 0.6"),
        ({}, "`constraints` must be a dict from channels to their limits. Received {}"),
        (["angle"], "`constraints` must be a dict from channels to their limits. Received ['angle']"),
        (0.2, "`constraints` must be a dict from channels to their limits. Received 0.2"),
    ],
    ids=str,
)
def test_bad_constraints(constraints: Any, message: str) -> None:
    """Through every interface the same error."""
    for make in (
        lambda: gym.make(CART_POLE, constraints=constraints),
        lambda: gym.make_vec(CART_POLE, num_envs=2, constraints=constraints),
        lambda: parallel(CART_POLE, constraints=constraints),
        lambda: as_vec_env(CART_POLE, constraints=constraints),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            make()


def test_a_grid_has_nothing_to_limit() -> None:
    """Its states are cells."""
    with pytest.raises(ValueError, match=r"`constraints` must be None where observations are Discrete. Received \{'r"):
        gym.make(GRID_WORLD, constraints={"row": 3})
