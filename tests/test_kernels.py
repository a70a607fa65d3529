"""The mathematics of kernels, random numbers, and how a backend binds a family."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba import float64, int64, njit

import lifelong_gym
from lifelong_gym.envs.backends import numba_blocks, numba_math
from lifelong_gym.envs.backends.kernels import bind_family
from lifelong_gym.envs.backends.numba_rows import NumbaRows
from lifelong_gym.envs.backends.numpy_rows import NumpyRows
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.simulator_rows import SimulatorRows, kernel_simulator
from lifelong_gym.envs.backends.text import Program, Text
from lifelong_gym.envs.family import KernelFamily, kernel_of
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics import numpy_math, philox, scalar
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.philox import philox as philox_of
from lifelong_gym.numerics.scalar import (
    Vector,
    absolute,
    add,
    beyond,
    bounded,
    choose,
    clip,
    exp,
    floor,
    log,
    matvec,
    mul,
    outer,
    packed_square,
    scale,
    shift,
    sincos,
    sqrt,
    sub,
    total,
    where,
)
from tests.broken_families import Room

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")
CONTEXT = decimal.Context(prec=60)

# ---------------------------------------------------------------------------------------------------- mathematics


def series(term: Decimal, square: Decimal, n: int) -> Decimal:
    """The alternating series that begins with ``x**n / n! = term``."""
    result = Decimal(0)
    while abs(term) > Decimal(10) ** -50:
        result += term
        term *= -square / ((n + 1) * (n + 2))
        n += 2
    return result


def exact_sincos(x: float) -> tuple[Decimal, Decimal]:
    """Sine and cosine to fifty digits."""
    with decimal.localcontext(CONTEXT):
        k = (Decimal(x) / (PI / 2)).to_integral_value()
        r = Decimal(x) - k * PI / 2
        s, c = series(r, r * r, 1), series(Decimal(1), r * r, 0)
        return [(s, c), (c, -s), (-s, -c), (-c, s)][int(k) % 4]


def ulps(value: float, exact: Decimal) -> float:
    """Distance in units of the last place of the exact value."""
    with decimal.localcontext(CONTEXT):
        return float(abs(Decimal(value) - exact) / Decimal(float(np.spacing(abs(float(exact))))))


@pytest.mark.parametrize("size", [1.0, 10.0, 1e3, 1e5])
def test_sine_and_cosine_are_accurate(size: float) -> None:
    """Within 1.5 units in the last place."""
    for x in np.random.default_rng(0).uniform(-size, size, 300).tolist():
        for value, exact in zip(sincos(x), exact_sincos(x), strict=True):
            assert ulps(value, exact) < 1.5


@given(k=st.integers(-63661, 63661))
def test_sine_and_cosine_near_their_zeros(k: int) -> None:
    """There, where argument reduction cancels, the absolute error is far below that of the argument."""
    for value, exact in zip(sincos(k * float(PI) / 2), exact_sincos(k * float(PI) / 2), strict=True):
        assert abs(float(Decimal(value) - exact)) < 1e-20 or ulps(value, exact) < 1.5


def test_logarithm_and_exponential_are_accurate() -> None:
    """Within one unit in the last place, over their whole range and near 1 and 0."""
    rng = np.random.default_rng(0)
    for x in (*np.exp(rng.uniform(-700, 700, 300)).tolist(), *(1 + rng.uniform(-0.1, 0.1, 300)).tolist(), 2.0):
        assert ulps(log(x), CONTEXT.ln(Decimal(x))) < 1.0
    for x in (*rng.uniform(-700, 700, 300).tolist(), *rng.uniform(-1, 1, 300).tolist(), 0.0):
        assert ulps(exp(x), CONTEXT.exp(Decimal(x))) < 1.0
    assert log(1.0) == 0.0


def everything(x: Vector, y: Vector, z: float) -> Vector:
    """A text that uses every name of `scalar` that a family may use."""
    sine, cosine = sincos(x[0])
    matrix = outer(x, y)
    first = add(sub(x, y), mul(scale(z, x), shift(z, y)))
    second = bounded(matvec(matrix, y), shift(-1.0, y), shift(1.0, y))
    third = choose(beyond(x, (1.0, 2.0)) | (z > 3.0), first, second)
    single = (sine, cosine, exp(clip(z, -3.0, 3.0)), log(1.0 + z * z), sqrt(z * z), floor(z), total(first))
    last = (where(z < 0.0, x[0], x[1]), where(beyond(y, x), 1.0, 0.0), float(int(z)), min(x[0], z), max(z, x[0], y[1]))
    return first + second + third + single + last + absolute(x) + packed_square(x) + matrix


ON_NUMPY = numpy_math.binder().bind(everything)
ON_NUMBA = numba_math.binder(__name__).bind(everything)
numbers = st.floats(-1e3, 1e3)
pairs = st.tuples(numbers, numbers)


@given(x=pairs, y=pairs, z=numbers)
@example((0.0, -0.0), (1.0, 2.0), 0.0)
@example((1e-300, 1e3), (-1e-300, 0.5), -1.0)
@example((0.0, 0.0), (0.0, 0.0), -0.0)
def test_backends_calculate_the_same_bits(x: Vector, y: Vector, z: float) -> None:
    """Python floats, NumPy arrays and numba, for every function."""
    expected = np.array(everything(x, y, z))
    rows = ON_NUMPY(tuple(np.full(3, v) for v in x), tuple(np.full(3, v) for v in y), np.full(3, z))
    assert all(np.array(column).tobytes() == np.full(3, e).tobytes() for column, e in zip(rows, expected, strict=True))
    assert np.array(ON_NUMBA(x, y, z)).tobytes() == expected.tobytes()


def what_is_not_a_number(x: float) -> tuple[float, bool]:
    """What `clip` and `beyond` make of it."""
    return clip(x, -1.0, 1.0), beyond((x, 0.0), (2.0, 2.0))


@pytest.mark.parametrize("binder", [Binder({}), numpy_math.binder(), numba_math.binder(__name__)], ids=["", "np", "nb"])
def test_what_is_not_a_number_stays_so_and_fails(binder: Binder) -> None:
    """On every backend: nothing hides it."""
    clipped, failed = binder.bind(what_is_not_a_number)(float("nan"))
    assert np.isnan(clipped)
    assert failed
    assert binder.bind(what_is_not_a_number)(3.0) == (1.0, True)


# ------------------------------------------------------------------------------------------------- random numbers

PHILOX = {  # Random123's known answers for philox4x32-10: counter, key, result
    "zeros": ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    "ones": ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    "pi": ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
}


def words(text: str) -> list[int]:
    """Hexadecimal words as integers."""
    return [int(word, 16) for word in text.split()]


def four_words(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Philox, called as kernels call it."""
    return philox_of(c0, c1, c2, c3, k0, k1)


@pytest.mark.parametrize("name", PHILOX)
def test_philox_gives_the_published_numbers(name: str) -> None:
    """On every backend."""
    counter, key, expected = map(words, PHILOX[name])
    assert list(philox.philox(*counter, *key)) == expected
    unsigned = [np.uint64(word) for word in (*counter, *key)]
    on_numpy = numpy_math.binder().bind(four_words)(*[np.full(2, word) for word in unsigned])
    assert [column.tolist() for column in on_numpy] == [[word, word] for word in expected]
    assert list(numba_math.binder(__name__).bind(four_words)(*unsigned)) == expected


@pytest.mark.parametrize(("seed", "expected"), [(0, 0xE220A8397B1DCDAF), (1234567, 6457827717110365317)])
def test_keys_are_splitmix64(seed: int, expected: int) -> None:
    """The generator's published first numbers, as two halves."""
    low, high = philox.row_key(seed)
    assert (high << 32) | low == expected


def test_long_seeds_have_keys_of_their_own() -> None:
    """Those that agree in their lowest 64 bits too, and those that agree in all but the highest."""
    seeds = [*range(20), *(s + m * 2**64 for s in range(20) for m in (1, 2, 3, 2**64, 2**128 + 1)), 10**400]
    assert len({philox.row_key(seed) for seed in seeds}) == len(seeds)


def test_uniforms_and_normals_have_their_moments() -> None:
    """Of a hundred thousand, within five standard errors; none of them repeats or correlates with another stream."""
    n = 100_000
    key = philox.row_key(3)
    u = np.array([numpy_math.uniform_pair(np.arange(n), 1, 2, stream, *key) for stream in (0, 1)]).reshape(4, n)
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert len(np.unique(u)) == u.size
    np.testing.assert_allclose(np.corrcoef(u), np.eye(4), atol=5 / np.sqrt(n))
    for row in u:
        assert np.abs(np.sort(row) - (np.arange(n) + 0.5) / n).max() < 1.95 / np.sqrt(n)  # Kolmogorov-Smirnov, 0.1 %
    x = np.array(numpy_math.normal_pair(0, np.arange(n), 0, philox.POLICY, *key))
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        np.testing.assert_allclose((x**power).mean(axis=1), moment, atol=5 * np.sqrt(variance / n))
    assert abs(np.mean(x[0] * x[1])) < 5 / np.sqrt(n)


@given(counter=st.tuples(*[st.integers(0, 2**32 - 1)] * 4), seed=st.integers(0, 2**64 - 1))
def test_uniforms_are_the_same_on_numpy(counter: tuple[int, ...], seed: int) -> None:
    """To the bit, and so are normals."""
    key = philox.row_key(seed)
    for name in ("uniform_pair", "normal_pair"):
        expected = getattr(philox, name)(*counter, *key)
        assert [float(x) for x in getattr(numpy_math, name)(*counter, *key)] == list(expected)


# --------------------------------------------------------------------------------------------------------- binding


def role(function: Any) -> Any:
    """Bound to Python floats as a role of a family called Cart."""
    return Binder({}).role(function, ("state", "action", "noise", "k"), {"k"}, GROUPS, "Cart")


def gain_of(k: float) -> float:
    """A helper with a global number."""
    return k * FACTOR


def transition(state: Vector, action: Vector, motor: Vector) -> Vector:
    """A role that uses a helper."""
    return (state[0] + gain_of(motor[1]) * action[0],)


def nobody_knows(state: Vector, wind: Vector) -> Vector:
    """Asks for a group that isn't there."""
    return wind


FACTOR = 2.0
GROUPS = {"start": slice(0, 1), "motor": slice(1, 3)}


def test_a_role_gets_what_it_names() -> None:
    """Arguments by name, groups as slices of the constants."""
    assert role(transition)((1.0,), (0.5,), (), (9.0, 8.0, 3.0)) == (4.0,)


def test_a_role_that_asks_for_what_there_is_not() -> None:
    """Names family, role, argument, and what there is."""
    message = "Cart: `nobody_knows` asks for `wind`; there are: state, action, noise, start, motor"
    with pytest.raises(FamilyError, match=re.escape(message)):
        role(nobody_knows)


def test_clones_leave_the_originals_alone() -> None:
    """Replaced names hold in the clone, wherever it is called from."""
    binder = Binder({})
    binder.replace(gain_of, {"FACTOR": 10.0})
    assert binder.bind(transition)((0.0,), (1.0,), (0.0, 1.0)) == (10.0,)
    assert transition((0.0,), (1.0,), (0.0, 1.0)) == (2.0,)
    assert Binder({sincos: lambda x: (x, x)}).bind(everything)((7.0, 1.0), (1.0, 1.0), 1.0)[6] == 7.0


def test_the_digest_is_of_all_that_is_bound() -> None:
    """Of helpers and numbers too: compiled code on disk is found again by it."""

    def digest(function: Callable[..., Any], **given: Any) -> str:
        binder = Binder({})
        binder.replace(gain_of, given)
        binder.bind(function)
        return binder.digest

    assert digest(transition) == digest(transition)
    numbers = {digest(transition, FACTOR=value) for value in (3.0, np.float64(3.0), np.uint64(3), 3, (3.0,), [3.0])}
    tables = {digest(transition, FACTOR=np.full(2, value)) for value in (1.0, 2.0)}
    assert len({digest(transition), digest(gain_of), digest(everything)} | numbers | tables) == 11
    one, other = (lambda x: x + 1.0, lambda x: x + 2.0)  # both on one line, which is the source of either
    assert digest(one) != digest(other)
    assert digest(times(2.0)) == digest(times(2.0))
    assert len({digest(times(2.0)), digest(times(3.0)), digest(times(2.0, 5.0)), digest(times(gain_of))}) == 4


def times(factor: Any, default: float = 1.0) -> Callable[..., Any]:
    """A text that is the same for every factor."""

    def multiplied(x: float, y: float = default) -> Any:
        return x * y * (factor(x) if callable(factor) else factor)

    return multiplied


def test_what_a_text_closes_over_is_bound_too() -> None:
    """A helper from a closure is the clone's, as one from the module is."""
    binder = Binder({})
    binder.replace(gain_of, {"FACTOR": 10.0})
    assert binder.bind(times(gain_of))(1.0) == 10.0
    assert times(gain_of)(1.0) == 2.0


def text_of(family: KernelFamily, reward: str | None = None) -> Text:
    """What code takes from a family."""
    return Program.of(family, family.parameters.tasks([{}]), reward).text


def of_instance(**attributes: Any) -> Room:
    """A room with attributes that aren't its class's."""
    room = Room()
    for name, value in attributes.items():
        setattr(room, name, value)
    return room


def heated(state: Vector, action: Vector, room: Vector) -> Vector:
    """Warmer at every step, whatever is done."""
    return (1.1 * state[0] + 0.1 * action[0] * room[0],)


def reward_cold(next_state: Vector) -> float:
    """The colder the better."""
    return -next_state[0]


INSTANCE: dict[str, Any] = {
    "failure_cost": 50.0,
    "state_limits": (0.8,),
    "failed": lambda state: (state[0] > 0.8) | (state[0] < -0.8),
    "actions": Continuous(Room.actions.channels, (0.5,)),
    "feature_scale": (0.3,),
    "rewards": {"cold": reward_cold},
    "transition": heated,
    "n_noise": 3,
}


def test_rollouts_honour_an_instance() -> None:
    """Its attributes, not its class's, on every backend; its class's other instances keep theirs."""
    given: dict[str, Any] = {"theta": [-0.1, 0.05], "n_trajectories": 3, "seed": 1}
    default = rollout(Room(), **given)
    family = of_instance(**INSTANCE)
    numba_, numpy_ = (rollout(family, backend=backend, **given) for backend in ("numba", "numpy"))
    assert np.array_equal(numba_.returns, numpy_.returns)
    assert np.array_equal(numba_.features_squared, numpy_.features_squared)
    for name in ("failure_cost", "failed", "actions", "feature_scale", "rewards", "transition"):
        without = of_instance(**{key: value for key, value in INSTANCE.items() if key != name})
        assert not np.array_equal(numpy_.returns, rollout(without, backend="numpy", **given).returns), name
    assert np.array_equal(rollout(Room(), **given).returns, default.returns)


def test_rows_honour_an_instance() -> None:
    """Rows on numba and NumPy are those on Python floats, and another instance's differ."""
    n, family = 5, of_instance(**INSTANCE)
    tasks = family.parameters.sample(3)
    expected = go(SimulatorRows(n, kernel_simulator, family, tasks, None, False), n)
    for kind in (NumbaRows, NumpyRows):
        found = go(kind(family, tasks, n, None, False), n)
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    default = go(NumbaRows(Room(), tasks, n, None, False), n)
    assert not all(np.array_equal(a, b) for a, b in zip(expected, default, strict=True))


def test_compiled_code_is_shared_by_texts() -> None:
    """By instances, tasks and classes that agree in everything that code takes from them, and by no others."""

    class SameRoom(Room):
        """Another class."""

        __doc__ = Room.__doc__

    code = numba_blocks.compiled(text_of(Room()), 8)
    assert numba_blocks.compiled(text_of(Room()), 8) is code
    assert numba_blocks.compiled(text_of(SameRoom()), 8) is code
    assert numba_blocks.compiled(text_of(of_instance(horizon=7)), 8) is code
    assert numba_blocks.compiled(text_of(of_instance(failure_cost=50.0)), 8) is not code


@pytest.mark.parametrize("value", [None, 3.0, np.sin])
def test_a_role_that_is_no_function(value: Any) -> None:
    """Is named, with what was received."""
    with pytest.raises(FamilyError, match=r"Room: `transition` must be a function\. Received "):
        text_of(of_instance(transition=value))


def test_a_role_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named too."""
    monkeypatch.delattr(Room, "initial")
    with pytest.raises(FamilyError, match=r"Room: `initial` must be a function\. Received None"):
        text_of(Room())


@pytest.mark.parametrize("ends", [False, True])
def test_failing_freezes_a_row_at_a_constant_cost(ends: bool) -> None:
    """The state is clipped to twice the limits; the episode goes on unless it is to end."""
    family = Room()
    program = Program.of(family, family.parameters.tasks([{"capacity": 0.5, "loss": -1.0}]), None, ends)
    advance = bind_family(program.text, Binder({})).advance
    data = tuple(program.constants[0].tolist()), ()
    state, reward, terminated, failed = advance((1.0,), (1.0,), (0.5,), *data, False)
    assert (state, terminated, failed) == ((1.8,), False, False)
    assert reward == pytest.approx(-(1.8**2))
    state, reward, terminated, failed = advance(state, (9.0,), (0.5,), *data, False)  # clipped to 1
    assert state[0] == pytest.approx(1.8 + 0.2 * (3.0 + 1.8))
    assert (reward, terminated, failed) == (-9.0, ends, True)
    assert advance(state, (-1.0,), (0.5,), *data, True) == (state, -9.0, ends, True)
    huge, _, _, failed = advance((1e9,), (0.0,), (0.5,), *data, False)
    assert (huge, failed) == ((4.0,), True)


# --------------------------------------------------------------------------------------------- compiled for blocks


def go(rows: Any, n: int) -> list[npt.NDArray[Any]]:
    """Ten steps of some rows, two of them not active now and then, and a restart of one."""
    keys = np.array([philox.row_key(row) for row in range(n)], np.uint64)
    everybody = np.arange(n)
    zeros = np.zeros(n, np.int64)
    seen = np.zeros((n, 1), np.float32)
    rows.restart(Episodes(everybody, everybody % 3, everybody % 3, zeros, keys), seen)
    log: list[npt.NDArray[Any]] = [seen.copy()]
    clock, rng = Clock(n, 8), np.random.default_rng(0)
    for step in range(10):
        active = (everybody + step) % 5 > 0
        results = Results(np.zeros((n, 1), np.float32), np.zeros(n), *np.zeros((3, n), bool))
        rows.step(rng.uniform(-1, 1, (n, 1)), active, clock, results)
        log += [column[active] for column in results] + [rows.states(), clock.steps.copy()]
        if step == 4:
            one = everybody[3:4]
            rows.restart(Episodes(one, one % 3, one % 3, zeros[:1] + 1, keys[3:4]), seen)
            clock.steps[3] = 0
    return log


@pytest.mark.parametrize("width", [1, 8, 64])
def test_the_width_of_a_block_doesnt_matter(width: int) -> None:
    """13 rows in blocks of 1, 8 or 64 lanes are those on Python floats."""
    family, n = Room(), 13
    tasks = family.parameters.sample(3)
    expected = go(SimulatorRows(n, kernel_simulator, family, tasks, None, False), n)
    found = go(NumbaRows(family, tasks, n, None, False, width), n)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("id", ["LifelongCartPole-v0", "LifelongQuadrotor-v0"])
def test_blocks_are_vectorised(id: str) -> None:
    """LLVM multiplies several rows at a time, and calls no function of libm."""
    block = numba_blocks.compiled(text_of(kernel_of(lifelong_gym.family(id), "a block"), "norm"), 64).advance_block
    anew = njit(error_model="numpy", nogil=True)(block.py_func)  # code from numba's cache can't be inspected
    anew.compile((float64[::1], int64))
    (text,) = anew.inspect_llvm().values()
    vectors = len(re.findall(r"fmul <\d+ x double>", text))
    assert vectors > 20
    assert vectors > len(re.findall(r"fmul double", text))
    assert not re.findall(r"call .*@(sin|cos|pow|exp|log)\b", text)
    assert scalar.sincos is sincos
