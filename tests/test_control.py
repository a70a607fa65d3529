"""What all control families share: parameters, sensors, rewards, starts and failure."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from lifelong_gym.envs.backends.simulator_rows import EpisodeStream, kernel_simulator
from lifelong_gym.envs.control.base import ControlFamily
from lifelong_gym.envs.family import Constants
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet
from tests.stepping import bound_of, each_family, group, random_actions, simulate


@each_family
def test_every_parameter_matters(family: ControlFamily) -> None:
    """Moving one of them changes an observation or a reward within 20 steps."""
    base = family.parameters.sample(1, preset="default").values[0].copy()
    n, names = len(family.state), family.parameters.names
    for group_name, values in {"goal": 0.1, "sensor_gain": 0.5, "sensor_offset": 0.1}.items():
        for i in range(1, n + 1):
            base[names.index(f"{group_name}_{i}")] = values
    moved = np.tile(base, (len(names) + 1, 1))
    low, high = family.parameters.bounds
    for j in range(len(names)):
        step = 0.05 * (abs(base[j]) or 1.0)
        moved[j + 1, j] += step if base[j] + step <= high[j] else -step
        assert low[j] <= moved[j + 1, j] <= high[j]
    tasks = TaskSet(family.parameters, moved)
    actions = np.repeat(random_actions(family, 0.3, 1), len(tasks), axis=1)
    run = simulate(family, tasks, actions)
    view = np.concatenate([run.observations[1:], run.rewards[..., None]], axis=2)[:20]
    change = np.abs(view[:, 1:] - view[:, :1]).max(axis=(0, 2))
    assert dict(zip(names, change, strict=True)) == {name: c for name, c in zip(names, change, strict=True) if c > 1e-9}


@each_family
def test_only_the_reward_sees_the_goal_and_only_the_policy_the_sensors(family: ControlFamily) -> None:
    """Neither changes what happens."""
    n = len(family.state)
    tasks = family.parameters.tasks(
        [
            {},
            {f"goal_{i}": 0.2 for i in range(1, n + 1)},
            {f"sensor_gain_{i}": -1.0 for i in range(1, n + 1)} | {"sensor_offset_1": 0.5},
        ]
    )
    run = simulate(family, tasks, np.repeat(random_actions(family, 0.1, 1), 3, axis=1))
    np.testing.assert_array_equal(run.states[:, 0], run.states[:, 1])
    np.testing.assert_array_equal(run.states[:, 0], run.states[:, 2])
    np.testing.assert_array_equal(run.observations[:, 0], run.observations[:, 1])
    np.testing.assert_array_equal(run.rewards[:, 0], run.rewards[:, 2])
    offset = np.array([0.5] + [0.0] * (n - 1))
    np.testing.assert_array_equal(run.observations[:, 2], -run.states[:, 0] - offset)


@each_family
@pytest.mark.parametrize("reward", ["norm", "quadratic"])
def test_rewards(family: ControlFamily, reward: str) -> None:
    """Against NumPy, with actions beyond their bound."""
    n = len(family.state)
    tasks = family.parameters.tasks([{"goal_1": 0.3, f"goal_{n}": -0.2}])
    actions = 1.5 * random_actions(family, 1.0, 1)
    run = simulate(family, tasks, actions, reward=reward)
    a = bound_of(family) * np.clip(actions[:, 0], -1, 1)
    goal = np.zeros(n)
    goal[[0, -1]] = 0.3, -0.2
    error = run.states[1:, 0] - goal
    norms = np.linalg.norm(error, axis=1) + np.linalg.norm(a, axis=1)
    squares = (error**2).sum(axis=1) + 0.1 * (a**2).sum(axis=1)
    expected = -(norms if reward == "norm" else squares)
    alive = ~run.failed[:, 0]
    np.testing.assert_allclose(run.rewards[alive, 0], expected[alive], rtol=1e-13)


@each_family
def test_starts_are_uniform_in_their_widths(family: ControlFamily) -> None:
    """Mean, variance and independence over 500 episodes."""
    make = kernel_simulator(family, family.parameters.tasks([{}]), None, False)(0)
    states = []
    for visit in range(500):
        make.reset(EpisodeStream(0, visit, philox.row_key(3)))
        states.append(make.state)
    scaled = np.array(states) / [family.parameters[f"start_{i}"].nominal for i in range(1, len(family.state) + 1)]
    assert np.abs(scaled).max() <= 1.0
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(scaled.var(axis=0), 1 / 3, atol=0.05)
    assert np.abs(np.corrcoef(scaled.T) - np.eye(len(family.state))).max() < 0.2


def fastest(family: ControlFamily, sign: float) -> FloatArray:
    """A state just inside its limits that leaves them."""
    return sign * (np.array(family.state_limits) - 1e-9)


@each_family
@pytest.mark.parametrize("reward", ["norm", "quadratic"])
def test_failing_clips_freezes_and_costs(family: ControlFamily, reward: str) -> None:
    """At a constant cost for the rest of the episode, whatever is done."""
    simulator = kernel_simulator(family, family.parameters.tasks([{}]), reward, False)(0)
    simulator.reset(EpisodeStream(0, 0, (0, 0)))
    simulator.state = tuple(fastest(family, 1.0).tolist())
    rest, push = (0.0,) * len(bound_of(family)), (0.5,) * len(bound_of(family))
    for step in range(5):
        value, terminated, failed = simulator.step(rest, step)
        if failed:
            break
    frozen = simulator.state
    limits = np.array(family.state_limits)
    assert failed
    assert not terminated
    assert np.any(np.abs(frozen) > limits)
    assert np.all(np.abs(frozen) <= 2 * limits)
    assert value == -(family.failure_cost if reward == "norm" else family.failure_cost**2)
    for later in range(step + 1, 150):
        assert simulator.step(push, later) == (value, False, True)
        assert simulator.state == frozen
    simulator.reset(EpisodeStream(0, 1, (0, 0)))
    assert not simulator.step(rest, 0)[2]


@each_family
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_far_beyond_the_limits_the_state_is_clipped_to_twice_them(family: ControlFamily, sign: float) -> None:
    """And is seen within the observation space, at the worst sensors."""
    channels = range(1, len(family.state) + 1)
    sensors = {f"sensor_gain_{i}": -1.0 for i in channels} | {f"sensor_offset_{i}": 2.0 * sign for i in channels}
    simulator = kernel_simulator(family, family.parameters.tasks([sensors]), None, True)(0)
    simulator.reset(EpisodeStream(0, 0, (0, 0)))
    limits, rest = np.array(family.state_limits), (0.0,) * len(bound_of(family))
    state = tuple((sign * 5 * limits).tolist())
    simulator.state = state
    _, terminated, failed = simulator.step(rest, 0)
    groups = {name: group(family, name) for name in list(inspect.signature(family.transition).parameters)[2:]}
    moved = family.transition(state, rest, **groups)
    assert terminated
    assert failed
    np.testing.assert_array_equal(simulator.state, np.clip(moved, -2 * limits, 2 * limits))
    assert family.observations.space.contains(np.array(simulator.observe(), np.float32))


@each_family
@pytest.mark.parametrize("preset", ["default", "hetero"])
@pytest.mark.parametrize("reward", ["norm", "quadratic"])
def test_failing_is_worse_than_an_untrained_policys_steps(family: ControlFamily, preset: str, reward: str) -> None:
    """Of doing nothing, and of standard normal actions u."""
    tasks = family.parameters.sample(50, preset=preset)
    rng, m = np.random.default_rng(0), len(bound_of(family))
    for actions in (np.zeros((150, 200, m)), rng.normal(size=(150, 200, m))):
        run = simulate(family, tasks, actions, np.arange(200) % 50, reward=reward)
        assert run.rewards[~run.failed].mean() > -family.cost_of_failing(reward)


@each_family
def test_constants_of_a_task_do_not_depend_on_the_tasks_beside_it(family: ControlFamily) -> None:
    """To the bit."""
    for preset in ("hetero", "known_basis"):
        values = family.parameters.sample(5000, preset=preset).values
        table = Constants.of(family, values).table
        for rows in (slice(0, 1), slice(3, 10), slice(4090, 4100)):
            np.testing.assert_array_equal(Constants.of(family, values[rows]).table, table[rows])
