"""A learner's state is named parts of many kinds: each is saved without pickle, checked, and taken up to the bit."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer, RolloutBuffer

from lifelong_gym.agents import REINFORCE
from lifelong_gym.agents.contract import state, trees
from lifelong_gym.agents.contract.kinds import Attributes
from lifelong_gym.errors import CheckpointError
from lifelong_gym.wrappers import as_vec_env

SEEN, DONE = spaces.Box(0, 255, (4, 4, 1), np.uint8), spaces.Discrete(3)


class Diary:
    """Tells its state by itself, and refuses another's."""

    def __init__(self) -> None:
        """Nothing is in it."""
        self.entries: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        """What is in it."""
        return {"entries": self.entries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over, or refuse."""
        if "forbidden" in state["entries"]:
            raise ValueError("there is something forbidden in it")
        self.entries = list(state["entries"])


class Rich(REINFORCE):
    """A policy search with a critic, which Adam trains on noise of its own, and with everything else one may keep."""

    width: ClassVar[int] = 3

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        super()._setup_model(policy_arguments)
        th.manual_seed(0)
        self.critic = th.nn.Linear(self.width, 1)
        self.optimiser = th.optim.Adam(self.critic.parameters(), lr=0.01)
        self.streams: dict[str, Any] = {"numpy": np.random.default_rng(0), "torch": th.Generator().manual_seed(0)}
        self.log: dict[str, Any] = {"counts": np.zeros(2, np.int64), "flags": np.zeros(2, bool), "diary": Diary()}
        self.replay = ReplayBuffer(5, SEEN, DONE, device="cpu")
        self.best: float = -1.0
        self.last: Any = None

    def _parts(self) -> state.Parts:
        own = {"critic": self.critic, "critic.optimiser": self.optimiser, "streams": self.streams, "log": self.log}
        own |= {"replay": self.replay, "self": Attributes(self, ["best"], {"last": ((2,), np.float32)})}
        return {**super()._parts(), **own}

    def train(self) -> None:
        """One step of everything."""
        super().train()
        x = th.as_tensor(self.streams["numpy"].normal(size=(8, self.width)), dtype=th.float32)
        loss = (self.critic(x) - th.randn((8, 1), generator=self.streams["torch"])).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.best, self.last = max(self.best, loss.item()), np.full(2, loss.item(), np.float32)
        self.log["counts"] += 1
        self.log["flags"][0] ^= True
        self.log["diary"].entries.append(loss.item())
        seen = (self.streams["numpy"].integers(0, 256, (1, 4, 4, 1))).astype(np.uint8)
        self.replay.add(seen, seen + 1, np.array([1]), np.array([loss.item()]), np.array([False]), [{}])


def make(kind: type[Rich] = Rich) -> Rich:
    """In short episodes."""
    env = as_vec_env("LifelongCartPole-v0", n_tasks=2, horizon=5, backend="numpy")
    return kind("LinearGaussianPolicy", env, seed=0, n_trajectories=2)


def everything(model: Any) -> Any:
    """All its parts, as JSON and bytes."""
    arrays: dict[str, Any] = {}
    told = {name: trees.encode(value, name, arrays) for name, value in state.told(state.others(model)).items()}
    arrays |= {name: tensor.numpy().copy() for name, tensor in state.tensors(model).items()}
    return told, {name: (array.dtype.str, array.tobytes()) for name, array in arrays.items()}


def saved(model: Any) -> io.BytesIO:
    """A file of it, from its beginning."""
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return file


def changed(model: Any, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> io.BytesIO:
    """A file of it, in which the parts' text and the arrays were changed."""
    with zipfile.ZipFile(saved(model)) as archive:
        text = json.loads(archive.read("model.json"))
        arrays = dict(safetensors.numpy.load(archive.read("arrays.safetensors")))
    change(text["parts"], arrays)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.json", json.dumps(text))
        archive.writestr("arrays.safetensors", safetensors.numpy.save(arrays))
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def learned() -> Rich:
    """A learner that knows something."""
    return make().learn(20)


def test_all_kinds_of_parts_are_saved_and_go_on_to_the_bit(learned: Rich) -> None:
    """Two modules, an optimiser's moments, generators, arrays, replay, attributes and what tells its state itself."""
    whole, half = make().learn(60), Rich.load(saved(learned), env=make().env)
    assert everything(half) == everything(learned)
    half.learn(40, reset_num_timesteps=False)
    assert everything(half) == everything(whole)
    assert len(half.log["diary"].entries) == 3
    assert half.optimiser.state_dict()["state"][0]["step"] == 3
    assert half.replay.pos == 3


def test_parameters_hold_modules_and_optimisers(learned: Rich) -> None:
    """As SB3's `get_parameters`; `set_parameters` takes them by hand and from a file, moments included."""
    assert learned.get_parameters().keys() == {"policy", "critic", "critic.optimiser"}
    for given in (learned.get_parameters(), saved(learned)):
        other = make()
        other.set_parameters(given)
        assert str(other.get_parameters()) == str(learned.get_parameters())
    with pytest.raises(CheckpointError, match=r"part 'critic\.optimiser' is missing"):
        other.set_parameters({name: value for name, value in learned.get_parameters().items() if "." not in name})


def cut(name: str) -> Callable[[Any, Any], Any]:
    """An array loses its last entry."""
    return lambda _, arrays: arrays.update({name: arrays[name].ravel()[:-1]})


def put(name: str, value: float) -> Callable[[Any, Any], Any]:
    """An array is filled with a number."""
    return lambda _, arrays: arrays[name].fill(value)


MOMENT = "critic.optimiser/state/0/exp_avg"
DAMAGE: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "no part": (lambda parts, _: parts.pop("log.diary"), "part 'log.diary' is missing"),
    "unknown part": (lambda parts, _: parts.update(more={}), "part 'more' is not known here"),
    "no array": (lambda _, arrays: arrays.pop(MOMENT), f"array '{MOMENT}' is missing"),
    "no moment": (
        lambda parts, arrays: (parts["critic.optimiser"]["state"]["items"][0][1].pop("exp_avg"), arrays.pop(MOMENT)),
        "part 'critic.optimiser': entry of parameter 0, 'exp_avg' is missing",
    ),
    "moment's shape": (cut(MOMENT), "exp_avg of parameter 0 must be torch.float32 of shape"),
    "moment's values": (put(MOMENT, np.nan), "exp_avg of parameter 0 holds values that are not finite"),
    "rate": (
        lambda parts, _: parts["critic.optimiser"]["param_groups"][0].update(lr="fast"),
        "'lr' must be a finite number. Received 'fast'",
    ),
    "array": (cut("log.counts"), "part 'log.counts': it must be int64"),
    "generator": (lambda parts, _: parts["streams.numpy"].update(bit_generator="MT19937"), "part 'streams.numpy'"),
    "torch's": (cut("streams.torch"), "part 'streams.torch': it must be the state of a Generator"),
    "replay": (cut("replay/arrays/observations"), "part 'replay': observations must be uint8 of shape"),
    "place": (lambda parts, _: parts["replay"].update(pos=99), "'pos' must be from 0 to 5. Received 99"),
    "attribute": (lambda parts, _: parts["self"].update(best="x"), "part 'self': 'best' must be of <class 'float'>"),
    "its array": (cut("self/last"), r"part 'self': last must be float32 of shape \(2,\)"),
    "refused": (lambda parts, _: parts["log.diary"].update(entries=["forbidden"]), "there is something forbidden"),
    "module": (put("critic.weight", np.inf), "array 'critic.weight' holds values that are not finite"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_does_not_fit_changes_nothing(learned: Rich, damage: str) -> None:
    """A part, an array or an entry that is missing, unknown, of another shape, or no number: said by name."""
    change, message = DAMAGE[damage]
    file = changed(learned, change)
    with pytest.raises(CheckpointError, match=message):
        Rich.load(file)
    other = make()
    before = everything(other)
    if "optimiser" in message or "moment" in message:
        file.seek(0)
        with pytest.raises(CheckpointError, match=message):
            other.set_parameters(file)
        assert everything(other) == before


def test_parts_are_taken_up_together_or_not_at_all(learned: Rich) -> None:
    """Where a part refuses its state by itself, the others have kept theirs."""
    states = {"log.diary": {"entries": [1.0]}, "streams.numpy": np.random.default_rng(5).bit_generator.state}
    model = make()
    model.log["second"] = Diary()
    before = everything(model)
    with pytest.raises(CheckpointError, match=r"part 'log\.second' doesn't take its state"):
        state.take_up(state.others(model), {**states, "log.second": {"entries": ["forbidden"]}})
    assert everything(model) == before


def test_a_failed_update_leaves_moments_as_they_were(learned: Rich) -> None:
    """Where training leads to numbers that aren't finite, the optimiser too is as it was before."""
    model = Rich.load(saved(learned), env=make().env)
    before = str(model.optimiser.state_dict())
    model.critic.register_forward_hook(lambda *_: th.full((8, 1), np.nan, requires_grad=True) * model.critic.bias)
    with pytest.warns(UserWarning, match="an update failed: 'critic.*not finite. The parameters before it stay"):
        model.learn(20, reset_num_timesteps=False)
    assert str(model.optimiser.state_dict()) == before


def test_what_has_no_state_is_no_part() -> None:
    """It is named when the parts are asked for."""
    model = make()
    model.log["lock"] = object()
    with pytest.raises(TypeError, match=r"part 'log\.lock' must be a module.*Received <class 'object'>"):
        model.save(io.BytesIO())


def test_files_of_format_1_still_load() -> None:
    """They had modules alone, and no word of parts."""
    env = as_vec_env("LifelongCartPole-v0", n_tasks=2, horizon=5, backend="numpy")
    model = REINFORCE("LinearGaussianPolicy", env, seed=0, n_trajectories=2).learn(20)
    with zipfile.ZipFile(saved(model)) as archive:
        text, arrays = json.loads(archive.read("model.json")), archive.read("arrays.safetensors")
    assert (text.pop("parts"), text["format"]) == ({}, 2)
    old = io.BytesIO()
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("model.json", json.dumps({**text, "format": 1}))
        archive.writestr("arrays.safetensors", arrays)
    old.seek(0)
    assert everything(REINFORCE.load(old)) == everything(model)


@pytest.mark.parametrize(
    "value",
    [
        {1: (1.5, None), 2: [True, "x"]},
        {"array": [1]},
        {"tuple": {"items": ()}},
        {"a.b": 1, "a": {"b": np.arange(3)}},
        2**100,
        [np.float32(0.5), np.zeros((0, 2), np.uint8), th.tensor(3)],
    ],
    ids=str,
)
def test_states_survive_json(value: Any) -> None:
    """Nested dicts with keys of any kind, tuples, whole numbers of any size, arrays and tensors."""
    arrays: dict[str, Any] = {}
    tree = json.loads(json.dumps(trees.encode(value, "part", arrays)))
    assert str(trees.decode(tree, arrays)) == str(value).replace("np.float32(0.5)", "0.5")
    assert not arrays


def filled(buffer: Any, n: int) -> Any:
    """After n steps."""
    rng = np.random.default_rng(0)
    for i in range(n):
        seen, more = rng.integers(0, 256, (2, 1, *buffer.obs_shape)).astype(np.uint8)
        action, reward = np.array([[i % 3]]), np.array([float(i)], np.float32)
        if isinstance(buffer, RolloutBuffer):
            buffer.add(seen, action, reward, np.array([i == 0]), th.tensor([0.5]), th.tensor([-1.0]))
        else:
            buffer.add(seen, more, action, reward, np.array([i % 4 == 3]), [{}])
    return buffer


@pytest.mark.parametrize("n", [0, 3, 7])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (ReplayBuffer, {}),
        (ReplayBuffer, {"optimize_memory_usage": True, "handle_timeout_termination": False}),
        (NStepReplayBuffer, {"n_steps": 2}),
        (RolloutBuffer, {}),
    ],
)
def test_buffers_give_the_same_samples_again(kind: Any, arguments: Any, n: int) -> None:
    """Empty, filled in part and full; what isn't filled isn't stored."""
    if kind is RolloutBuffer:
        n = min(n, 5)
    one, other = filled(kind(5, SEEN, DONE, "cpu", **arguments), n), kind(5, SEEN, DONE, "cpu", **arguments)
    told, arrays = state.told({"b": one}), dict[str, Any]()
    tree = trees.encode(told["b"], "b", arrays)
    if kind is ReplayBuffer and n == 3:
        assert max(len(array) for array in arrays.values()) == 3 + bool(arguments)
    states = {"b": trees.decode(tree, arrays)}
    state.check({"b": other}, states)
    state.take_up({"b": other}, states)
    assert (other.pos, other.full) == (one.pos, one.full)
    if n == 0 or (kind is RolloutBuffer and n < 5):
        return
    samples = []
    for buffer in (one, other):
        np.random.seed(0)
        samples.append(next(buffer.get(5)) if kind is RolloutBuffer else buffer.sample(16))
    assert all(a is b is None or th.equal(a, b) for a, b in zip(*samples, strict=True))


@pytest.mark.parametrize(
    "generator", [np.random.RandomState(3), random.Random(3), th.Generator()], ids=["numpy", "python", "torch"]
)
def test_generators_go_on(generator: Any) -> None:
    """NumPy's legacy one, Python's, torch's; those of NumPy's new kind are tried above."""
    draw = generator.random if hasattr(generator, "random") else lambda: th.rand(1, generator=generator).item()
    arrays: dict[str, Any] = {}
    tree = trees.encode(state.told({"g": generator})["g"], "g", arrays)
    expected = [draw() for _ in range(3)]
    states = {"g": trees.decode(json.loads(json.dumps(tree)), arrays)}
    state.check({"g": generator}, states)
    state.take_up({"g": generator}, states)
    assert [draw() for _ in range(3)] == expected


@pytest.mark.parametrize("kind", [th.optim.SGD, th.optim.Adam, th.optim.AdamW, th.optim.RMSprop, th.optim.NAdam])
def test_optimisers_of_other_kinds(kind: Any) -> None:
    """Whatever they keep is known from a step of one like them; what doesn't fit is refused."""
    weights = [[th.nn.Parameter(th.ones(2, 3)), th.nn.Parameter(th.ones(3))] for _ in range(2)]
    one, other = (kind(own, lr=0.1, **({"momentum": 0.9} if kind is th.optim.SGD else {})) for own in weights)
    for weight in weights[0]:
        weight.grad = th.ones_like(weight)
    one.step()
    states = {"o": one.state_dict()}
    state.check({"o": other}, states)
    state.take_up({"o": other}, states)
    assert str(other.state_dict()) == str(one.state_dict())
    foreign = kind(
        [th.nn.Parameter(th.ones(3, 3)), weights[1][1]], lr=0.1, **({"momentum": 0.9} if kind is th.optim.SGD else {})
    )
    with pytest.raises(CheckpointError, match=r"of parameter 0 must be torch\.float32 of shape"):
        state.check({"o": foreign}, states)
