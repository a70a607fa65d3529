"""Ways not to forget, on Stable-Baselines3's own algorithms: each against what it must equal."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_gym.agents.contract import trees
from lifelong_gym.agents.deep.continual.base import Continual
from lifelong_gym.agents.deep.continual.distill import Distill
from lifelong_gym.agents.deep.continual.ewc import EWC
from lifelong_gym.agents.deep.continual.fisher import drawn, fisher, loss
from lifelong_gym.agents.deep.continual.l2_init import L2Init
from lifelong_gym.agents.deep.continual.library import Library
from lifelong_gym.agents.deep.continual.online_ewc import OnlineEWC
from lifelong_gym.agents.deep.continual.packnet import PackNet
from lifelong_gym.agents.deep.continual.redo import ReDo
from lifelong_gym.agents.deep.continual.replay import Replay
from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer
from lifelong_gym.errors import CheckpointError

NET = [8, 8]
FEW: dict[str, Any] = {"n_samples": 10}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come in one order."""
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(n_threads)


def dqn(packed: bool = False, **more: Any) -> DQN:
    """On Gymnasium's pole."""
    own: dict[str, Any] = {"learning_starts": 20, "buffer_size": 100, "train_freq": 1, "batch_size": 8}
    own |= {
        "target_update_interval": 20,
        "learning_rate": 1e-2,
        "seed": 0,
        "device": "cpu",
        "policy_kwargs": {"net_arch": NET},
    }
    if packed:
        own["replay_buffer_class"] = PackedReplayBuffer
    return DQN("MlpPolicy", "CartPole-v1", **{**own, **more})


def ppo(**more: Any) -> PPO:
    """On Gymnasium's pole."""
    own: dict[str, Any] = {"n_steps": 16, "batch_size": 8, "n_epochs": 2, "seed": 0, "device": "cpu"}
    return PPO("MlpPolicy", "CartPole-v1", **{**own, "policy_kwargs": {"net_arch": NET}, **more})


def numbers(model: Any) -> list[th.Tensor]:
    """Of its policy, copies."""
    return [tensor.clone() for tensor in model.policy.state_dict().values()]


def same(one: list[th.Tensor], other: list[th.Tensor]) -> bool:
    """To the bit."""
    return all(th.equal(a, b) for a, b in zip(one, other, strict=True))


def two_tasks(model: Any, way: Continual | None, n_steps: int = 40) -> Any:
    """Learns two tasks of one env, one after the other, with a way or without."""
    for task in range(2):
        if way is not None:
            way.attach(model).on_task_start({"task": task})
        model.learn(n_steps, callback=way, reset_num_timesteps=task == 0)
        if way is not None:
            way.on_task_end({"task": task})
    return model


@pytest.mark.parametrize("make", [dqn, ppo])
@pytest.mark.parametrize("way", [EWC, OnlineEWC, L2Init])
def test_weight_0_is_the_algorithm_alone(way: Callable[..., Continual], make: Callable[[], Any]) -> None:
    """To the bit, though a Fisher matrix is estimated in between; with a weight it isn't."""
    plain, few = numbers(two_tasks(make(), None)), {} if way is L2Init else {"n_samples": 10}
    assert same(numbers(two_tasks(make(), way(0.0, **few))), plain)
    assert not same(numbers(two_tasks(make(), way(10.0, **few))), plain)


def test_nothing_remembered_is_the_algorithm_alone() -> None:
    """Distillation with weight 0, replay of one task, recycling of what isn't dormant."""
    tanh = {"net_arch": NET, "activation_fn": th.nn.Tanh}
    plain = numbers(dqn(policy_kwargs=dict(tanh)).learn(60))
    for way in (Distill(weight=0.0), Replay(), ReDo(threshold=0.0, period=10)):
        assert same(numbers(dqn(packed=True, policy_kwargs=dict(tanh)).learn(60, callback=way)), plain)
    plain = numbers(two_tasks(dqn(), None))
    assert same(numbers(two_tasks(dqn(), Distill(weight=0.0))), plain)
    assert not same(numbers(two_tasks(dqn(), Distill())), plain)


def doubled(model: Any) -> Any:
    """With a network in double precision, whose layers take what SB3's give them in single."""
    model.policy.double()
    for module in model.policy.modules():
        if isinstance(module, th.nn.Linear):
            module.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    return model


@pytest.mark.parametrize("make", [dqn, ppo])
def test_fisher_is_the_mean_of_squared_finite_differences(make: Callable[[], Any]) -> None:
    """Of the losses of single steps, in double precision."""
    model = doubled(make().learn(40))
    parameters = dict(model.policy.named_parameters())
    names = [name for name in parameters if "target" not in name]
    parameters = {name: parameters[name] for name in names}
    np.random.seed(1)
    batches = [_as_double(batch) for batch in drawn(model, 5)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lifelong_gym.agents.deep.continual.fisher.drawn", lambda *_: batches)
        found = fisher(model, parameters, 5)
    rng, step = np.random.default_rng(0), 1e-5
    for name in names:
        flat = parameters[name].data.view(-1)
        place = int(rng.integers(len(flat)))
        slopes = []
        for batch in batches:
            ends = []
            for sign in (1, -1):
                flat[place] += sign * step
                ends.append(float(loss(model, batch).detach()))
                flat[place] -= sign * step
            slopes.append((ends[0] - ends[1]) / (2 * step))
        expected = np.mean(np.square(slopes))
        assert float(found[name].view(-1)[place]) == pytest.approx(expected, rel=1e-4, abs=1e-10)


def _as_double(batch: Any) -> Any:
    parts = [part.double() if isinstance(part, th.Tensor) and part.is_floating_point() else part for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)


@pytest.mark.parametrize("kind", [EWC, OnlineEWC, L2Init])
def test_penalties_gradients_are_autograd_s(kind: Any) -> None:
    """Of the written penalty, over two tasks, at other parameters."""
    model = dqn().learn(40)
    way = kind(3.0, **({} if kind is L2Init else FEW)).attach(model)
    ends, fishers = [], []
    for task in range(2):
        before = {n: t.clone() for n, t in way.kept.values.get("fisher", {}).items()}
        way.on_task_end({"task": task})
        now = way.kept.values.get("fisher", {})
        fishers.append({n: of - (before[n] if before else 0.0) for n, of in now.items()})
        ends.append(way.copies())
        for parameter in way.parameters.values():
            parameter.data.add_(th.randn_like(parameter), alpha=0.1)
    p = way.parameters
    if kind is EWC:
        terms = [(f[n] * (p[n] - end[n]) ** 2).sum() for f, end in zip(fishers, ends, strict=True) for n in p]
    elif kind is OnlineEWC:
        terms = [(way.kept.values["fisher"][n] * (p[n] - ends[-1][n]) ** 2).sum() for n in p]
    else:
        terms = [((p[n] - way.kept.values["start"][n]) ** 2).sum() for n in p]
    penalty: Any = 1.5 * sum(terms)
    expected = th.autograd.grad(penalty, list(p.values()))
    for found, gradient in zip(way.gradients().values(), expected, strict=True):
        th.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6)


def test_online_ewc_fades() -> None:
    """With decay 0 it holds what the last task needs; with 1 the sum of all tasks' needs, as EWC does."""
    ways = [OnlineEWC(decay=decay, n_samples=20).attach(dqn().learn(40)) for decay in (0.0, 1.0)]
    ways.append(EWC(n_samples=20).attach(dqn().learn(40)))  # type: ignore[arg-type]
    fishers = []
    for way in ways:
        way.on_task_end({})
        first = way.kept.values["fisher"]
        way.on_task_end({})
        fishers.append((first, way.kept.values["fisher"]))
    for name in fishers[0][0]:
        (first, last), (_, total), (_, ewc) = (tuple(tensors[name] for tensors in pair) for pair in fishers)
        th.testing.assert_close(total, first + last)
        th.testing.assert_close(ewc, total)


@pytest.mark.parametrize("make", [dqn, ppo])
def test_redo_finds_a_unit_that_was_killed(make: Callable[..., Any]) -> None:
    """And begins it anew: the network says what it said, moments are 0, and the unit is alive."""
    model = make(policy_kwargs={"net_arch": NET, "activation_fn": th.nn.Tanh}).learn(40)
    way = ReDo(threshold=0.0).attach(model)
    is_dqn = isinstance(model, DQN)
    layers = model.policy.q_net.q_net if is_dqn else model.policy.mlp_extractor.policy_net
    layers[0].weight.data[3] = 0.0
    layers[0].bias.data[3] = 0.0
    dead = {hidden.layer: which for hidden, which in way.dormant()}
    assert bool(dead[layers[0]][3])
    seen = th.randn(20, 4)
    say: Callable[[], Any] = (
        (lambda: model.policy.q_net(seen))
        if is_dqn
        else (lambda: model.policy.get_distribution(seen).distribution.logits)
    )
    expected = say().detach()
    way.recycle()
    th.testing.assert_close(say().detach(), expected)
    assert way.n_recycled == sum(int(which.sum()) for which in dead.values()) == 1
    assert bool((layers[0].weight[3] != 0).all())
    assert float(layers[2].weight[:, 3].detach().abs().max()) == 0.0
    moments = model.policy.optimizer.state[layers[0].weight]
    assert float(moments["exp_avg"][3].abs().max()) == 0.0
    assert not bool({hidden.layer: which for hidden, which in way.dormant()}[layers[0]][3])


def test_redo_knows_channels() -> None:
    """A channel of a convolution is a unit; the dense layer behind it reads it in several places."""
    image = gym.spaces.Box(0, 255, (40, 40, 1), np.uint8)
    env = DummyVecEnv([lambda: gym.wrappers.TransformObservation(gym.make("CartPole-v1"), _as_image, image)])
    model = DQN("CnnPolicy", env, learning_starts=5, buffer_size=50, device="cpu", seed=0).learn(12)
    way = ReDo(threshold=0.0, n_samples=4).attach(model)
    extractor: Any = model.q_net.features_extractor
    last, dense = extractor.cnn[4], extractor.linear[0]
    last.weight.data[5] = 0.0
    last.bias.data[5] = -1.0
    dormant = {hidden.layer: which for hidden, which in way.dormant()}
    assert bool(dormant[last][5])
    way.recycle()
    n = dense.weight.shape[1] // 64
    assert float(dense.weight[~dormant[dense], 5 * n : 6 * n].detach().abs().max()) == 0.0
    assert float(last.weight[5].detach().abs().max()) > 0.0


def _as_image(observation: Any) -> Any:
    return np.full((40, 40, 1), 100 + 10 * float(observation[0]), np.uint8)


@pytest.mark.parametrize("make", [dqn, ppo])
def test_packnet_keeps_old_policies_to_the_bit(make: Callable[[], Any]) -> None:
    """However much is learned afterwards; each task owns its share of what was free."""
    model, way = make(), PackNet(retrain=5)
    way.attach(model)
    kept = list[tuple[int, list[th.Tensor]]]()
    for task in (7, 3, 5):
        way.on_task_start({"task": task})
        assert all(same(list(way.of_task(old).values()), tensors) for old, tensors in kept)
        model.learn(40, reset_num_timesteps=False)
        way.on_task_end({"task": task})
        kept.append((task, list(way.of_task(task).values())))
        assert same(list(way.copies().values()), kept[-1][1])
    for task, tensors in kept:
        way.on_task_start({"task": task})
        model.learn(40, reset_num_timesteps=False)
        assert same(list(way.copies().values()), tensors)
        way.on_task_end({"task": task})
    owner = next(of for name, of in way.kept.values["owner"].items() if of.ndim == 2)
    counts = [int((owner == number).sum()) for number in range(3)]
    assert counts[0] == round(owner.numel() / 2)
    assert counts[1] == round((owner.numel() - counts[0]) / 2)
    assert not same(kept[0][1], kept[1][1])


def test_a_library_forgets_nothing() -> None:
    """A task's network is where it was left, and a new one begins as the first did."""
    model, way = dqn(), Library()
    start = numbers(model)
    first = numbers(two_tasks(model, way))
    way.on_task_start({"task": 9})
    assert same(numbers(model), start)
    way.on_task_end({"task": 9})
    way.on_task_start({"task": 1})
    net = list(model.q_net.state_dict().values())
    assert same(
        net, [tensor for name, tensor in zip(model.policy.state_dict(), first, strict=True) if "target" not in name]
    )
    assert same(net, list(model.q_net_target.state_dict().values()))


def test_distillation_is_the_gradient_of_its_penalty() -> None:
    """Against finite differences; it draws values towards those that were remembered."""
    model, way = dqn().learn(40), Distill(weight=2.0, n_samples=30)
    way.attach(model).on_task_end({})
    seen, values = (way.kept.values[name] for name in ("observations", "values"))
    th.testing.assert_close(model.q_net(seen).detach(), values)
    doubled(model)
    for parameter in way.parameters.values():
        parameter.data.add_(th.randn_like(parameter), alpha=0.1)
    seen, values = seen.double(), values.double()
    found = way.gradients(seen, values)

    def penalty() -> float:
        return 2.0 * float(((model.q_net(seen) - values) ** 2).mean().detach())

    for parameter, gradient in zip(way.parameters.values(), found, strict=True):
        flat = parameter.data.view(-1)
        ends = []
        for sign in (1, -1):
            flat[0] += sign * 1e-6
            ends.append(penalty())
            flat[0] -= sign * 1e-6
        assert float(gradient.view(-1)[0]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_replay_of_earlier_tasks() -> None:
    """Half of each batch is of the first task, and a task's own replay begins empty."""
    model, way = dqn(packed=True), Replay(share=0.5)
    model.learn(60, callback=way)
    way.on_task_end({"task": 0})
    buffer: Any = model.replay_buffer
    assert buffer.size() == 0
    (store,) = way.memory.stores.values()
    seen = store.read(np.arange(60)).observations
    model.learn(30, callback=way, reset_num_timesteps=False)
    batch = buffer.sample(20)
    of_first = (batch.observations.numpy()[:, None] == seen[None]).all(axis=2).any(axis=1)
    assert of_first.tolist() == [False] * 10 + [True] * 10


def test_replay_of_any_off_policy_algorithm() -> None:
    """Such as SAC, whose replay has continuous actions."""
    own: dict[str, Any] = {"learning_starts": 10, "buffer_size": 60, "batch_size": 8, "device": "cpu", "seed": 0}
    model, plain = (
        SAC("MlpPolicy", "Pendulum-v1", replay_buffer_class=kind, policy_kwargs={"net_arch": NET}, **own).learn(20)
        for kind in (PackedReplayBuffer, None)
    )
    assert same(numbers(model), numbers(plain))
    two_tasks(model, Replay(), 15)
    assert np.isfinite(model.predict(np.zeros(3, np.float32))[0]).all()


WAYS: list[Callable[[], Continual]] = [
    EWC,
    OnlineEWC,
    L2Init,
    Distill,
    Library,
    PackNet,
    Replay,
    lambda: ReDo(period=7),
]


@pytest.mark.parametrize("make_way", WAYS)
def test_what_is_kept_goes_on_without_pickle(make_way: Callable[[], Continual]) -> None:
    """As JSON and arrays: two more tasks, from what was told, end to the bit where the first run ends."""
    way = make_way()
    model = two_tasks(dqn(packed=True), way)
    arrays: Any = {}
    told = trees.encode({n: part.state_dict() for n, part in _leaves(way).items()}, "way", arrays)
    again, copied = make_way(), copy.deepcopy(model.get_parameters())
    twin: Any = dqn(packed=True)
    twin.set_parameters(copied)
    again.attach(twin)
    for name, state in trees.decode(told, arrays).items():
        _leaves(again)[name].load_state_dict(state)
    _put(again.streams, way.streams)
    ends = []
    for one, of in ((model, way), (twin, again)):
        one.replay_buffer.reset()
        one._last_obs = None
        one.set_random_seed(5)
        of.on_task_start({"task": 0})
        one.learn(40, callback=of)
        of.on_task_end({"task": 0})
        ends.append(numbers(one))
    assert same(*ends)


def _leaves(way: Continual) -> dict[str, Any]:
    return {name: part for name, part in way.parts().items() if name != "streams"}


def _put(streams: Any, like: Any) -> None:
    for name, generator in like.parts().items():
        own = streams.parts()[name]
        if name == "python":
            own.setstate(generator.getstate())
        elif name == "numpy":
            own.set_state(generator.get_state())
        else:
            own.set_state(generator.get_state())


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: EWC(weight=-1.0), ValueError, "`weight` must be at least 0. Received -1"),
    (lambda: EWC(n_samples=0), ValueError, "`n_samples` must be"),
    (lambda: OnlineEWC(decay=1.5), ValueError, r"`decay` must be in \[0, 1\]. Received 1.5"),
    (lambda: PackNet(share=0.0), ValueError, "`share` must be above 0"),
    (lambda: Replay(share=1.0), ValueError, r"`share` must be in \[0, 1\). Received 1"),
    (lambda: ReDo(period=0), ValueError, "`period` must be"),
    (lambda: Distill().attach(ppo()), TypeError, "Distill serves DQN. Received PPO"),
    (lambda: Replay().attach(dqn()), TypeError, "`replay_buffer_class` must be PackedReplayBuffer"),
    (lambda: Library().attach(dqn()).on_task_start({}), ValueError, "Library must be told which task begins and ends"),
    (lambda: dqn(packed=True, optimize_memory_usage=True), ValueError, "`optimize_memory_usage` must be False"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Is named, with what was received."""
    with pytest.raises(error, match=message):
        make()


def test_one_way_serves_one_algorithm() -> None:
    """Another network is refused, also in what was kept."""
    way = L2Init().attach(dqn())
    with pytest.raises(ValueError, match="L2Init serves an algorithm already"):
        dqn().learn(1, callback=way)
    other = L2Init().attach(dqn(policy_kwargs={"net_arch": [4]}))
    with pytest.raises(CheckpointError, match="'start' must be of parameters of shapes"):
        other.kept.load_state_dict(way.kept.state_dict())
