"""Tasks: how they are drawn, split, perturbed, written and read."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lifelong_gym
from lifelong_gym.errors import MissingExtraError, UnknownNameError
from lifelong_gym.registry import FAMILIES
from lifelong_gym.tasks.distributions import Constant, Integer, LogUniform, RandomSign, SameAs, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.task_set import MAX_UID, Task, TaskSet

CART_POLE = "LifelongCartPole-v0"
SPACE = ParameterSpace(
    [
        Parameter("mass", "kg", "of the block", (0.1, 10.0), Uniform(3.0, 5.0)),
        Parameter("gain", "1", "of the motor", (-4.0, 4.0), nominal=1.0),
        Parameter("copy", "kg", "the same again", (0.1, 10.0), nominal=1.0),
        Parameter("cell", "1", "an integer", (-1, 9), Integer(2, 4), integer=True),
    ],
    {
        "signs": Preset({"gain": RandomSign()}, "two polarities"),
        "sizes": Preset({"gain": RandomSign(Uniform(1.0, 2.0)), "mass": LogUniform(0.1, 10.0)}, "signs and sizes"),
        "copies": Preset({"mass": Uniform(1.0, 2.0), "copy": SameAs("mass")}, "two equal masses"),
        "fixed": Preset({"mass": Constant(7.0)}, "one mass"),
    },
    wide=["mass"],
)
seeds = st.integers(0, 2**70)


def tables(n: int = 4) -> st.SearchStrategy[TaskSet]:
    """Explicit task sets with any values within the bounds."""
    row = st.tuples(st.floats(0.1, 10), st.floats(-4, 4), st.floats(0.1, 10), st.integers(-1, 9))
    uids = st.lists(st.integers(0, MAX_UID), min_size=n, max_size=n, unique=True)
    return st.builds(lambda values, uids: TaskSet(SPACE, values, uids), st.lists(row, min_size=n, max_size=n), uids)


# -------------------------------------------------------------------------------------------------------- drawing


@given(seed=seeds, n=st.integers(1, 20), more=st.integers(0, 20))
@pytest.mark.parametrize("preset", sorted(SPACE.presets))
def test_a_row_depends_on_the_seed_and_its_number_only(preset: str, seed: int, n: int, more: int) -> None:
    """The first n of n + more tasks are the n tasks."""
    few, many = SPACE.sample(n, seed, preset), SPACE.sample(n + more, seed, preset)
    np.testing.assert_array_equal(few.values, many.values[:n])
    np.testing.assert_array_equal(few.uids, np.arange(n))


@pytest.mark.parametrize("id", FAMILIES)
def test_every_preset_draws_within_its_support(id: str) -> None:
    """And leaves what it doesn't name nominal."""
    space = lifelong_gym.family(id).parameters
    for name, preset in space.presets.items():
        tasks = space.sample(200, seed=1, preset=name)
        assert (tasks.preset, tasks.seed) == (name, 1)
        for parameter in space:
            column, draws = tasks.column(parameter.name), preset.draws.get(parameter.name)
            if any(parameter.name in joint.parameters for joint in preset.joint):
                assert parameter.bounds[0] <= column.min() <= column.max() <= parameter.bounds[1]
            elif draws is None:
                assert (column == parameter.nominal).all()
            elif not isinstance(draws, SameAs):
                low, high = draws.support
                assert low <= column.min() <= column.max() <= high
                assert isinstance(draws, Constant) or len(np.unique(column)) > 1


def test_parameters_are_drawn_apart_from_each_other() -> None:
    """Uniformly over their ranges, without correlation among parameters, rows or seeds."""
    space = lifelong_gym.family(CART_POLE).parameters
    names = ("cart_mass", "pole_mass", "pole_half_length")
    n = 20_000
    columns = np.array([space.sample(n, seed).column(name) for seed in (0, 1) for name in names])
    low, high = np.array([space[name].draws.support for name in names]).T  # type: ignore[union-attr]
    units = (columns - np.tile(low, 2)[:, None]) / np.tile(high - low, 2)[:, None]
    for u in units:
        assert np.abs(np.sort(u) - (np.arange(n) + 0.5) / n).max() < 1.63 / np.sqrt(n)  # Kolmogorov-Smirnov, 1 %
    np.testing.assert_allclose(np.corrcoef(units), np.eye(6), atol=4 / np.sqrt(n))
    assert abs(np.corrcoef(units[0, 1:], units[0, :-1])[0, 1]) < 4 / np.sqrt(n)


@given(seed=seeds, half=st.integers(1, 10))
def test_signs_are_balanced_in_pairs(seed: int, half: int) -> None:
    """Rows 2m and 2m + 1 have opposite signs, which of them is positive is random."""
    gains = SPACE.sample(2 * half, seed, "signs").column("gain")
    assert set(gains) == {-1.0, 1.0}
    np.testing.assert_array_equal(gains[::2], -gains[1::2])
    assert len(np.unique(SPACE.sample(100, seed, "signs").column("gain")[::2])) == 2
    assert len(np.unique(np.abs(SPACE.sample(4, seed, "sizes").column("gain")))) == 4


def test_distributions() -> None:
    """Copies, constants, integers and logarithms."""
    copies = SPACE.sample(9, 0, "copies")
    np.testing.assert_array_equal(copies.column("mass"), copies.column("copy"))
    assert set(SPACE.sample(5, 0, "fixed").column("mass")) == {7.0}
    assert set(SPACE.sample(100).column("cell")) == {2.0, 3.0, 4.0}
    masses = SPACE.sample(1000, 0, "sizes").column("mass")
    assert np.median(masses) == pytest.approx(1.0, rel=0.2)
    assert SPACE.presets["wide"].draws == {"mass": Uniform(1.5, 10.0), "cell": Integer(2, 4)}


def test_a_family_may_have_a_wide_preset() -> None:
    """Half the smallest to twice the largest magnitude, of what its author names; a preset of that name is theirs."""
    cold = Parameter("cold", "K", "", (-9.0, 9.0), Uniform(-4.0, -2.0))
    share = Parameter("share", "1", "", (0.0, 1.0), Uniform(0.2, 0.9))
    assert "wide" not in ParameterSpace([cold, share]).presets
    assert ParameterSpace([cold, share], wide=["cold"]).presets["wide"].draws == {
        "cold": Uniform(-8.0, -1.0),
        "share": Uniform(0.2, 0.9),
    }
    own = Preset({"share": Uniform(0.0, 1.0)}, "")
    assert ParameterSpace([cold, share], {"wide": own}).presets["wide"] == own


def test_a_million_tasks_are_an_array() -> None:
    """Drawn within a second or so, not in a loop over tasks; 8 bytes a number."""
    began = time.process_time()
    tasks = lifelong_gym.sample_tasks(CART_POLE, 1_000_000, preset="hetero")
    assert time.process_time() - began < 5.0
    assert tasks.values.nbytes == 8_000_000 * len(tasks.space)


# ------------------------------------------------------------------------------------------------ explicit, derived


def test_explicit_tasks_are_nominal_where_nothing_is_said() -> None:
    """Dicts, a grid, tasks taken from a set."""
    given: list[dict[str, Any]] = [{"mass": 2}, {}, {"gain": np.float32(-1), "cell": np.int64(3)}]
    tasks = SPACE.tasks(given)
    assert tasks.values.tolist() == [[2, 1, 1, 3], [4, 1, 1, 3], [4, -1, 1, 3]]
    assert (tasks.seed, tasks.preset) == (None, None)
    assert SPACE.tasks(tasks) == tasks
    grid = SPACE.grid(mass=[1, 2], gain=[-1, 0, 1])
    assert grid.column("mass").tolist() == [1, 1, 1, 2, 2, 2]
    assert grid.column("gain").tolist() == [-1, 0, 1] * 2


@given(tasks=tables(), n_first=st.integers(1, 3), seed=st.integers(0, 1000))
def test_a_split_is_a_partition_that_keeps_uids(tasks: TaskSet, n_first: int, seed: int) -> None:
    """In order, the same for the same seed."""
    first, rest = tasks.split(n_first, seed)
    assert (len(first), len(rest)) == (n_first, 4 - n_first)
    assert sorted([*first.uids, *rest.uids]) == sorted(tasks.uids)
    for part in (first, rest):
        rows = [tasks.uids.tolist().index(uid) for uid in part.uids]
        assert rows == sorted(rows)
        np.testing.assert_array_equal(part.values, tasks.values[rows])
    assert tasks.split(n_first, seed) == (first, rest)


@given(tasks=tables(), relative=st.floats(0, 1))
def test_perturbing_stays_near_and_within_bounds(tasks: TaskSet, relative: float) -> None:
    """Integers stay integers; uids stay."""
    moved = tasks.perturb(relative, seed=3)
    change = np.abs(moved.values - tasks.values)
    assert (change <= relative * np.abs(tasks.values) + 0.5 * SPACE.integer + 1e-12).all()
    np.testing.assert_array_equal(moved.uids, tasks.uids)
    assert (moved.column("cell") == np.round(moved.column("cell"))).all()
    assert tasks.perturb(relative, seed=3) == moved
    assert tasks.perturb(0.0) == tasks


def test_a_task_set_is_a_sequence_of_tasks() -> None:
    """Index, slice, mask, iteration; a task is a mapping."""
    tasks = lifelong_gym.sample_tasks(CART_POLE, 5)
    assert isinstance(tasks[-1], Task)
    assert tasks[2]["cart_mass"] == tasks.column("cart_mass")[2]
    assert dict(tasks[0]) == dict(zip(tasks.space.names, tasks.values[0], strict=True))
    assert [task.uid for task in tasks] == [0, 1, 2, 3, 4]
    assert tasks[1:3].uids.tolist() == [1, 2]
    assert tasks[tasks.column("cart_mass") > 0].uids.tolist() == [0, 1, 2, 3, 4]
    assert repr(tasks[0]).startswith("Task(cart_mass=")


def test_a_task_set_is_immutable() -> None:
    """Neither its table nor the one it was made from changes it."""
    values = np.array([[1.0, 1.0, 1.0, 1.0]])
    tasks = TaskSet(SPACE, values)
    values[0, 0] = 9.0
    assert tasks.values[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        tasks.values[0, 0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        tasks.uids[0] = 2
    assert copy.deepcopy(tasks) is tasks


# ------------------------------------------------------------------------------------------- writing, reading, hash


@given(tasks=tables())
def test_json_and_pickle_give_the_same_set_back(tasks: TaskSet) -> None:
    """To the last bit."""
    for again in (TaskSet.from_json(tasks.to_json(), SPACE), pickle.loads(pickle.dumps(tasks))):
        assert again == tasks
        assert hash(again) == hash(tasks)
        np.testing.assert_array_equal(again.values, tasks.values)
        assert (again.seed, again.preset) == (tasks.seed, tasks.preset)


def test_json_leaves_out_what_is_nominal() -> None:
    """And is plain JSON."""
    tasks = SPACE.sample(2, 5, "fixed")
    data = json.loads(tasks.to_json())
    assert data["values"] == {"mass": [7.0, 7.0]}
    assert data["units"] == {"mass": "kg"}
    assert (data["seed"], data["preset"], data["uids"]) == (5, "fixed", [0, 1])


@given(tasks=tables(), row=st.integers(0, 3), column=st.integers(0, 3))
def test_the_hash_is_of_the_contents(tasks: TaskSet, row: int, column: int) -> None:
    """A value or a uid changes it; how the tasks came about doesn't."""
    values, uids = tasks.values.copy(), tasks.uids.copy()
    values[row, column] = 1.0 if values[row, column] != 1.0 else 2.0
    assert TaskSet(SPACE, values, uids) != tasks
    uids[row] = next(uid for uid in range(5) if uid not in uids)
    assert TaskSet(SPACE, tasks.values, uids) != tasks
    assert TaskSet(SPACE, tasks.values, tasks.uids, 3, "fixed") == tasks
    assert tasks != "something else"


TAMPERED: list[tuple[Any, str]] = [
    ({"values": {"mass": [7.0, 7.5]}}, "have hash .*, not .* as they claim"),
    ({"uids": [0, 2]}, "have hash"),
    ({"hash": "0" * 16}, "have hash .*, not 0000000000000000"),
    ({"format": 2}, "format 2 is not known, only 1"),
    ({"units": {"mass": "lb"}}, "'mass' is in kg. Received lb"),
    ({"units": {}}, "'mass' is in kg. Received None"),
    ({"values": {"mass": [7.0, 70.0]}}, r"task 1: parameter 'mass' must be in \[0.1, 10\] kg. Received 70.0"),
    ({"values": {"mass": [7.0, None]}}, "mass"),
    ({"values": {"mass": [7.0, 7.0, 7.0]}}, "parameter 'mass' must have 2 values, one a uid. Received 3"),
    ({"values": {"mas": [7.0, 7.0]}, "units": {"mas": "kg"}}, "unknown parameter 'mas'. Did you mean 'mass'"),
    ({"values": [1, 2]}, "not a TaskSet"),
    ({"uids": 3}, "not a TaskSet"),
    ({"uids": [0, 0]}, "2 different integers"),
    ({"uids": [0, 0.5]}, "2 different integers"),
    ({"uids": []}, "must have 0 values, one a uid. Received 2"),
    ({"uids": [], "values": {}}, "at least one task"),
]


@pytest.mark.parametrize(("change", "message"), TAMPERED, ids=str)
def test_tampered_json_is_refused(change: dict[str, Any], message: str) -> None:
    """With an error that says what doesn't fit."""
    data = {**SPACE.sample(2, 5, "fixed").to_dict(), **change}
    with pytest.raises(ValueError, match=message):
        TaskSet.from_json(json.dumps(data), SPACE)


@pytest.mark.parametrize("text", ["", "{", "3", "null", "[]", '"tasks"', '{"format": 1}'])
def test_foreign_json_is_refused(text: str) -> None:
    """Whatever it is, it raises `ValueError`."""
    with pytest.raises(ValueError, match=r"TaskSet|Expecting"):
        TaskSet.from_json(text, SPACE)


@given(data=st.data())
def test_no_other_json_reads_as_a_set(data: Any) -> None:
    """Anything in place of a field is an error, or gives exactly the same set."""
    tasks = SPACE.sample(3, 0, "sizes")
    key = data.draw(st.sampled_from(["format", "units", "values", "uids", "hash"]))
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SPACE.names), inner, max_size=3),
        max_leaves=6,
    )
    changed = {**tasks.to_dict(), key: data.draw(anything)}
    try:
        again = TaskSet.from_dict(changed, SPACE)
    except ValueError:
        return
    assert again == tasks


def test_a_frame_has_the_table() -> None:
    """Indexed by uid."""
    tasks = lifelong_gym.sample_tasks(CART_POLE, 6).split(2)[1]
    frame = tasks.to_frame()
    assert list(frame.columns) == list(tasks.space.names)
    assert frame.index.tolist() == tasks.uids.tolist()
    np.testing.assert_array_equal(frame.to_numpy(), tasks.values)
    pd.testing.assert_series_equal(
        frame["cart_mass"], pd.Series(tasks.column("cart_mass"), frame.index, name="cart_mass")
    )


def test_a_frame_without_pandas_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the command that brings it."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lifelong-gym\[frames\]'"):
        lifelong_gym.sample_tasks(CART_POLE, 2).to_frame()


def test_reprs_are_readable_tables() -> None:
    """With units, the parameters that vary, and few enough rows."""
    text = repr(SPACE.sample(50, 3, "signs"))
    lines = text.splitlines()
    assert lines[0].startswith("TaskSet(50 tasks, preset='signs', seed=3, hash=")
    assert "3 more parameters are the same in all" in lines[0]
    assert lines[1].split() == ["task", "gain"]
    assert len(lines) == 2 + 5 + 1 + 3
    assert "mass [kg]" in repr(SPACE.sample(2))
    assert repr(SPACE).splitlines()[1].split() == ["mass", "kg", "4", "3", "to", "5", "of", "the", "block"]


# ---------------------------------------------------------------------------------------------------------- errors

BAD_TASKS: list[tuple[Any, str]] = [
    ([], "a TaskSet needs at least one task. Received none"),
    (5, "`tasks` must be a list of dicts of parameters. Received 5"),
    ("{}", "a task must be a dict of parameters. Received '{'"),
    ([3.0], "a task must be a dict of parameters. Received 3.0"),
    ([{"mas": 1.0}], "unknown parameter 'mas'. Did you mean 'mass'"),
    ([{}, {"mass": 0.01}], r"task 1: parameter 'mass' must be in \[0.1, 10\] kg. Received 0.01"),
    ([{"mass": float("nan")}], "Received nan"),
    ([{"mass": float("inf")}], "Received inf"),
    ([{"mass": "2"}], "parameter 'mass' must be a number. Received '2'"),
    ([{"mass": None}], "parameter 'mass' must be a number. Received None"),
    ([{"cell": 2.5}], "parameter 'cell' must be an integer. Received 2.5"),
    ({"mass": 1.0}, "not a TaskSet: format, hash, uids, units, values missing"),
    (lifelong_gym.sample_tasks(CART_POLE, 2), "belong to a family with other parameters: cart_mass"),
]


@pytest.mark.parametrize(("tasks", "message"), BAD_TASKS, ids=lambda value: str(value)[:30])
def test_bad_tasks(tasks: Any, message: str) -> None:
    """The error names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        TaskSet.of(SPACE, tasks)


CALLS: list[tuple[str, tuple[Any, ...], str]] = [
    ("sample", (0,), "`n_tasks` must be an integer of at least 1. Received 0"),
    ("sample", (2.0,), "`n_tasks` must be an integer of at least 1. Received 2.0"),
    ("sample", (True,), "`n_tasks` must be an integer of at least 1. Received True"),
    ("sample", (2, -1), "`seed` must be an integer of at least 0. Received -1"),
    ("sample", (2, 1.5), "`seed` must be an integer of at least 0. Received 1.5"),
    ("sample", (2, 0, "sign"), "unknown preset 'sign'. Did you mean 'signs'"),
    ("index", ("gian",), "unknown parameter 'gian'. Did you mean 'gain'"),
]


@pytest.mark.parametrize(("method", "arguments", "message"), CALLS, ids=str)
def test_bad_arguments_of_a_space(method: str, arguments: tuple[Any, ...], message: str) -> None:
    """The error names the argument and the value."""
    with pytest.raises(ValueError, match=message):
        getattr(SPACE, method)(*arguments)


SET_CALLS: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("split", (0,), ValueError, "`n_first` must be an integer of at least 1. Received 0"),
    ("split", (3,), ValueError, r"`n_first` must be in \[1, 2\]. Received 3"),
    ("split", (1.5,), ValueError, "`n_first` must be an integer of at least 1. Received 1.5"),
    ("perturb", (-0.1,), ValueError, r"`relative` must be in \[0, 1\]. Received -0.1"),
    ("perturb", (float("nan"),), ValueError, r"`relative` must be in \[0, 1\]. Received nan"),
    ("column", ("mas",), UnknownNameError, "unknown parameter 'mas'"),
    ("__getitem__", (3,), IndexError, r"`task` must be in \[0, 2\]. Received 3"),
    ("__getitem__", ([],), ValueError, "at least one task"),
]


@pytest.mark.parametrize(("method", "arguments", "error", "message"), SET_CALLS, ids=str)
def test_bad_arguments_of_a_set(method: str, arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    """The error names the argument and the value."""
    with pytest.raises(error, match=message):
        getattr(SPACE.sample(3), method)(*arguments)


@pytest.mark.parametrize(
    ("values", "uids", "message"),
    [
        (np.ones((2, 3)), None, r"`values` must have shape \(n_tasks, 4\). Received \(2, 3\)"),
        (np.ones(4), None, r"Received \(4,\)"),
        (np.ones((2, 4)), [1, 1], r"`uids` must be 2 different integers. Received \[1, 1\]"),
        (np.ones((2, 4)), [1], "`uids` must be 2 different integers"),
        (np.ones((2, 4)), [0, 2**32], r"`uids` must be in \[0, 4294967295\]. Received 0 to 4294967296"),
        (np.ones((2, 4)), [-1, 2], "`uids` must be in .* Received -1 to 2"),
    ],
)
def test_bad_tables(values: Any, uids: Any, message: str) -> None:
    """Of the wrong shape, or without names of their own."""
    with pytest.raises(ValueError, match=message):
        TaskSet(SPACE, values, uids)


MASS = Parameter("mass", "kg", "", (1.0, 2.0), nominal=1.0)


@pytest.mark.parametrize(
    ("parameters", "presets", "message"),
    [
        ([MASS, MASS], {}, "parameter names must differ"),
        ([MASS], {"heavy": Preset({"mass": Uniform(1.0, 3.0)}, "")}, r"must be in \[1, 2\] kg. Received 3.0"),
        ([MASS], {"heavy": Preset({"mas": Constant(1.0)}, "")}, "unknown parameter 'mas'"),
        ([MASS], {"copy": Preset({"mass": SameAs("mass")}, "")}, "copies 'mass', which draws nothing"),
        ([SPACE["cell"]], {"half": Preset({"cell": Uniform(0, 1)}, "")}, "'cell' must be an integer"),
    ],
)
def test_bad_spaces(parameters: Any, presets: Any, message: str) -> None:
    """Whoever writes a family is told at once."""
    with pytest.raises(ValueError, match=message):
        ParameterSpace(parameters, presets)


@pytest.mark.parametrize(
    ("bounds", "draws", "wide", "message"),
    [
        ((-9.0, 9.0), Uniform(-1.0, 1.0), ["p"], "'p': .* where it doesn't contain 0. Received Uniform.low=-1.0"),
        ((-9.0, 9.0), Uniform(0.0, 1.0), ["p"], "'p': .* where it doesn't contain 0"),
        ((0.0, 1.0), Uniform(0.2, 0.9), ["p"], r"preset 'wide': parameter 'p' must be in \[0, 1\] m. Received 1.8"),
        ((0.0, 9.0), Integer(1, 3), ["p"], "`wide`: parameter 'p' must draw from a Uniform by default. Received Int"),
        ((0.0, 9.0), Uniform(1.0, 3.0), ["q"], "unknown parameter 'q'"),
    ],
)
def test_what_cannot_be_widened(bounds: Any, draws: Any, wide: list[str], message: str) -> None:
    """Ranges around 0, those that leave the bounds, and what isn't a range."""
    with pytest.raises(ValueError, match=message):
        ParameterSpace([Parameter("p", "m", "", bounds, draws)], wide=wide)
    with pytest.raises(ValueError, match="preset 'wide' must be given by `wide` or in"):
        ParameterSpace([SPACE["mass"]], {"wide": Preset({}, "")}, wide=["mass"])


def test_values_are_finite_where_bounds_are_not() -> None:
    """Infinity is no value of a parameter that has no bounds."""
    free = Parameter("free", "m", "", (-np.inf, np.inf), nominal=0.0)
    for value in (np.inf, -np.inf, np.nan):
        with pytest.raises(ValueError, match=r"task 1: .*'free' must be finite and in \[-inf, inf\] m. Received"):
            ParameterSpace([free]).tasks([{}, {"free": value}])


def test_bad_parameters() -> None:
    """A nominal value is needed, and lies within the bounds."""
    with pytest.raises(ValueError, match="parameter 'mass' needs `nominal` or `draws`"):
        Parameter("mass", "kg", "", (1.0, 2.0))
    with pytest.raises(ValueError, match=r"parameter 'mass' must be in \[1, 2\] kg. Received 3.0"):
        Parameter("mass", "kg", "", (1.0, 2.0), nominal=3.0)
