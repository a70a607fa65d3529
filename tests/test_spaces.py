"""Codecs of spaces: what is valid, what families see, what users get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

import lifelong_gym
from lifelong_gym.agents.contract.checkpoint import decode_space, encode_space
from lifelong_gym.envs.backends.numba_math import binder as numba_binder
from lifelong_gym.envs.spaces import ActionCodec, Bounded, Continuous, Entities, Image, MultiDiscrete, Quantity, Simplex
from lifelong_gym.errors import CheckpointError, FamilyError, UnexpectedArgumentError
from lifelong_gym.numerics import numpy_math, scalar
from lifelong_gym.testing import check_family
from lifelong_gym.testing.declarations import check_declarations
from lifelong_gym.wrappers import as_vec_env
from tests.market import DAYS, UNIVERSE, Market

LOCK, WALK = "Lock-v0", "Walk-v0"
MARKET = "Market-v0"
X = Quantity("x", "m", "somewhere")
BOTH: list[dict[str, Any]] = [{}, {"actions": "logits"}]


@pytest.fixture(autouse=True)
def _registered(register: Callable[..., str]) -> None:
    for name in ("Lock", "Walk"):
        register(name, "space_families")
    register("Market", "market")


@pytest.mark.parametrize("id", [LOCK, WALK])
def test_new_kinds_keep_all_promises(id: str) -> None:
    """A kind that no family of ours has, and one from outside: one result everywhere."""
    check_family(id)


@pytest.mark.parametrize("function", [scalar.shares, scalar.softmax])
def test_shares_have_the_same_bits_everywhere(function: Any) -> None:
    """Python, NumPy and numba share out alike: nothing to the absent, 1 in all, equal shares where nothing is asked."""
    rng = np.random.default_rng(0)
    weights, present = rng.random((4, 200)), (rng.random((4, 200)) < 0.6).astype(float)
    weights[:, :3], present[:, 1], weights[:, 3] = 0.0, 0.0, 5e-324
    expected = np.array([function(tuple(w), tuple(p)) for w, p in zip(weights.T, present.T, strict=True)])
    by_numpy = np.stack(numpy_math.binder().bind(function)(tuple(weights), tuple(present)), axis=1)
    compiled = numba_binder(__name__).bind(function)
    by_numba = np.array([compiled(tuple(w), tuple(p)) for w, p in zip(weights.T, present.T, strict=True)])
    assert np.array_equal(expected, by_numpy)
    assert np.array_equal(expected, by_numba)
    assert np.array_equal(expected[present.T == 0], np.zeros(int((present == 0).sum())))
    assert expected.sum(axis=1) == pytest.approx(present.any(axis=0).astype(float), abs=1e-12)
    assert expected[0] == pytest.approx(present[:, 0] / present[:, 0].sum())


def test_softmax_is_scipys() -> None:
    """Against another implementation."""
    from scipy.special import softmax

    logits = np.random.default_rng(1).uniform(-100.0, 100.0, (50, 5))
    mine = np.array([scalar.softmax(tuple(row), (1.0,) * 5) for row in logits])
    assert mine == pytest.approx(softmax(logits, axis=1), rel=1e-13)


def test_an_absent_entity_gets_nothing_and_the_others_all() -> None:
    """The third instrument isn't held: what is meant for it goes to the others, in proportion."""
    env: Any = gym.make(MARKET, tasks=[{"held": 2}], relatives=np.ones((DAYS, UNIVERSE)), backend="python")
    env.reset(seed=0)
    env.step(np.array([0.1, 0.3, 0.6], np.float32))
    assert env.unwrapped.state[:3] == pytest.approx([0.25, 0.75, 0.0], rel=1e-6)
    env.step(np.array([0.0, 0.0, 0.6], np.float32))
    assert env.unwrapped.state[:3].tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("backend", ["numba", "numpy", "python"])
def test_tables_may_say_who_is_there(backend: str) -> None:
    """The first instrument isn't traded on some days: it gets nothing on these, and its share on the others."""
    relatives = np.ones((DAYS, UNIVERSE))
    relatives[::2, 0] = 0.0
    settings: dict[str, Any] = {"tasks": [{"first": 0, "held": 3}], "relatives": relatives, "backend": backend}
    env: Any = gym.make_vec(MARKET, num_envs=4, **settings)
    env.reset(seed=0)
    weights = np.tile(np.array([0.5, 0.25, 0.25], np.float32), (4, 1))
    for _ in range(4):
        days = env.unwrapped.state[:, 3]
        env.step(weights)
        untraded = np.array([0.0, 0.5, 0.5])
        assert np.array_equal(env.unwrapped.state[:, :3], np.where(days[:, None] % 2 == 0, untraded, weights))


def test_a_family_takes_weights_or_logits() -> None:
    """As it is asked to: the same episode where logits are those of the weights; specs keep what was asked for."""
    weights, logits = (gym.make(MARKET, tasks=[{"held": 3, "first": 2}], backend="python", **given) for given in BOTH)
    assert weights.action_space == spaces.Box(0.0, 1.0, (3,), np.float32)
    assert logits.action_space == spaces.Box(-1.0, 1.0, (3,), np.float32)
    for env in (weights, logits):
        env.reset(seed=0)
    for shares in ([0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3], [0.01, 0.98, 0.01]):
        asked = lifelong_gym.family(MARKET, actions="logits").actions.asking_for(shares)  # type: ignore[attr-defined]
        assert asked.dtype == np.float32
        expected, found = weights.step(np.array(shares, np.float32)), logits.step(asked)
        assert found[0] == pytest.approx(expected[0], rel=1e-5)
        assert found[1] == pytest.approx(expected[1], rel=1e-4)
    assert logits.spec is not None
    assert gym.make(EnvSpec.from_json(logits.spec.to_json())).action_space == logits.action_space
    assert lifelong_gym.family(MARKET, actions="simplex") is lifelong_gym.family(MARKET)
    made = Market(actions="logits")
    assert made.argument_values["actions"] == "logits"
    assert replace(made.actions, m=5).space == spaces.Box(-1.0, 1.0, (5,), np.float32)  # type: ignore[type-var]


def test_what_a_bound_forbids_is_asked_for_as_nearly_as_can_be() -> None:
    """All for one: the others keep ``exp(-2 * logits)`` of its share; those that get the same stay alike."""
    codec = Simplex(3, logits=2.0)
    asked = codec.asking_for([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    assert asked.tolist() == [[-1.0, 1.0, -1.0], [1.0, 1.0, -1.0]]
    shares = scalar.softmax(tuple(2.0 * asked[0].astype(float)), (1.0,) * 3)
    assert shares[0] / shares[1] == pytest.approx(np.exp(-4.0))


@pytest.mark.parametrize("given", ["logit", None, 4.0])
def test_actions_that_a_family_does_not_take(given: Any) -> None:
    """The nearest is suggested, or what there is."""
    message = "unknown actions 'logit'. Did you mean 'logits'?" if given == "logit" else "must be 'simplex' or 'logits'"
    with pytest.raises(ValueError, match=message):
        gym.make(MARKET, actions=given)
    with pytest.raises(UnexpectedArgumentError, match="'actions'"):
        gym.make(LOCK, actions="logits")


@pytest.mark.parametrize(
    ("id", "action", "message"),
    [
        (MARKET, [0.5, np.nan, 0.5], "actions must be finite"),
        (MARKET, [0.5, -0.1, 0.5], r"weights must be in \[0, 1\]. Received -0.1"),
        (MARKET, [0.5, 1.1, 0.5], r"weights must be in \[0, 1\]. Received 1.1"),
        (MARKET, [0.5, 0.5], r"an action must have shape \(3,\)"),
        (LOCK, [0, 5], r"number 1 of an action must be an integer in \[0, 4\]. Received 5"),
        (LOCK, [0.5, 1], r"number 0 of an action must be an integer in \[0, 2\]. Received 0.5"),
        (LOCK, 1, r"an action must have shape \(2,\)"),
    ],
)
def test_an_action_off_its_space_changes_nothing(id: str, action: Any, message: str) -> None:
    """The error says what is wrong; the episode goes on as if nothing had been sent."""
    envs = [gym.make(id, disable_env_checker=True, backend="python") for _ in range(2)]
    good = envs[0].action_space.sample()
    for env in envs:
        env.reset(seed=1)
    with pytest.raises(ValueError, match=message):
        envs[0].step(np.array(action))
    (seen, reward, *_), (expected, other, *_) = (env.step(good) for env in envs)
    assert np.array_equal(seen, expected)
    assert reward == other


@pytest.mark.parametrize("n", [1, 3, 20_000])
def test_actions_as_large_as_a_float_holds_are_finite(n: int) -> None:
    """Without a warning; a single number that isn't finite is found among them, and named."""
    codec, largest = Continuous((X,), (2.0,)), np.finfo(np.float64).max
    actions = np.full((n, 1), largest)
    actions[::2] *= -1.0
    np.testing.assert_array_equal(codec.check(actions, n), actions)
    for bad in (np.nan, np.inf, -np.inf):
        actions[n // 2] = bad
        with pytest.raises(ValueError, match=f"actions must be finite. Received {bad}"):
            codec.check(actions, n)


def test_weights_may_miss_their_bounds_by_rounding() -> None:
    """As float32 sums and differences do."""
    Simplex(2).check(np.array([[-1e-7, 1.0 + 1e-7]]), 1)


def test_a_policy_reads_the_blocks_from_the_codec() -> None:
    """Rows of task features behind an observation are left out."""
    codec = Entities(2, (X, X, X), (5.0, 5.0, 1.0))
    flat = np.array([[1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.25]], np.float32)
    assert codec.block == (2, 3)
    assert np.array_equal(codec.blocks(flat), [[[1.0, 2.0, 1.0], [0.0, 0.0, 0.0]]])
    assert np.array_equal(codec.present(flat), [[True, False]])
    low, high = np.array([-5, -5, 0] * 2, np.float32), np.array([5, 5, 1] * 2, np.float32)
    assert codec.space == spaces.Box(low, high, dtype=np.float32)


def test_logits_off_their_space_change_nothing() -> None:
    """They are clipped, but must be finite."""
    env = gym.make(MARKET, actions="logits", disable_env_checker=True, backend="python")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="finite"):
        env.step(np.array([0.5, np.inf, 0.5]))


def test_sb3_learns_with_stock_policies() -> None:
    """`MlpPolicy` on several choices at once."""
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", as_vec_env(LOCK, n_tasks=2, backend="numpy"), n_steps=16, batch_size=16, n_epochs=1)
    model.learn(64)
    assert model.num_timesteps == 64


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Simplex(0).faults(), "`actions.m` must be at least 1"),
        (Simplex(2, logits=1000.0).faults(), r"`actions.logits` must be in \(0, 100\]"),
        (MultiDiscrete((2, 0)).faults(), "must hold integers of at least 1"),
        (Bounded((X,), (1.0,), (1.0,)).faults(), "low below high"),
        (Entities(2, (X,), (2.0,)).faults(), "must end with 1"),
        (Image(0, 4).faults(), "at least 1 high"),
    ],
)
def test_a_wrong_declaration_is_told(faults: Any, message: str) -> None:
    """As `check_family` does."""
    with pytest.raises(FamilyError, match=message):
        raise FamilyError(next(faults))


class Listed(Simplex):
    """Gives a list where it should give a tuple."""

    def text(self) -> Any:
        """See `Simplex`."""
        function, values = super().text()
        return function, {**values, "LOW": list(values["LOW"])}


def test_values_of_a_text_are_hashable() -> None:
    """As they decide which compiled code is the same."""
    kind = Market()
    kind.actions = Listed(3)
    with pytest.raises(
        FamilyError, match=r"Mine: 'LOW' of `actions.text` must be hashable. Received \[0.0, 0.0, 0.0\]"
    ):
        check_declarations("Mine", kind)


@pytest.mark.parametrize(
    ("codec", "observation", "message"),
    [
        (Image(2, 2, 1), np.zeros((2, 2, 1)), r"uint8 of shape \(2, 2, 1\). Received float64 of shape \(2, 2, 1\)"),
        (Image(2, 2, 1), np.zeros((2, 2), np.uint8), r"Received uint8 of shape \(2, 2\)"),
        (Bounded((X,), (1.0,)), [0.5], r"float32 of shape \(1,\). Received list of shape \(1,\)"),
    ],
)
def test_a_simulators_observation_is_checked(codec: Any, observation: Any, message: str) -> None:
    """Dtype and shape are the space's."""
    with pytest.raises(FamilyError, match=message):
        codec.flat(observation)


@pytest.mark.parametrize(
    "space",
    [
        Image(84, 84, 4).space,
        Entities(5, (X, X), (3.0, 1.0)).space,
        Bounded((X, X), (3.0, 1.0), (0.0, -1.0)).space,
        MultiDiscrete((3, 5)).space,
        spaces.Box(-np.inf, np.inf, (2, 3)),
    ],
)
def test_a_checkpoint_describes_a_space_in_a_line(space: spaces.Space[Any]) -> None:
    """An image's bounds are a number each, and every space comes back as it was."""
    text = encode_space(space)
    assert len(str(text)) < 150
    assert decode_space(text) == space


def test_bounds_written_out_are_still_read() -> None:
    """As files of earlier versions have them."""
    data = {"type": "Box", "low": [-1.0, -1.0], "high": [1.0, 1.0], "shape": [2], "dtype": "float32"}
    assert decode_space(data) == spaces.Box(-1.0, 1.0, (2,))
    with pytest.raises(CheckpointError, match="not a space"):
        decode_space({**data, "low": [-1.0] * 3})
    with pytest.raises(CheckpointError, match="must be a Box"):
        encode_space(spaces.Text(3))


def test_every_kind_is_a_codec() -> None:
    """Whoever writes another needs to say so much and no more."""
    assert ActionCodec.__abstractmethods__ == {"size", "space", "text", "check_values", "draw"}
