"""Enumerations, integers, draws of several parameters together, and rules of a task as a whole."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.cli.listing import describe_environment
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.settings import Settings
from lifelong_gym.errors import FamilyError, UnknownNameError
from lifelong_gym.tasks.distributions import Choice, Constant, Integer, RandomSign, SameAs, Uniform
from lifelong_gym.tasks.joint import Distinct, Grouped, Joint, Listed
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.testing import check_parameters
from lifelong_gym.testing.behaviour import check_spaces
from lifelong_gym.testing.declarations import check_constants, check_declarations
from tests.broken_families import WALLS, House

Register = Callable[[str], str]
GAMES = ("breakout", "freeway", "pong")
GAME = Parameter("game", "1", "which game", names=GAMES, draws=Choice(("pong", "breakout")))
MODE = Parameter("mode", "1", "of the game", (0, 99999), Integer(0, 3), integer=True)
SPEED = Parameter("speed", "1", "of the ball", (-9.0, 9.0), nominal=2.0)
FLAVOURS: Any = ({"game": "freeway", "mode": 5}, {"game": "freeway"}, {"game": "pong", "mode": 7})
SPACE = ParameterSpace(
    [GAME, MODE, SPEED],
    {
        "listed": Preset({"speed": Uniform(1.0, 2.0)}, "", joint=(Listed(FLAVOURS),)),
        "two": Preset({"game": Choice(("freeway", "pong"))}, ""),
        "one": Preset({"game": Constant("freeway")}, ""),
        "range": Preset({"game": Integer(1, 2), "speed": SameAs("mode")}, "", joint=(Distinct(("mode",), 1, 4),)),
    },
)
HANDS = ParameterSpace(
    [Parameter(f"card_{i}", "1", "", (0, 30), nominal=i, integer=True) for i in range(4)],
    {f"{n}": Preset({}, "", joint=(Distinct(tuple(f"card_{i}" for i in range(n)), 3, 6),)) for n in (1, 2, 3, 4)},
)


def ascending(first: Any, last: Any) -> Any:
    """Whether the last is after the first."""
    return last > first


FIRST = Parameter("first", "d", "day", (0, 20), Integer(0, 20), nominal=3, integer=True)
LAST = Parameter("last", "d", "day", (0, 20), Integer(0, 20), nominal=9, integer=True)
SIGN = Parameter("sign", "1", "", (-1.0, 1.0), nominal=1.0)
ORDER = Rule(("first", "last"), "`last` must be after `first`", ascending)
SIGNED = Preset({"first": Integer(0, 20), "last": Integer(0, 20), "sign": RandomSign()}, "")
PERIODS = ParameterSpace([FIRST, LAST, SIGN], {"signed": SIGNED}, rules=[ORDER])
seeds = st.integers(0, 2**70)


# ---------------------------------------------------------------------------------------------------- enumerations


def test_an_enumeration_is_said_by_name_and_stored_by_index() -> None:
    """In dicts, a grid and single tasks; indices are taken too."""
    tasks = SPACE.tasks([{"game": "pong"}, {}, {"game": 1, "mode": 4}])
    assert tasks.values[:, 0].tolist() == [2, 2, 1]  # what isn't said is the first value of the default's choice
    assert [task["game"] for task in tasks] == ["pong", "pong", "freeway"]
    assert SPACE.tasks([dict(task) for task in tasks]) == tasks
    assert SPACE.grid(game=["freeway", "breakout"], mode=[1, 2]).values[:, :2].tolist() == [
        [1, 1],
        [1, 2],
        [0, 1],
        [0, 2],
    ]
    assert Parameter("game", "1", "", names=GAMES).nominal == 0.0
    assert Parameter("game", "1", "", names=GAMES, draws=Integer(0, 2)).nominal == 0.0


def test_an_enumeration_is_printed_by_name() -> None:
    """Task sets, tasks and spaces; integers in full."""
    tasks = SPACE.tasks([{"game": "pong", "mode": 12345}, {"game": "freeway"}])
    assert [line.split() for line in repr(tasks).splitlines()[1:]] == [
        ["task", "game", "mode"],
        ["0", "pong", "12345"],
        ["1", "freeway", "1"],
    ]
    assert repr(tasks[0]) == "Task(game=pong, mode=12345, speed=2, uid=0)"
    assert repr(SPACE).splitlines()[1].split() == ["game", "1", "pong", "pong,", "breakout", "which", "game"]
    assert tasks.to_frame()["game"].tolist() == ["pong", "freeway"]
    assert isinstance(tasks.to_frame()["game"].dtype, pd.CategoricalDtype)


def test_json_says_names_and_so_does_the_hash() -> None:
    """A set that was written stays readable where the family lists more names, or in another order."""
    tasks = SPACE.tasks([{"game": "pong"}, {"game": "freeway", "mode": 3}])
    data = json.loads(tasks.to_json())
    assert data["values"] == {"game": ["pong", "freeway"], "mode": [1.0, 3.0]}
    assert TaskSet.from_json(tasks.to_json(), SPACE) == tasks == pickle.loads(pickle.dumps(tasks))
    games = Parameter("game", "1", "", names=("alien", "pong", "freeway", "breakout"), nominal=3)
    later = ParameterSpace([games, MODE, SPEED])
    assert TaskSet.from_dict(data, later).hash == tasks.hash
    assert TaskSet.of(later, tasks).column("game").tolist() == [1, 2]
    assert SPACE.tasks([{"game": "freeway"}, {"game": "pong", "mode": 3}]) != tasks
    with pytest.raises(UnknownNameError, match="unknown game 'pong'"):
        TaskSet.of(ParameterSpace([Parameter("game", "1", "", names=("alien",)), MODE, SPEED]), tasks)


def test_perturbing_leaves_enumerations_alone() -> None:
    """Only what has a size is moved by a factor."""
    tasks = SPACE.sample(50)
    moved = tasks.perturb(1.0, seed=1)
    np.testing.assert_array_equal(moved.column("game"), tasks.column("game"))
    assert (moved.column("speed") != tasks.column("speed")).all()


def test_choices_draw_the_listed_values() -> None:
    """Each as often as another."""
    for preset, expected in (("default", {0: 0.5, 2: 0.5}), ("two", {1: 0.5, 2: 0.5}), ("range", {1: 0.5, 2: 0.5})):
        drawn = SPACE.sample(4000, 3, preset).column("game")
        assert {value: (drawn == value).mean() for value in np.unique(drawn)} == pytest.approx(expected, abs=0.03)
    assert set(SPACE.sample(5, 0, "one").column("game")) == {1.0}
    sizes = ParameterSpace([Parameter("size", "1", "", (0, 99), Choice((16, 32, 64)), integer=True)])
    assert set(sizes.sample(100).column("size")) == {16.0, 32.0, 64.0}
    assert sizes["size"].nominal == 16.0


def test_an_enumeration_is_appended_one_hot() -> None:
    """Other parameters scaled by their bounds, as before."""
    scaled = SPACE.scaled(SPACE.tasks([{"game": "freeway", "speed": 0.0}, {"speed": 9.0, "mode": 99999}]).values)
    assert scaled.tolist() == [[0, 1, 0, pytest.approx(1 / 99999), 0.5], [0, 0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([{"game": "pongg"}], "unknown game 'pongg'. Did you mean 'pong'. There are: breakout, freeway, pong"),
        ([{}, {"game": 3}], "task 1: parameter 'game' must be one of breakout, freeway, pong, or an index of them. Re"),
        ([{"game": 0.5}], "'game' must be one of .* Received 0.5"),
        ([{"game": float("nan")}], "'game' must be one of .* Received nan"),
        ([{"game": None}], "'game' must be one of breakout, freeway, pong. Received None"),
        ([{"mode": "1"}], "'mode' must be a number. Received '1'"),
        ([{"mode": 2**53 + 1}], "'mode' must be an integer that a float holds exactly. Received 9007199254740993"),
    ],
)
def test_bad_values(tasks: Any, message: str) -> None:
    """The error names the parameter, what is valid and what was received."""
    with pytest.raises(ValueError, match=message):
        SPACE.tasks(tasks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "'p' needs `bounds` or `names`"),
        ({"names": ("a", "a")}, r"'p' must have different, non-empty `names`. Received \('a', 'a'\)"),
        ({"names": ("a", "")}, "different, non-empty `names`"),
        ({"names": "ab"}, "different, non-empty `names`. Received 'ab'"),
        ({"names": ("a", "b"), "bounds": (0, 9)}, "'p': `bounds` follow from its names. Received"),
        ({"names": ("a", "b"), "draws": Choice(("a", "c"))}, "unknown p 'c'"),
        ({"names": ("a", "b"), "nominal": 2}, "'p' must be one of a, b, or an index of them. Received 2"),
        ({"bounds": (0, 9), "draws": Choice(("a",))}, "'p' must be a number. Received 'a'"),
    ],
)
def test_bad_parameters(arguments: Any, message: str) -> None:
    """Whoever writes a family is told at once."""
    with pytest.raises(ValueError, match=message):
        Parameter("p", "1", "", **arguments)


# ------------------------------------------------------------------------------------------------- drawn together


@given(seed=seeds, n=st.integers(1, 20), more=st.integers(0, 20))
@pytest.mark.parametrize("space", [SPACE, HANDS, PERIODS], ids=["games", "hands", "periods"])
def test_a_row_depends_on_the_seed_and_its_number_only(space: ParameterSpace, seed: int, n: int, more: int) -> None:
    """The first n of n + more tasks are the n tasks, also where draws are joint or made again."""
    for preset in space.presets:
        few, many = space.sample(n, seed, preset), space.sample(n + more, seed, preset)
        np.testing.assert_array_equal(few.values, many.values[:n])


@given(seed=seeds)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_distinct_integers_differ(n: int, seed: int) -> None:
    """And fill their range; the first is drawn as if alone."""
    hands = HANDS.sample(30, seed, f"{n}").values
    drawn = hands[:, :n]
    assert ((drawn >= 3) & (drawn <= 6)).all()
    assert all(len(set(row)) == n for row in drawn.tolist())
    assert (hands[:, n:] == np.arange(n, 4)).all()
    alone = ParameterSpace(HANDS.parameters, {"one": Preset({"card_0": Integer(3, 6)}, "")})
    np.testing.assert_array_equal(alone.sample(30, seed, "one").values[:, 0], drawn[:, 0])


def test_every_arrangement_of_distinct_integers_is_as_likely() -> None:
    """12 pairs among four integers; chi-square, 1 % with 11 degrees of freedom."""
    drawn = HANDS.sample(12_000, 5, "2").values[:, :2]
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 12
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 24.7


def test_every_arrangement_of_groups_is_as_likely() -> None:
    """Two of 3 to 5 and one of 6: 18 arrangements; chi-square, 1 % with 17 degrees of freedom; rows stand alone."""
    cards = tuple(f"card_{i}" for i in range(3))
    preset = Preset({}, "", joint=(Grouped(cards, ((2, 3, 5), (1, 6, 6))),))
    space = ParameterSpace(HANDS.parameters, {"mixed": preset})
    drawn = space.sample(18_000, 5, "mixed").values[:, :3]
    assert (np.sort(drawn, axis=1)[:, 2] == 6).all()
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 18
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 33.4
    np.testing.assert_array_equal(space.sample(5, 5, "mixed").values[:, :3], drawn[:5])


@given(seed=seeds)
def test_listed_tasks_are_dealt_like_cards(seed: int) -> None:
    """Each comes up once in every pack; what one leaves out is nominal; other parameters are drawn beside them."""
    tasks = SPACE.sample(9, seed, "listed")
    for pack in range(3):
        rows = sorted(tasks.values[3 * pack : 3 * pack + 3, :2].tolist())
        assert rows == [[1, MODE.nominal], [1, 5], [2, 7]]
    assert len(np.unique(tasks.column("speed"))) == 9


def test_packs_are_shuffled() -> None:
    """All six orders come up, among packs and among seeds."""
    modes = SPACE.sample(300, 0, "listed").column("mode").reshape(100, 3)
    assert len(np.unique(modes, axis=0)) == 6
    firsts = [tuple(SPACE.sample(3, seed, "listed").column("mode")) for seed in range(100)]
    assert len(set(firsts)) == 6


def test_joint_draws_of_the_default_preset() -> None:
    """Given beside the parameters; `wide` has them too, and others may copy what they draw."""
    joint = (Distinct(("first", "last"), 0, 1),)
    days = [Parameter(name, "d", "", (0, 9), nominal=i, integer=True) for i, name in enumerate(("first", "last"))]
    space = ParameterSpace([*days, Parameter("m", "kg", "", (0.0, 9.0), Uniform(1.0, 2.0))], wide=["m"], joint=joint)
    for preset in ("default", "wide"):
        assert space.sample(20, 0, preset).values[:, :2].sum(axis=1).tolist() == [1.0] * 20
    assert space.sample(2, 0, "single").values[:, :2].tolist() == [[0, 1], [0, 1]]
    copied = SPACE.sample(20, 0, "range")
    np.testing.assert_array_equal(copied.column("speed"), copied.column("mode"))


BAD_JOINT: list[tuple[Joint, str]] = [
    (Distinct(("mode", "mode"), 0, 3), "'mode' is drawn twice"),
    (Distinct(("speed",), 0, 3), "'speed' must be an integer"),
    (Distinct(("mode", "game"), 2, 2), "must be a parameter, and an integer for each. Received Distinct"),
    (Grouped(("mode",), ((2, 0, 3),)), "`groups` must hold an integer for each parameter. Received Grouped"),
    (Grouped(("mode", "game"), ((1, 0, 1), (1, 1, 2))), "`groups` must be apart. Received Grouped"),
    (Grouped(("speed",), ((1, 0, 3),)), "'speed' must be an integer"),
    (Grouped(("mode", "game"), ((2, 2, 2),)), "must be a parameter, and an integer for each. Received Distinct"),
    (Grouped(("mode",), ((1, 0, 10**6),)), "'mode' must be in"),
    (Distinct((), 0, 3), "must be a parameter, and an integer for each"),
    (Distinct(("game",), 0, 3), "'game' must be one of .* Received 3"),
    (Distinct(("mod",), 0, 3), "unknown parameter 'mod'. Did you mean 'mode'"),
    (Listed(({"game": "pongg"},)), "unknown game 'pongg'"),
    (Listed(({"gam": "pong"},)), "unknown parameter 'gam'"),
    (Listed(({"mode": -1},)), r"'mode' must be in \[0, 99999\] 1. Received -1"),
    (Listed(({},)), "must be dicts that name parameters"),
    (Listed(()), "must be dicts that name parameters"),
]


@pytest.mark.parametrize(("joint", "message"), BAD_JOINT, ids=str)
def test_bad_joint_draws(joint: Joint, message: str) -> None:
    """Whoever writes a family is told at once, and in which preset."""
    with pytest.raises(ValueError, match=f"preset 'bad': .*{message}"):
        ParameterSpace(SPACE.parameters, {"bad": Preset({}, "", joint=(joint,))})


def test_nothing_is_drawn_twice() -> None:
    """Neither alone and together, nor together twice."""
    mode = Distinct(("mode",), 0, 3)
    for preset in (Preset({"mode": Constant(1)}, "", joint=(mode,)), Preset({}, "", joint=(mode, mode))):
        with pytest.raises(ValueError, match="preset 'bad': 'mode' is drawn twice"):
            ParameterSpace(SPACE.parameters, {"bad": preset})
    with pytest.raises(ValueError, match="`values` must be a tuple of at least one number or name"):
        Choice(())
    with pytest.raises(UnknownNameError, match=r"preset 'bad': unknown game 'pongg'\. Did you mean 'pong'"):
        ParameterSpace([GAME], {"bad": Preset({"game": Constant("pongg")}, "")})


# ---------------------------------------------------------------------------------------------------------- rules


def test_tasks_that_break_a_rule_are_refused() -> None:
    """Explicit, from JSON, moved or made of values: the error says which rule, which task and what was received."""
    message = "task 1: `last` must be after `first`. Received first=9, last=5"
    with pytest.raises(ValueError, match=message):
        PERIODS.tasks([{}, {"first": 9, "last": 5}])
    with pytest.raises(ValueError, match=message):
        TaskSet(PERIODS, [[3, 9, 1], [9, 5, 1]])
    free = ParameterSpace(PERIODS.parameters)
    tasks = free.tasks([{}, {"first": 9, "last": 5}])
    for of in (tasks, tasks.to_dict()):
        with pytest.raises(ValueError, match=message):
            TaskSet.of(PERIODS, of)
    with pytest.raises(ValueError, match=r"task \d: `last` must be after"):
        PERIODS.tasks([{"first": 8, "last": 9}] * 4).perturb(0.5)
    assert TaskSet.of(PERIODS, free.tasks([{}])) == PERIODS.tasks([{}])


def test_draws_that_break_a_rule_are_made_again() -> None:
    """As if only the others existed: pairs in order, all as likely; signs stay balanced."""
    tasks = PERIODS.sample(21_000, 1, "signed")
    first, last, sign = tasks.values.T
    assert (first < last).all()
    counts = np.unique(tasks.values[:, :2], axis=0, return_counts=True)[1]
    assert len(counts) == 210
    assert ((counts - 100.0) ** 2 / 100.0).sum() < 260.6  # chi-square, 1 % with 209 degrees of freedom
    np.testing.assert_array_equal(sign[::2], -sign[1::2])


def test_a_preset_that_never_keeps_a_rule_says_so() -> None:
    """After a hundred attempts."""
    never = {"never": Preset({"first": Integer(10, 20), "last": Integer(0, 9)}, "")}
    with pytest.raises(ValueError, match=r"task 0: `last` must be after `first`\. Received first=1"):
        ParameterSpace([FIRST, LAST], never, rules=[ORDER]).sample(2, preset="never")


def test_bad_rules() -> None:
    """Unknown parameters, a nominal task that breaks one, answers of another type or shape."""
    with pytest.raises(UnknownNameError, match=r"unknown parameter 'lats'\. Did you mean 'last'"):
        ParameterSpace([FIRST, LAST], rules=[Rule(("lats",), "", np.isfinite)])
    with pytest.raises(ValueError, match=r"the nominal task: `first` comes last\. Received last=9, first=3"):
        ParameterSpace([FIRST, LAST], rules=[Rule(("last", "first"), "`first` comes last", ascending)])
    with pytest.raises(FamilyError, match=r"the rule 'sum' must give bools of shape \(1,\). Received float64"):
        ParameterSpace([FIRST, LAST], rules=[Rule(("first", "last"), "sum", np.add)])
    with pytest.raises(FamilyError, match=r"bools of shape \(1,\). Received bool of shape \(\)"):
        ParameterSpace([FIRST], rules=[Rule(("first",), "all", np.all)])
    with pytest.raises(ValueError, match="`parameters` must be a tuple of at least one name"):
        Rule((), "nothing", np.all)


# ---------------------------------------------------------------------------------------------------- with a family


def test_the_checkers_respect_rules_and_move_enumerations(register: Register) -> None:
    """A family with names, integers and a rule declares itself well, and all its parameters matter."""
    id = register("House")
    check_declarations(id, House())
    check_constants(id, House())
    check_spaces(id, House(), {})
    check_parameters(id, backend="numpy")


def test_the_checker_finds_an_enumeration_without_effect(register: Register) -> None:
    """It says from which name to which it was moved; a parameter that a rule pins down is named."""
    with pytest.raises(AssertionError) as raised:
        check_parameters(register("UnseenWalls"), backend="numpy")
    assert "'walls' changes nothing: moved from brick to straw or wood, it leaves" in str(raised.value)
    assert "'south' has no other valid value while all else is nominal" in str(raised.value)
    assert "'north'" not in str(raised.value)


def test_an_env_takes_and_says_names(register: Register) -> None:
    """In its tasks, in its spec, in what an env made from that spec does, and in the command's tables."""
    house = register("House")
    env = gym.make(house, tasks=[{"walls": "wood"}, {"south": 4}], backend="python")
    assert [task["walls"] for task in env.unwrapped.tasks] == ["wood", "brick"]  # type: ignore[attr-defined]
    assert env.spec is not None
    spec = env.spec.to_json()
    assert '"walls": ["wood", "brick"]' in spec
    again = gym.make(gym.envs.registration.EnvSpec.from_json(spec))
    for action in (np.zeros(1, np.float32), np.ones(1, np.float32)):
        env.reset(seed=1), again.reset(seed=1)
        np.testing.assert_array_equal(env.step(action)[0], again.step(action)[0])
    console = Console(file=io.StringIO(), width=200)
    describe_environment(console, house, references=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for said in (
        "brick, straw, wood",
        "walls from straw, wood",
        "walls from brick, straw, wood",
        "north, south: different integers, 0 to 9",
        "walls, south: 2 listed tasks",
        "In every task: `south` must be more than `north`.",
    ):
        assert said in text


def test_bad_tasks_are_refused_before_an_env_is_there(register: Register) -> None:
    """With the same errors, through every interface."""
    house = register("House")
    for make in (gym.make, lambda id, **arguments: gym.make_vec(id, num_envs=2, **arguments)):
        with pytest.raises(ValueError, match=r"unknown walls 'wod'\. Did you mean 'wood'"):
            make(house, tasks=[{"walls": "wod"}])
        with pytest.raises(ValueError, match=r"task 0: `south` must be more than `north`\. Received north=5, south=5"):
            make(house, tasks=[{"north": 5}])


def test_added_tasks_are_named_and_checked() -> None:
    """What a learner is given later, in the model file's words."""
    space = House.parameters
    roster = Roster(2, space.tasks([{}, {"walls": "straw"}]))
    more = roster.extended([{"walls": "wood", "south": 2}])
    assert (more.to_dict() or {})["values"]["walls"] == ["brick", "straw", "wood"]
    with pytest.raises(ValueError, match="`south` must be more than `north`"):
        roster.extended([{"north": 8}])
    assert len(roster.tasks or ()) == 2


def test_walls_are_appended_one_hot() -> None:
    """Through the core: three columns for three names."""
    settings = Settings(tasks=[{"walls": "wood"}], task_observation="append", backend="python")
    assert Core(House(), 1, settings).single_observation_space.shape == (1 + len(WALLS.names) + 2,)
