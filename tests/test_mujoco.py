"""The cart-pole by MuJoCo: the kernel's episodes, and every promise within itself."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.simulator_rows import EpisodeStream, Simulator, SimulatorRows, kernel_simulator
from lifelong_gym.envs.control.cart_pole import CartPole
from lifelong_gym.envs.engines.mujoco.cart_pole import MujocoCartPole
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import Task


def balanced(simulator: Simulator, task: Task, stream: EpisodeStream) -> list[tuple[float, bool, bool, Vector]]:
    """An episode under a stabilising linear policy: reward, terminated, failed and state at every step."""
    simulator.reset(stream)
    gain = np.array([0.1, 0.2, 3.0 * task["sensor_gain_3"], 0.7 * task["sensor_gain_4"]])
    strength = 1.2 * (task["cart_mass"] + task["pole_mass"]) / task["actuator_gain"]
    log = []
    for step in range(150):
        u = float(np.clip(strength * gain @ simulator.observe(), -1, 1))
        log.append((*simulator.step((u,), step), simulator.state))
    return log


def test_mujocos_cart_pole_follows_the_kernel() -> None:
    """Over whole episodes that a linear policy keeps in balance."""
    family = CartPole()
    tasks = family.parameters.sample(20, preset="hetero")
    ours, theirs = kernel_simulator(family, tasks, None, False), MujocoCartPole.maker(family, tasks, None, False)
    for j, task in enumerate(tasks):
        stream = EpisodeStream(j, 0, philox.row_key(0))
        for expected, got in zip(balanced(ours(j), task, stream), balanced(theirs(j), task, stream), strict=True):
            assert got[1:3] == expected[1:3]
            np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=1e-12)
            np.testing.assert_allclose(got[3], expected[3], rtol=0, atol=1e-12)
        assert not got[2]


def test_mujocos_episodes_do_not_depend_on_earlier_ones() -> None:
    """To the bit."""
    family = CartPole()
    tasks = family.parameters.sample(1, preset="wide")
    make = MujocoCartPole.maker(family, tasks, "quadratic", True)
    stream, other = EpisodeStream(0, 0, (1, 2)), EpisodeStream(0, 1, (3, 4))
    used = make(0)
    first = balanced(used, tasks[0], stream)
    balanced(used, tasks[0], other)
    assert balanced(used, tasks[0], stream) == first
    assert balanced(make(0), tasks[0], stream) == first
    used.close()


def test_mujocos_episodes_survive_pickling() -> None:
    """Rows that are pickled within an episode go on to the same end."""
    family, n = CartPole(), 3
    rows = SimulatorRows(n, MujocoCartPole.maker, family, family.parameters.sample(n), None, False)
    numbers, keys = np.arange(n), np.tile(np.array(philox.row_key(0), np.uint64), (n, 1))
    rows.restart(Episodes(numbers, numbers, numbers, np.zeros(n, np.int64), keys), np.zeros((n, 4)))

    def go_on(some: SimulatorRows) -> FloatArray:
        results = Results(np.zeros((n, 4)), np.zeros(n), *np.zeros((3, n), bool))
        for _ in range(10):
            some.step(np.full((n, 1), 0.1), np.ones(n, bool), Clock(n, 150), results)
        return some.states()

    go_on(rows)
    copy = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(go_on(copy), go_on(rows))


def test_mujoco_ends_an_episode_on_failure_where_it_should() -> None:
    """With the cost that goes with the reward."""
    family = CartPole()
    make = MujocoCartPole.maker(family, family.parameters.tasks([{}]), "quadratic", True)
    simulator = make(0)
    simulator.reset(EpisodeStream(0, 0, (0, 0)))
    simulator.state = (0.0, 0.0, 0.499, 9.0)
    assert simulator.step((0.0,), 0) == (-25.0, True, True)


def test_without_mujoco_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any episode."""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    family = CartPole()
    with pytest.raises(MissingExtraError, match=r"lifelong-gym\[mujoco\]"):
        MujocoCartPole.maker(family, family.parameters.tasks([{}]), None, False)
