"""Tables of families: the same numbers on every backend, made once for tasks that are equal, checked before use."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lifelong_gym.envs.backends import numba_blocks
from lifelong_gym.envs.backends.numba_rows import NumbaRows
from lifelong_gym.envs.backends.numpy_rows import NumpyRows
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.simulator_rows import SimulatorRows, kernel_simulator
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.envs.tables import Tables
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.bind import Binder
from tests.broken_families import Room
from tests.linear_mdp import LinearMDP
from tests.market import DAYS, HORIZON, STARTS, UNIVERSE, WINDOW, M, Market, prices

FAMILIES = [Market(), LinearMDP()]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
N_STEPS = 2 * HORIZON


class LongShort(Market):
    """Positions of any sign, so that linear policies take them, in instruments that are traded at all times."""

    actions = Continuous(Market.state[:M], (1.0,) * M)
    arguments = Market.arguments[:1]

    def __init__(self) -> None:
        """Without gaps."""
        relatives = prices()
        super().__init__(relatives=np.where(relatives > 0.0, relatives, 1.0))


def empty(family: KernelFamily, n: int) -> npt.NDArray[Any]:
    """Room for observations."""
    return np.zeros((n, family.observations.size), np.float32 if isinstance(family, Market) else np.int64)


def go(family: KernelFamily, rows: Any, n: int) -> list[npt.NDArray[Any]]:
    """Some steps of rows of four tasks; those that end begin anew, and all are pickled on the way."""
    rng = np.random.default_rng(0)
    keys = np.array([philox.row_key(row) for row in range(n)], np.uint64)
    visits, task, clock = np.zeros(n, np.int64), np.arange(n) % 4, Clock(n, family.horizon)
    seen = empty(family, n)

    def begin(which: npt.NDArray[Any]) -> None:
        rows.restart(Episodes(which, task[which], task[which], visits[which], keys[which]), seen)
        clock.steps[which] = 0
        visits[which] += 1

    begin(np.arange(n))
    log = [seen.copy()]
    for step in range(N_STEPS):
        market = isinstance(family, Market)
        actions = rng.uniform(0, 1, (n, M)) if market else rng.integers(0, 3, (n, 1)).astype(np.float64)
        results = Results(empty(family, n), np.zeros(n), *np.zeros((3, n), bool))
        rows.step(actions, np.ones(n, bool), clock, results)
        log += [*results, rows.states()]
        begin(np.flatnonzero(results.terminated | results.truncated))
        if step == HORIZON // 2:
            rows = pickle.loads(pickle.dumps(rows))
    return [*log, seen]


def four_tasks(family: KernelFamily) -> Any:
    """The last is the first once more."""
    tasks = family.parameters.sample(3, 1)
    return family.parameters.tasks([*tasks, tasks[0]])


@each_family
def test_rows_on_every_backend_are_the_same(family: KernelFamily) -> None:
    """As on Python floats, to the bit: NumPy, numba one by one, and in blocks, where the last is mostly empty."""
    n, arguments = 70, (family, four_tasks(family))
    expected = go(family, SimulatorRows(n, kernel_simulator, *arguments, None, False), n)
    ways = [NumpyRows(*arguments, n, None, False), NumbaRows(*arguments, n, None, False, width=1)]
    ways += [NumbaRows(*arguments, n, None, False, packed=packed) for packed in (False, True)]
    for rows in ways:
        found = go(family, rows, n)
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("n_tasks", [1, 3])
def test_packed_blocks_are_the_same(packed: bool, n_tasks: int) -> None:
    """Of one task and of several, without tables and with noise."""
    family = Room()
    tasks, n = family.parameters.sample(n_tasks), 200
    task, keys = np.arange(n) % n_tasks, np.array([philox.row_key(row) for row in range(n)], np.uint64)
    found = []
    for rows in (NumpyRows(family, tasks, n, None, False), NumbaRows(family, tasks, n, None, False, packed=packed)):
        seen, clock, rng = np.zeros((n, 1), np.float32), Clock(n, 30), np.random.default_rng(1)
        rows.restart(Episodes(np.arange(n), task, task, np.zeros(n, np.int64), keys), seen)
        for _ in range(5):
            results = Results(seen, np.zeros(n), *np.zeros((3, n), bool))
            rows.step(rng.uniform(-1, 1, (n, 1)), np.ones(n, bool), clock, results)
        rows.set_state(130, np.array([0.5]))
        rows.observe(np.array([130]), seen)
        found.append((seen, results.rewards, results.failed, rows.states()))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert found[1][0][130] == 0.5


N_THETA = M * (Market.observations.size + 1)


def test_rollouts_sum_what_is_written() -> None:
    """Statistics of policies on written observations: numba's are NumPy's, and returns those of trajectories."""
    family, theta = LongShort(), np.random.default_rng(0).normal(size=(4, N_THETA))
    given: dict[str, Any] = {"tasks": four_tasks(family), "theta": theta, "n_trajectories": 3, "seed": 1}
    sums, others = (rollout(family, backend=backend, **given) for backend in ("numba", "numpy"))
    for name in ("returns", "noise_features", "features_squared"):
        assert np.array_equal(getattr(sums, name), getattr(others, name))
    ran = rollout(family, trajectories=True, **given)
    np.testing.assert_allclose(ran.rewards.sum(axis=2), sums.returns, rtol=1e-12)


def test_a_portfolio_grows_by_its_prices() -> None:
    """Against NumPy on the prices themselves: growth, drift, and the days that are seen."""
    family, relatives = LongShort(), prices()
    tasks = family.parameters.tasks([{"first": 2, "cost": 0.01, "held": M}])
    ran = rollout(family, tasks=tasks, theta=np.zeros(N_THETA), n_trajectories=5, trajectories=True)
    own = relatives[:, 2 : 2 + M]
    windows = np.lib.stride_tricks.sliding_window_view(own.astype(np.float32), WINDOW, axis=0)
    for observations, actions, rewards in zip(ran.observations[0], ran.actions[0], ran.rewards[0], strict=True):
        blocks = family.observations.blocks(observations)
        (day,) = np.flatnonzero((windows == blocks[0, :, :WINDOW]).all(axis=(1, 2)))
        assert day < STARTS
        shares = np.full(M, 1 / M)
        for t in range(HORIZON):
            np.testing.assert_array_equal(blocks[t, :, :WINDOW], windows[day + t])
            np.testing.assert_allclose(blocks[t, :, WINDOW], shares, rtol=1e-12)
            today, traded = own[day + t + WINDOW], np.abs(shares - actions[t]).sum()
            growth = 1 + actions[t] @ (today - 1)
            np.testing.assert_allclose(rewards[t], np.log((1 - 0.01 * traded) * growth), rtol=1e-10, atol=1e-14)
            shares = actions[t] * today / growth


def test_transitions_follow_their_kernel() -> None:
    """Next states, over many rows of one task, have the frequencies of its table."""
    family, n = LinearMDP(), 20_000
    tasks = family.parameters.tasks([{"number": 7}])
    kernel, _ = family.process({"number": 7.0})
    rows, keys = NumbaRows(family, tasks, n, None, False), np.array([(row, 5) for row in range(n)], np.uint64)
    zeros, clock = np.zeros(n, np.int64), Clock(n, 20)
    rows.restart(Episodes(np.arange(n), zeros, zeros, zeros, keys), empty(family, n))
    results = Results(empty(family, n), np.zeros(n), *np.zeros((3, n), bool))
    actions = np.random.default_rng(0).integers(0, 3, (4, n, 1)).astype(np.float64)
    for action in actions:
        before = rows.states()[:, 0].astype(int)
        rows.step(action, np.ones(n, bool), clock, results)
    for state, action in np.ndindex(kernel.shape[:2]):
        after = results.observations[(before == state) & (actions[-1, :, 0] == action), 0]
        frequencies = np.bincount(after, minlength=len(kernel)) / len(after)
        assert np.abs(frequencies - kernel[state, action]).max() < 5 * np.sqrt(0.25 / len(after))


# ------------------------------------------------------------------------------------------------------ in memory


def test_equal_tasks_share_their_tables() -> None:
    """In one set, and among those who run the same set; a shared table is there once."""
    family = Market()
    tasks = four_tasks(family)
    tables = Tables.of(family, tasks)
    assert tables.slots.tolist() == [0, 1, 2, 0]
    assert tables.firsts.tolist() == [0, 1, 2]
    assert [array.shape for array in tables.arrays] == [(3 * DAYS * M,), (DAYS * UNIVERSE,)]
    assert [array.dtype for array in tables.arrays] == [np.float32, np.float64]
    assert tables.strides == (DAYS * M, 0)
    assert not any(array.flags.writeable for array in tables.arrays)
    assert Tables.of(family, four_tasks(family)) is tables
    other = Tables.of(family, tasks[:2])
    assert np.shares_memory(other.arrays[1], tables.arrays[1])
    assert Tables.of(family, tasks) is tables  # somebody has it still


def test_tables_follow_the_instance() -> None:
    """Other data in another instance, or in the same one later; code that is compiled is the same."""
    family, other = Market(), Market(relatives=prices(1))
    tasks = family.parameters.sample(2)
    first = Tables.of(family, tasks)
    assert not np.array_equal(Tables.of(other, tasks).arrays[1], first.arrays[1])
    text, other_text = (Program.of(kind, tasks).text for kind in (family, other))
    assert numba_blocks.compiled(text, 64) is numba_blocks.compiled(other_text, 64)
    family.argument_values = {"relatives": prices(1)}
    assert Tables.of(family, tasks).hash == Tables.of(other, tasks).hash != first.hash


def test_the_hash_is_of_what_tasks_can_read() -> None:
    """Of every number in it, in the order of the tasks; whatever family has no tables has no hash."""
    family = Market()
    tasks = family.parameters.tasks([{"first": 0}, {"first": 1}, {"first": 0}])
    known = Tables.of(family, tasks).hash
    assert known == Tables.of(Market(), tasks).hash
    changed = prices()
    changed[7, 2] *= 1.0 + 1e-15
    others = [
        Tables.of(family, tasks[[1, 0, 2]]),
        Tables.of(family, tasks[:2]),
        Tables.of(Market(relatives=changed), tasks),
    ]
    assert len({known, *[tables.hash for tables in others]}) == 4
    assert Tables.of(Room(), Room.parameters.sample(2)).hash is None


# ------------------------------------------------------------------------------------------------------ bad input


def market_with(**attributes: Any) -> Market:
    """A market in which something is otherwise."""
    return type("Market", (Market,), attributes)()


def nan_of_task(self: Market, parameters: Any, relatives: Any) -> Any:
    """Something is missing in the market of the third instrument."""
    window = relatives[:, :M].astype(np.float32).copy()
    window[3, 1] = np.nan if parameters["first"] == 2 else 1.0
    return (window,)


def longer_by_task(self: Market, parameters: Any, relatives: Any) -> Any:
    """Every market has another number of days."""
    return (relatives[: DAYS - int(parameters["first"]), :M],)


def with_hole(_: Market, arguments: Any) -> Any:
    """A price is infinite."""
    relatives = prices()
    relatives[5, 4] = np.inf
    return (relatives,)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"tables": nan_of_task}, "Market: table 'window' of task 2, entry (3, 1), must be finite. Received nan"),
    "shape": (
        {"tables": longer_by_task},
        "Market: table 'window' of task 1 must have the shape and type of task 0's, (40, 3) float64. "
        "Received (39, 3) float64",
    ),
    "infinite": (
        {"shared_tables": with_hole},
        "Market: table 'relatives', entry (5, 4), must be finite. Received inf",
    ),
    "too few": ({"tables": lambda *_: ()}, "Market: `tables` of task 0 must return a tuple of 1: window. Received 0"),
    "no tuple": (
        {"shared_tables": lambda *_: prices()},
        "Market: `shared_tables` must return a tuple of 1: relatives. Received ndarray",
    ),
    "words": (
        {"tables": lambda *_: (["a", "b"],)},
        "Market: table 'window' of task 0 must be an array of numbers. Received <U1 of shape (2,)",
    ),
    "ragged": (
        {"tables": lambda *_: ([[1.0], [1.0, 2.0]],)},
        "Market: table 'window' of task 0 must be an array of numbers. Received [[1.0], [1.0, 2.0]]",
    ),
    "empty": (
        {"tables": lambda *_: (np.zeros((0, 3)),)},
        "Market: table 'window' of task 0 must be an array of numbers. Received float64 of shape (0, 3)",
    ),
    "kind": (
        {"TABLES": (("window", "each"),)},
        "Market: `TABLES` must be pairs (name, \"shared\" or \"task\"). Received ('window', 'each')",
    ),
    "twice": (
        {"TABLES": (("window", "task"), ("window", "shared"))},
        "Market: names in `TABLES` must differ. Received window, window",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_are_wrong(name: str) -> None:
    """The error names family, table, task and entry, on whatever backend, before there are rows."""
    attributes, message = BAD[name]
    family = market_with(**attributes)
    tasks = family.parameters.tasks([{"first": 0}, {"first": 1}, {"first": 2}])
    for make in (NumbaRows, NumpyRows):
        with pytest.raises(FamilyError) as caught:
            make(family, tasks, 3, None, False)
        assert str(caught.value) == message


def test_tables_that_nobody_makes() -> None:
    """A family that declares some and has no method for them."""
    for method, names in (("shared_tables", "shared tables"), ("tables", "tables of tasks")):
        family = market_with(**{method: getattr(KernelFamily, method)})
        with pytest.raises(NotImplementedError, match=f"Market declares {names}, and no `{method}`"):
            Tables.of(family, family.parameters.sample(1))


def test_tables_must_be_declared_to_be_read() -> None:
    """The error says what a role may ask for."""
    family = market_with(TABLES=())
    with pytest.raises(FamilyError, match="`exogenous` asks for `tables`; there are: state, cost, columns, held"):
        Program.of(family, family.parameters.sample(1)).text.bound_roles(Binder({}))


def slow_rows(kind: Any, family: KernelFamily, n: int) -> Any:
    """Rows of one task on a backend that looks at indices."""
    arguments = family, family.parameters.tasks([{}])
    if kind is SimulatorRows:
        return SimulatorRows(n, kernel_simulator, *arguments, None, False)
    return NumpyRows(*arguments, n, None, False)


def start(rows: Any, n: int) -> None:
    """Begin."""
    zeros = np.zeros(n, np.int64)
    rows.restart(Episodes(np.arange(n), zeros, zeros, zeros, np.zeros((n, 2), np.uint64)), empty(Market(), n))


@pytest.mark.parametrize("kind", [SimulatorRows, NumpyRows])
@pytest.mark.parametrize("day", [-1.0, float(DAYS)])
def test_an_index_out_of_range_is_an_error(kind: Any, day: float) -> None:
    """Compiled code would read what lies there; the other backends name the table, and tell of terminal states."""
    rows = slow_rows(kind, Market(), 2)
    start(rows, 2)
    rows.set_state(0, np.array([0.3, 0.3, 0.4, day]))
    results = Results(empty(Market(), 2), np.zeros(2), *np.zeros((3, 2), bool))
    with pytest.raises(IndexError, match=r"table 'relatives' has 240 numbers a task, and no entry .*terminal states"):
        rows.step(np.zeros((2, M)), np.ones(2, bool), Clock(2, 5), results)


def writes_beyond(state: Any, out: Any) -> None:
    """One entry too many."""
    for i in range((WINDOW + 2) * M + 1):
        out[i] = state[0]


@pytest.mark.parametrize("kind", [SimulatorRows, NumpyRows])
def test_an_observation_that_is_written_beyond_its_end(kind: Any) -> None:
    """It would be the next row's."""
    rows = slow_rows(kind, market_with(observation=staticmethod(writes_beyond)), 1)
    with pytest.raises(IndexError, match="an observation of 18 numbers has no entry 18"):
        start(rows, 1)
