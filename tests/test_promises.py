"""What the package promises of every family, and that the public checkers notice a broken promise."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.envs.settings import Settings
from lifelong_gym.errors import FamilyError, UnknownNameError
from lifelong_gym.registry import FAMILIES
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.testing import check_family, check_parameters, check_parity
from lifelong_gym.testing.behaviour import check_boundaries, check_seeds, check_spaces
from lifelong_gym.testing.declarations import SECTIONS, check_constants, check_declarations, check_docstring
from tests.broken_families import CAPACITY, variant
from tests.making import DRONE, LIMITS, sizes

IDS = list(FAMILIES)
CART_POLE = "LifelongCartPole-v0"
Register = Callable[[str], str]
STEPS = 60  # of an episode: whatever differs between backends does so at once
# Where NumPy takes milliseconds a step, or episodes are long; flights and games end by themselves.
SHORTER = {DRONE: {"horizon": 12}, **LIMITS}
each_id = pytest.mark.parametrize("id", IDS)


@each_id
def test_a_task_is_the_same_through_every_interface_and_backend(id: str) -> None:
    """To the bit, also where a sibling row resets."""
    horizon = min(STEPS, lifelong_gym.family(id, **sizes(id)).horizon)
    check_parity(id, **{"horizon": horizon, **sizes(id), **LIMITS.get(id, {})})


@each_id
def test_every_parameter_matters(id: str) -> None:
    """Moving one changes a state, an observation or a reward."""
    check_parameters(id, **sizes(id))


@each_id
def test_declarations_fit_together(id: str) -> None:
    """Lengths, bounds, presets, sections of the docstring, constants."""
    kind = lifelong_gym.family(id)
    check_declarations(id, kind)
    check_docstring(id, kind)
    if isinstance(kind, KernelFamily):
        check_constants(id, kind)


@each_id
def test_observations_lie_in_their_space(id: str) -> None:
    """Of every preset and at the corners of the bounds, also the last and the failed ones."""
    check_spaces(id, lifelong_gym.family(id, **sizes(id)), {**sizes(id), **SHORTER.get(id, {})})


@each_id
def test_one_seed_decides(id: str) -> None:
    """On the episodes; not on the tasks, and the schedule decides on nothing else."""
    check_seeds(id, lifelong_gym.family(id, **sizes(id)), {**sizes(id), **SHORTER.get(id, {})})


@each_id
def test_a_task_changes_only_between_episodes(id: str) -> None:
    """Row i of R runs task (i + k R) mod n_tasks."""
    check_boundaries(id, lifelong_gym.family(id, **sizes(id)), {**sizes(id), **SHORTER.get(id, {})})


@pytest.mark.parametrize("id", [id for id in IDS if isinstance(lifelong_gym.family(id), KernelFamily)])
def test_neither_batch_size_nor_threads_matter(id: str) -> None:
    """A row among 26,000 on 1, 2 or 4 threads is that row among four; where each sees a picture, among 64."""
    n_rows, n_steps = 64 if lifelong_gym.family(id).observations.is_image else 26_000, 3
    actions = np.stack([gym.make_vec(id, num_envs=4).action_space.sample() for _ in range(n_steps)])

    def run(n: int) -> list[Any]:
        env: Any = gym.make_vec(id, num_envs=n, n_tasks=4)
        results = [env.reset(seed=5)[0]]
        for step in range(n_steps):
            results += env.step(np.tile(actions[step], (n // 4, *[1] * (actions.ndim - 2))))[:4]
        return [*results, env.state]

    small, wide = run(4), []
    try:
        for n_threads in (1, 2, 4):
            set_num_threads(n_threads)
            wide.append(run(n_rows))
    finally:
        set_num_threads(2)
    for few, *many in zip(small, *wide, strict=True):
        assert all(np.array_equal(few, rows[:4]) for rows in many)
        assert all(np.array_equal(many[0], rows) for rows in many)


def test_every_promise_holds_with_a_simulator_behind_it() -> None:
    """MuJoCo keeps them all within itself."""
    check_family(CART_POLE, physics="mujoco", horizon=60)


def test_mujoco_and_the_kernel_agree() -> None:
    """Through the whole env, within 1e-9 over 60 steps."""

    def run(physics: str) -> list[Any]:
        env: Any = gym.make_vec(CART_POLE, num_envs=10, preset="hetero", physics=physics)
        env.reset(seed=1)
        rng = np.random.default_rng(0)
        return [(env.step(rng.uniform(-1, 1, (10, 1)))[1], env.state) for _ in range(60)]

    for (rewards, states), (kernel_rewards, kernel_states) in zip(run("mujoco"), run("kernel"), strict=True):
        np.testing.assert_allclose(rewards, kernel_rewards, atol=1e-9)
        np.testing.assert_allclose(states, kernel_states, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"terminate_on_failure": True, "task_observation": "append"},
        {"physics": "mujoco", "task_observation": "one_hot", "preset": "safe2015", "hide_task_id": True},
    ],
    ids=str,
)
def test_parity_under_other_settings(settings: dict[str, Any]) -> None:
    """What changes observations, rewards and the ends of episodes changes them everywhere alike."""
    check_parity(CART_POLE, horizon=50, **settings)


def test_seeds_and_rows_have_noise_of_their_own() -> None:
    """Other seeds, other rows and other visits start elsewhere; a row's neighbours aren't its next seeds."""
    env: Any = gym.make_vec(CART_POLE, num_envs=50, tasks=[{}])
    starts = np.concatenate([env.reset(seed=0)[0], env.reset()[0], env.reset(seed=1000)[0]])
    assert len(np.unique(starts, axis=0)) == len(starts)
    correlation = np.corrcoef(starts[:50].T, starts[50:100].T)
    assert np.abs(correlation - np.eye(8)).max() < 0.5
    np.testing.assert_array_equal(env.reset(seed=0)[0], starts[:50])


def test_tasks_and_episodes_have_separate_seeds() -> None:
    """Neither seed moves what the other decides."""
    first = gym.make(CART_POLE, task_seed=0)
    other = gym.make(CART_POLE, task_seed=1)
    start, _ = first.reset(seed=3)
    np.testing.assert_array_equal(start, other.reset(seed=3)[0])
    assert first.unwrapped.tasks != other.unwrapped.tasks  # type: ignore[attr-defined]
    assert first.unwrapped.tasks == gym.make(CART_POLE).unwrapped.tasks  # type: ignore[attr-defined]


def test_a_healthy_family_passes(register: Register) -> None:
    """One that a third party wrote, through all the checks."""
    check_family(register("Room"))


FAULTS = [
    ("FrozenConstants", AssertionError, "parameter 'capacity' changes nothing"),
    ("WithoutEffect", AssertionError, "parameter 'colour' changes nothing"),
    ("ConstantsOfTheBatch", FamilyError, "depend on the tasks beside it"),
    ("InfiniteConstants", FamilyError, "constants"),
    ("WithoutSeed", AssertionError, "the same seed gives other episodes"),
    ("OutOfSpace", AssertionError, r"observation 0 must be in \[-2, 2\] \(preset 'default', step \d+, row \d\)"),
    ("NotANumber", AssertionError, "observation 0 must be in"),
    ("InfiniteReward", AssertionError, "a reward is not finite"),
    ("KnowsItsBackend", AssertionError, "single env on numpy differs .* observation 1 of row 0, episode 0"),
    ("BranchesOnValues", FamilyError, "stepping raises ValueError: The truth value"),
    ("NotForNumba", FamilyError, "single env on numba raises UnsupportedError"),
    ("AsksForTheWeather", FamilyError, "`asks_for_the_weather` asks for `weather`; there are: state, action"),
    ("TooManyBounds", FamilyError, "`actions.bound` must be 1 positive numbers"),
    ("NoLimits", FamilyError, "`state_limits` must be 1 positive numbers"),
    ("NoHorizon", FamilyError, "`horizon` must be at least 1. Received 0"),
    ("NoTime", FamilyError, "`time_step` must be positive. Received 0.0"),
    ("UnknownReward", FamilyError, "preset 'icy' raises UnknownNameError: unknown reward 'cold'"),
    ("Undocumented", FamilyError, "lacks the sections Observation Space, Rewards, .* There are: Description, Action"),
    ("Disordered", FamilyError, "must be in the order Description, Action Space, Observation Space"),
]


@pytest.mark.parametrize(("name", "error", "message"), FAULTS)
def test_a_broken_family_is_found_out(register: Register, name: str, error: type[Exception], message: str) -> None:
    """The error names the family and what is wrong."""
    id = register(name)
    with pytest.raises(error, match=rf"(?s)^{name}.*: .*{message}"):
        check_family(id, backend="numpy")


def test_an_author_reads_all_faults_at_once(register: Register) -> None:
    """A line each."""
    id = register("Undocumented")
    with pytest.raises(FamilyError) as raised:
        check_family(id)
    heading, *lines = str(raised.value).splitlines()
    assert heading == f"{id}: 3 faults:"
    assert [line.partition("`")[2].partition("`")[0] for line in lines] == ["", "horizon", "time_step"]
    with pytest.raises(AssertionError, match=r"(?s)2 faults.*'colour' changes nothing.*'smell' changes nothing"):
        check_parameters(register("WithoutEffects"), backend="numpy")


def test_the_guide_names_the_sections_that_are_checked() -> None:
    """In their order."""
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.search(r"sections in Gymnasium's order\s+\(([^)]*)\)", guide)
    assert listed is not None
    assert tuple(re.split(r",\s+", listed.group(1))) == SECTIONS


@pytest.mark.filterwarnings("ignore:.*The obs returned by the `step..` method")
def test_numbers_are_observed_alike_through_every_interface(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discrete observations beside continuous actions are np.int64; the checkers notice a single env that differs."""
    id = register("Thermometer")
    check_family(id)
    for backend in ("numba", "numpy", "python"):
        env = gym.make(id, backend=backend)
        start, _ = env.reset(seed=0)
        seen = [start, env.step(env.action_space.sample())[0]]
        assert [type(number) for number in seen] == [np.int64, np.int64]
    monkeypatch.setattr(Core, "step_one", property(lambda core: getattr(core._rows, "step_one", None)))
    with pytest.raises(AssertionError, match="single env on numba differs from the single env on plain floats: obs"):
        check_parity(id)


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, np.inf), (0.5, 0.5)])
def test_parameters_without_scale_cannot_be_appended(bounds: tuple[float, float]) -> None:
    """Nothing is observed that isn't a number; the parameter is named."""
    free = Parameter("loss", "W/K", "through the walls", bounds, nominal=0.5)
    kind = variant("Free", parameters=ParameterSpace([CAPACITY, free]))()
    with pytest.raises(ValueError, match=r"must be finite and apart\..* 'loss' with bounds"):
        Core(kind, 1, Settings(task_observation="append"))
    assert Core(kind, 1, Settings(task_observation="one_hot", backend="numpy")).n_rows == 1


@pytest.mark.parametrize(
    ("check", "name", "error"),
    [
        (check_parity, "WithoutSeed", AssertionError),
        (check_parity, "KnowsItsBackend", AssertionError),
        (check_parity, "BranchesOnValues", FamilyError),
        (check_parameters, "WithoutEffect", AssertionError),
        (check_parameters, "BranchesOnValues", FamilyError),
    ],
)
def test_the_other_checkers_find_faults_alone(
    register: Register, check: Callable[..., None], name: str, error: type[Exception]
) -> None:
    """They don't rely on `check_family` being called first."""
    id = register(name)
    with pytest.raises(error, match=id):
        check(id, backend="numpy")


def test_checkers_know_only_registered_ids() -> None:
    """With a suggestion."""
    with pytest.raises(UnknownNameError, match="Did you mean 'LifelongCartPole-v0'"):
        check_family("LifelongCartPol-v0")
