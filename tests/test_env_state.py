"""An env's state: what is loaded goes on within episodes, to the bit, and what doesn't fit changes nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest

from lifelong_gym.errors import CheckpointError, FamilyError
from lifelong_gym.numerics.states import StateReader, plain
from lifelong_gym.wrappers import Budget, Stage, as_vec_env
from tests.camera import View
from tests.making import CART_POLE, GRID_WORLD, same

N_ROWS = 3
SETTINGS: dict[str, Any] = {
    "n_tasks": 4,
    "horizon": 7,
    "preset": "hetero",
    "constraints": {"angle": 0.02, "force": 2.0},
}
WEIGHTS = {"weights": [1.0, 2.0, 3.0, 1.0]}
Maker = Callable[..., Any]


class Walker:
    """Steps an env of any interface with actions of its own; `go` tells all that is returned."""

    def __init__(self, env: Any) -> None:
        """Nothing is begun."""
        self.env = env

    def begin(self) -> Any:
        """With a seed."""
        if hasattr(self.env, "seed"):
            self.env.seed(5)
            return self.env.reset()
        return self.env.reset(seed=5)

    def go(self, first: int, n: int) -> list[Any]:
        """Steps number ``first`` and so on; episodes that end are begun anew."""
        told: list[Any] = []
        for step in range(first, first + n):
            told.append(self._step(np.random.default_rng(step)))
        return told

    def _step(self, rng: np.random.Generator) -> Any:
        env = self.env
        if hasattr(env, "possible_agents"):
            space = env.action_space(env.possible_agents[0])
            space.seed(int(rng.integers(99)))
            if not env.agents:
                return env.reset()
            return env.step({agent: space.sample() for agent in env.agents})
        env.action_space.seed(int(rng.integers(99)))
        if hasattr(env, "seed"):
            result = env.step(np.stack([env.action_space.sample() for _ in range(env.num_envs)]))
            return result, copy.deepcopy(env.reset_infos)
        result = env.step(env.action_space.sample())
        return (result, env.reset()) if np.ndim(result[2]) == 0 and (result[2] or result[3]) else result


def single(id: str, **settings: Any) -> Any:
    """A Gymnasium env."""
    return gym.make(id, disable_env_checker=True, **settings).unwrapped


def vector(mode: str) -> Maker:
    """A vector env of an autoreset mode."""
    return lambda id, **settings: gym.make_vec(id, num_envs=N_ROWS, autoreset_mode=mode, **settings).unwrapped


def parallel(id: str, **settings: Any) -> Any:
    """A PettingZoo env."""
    return pettingzoo.make("parallel", id, **settings)


def venv(id: str, **settings: Any) -> Any:
    """SB3's, with fewer rows than tasks."""
    return as_vec_env(gym.make_vec(id, num_envs=N_ROWS, **settings))


INTERFACES: dict[str, Maker] = {
    "single": single,
    "next": vector("NextStep"),
    "same": vector("SameStep"),
    "parallel": parallel,
    "sb3": venv,
}


def through_files(state: Any) -> Any:
    """The state after a way through JSON, its arrays beside it, tuples told as such."""
    arrays: list[Any] = []

    def out(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value.copy())
            return {"array": len(arrays) - 1}
        if isinstance(value, dict):
            return {"dict": [[key, out(one)] for key, one in value.items()]}
        return {type(value).__name__: [out(one) for one in value]} if isinstance(value, (list, tuple)) else value

    def back(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == "array":
            return arrays[content]
        if kind == "dict":
            return {key: back(one) for key, one in content}
        return {"list": list, "tuple": tuple}[kind](back(one) for one in content)

    return back(json.loads(json.dumps(out(state))))


def check_goes_on(make: Maker, other: Maker | None = None, n: int = 10) -> None:
    """A new env with the state of one that was stopped goes on as that does."""
    walker, later = Walker(make()), Walker((other or make)())
    walker.begin()
    walker.go(0, n)
    state = through_files(walker.env.state_dict())
    later.env.load_state_dict(state)
    assert_same_state(later.env.state_dict(), walker.env.state_dict())
    assert same(later.go(n, 20), walker.go(n, 20))


def assert_same_state(a: Any, b: Any, where: str = "state") -> None:
    """Part by part."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same_state(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), where
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same_state(one, other, f"{where}[{i}]")
    else:
        assert a == b, where


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("settings", [{}, {"schedule": "random", "terminate_on_failure": True}], ids=str)
def test_every_interface_goes_on_within_episodes(interface: str, settings: dict[str, Any]) -> None:
    """With all that is returned from then on: observations, rewards, ends and infos."""
    check_goes_on(lambda: INTERFACES[interface](CART_POLE, backend="numpy", **SETTINGS, **settings))


@pytest.mark.parametrize(("one", "other"), [("numba", "numpy"), ("numpy", "python"), ("python", "numba")])
@pytest.mark.parametrize("id", [CART_POLE, GRID_WORLD])
def test_backends_go_on_for_each_other(one: str, other: str, id: str) -> None:
    """A state says nothing of the backend; failed rows, too, go on as they were."""
    given: dict[str, Any] = {"n_tasks": 3, "horizon": 40}
    check_goes_on(lambda: venv(id, backend=one, **given), lambda: venv(id, backend=other, **given), 25)


@pytest.mark.parametrize("interface", INTERFACES)
def test_simulators_go_on(interface: str, register: Callable[..., str]) -> None:
    """Their snapshots and generators are part of the state."""
    id = register("Camera", "camera")
    check_goes_on(lambda: INTERFACES[interface](id, n_tasks=4, horizon=7))


def test_mujoco_goes_on() -> None:
    """As the kernel whose place it takes."""
    check_goes_on(lambda: venv(CART_POLE, physics="mujoco", **SETTINGS))


@pytest.mark.parametrize("schedule", [{"rounds": "uniform"}, {"rounds": "permutation"}, WEIGHTS], ids=str)
def test_schedules_go_on(schedule: dict[str, Any]) -> None:
    """Rounds that were asked for, and weights that were changed."""
    settings = {**SETTINGS, "backend": "numpy", "schedule": schedule}
    one, other = (Walker(as_vec_env(CART_POLE, n_agents=20, **settings)) for _ in range(2))
    one.begin()
    one.go(0, 10)
    if schedule == WEIGHTS:
        one.env.set_weights([0.1, 0.7, 0, 0.3])
    else:
        one.env.next_round([0, 3, 7])
    other.env.load_state_dict(through_files(one.env.state_dict()))
    assert same(other.go(10, 30), one.go(10, 30))
    assert_same_state(other.env.state_dict(), one.env.state_dict())
    assert len(np.unique(one.env.core.task_of_row)) > 1


def test_a_budget_goes_on() -> None:
    """Steps that are left, the tasks that are admitted, and rows that idle."""

    def make() -> Any:
        env: Any = venv(CART_POLE, backend="numpy", **SETTINGS)
        env.budget = Budget(env.core, [Stage((0, 1), 25), Stage((2, 3), 13)])
        return env

    check_goes_on(make, n=15)
    check_goes_on(make, n=18)
    env = make()
    Walker(env).begin()
    with pytest.raises(CheckpointError, match=r"`state.budget` must be None. Received \{'stages'"):
        venv(CART_POLE, backend="numpy", **SETTINGS).load_state_dict(env.state_dict())
    other = venv(CART_POLE, backend="numpy", **SETTINGS)
    other.budget = Budget(other.core, [Stage((0, 1, 2, 3), 19)])
    with pytest.raises(CheckpointError, match=r"`state.budget.stages` must be \[\{'tasks': \(0, 1, 2, 3\)"):
        other.load_state_dict(env.state_dict())


def test_before_the_first_episode() -> None:
    """Seeds and options that wait for it are kept."""
    one, other = (venv(CART_POLE, backend="numpy", **SETTINGS) for _ in range(2))
    one.seed(7)
    one.set_options({"state": [0.0, 0.1, 0.0, 0.0]})
    other.load_state_dict(through_files(one.state_dict()))
    assert same(other.reset(), one.reset())
    assert same(Walker(other).go(0, 9), Walker(one).go(0, 9))


def test_a_state_is_a_copy() -> None:
    """What goes on, on either side, doesn't change it; a state may be loaded again."""
    env = Walker(vector("SameStep")(CART_POLE, backend="numpy", **SETTINGS))
    env.begin()
    state = env.env.state_dict()
    kept, first = copy.deepcopy(state), env.go(0, 20)
    assert_same_state(state, kept)
    env.env.load_state_dict(state)
    assert same(env.go(0, 20), first)
    assert_same_state(state, kept)
    env.env.load_state_dict(state)
    assert same(env.go(0, 20), first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [], "`state` must be a dict of its parts. Received list"),
        (lambda s: s.pop("core"), "`state`: part 'core' is missing"),
        (lambda s: s["core"].pop("rows"), "`state.core`: part 'rows' is missing"),
        (lambda s: s["core"].update(more=1), "`state.core`: part 'more' is not known here"),
        (
            lambda s: s["core"]["walk"].update(keys=np.zeros((2, 2), np.uint64)),
            r"keys` must be uint64 of shape \(3, 2\)",
        ),
        (lambda s: s["core"]["walk"].update(positions=np.zeros(3)), r"positions` must be int64 .* Received float64"),
        (lambda s: s["core"]["walk"].update(among=np.array([9])), r"among`: `among` must name tasks in \[0, 3\]"),
        (lambda s: s["core"].update(tasks=np.array([0, 1, 4])), "tasks` must be from 0 to 3. Received 0 to 4"),
        (lambda s: s["core"]["rows"].update(states=np.zeros((3, 5))), r"states` must be float64 of shape \(3, 4\)"),
        (lambda s: s["core"]["visits"].update(counts=np.array([-1])), "counts` must be int64 of shape"),
        (
            lambda s: s["core"]["safety"].update(values=None),
            r"values` must be float64 of shape \(2, 3\). Received None",
        ),
        (lambda s: s["core"].update(safety=None), "safety` must be a state. Received None"),
        (lambda s: s.update(seeded=1), "`state.seeded` must be True or False. Received 1"),
        (lambda s: s.update(np_random={"state": 3}), "np_random` must be the state of a NumPy generator"),
        (lambda s: s.update(autoreset_mode="NextStep"), "autoreset_mode` must be 'SameStep', as it is here"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, message: str) -> None:
    """The error names the part, what it must be and what it was."""
    env = Walker(vector("SameStep")(CART_POLE, backend="numpy", **SETTINGS))
    env.begin()
    env.go(0, 9)
    state = env.env.state_dict()
    wrong = copy.deepcopy(state)
    replaced = change(wrong)
    with pytest.raises(CheckpointError, match=message):
        env.env.load_state_dict(replaced if replaced == [] else wrong)
    assert_same_state(env.env.state_dict(), state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task_seed": 1}, "made_of.tasks` must be"),
        ({"horizon": 8}, "made_of.horizon` must be 8, as it is here. Received 7"),
        ({"reward": "quadratic"}, "made_of.reward` must be 'quadratic'"),
        ({"schedule": "random"}, "walk.schedule` must be 'random', as it is here. Received None"),
        ({"constraints": {"angle": 0.03, "force": 2.0}}, "made_of.constraints.angle` must be 0.03"),
        ({"physics": "mujoco"}, "made_of.physics` must be 'mujoco'"),
        ({"terminate_on_failure": True}, "made_of.terminate_on_failure` must be True"),
    ],
)
def test_another_envs_state_is_refused(settings: dict[str, Any], message: str) -> None:
    """Whatever would make it go on in another way."""
    env = venv(CART_POLE, backend="numpy", **SETTINGS)
    Walker(env).begin()
    with pytest.raises(CheckpointError, match=message):
        venv(CART_POLE, backend="numpy", **{**SETTINGS, **settings}).load_state_dict(env.state_dict())


def test_another_familys_state_is_refused(register: Callable[..., str]) -> None:
    """Its class, its arguments and its number of rows are compared."""
    id = register("Camera", "camera")
    env = venv(id, n_tasks=2)
    Walker(env).begin()
    with pytest.raises(CheckpointError, match=r"made_of.arguments.brightness` must be 9, as it is here. Received 255"):
        venv(id, n_tasks=2, brightness=9).load_state_dict(env.state_dict())
    with pytest.raises(CheckpointError, match=r"made_of.family` must be 'CartPole'.* Received 'Camera'"):
        venv(CART_POLE, backend="numpy").load_state_dict(env.state_dict())
    other: Any = as_vec_env(id, n_tasks=2)
    with pytest.raises(CheckpointError, match=r"made_of.n_rows` must be 2, as it is here. Received 3"):
        other.load_state_dict(env.state_dict())


def test_snapshots_that_no_file_holds_are_told(register: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that a simulator doesn't take: nothing changes."""
    id = register("Camera", "camera")
    env = Walker(venv(id, n_tasks=2, horizon=7))
    env.begin()
    state = env.env.state_dict()
    kept = copy.deepcopy(state)
    state["core"]["rows"]["snapshots"][1] = None, *state["core"]["rows"]["snapshots"][1][1:]
    with pytest.raises(CheckpointError, match="snapshots`: that of row 1 doesn't fit: AttributeError"):
        env.env.load_state_dict(state)
    assert_same_state(env.env.state_dict(), kept)
    monkeypatch.setattr(View, "snapshot", lambda self: {"rng": np.random.default_rng(0)})
    with pytest.raises(FamilyError, match=r"Camera: a snapshot must hold arrays, numbers, .* Received Generator"):
        env.env.state_dict()


def test_plain_values() -> None:
    """NumPy's scalars as Python's; nothing is shared."""
    array = np.arange(3)
    given = {"a": (1, [np.float64(0.5), None], "x"), 3: array, "b": np.bool_(True)}
    told = plain(given)
    assert_same_state(told, given)
    assert type(told["b"]) is bool
    assert not np.shares_memory(told[3], array)
    for bad in (object(), np.array([None]), {(1, 2): 3}, {"a": {1, 2}}):
        with pytest.raises(TypeError, match="Received"):
            plain(bad)


def test_arguments_may_be_arrays() -> None:
    """Of families whose arguments are data: equal ones are the same, others are refused by name."""
    reader = StateReader({"arguments": {"prices": np.arange(3.0)}}, "state", ["arguments"])
    reader.same("arguments", {"prices": np.arange(3.0)})
    for other in (np.arange(4.0), np.zeros(3), None):
        with pytest.raises(CheckpointError, match=r"`state\.arguments\.prices` must be .*, as it is here"):
            reader.same("arguments", {"prices": other})
