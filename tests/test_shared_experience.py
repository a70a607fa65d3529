"""Agents that recognise tasks and share what they experienced: packed replay, reports, the hub, the whole learner."""

from __future__ import annotations

import dataclasses
import inspect
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from lifelong_gym.agents import SharedExperienceDQN
from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer, Supply
from lifelong_gym.agents.deep.replay.memory import Memory
from lifelong_gym.agents.deep.replay.packing import StepForm, Transitions, pack, unpack
from lifelong_gym.agents.deep.replay.store import CHUNK, Store
from lifelong_gym.agents.deep.sharing.features import features_of
from lifelong_gym.agents.deep.sharing.hub import MANY, Catalogue
from lifelong_gym.agents.deep.sharing.settings import SharingSettings, is_present
from lifelong_gym.agents.deep.sharing.signatures import SIGNATURES, Cosine, Observation, share_between
from lifelong_gym.benchmark.experiment import Experiment
from lifelong_gym.envs.parallel import LifelongParallelEnv
from lifelong_gym.errors import CheckpointError, UnknownNameError
from lifelong_gym.wrappers import AgentBudget, CoreVecEnv, Faults, HiddenTasks, ParameterSharing, as_vec_env
from tests.running import run_here
from tests.test_arguments import meanings
from tests.test_multi_agent import assert_same

CHAIN = "LifelongChain-v0"
FORMS = {
    "vector": StepForm((3,), np.dtype(np.float32), (1,), np.dtype(np.int64)),
    "cells": StepForm((1,), np.dtype(np.int64), (1,), np.dtype(np.int64)),
    "image": StepForm((6, 5, 3), np.dtype(np.uint8), (1,), np.dtype(np.int64)),
    "stack": StepForm((4, 6, 5), np.dtype(np.uint8), (1,), np.dtype(np.int64)),
    "stack-last": StepForm((6, 5, 4), np.dtype(np.uint8), (2,), np.dtype(np.float32)),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come in one order."""
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(n_threads)


# Replay.


def walk(form: StepForm, name: str, n: int, seed: int = 0, episode: int = 7) -> Transitions:
    """Steps in episodes; of a stack, frames move on."""
    rng = np.random.default_rng(seed)
    axis = {"stack": 0, "stack-last": -1}.get(name)
    made, seen = form.room(n), _drawn(rng, form)
    for t in range(n):
        then = _drawn(rng, form)
        if axis is not None:
            then = np.concatenate([np.delete(seen, 0, axis), np.take(then, [0], axis)], axis)
        made.observations[t], made.next_observations[t] = seen, then
        ends = t % episode == episode - 1
        made.actions[t] = rng.integers(0, 4, form.action_shape)
        made.rewards[t], made.dones[t], made.timeouts[t] = rng.standard_normal(), ends, ends and t % 2
        seen = _drawn(rng, form) if ends else then
    return made


def _drawn(rng: np.random.Generator, form: StepForm) -> Any:
    return (10 * rng.random(form.shape)).astype(form.dtype)


def equal(one: Transitions, other: Transitions) -> bool:
    """To the bit."""
    return all(np.array_equal(array, getattr(other, name)) for name, array in vars(one).items())


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("n", [1, 20, 33])
def test_what_is_packed_unpacks_to_the_bit(name: str, n: int) -> None:
    """With episodes that end in it, and steps that don't follow each other."""
    form = FORMS[name]
    steps = walk(form, name, n)
    for some in (steps, steps[::2], steps[:0]):
        read = unpack(pack(some, form), form)
        assert equal(read[np.arange(len(some))], some)
        back = np.arange(len(some))[::-1]
        assert equal(read[back], some[back])


def test_frames_are_stored_once_and_small() -> None:
    """Of a moving square, stacked in fours, a transition costs less than a twentieth of one of its eight frames."""
    form = StepForm((84, 84, 4), np.dtype(np.uint8), (1,), np.dtype(np.int64))
    frames = np.zeros((40, 84, 84), np.uint8)
    for t in range(40):
        frames[t, 40:48, 2 * t : 2 * t + 4] = 200
    stacks = np.stack([np.moveaxis(frames[t : t + 4], 0, -1) for t in range(33)])
    steps = form.room(32)
    steps.observations[:], steps.next_observations[:] = stacks[:-1], stacks[1:]
    assert pack(steps, form).nbytes / 32 < 84 * 84 / 20
    assert equal(unpack(pack(steps, form), form)[np.arange(32)], steps)


@given(st.integers(1, 90), st.integers(0, 200), st.integers(0, 1))
def test_a_store_is_a_ring(capacity: int, n: int, image: int) -> None:
    """Like an array of so many places, written in turns; also when told, newest ones taken, or sent."""
    name = ("vector", "stack")[image]
    form, expected = FORMS[name], FORMS[name].room(capacity)
    steps, store = walk(form, name, n), Store(form, capacity, cache=1)
    for t in range(n):
        store.add(steps[t : t + 1])
        for field, array in vars(expected).items():
            array[t % capacity] = getattr(steps, field)[t]
    assert len(store) == min(n, capacity)
    everything = np.arange(len(store))
    assert equal(store.read(everything), expected[everything])
    again = Store(form, capacity)
    again.load_state_dict(store.state_dict())
    assert equal(again.read(everything), expected[everything])
    assert equal(store.newest(10).read(np.arange(min(10, len(store)))), steps[max(0, n - min(10, len(store))) : n])
    if n:
        received = Store.received(store.sent(), form)
        assert equal(received.read(everything), steps[n - len(store) : n])


def test_damaged_and_foreign_replay_is_refused() -> None:
    """Whatever byte is wrong, and whatever space it is of; nothing has changed then."""
    form, steps = FORMS["vector"], walk(FORMS["vector"], "vector", 40)
    store = Store(form, 40)
    for t in range(40):
        store.add(steps[t : t + 1])
    sent = store.sent()
    for place in (-1, -9, 30 * 4):
        bad = sent["0"].copy()
        bad[place] ^= 255
        with pytest.raises(CheckpointError, match="replay"):
            Store.received({**sent, "0": bad}, form)
    with pytest.raises(CheckpointError, match=r"must be of observations of shape \(1,\), int64"):
        Store.received(sent, FORMS["cells"])
    with pytest.raises(CheckpointError, match="chunks 0, 1"):
        Store.received({"1": sent["1"]}, form)
    told = store.state_dict()
    with pytest.raises(CheckpointError, match="must have 2 chunks"):
        store.load_state_dict({**told, "chunks": {"0": told["chunks"]["0"]}})
    assert equal(store.read(np.arange(40)), steps)


def test_memory_is_bounded_in_bytes() -> None:
    """The largest task's older half goes first; what is left is the newest."""
    form, memory = FORMS["vector"], Memory(4000)
    memory.form = form
    steps = walk(form, "vector", 600)
    for label, n in ((0, 40), (1, 600), (0, 30)):
        store = Store(form, 600)
        for t in range(n):
            store.add(steps[t : t + 1])
        memory.add(label, store)
        assert memory.n_bytes <= 4000
    assert len(memory.stores[0]) == 70
    kept = memory.stores[1]
    assert CHUNK <= len(kept) < 300
    assert equal(kept.read(np.arange(len(kept))), steps[600 - len(kept) :])


def test_twenty_agents_replay_of_ten_tasks_fits_a_gigabyte() -> None:
    """10,000 transitions each of stacked frames in which something moves: the sum from one chunk's size."""
    form = StepForm((4, 84, 84), np.dtype(np.uint8), (1,), np.dtype(np.int64))
    rng, frames = np.random.default_rng(0), np.zeros((CHUNK + 4, 84, 84), np.uint8)
    frames[:] = rng.integers(0, 255, (84, 84))
    for t in range(CHUNK + 4):
        for _ in range(4):
            row, column = rng.integers(0, 78, 2)
            frames[t, row : row + 6, column : column + 6] = 90
    steps = form.room(CHUNK)
    for t in range(CHUNK):
        steps.observations[t], steps.next_observations[t] = frames[t : t + 4], frames[t + 1 : t + 5]
    chunk = pack(steps, form).nbytes
    assert 20 * 10 * (10_000 / CHUNK) * chunk < 20 * 10 * 10_000 * 4 * 84 * 84 * 2 / 25
    small = frames.copy()
    small[:] = 0
    for t in range(CHUNK + 4):
        small[t, 40:46, t : t + 6] = 90
    for t in range(CHUNK):
        steps.observations[t], steps.next_observations[t] = small[t : t + 4], small[t + 1 : t + 5]
    assert 20 * 10 * (10_000 / CHUNK) * pack(steps, form).nbytes < 1e9


def test_shares_of_a_batch() -> None:
    """From each source its own, the rest from one's own; all of it from sources while there is nothing else."""
    space = spaces.Box(-9, 9, (3,), np.float32)
    buffer = PackedReplayBuffer(50, space, spaces.Discrete(4), "cpu")
    stores = []
    for k in range(2):
        stores.append(Store(buffer.form, 20))
        for _ in range(20):
            one = buffer.form.room(1)
            one.rewards[:] = k + 1
            stores[k].add(one)
    buffer.sources = {"a": Supply(0.25, lambda: stores[:1]), "b": Supply(0.5, lambda: stores[1:])}
    assert np.bincount(buffer.sample(20).rewards.numpy().astype(int).ravel()).tolist() == [0, 7, 13]
    for _ in range(5):
        buffer.add(*(np.zeros((1, 3)),) * 2, np.zeros((1, 1)), np.zeros(1), np.zeros(1), [{}])
    buffer.add(*(np.zeros((1, 3)),) * 2, np.zeros((1, 1)), np.ones(1), np.zeros(1), [{"idle": True}])
    assert buffer.size() == 5
    assert np.bincount(buffer.sample(20).rewards.numpy().astype(int).ravel()).tolist() == [5, 5, 10]


# Signatures and the catalogue.


def lottery(task: int, n: int, seed: int) -> Transitions:
    """Steps in a task of five cells, which differs from others in which cell is worth something."""
    rng, form = np.random.default_rng(seed), FORMS["cells"]
    made, cell = form.room(n), 0
    for t in range(n):
        action = int(rng.integers(0, 2))
        then = min(cell + 1, 4) if action else 0
        made.observations[t], made.next_observations[t], made.actions[t] = cell, then, action
        made.rewards[t], made.dones[t] = then == task, then == 4
        cell = 0 if then == 4 else then
    return made


@pytest.mark.parametrize("name", ["observation", "cosine"])
def test_signatures_tell_tasks_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reports of one task are nearer than the threshold, those of different ones aren't."""
    monkeypatch.setattr(Cosine, "updates", 60)
    kind = SIGNATURES[name](spaces.Discrete(5), spaces.Discrete(2))
    th.manual_seed(0)
    np.random.seed(0)
    reports = [(task, kind.report(lottery(task, 320, 10 * task + k))) for task, k in ((1, 0), (1, 1), (3, 0))]
    for i, (task, one) in enumerate(reports):
        for other_task, other in reports[:i]:
            distance = kind.distance(one, other)
            assert (distance <= kind.threshold) == (task == other_task), (task, other_task, distance)
            assert distance == kind.distance(other, one)
        assert kind.distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_a_script_tells_modes_apart() -> None:
    """Tasks in which the same happens, but after other actions: at random they look alike, by one script they don't."""
    form, reports = FORMS["cells"], {"observation": [], "probe": []}  # type: ignore[var-annotated]
    for mode in (0, 1):
        for seed in range(2):
            for name in reports:
                rng, made = np.random.default_rng(seed + 10 * mode), form.room(320)
                script = np.random.default_rng(5).integers(0, 2, 10)
                for t in range(320):
                    action = script[t % 10] if name == "probe" else rng.integers(0, 2)
                    made.next_observations[t] = (action ^ mode) if rng.random() < 0.9 else rng.integers(0, 2)
                    made.dones[t] = t % 10 == 9
                kind = SIGNATURES[name](spaces.Discrete(5), spaces.Discrete(2))
                reports[name].append(kind.report(made))
    for name, (a, b, c, _) in reports.items():
        assert kind_distance(name, a, b) <= 0.1
        assert (kind_distance(name, a, c) <= 0.1) == (name == "observation")


def kind_distance(name: str, one: Any, other: Any) -> float:
    """Of two reports of cells."""
    return SIGNATURES[name](spaces.Discrete(5), spaces.Discrete(2)).distance(one, other)


def test_the_share_between() -> None:
    """About 0 for groups alike, 1 for groups that are apart without any spread; columns that don't vary don't count."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 16, 400)).astype(np.float32)
    assert share_between(a, b) == pytest.approx(0.0, abs=0.01)
    assert share_between(np.zeros((4, 2)), np.ones((4, 2))) == 1.0
    assert share_between(np.ones((4, 2)), np.ones((4, 2))) == 0.0
    assert share_between(np.ones((4, 2)), np.ones((4, 3))) == 1.0


def test_images_are_made_small() -> None:
    """Block means of whatever is seen, channels first or last."""
    image = np.arange(2 * 42 * 63, dtype=np.float64).reshape(2, 42, 63, 1)
    found = features_of(spaces.Box(0, 1e5, (42, 63, 1)))(image)
    assert np.allclose(found, image.reshape(2, 21, 2, 21, 3).mean(axis=(2, 4)).reshape(2, -1))
    assert np.allclose(features_of(spaces.Box(0, 1e5, (1, 42, 63)))(np.moveaxis(image, 3, 1)), found)
    with pytest.raises(ValueError, match=r"`env` must show Discrete\(4096\) at most"):
        features_of(spaces.Discrete(5000))


@pytest.mark.parametrize(
    ("threshold", "words"), [(1.0, "is held to be one task"), (0.0, "is held to be a task of its")]
)
def test_a_signature_that_tells_all_or_none_apart_is_reported(threshold: float, words: str) -> None:
    """Once, after some meetings."""
    kind = Observation(spaces.Discrete(5), spaces.Discrete(2))
    catalogue = Catalogue(kind, threshold)
    reports = [np.full((16, 18), k, np.float32) for k in range(MANY)]
    catalogue.label(reports[0], "a")
    for report in reports[:-1]:
        catalogue.label(report, "a")
    with pytest.warns(UserWarning, match=words):
        catalogue.label(reports[-1], "a")


# The learner.

LEFT, RIGHT = {"reward_s1": 1.0, "reward_s5": -1.0}, {"reward_s1": -1.0, "reward_s5": 1.0}
DRIFT = {name: 1.0 for name in ("s2_left_under_l", "s2_left_under_r", "s4_left_under_l", "s4_left_under_r")}
TASKS = [LEFT, RIGHT, {**RIGHT, **DRIFT}]
OWN: dict[str, Any] = {"batch_size": 8, "buffer_size": 64, "target_update_interval": 20}


def rounds_env(n_agents: int = 3, n_rounds: int = 3, steps: int = 32, **sharing: Any) -> CoreVecEnv:
    """Agents in rounds of the chain, with a hub."""
    more: dict[str, Any] = {"schedule": {"rounds": "permutation"}, "backend": "numpy", "horizon": 10}
    env = pettingzoo.make("parallel", CHAIN, n_agents=n_agents, tasks=TASKS, **more)
    nodes = {"hub": [], **{agent: [agent] for agent in env.possible_agents}}
    venv = as_vec_env(ParameterSharing(env, **{"topology": "star", "nodes": nodes, **sharing}))
    assert isinstance(venv, CoreVecEnv)
    venv.budget = AgentBudget(venv.core, n_rounds, steps)
    venv.seed(3)
    return venv


def make(env: Any, **more: Any) -> SharedExperienceDQN:
    """With a small network."""
    own: dict[str, Any] = {"meeting_steps": 16, "threshold": 0.3, "algorithm_kwargs": OWN, "seed": 0, "device": "cpu"}
    return SharedExperienceDQN("MlpPolicy", env, 1e-2, policy_kwargs={"net_arch": [8]}, **{**own, **more})


def test_a_task_that_somebody_met_is_borrowed() -> None:
    """Labels are those of the tasks; bytes are those of reports, answers and packed replay, on their own edges."""
    env = rounds_env(steps=192)
    tasks: dict[tuple[int, str], int] = {}
    own = {"meeting_steps": 160, "threshold": None, "algorithm_kwargs": {**OWN, "buffer_size": 256, "train_freq": 32}}
    model = make(HiddenTasks(env), **own)
    labels, borrowed = {}, {}

    def note(*_: Any) -> bool:
        for i, agent in enumerate(model._members()):
            at = (agent.desk.round, str(agent.node))
            if agent.is_learning and at not in labels:
                labels[at], tasks[at] = agent.desk.label, int(env.core.task_of_row[i])
                borrowed[at] = sum(len(store) for store in agent._borrowed())
        return True

    model.learn(3 * 3 * 192, callback=note)
    assert len(labels) == 9
    pairs = {(tasks[at], label) for at, label in labels.items()}
    assert len(pairs) == len({task for task, _ in pairs}) == len({label for _, label in pairs})
    first = {label: min(round for (round, _), other in labels.items() if other == label) for label in labels.values()}
    for (round, node), label in labels.items():
        assert (borrowed[round, node] > 0) == (round > first[label])
    sizes = {label: entry.size for label, entry in model.hub.catalogue.entries.items()}
    assert all((sizes[label] == 192) == (round < 2) for label, round in first.items())
    ledger = model.channel.ledger.per_edge()
    packed = sum(chunk.nbytes for store in model.hub.memory.stores.values() for chunk in store.sent().values())
    up = sum(row["bytes"] for (_, receiver), row in ledger.items() if receiver == "hub")
    report = 16 * (3 * int(model.observation_space.n) + 3) * 4  # type: ignore[attr-defined]
    assert up >= 9 * report + packed
    assert not any(len(agent._unpacked[1]) > 1 for agent in model._members())


CASES: list[dict[str, Any]] = [
    {},
    {"borrow": "both", "continual": "ewc", "continual_kwargs": {"n_samples": 4}, "pretrain": 2},
    {"borrow": None, "continual": "replay", "batched": True},
    {
        "borrow": None,
        "continual": "packnet",
        "continual_kwargs": {"retrain": 2},
        "signature": "probe",
        "threshold": 1.0,
    },
]


class KilledError(Exception):
    """As a kill would, it ends everything in the middle of a step."""


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_to_the_bit(case: dict[str, Any], tmp_path: Path) -> None:
    """Within meetings and within tasks, with lost messages: all that is kept goes on, without pickle."""
    faults = {"faults": Faults(loss=0.3, seed=2)}
    if case.get("signature") == "probe":
        case = {**case, "meeting_steps": 40}
    steps = 52
    whole = make(rounds_env(2, 2, steps, **faults), **case).learn(2 * 2 * steps)
    for n_sweeps in (5, 20):
        model = make(rounds_env(2, 2, steps, **faults), **case)
        model.learn(2 * 2 * steps, callback=lambda _l, _g, n=n_sweeps, m=model: m._n_updates < n)
        model.save(tmp_path / "model")
        resumed = SharedExperienceDQN.load(tmp_path / "model", env=rounds_env(2, 2, steps, **faults), device="cpu")
        resumed.learn(2 * 2 * steps - resumed.num_timesteps, reset_num_timesteps=False)
        assert_same(resumed, whole)


def test_presence() -> None:
    """Who is away learns and sends nothing; what it left stays; who joins late is told what is known."""
    env = rounds_env(3, 3, 48)
    model = make(env, threshold=1.0, presence={"agent_1": [(0, 1), (2, None)], "agent_2": [[2, 3]]})
    before = {n: t.clone() for n, t in model.agents[2].policy.state_dict().items()}
    seen: dict[tuple[int, int], str] = {}

    def note(*_: Any) -> bool:
        seen.update({(i, agent.desk.round): agent.desk.stage for i, agent in enumerate(model._members())})
        late = model._members()[2]
        if late.desk.round < 2:
            assert all(th.equal(t, before[n]) for n, t in late.policy.state_dict().items())
            assert len(late.store) == 0
        return True

    model.learn(3 * 3 * 48, callback=note)
    away = {(1, 1), (2, 0), (2, 1)}
    assert {at for at, stage in seen.items() if stage == "away"} == away
    assert {at for at, stage in seen.items() if stage == "learning"} == {
        (i, k) for i in range(3) for k in range(3)
    } - away
    assert sum(len(store) for store in model._members()[2]._borrowed()) > 0
    assert model.hub.catalogue.entries[0].owner in ("agent_0", "agent_1")


def test_agents_on_their_own_send_nothing() -> None:
    """With ``borrow=None``, also where there is a channel; each has a catalogue of its own."""
    model = make(rounds_env(2, 2, 48), borrow=None, threshold=1.0).learn(2 * 2 * 48)
    assert model.channel.ledger.snapshot() == {"rounds": 0, "messages": 0, "bytes": 0}
    assert [len(own.entries) for own in model._own.values()] == [1, 1]
    assert model.hub.catalogue.entries == {}
    assert model.label_of("agent_0") == 0
    with pytest.raises(UnknownNameError, match="unknown node 'agent_9'"):
        model.label_of("agent_9")


def test_training_together_is_training_alone() -> None:
    """All agents' updates in one call are SB3's own, to 1e-6, clipping and moments included."""
    more: dict[str, Any] = {"borrow": None, "threshold": 1.0, "algorithm_kwargs": {**OWN, "max_grad_norm": 0.05}}
    apart, together = (make(rounds_env(3, 1, 60), batched=batched, **more).learn(180) for batched in (False, True))
    for one, other in zip(apart.agents, together.agents, strict=True):
        assert one.algorithm._n_updates == other.algorithm._n_updates > 5
        for tensor, like in zip(one.policy.state_dict().values(), other.policy.state_dict().values(), strict=True):
            th.testing.assert_close(tensor, like, rtol=1e-6, atol=1e-6)
    assert not any(
        th.equal(a, b)
        for a, b in zip(apart.agents[0].policy.parameters(), apart.agents[1].policy.parameters(), strict=True)
    )


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"signature": "smell"}, UnknownNameError, "unknown signature 'smell'"),
    ({"threshold": 2.0}, ValueError, r"`threshold` must be in \[0, 1\]. Received 2"),
    ({"meeting_steps": 3}, ValueError, "`meeting_steps` must be an integer of at least 16"),
    ({"borrow": "money"}, UnknownNameError, "unknown borrow 'money'"),
    ({"borrow_share": 1.0}, ValueError, r"`borrow_share` must be in \[0, 1\)"),
    ({"continual": "ewk"}, UnknownNameError, "unknown continual 'ewk'. Did you mean 'ewc'"),
    ({"continual": "ewc", "continual_kwargs": {"wait": 1}}, UnknownNameError, "argument of `continual_kwargs` 'wait'"),
    ({"continual": "ewc", "continual_kwargs": {"weight": -1}}, ValueError, "`weight` must be at least 0"),
    ({"continual": "library", "continual_kwargs": {"weight": 1}}, UnknownNameError, "`continual_kwargs` 'weight'"),
    ({"continual_kwargs": {"weight": 1}}, ValueError, "`continual_kwargs` must be None without `continual`"),
    ({"continual": "packnet", "borrow": "both"}, ValueError, "`borrow` must not be of weights"),
    ({"presence": {"agent_0": [(2, 1)]}}, ValueError, r"`presence\['agent_0'\]` must be an integer of at least 3"),
    ({"presence": {"agent_0": [2]}}, ValueError, r"`presence\['agent_0'\]` must hold intervals"),
    ({"batched": 1}, ValueError, "`batched` must be True or False"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Named, with what was received."""
    with pytest.raises(error, match=message):
        SharingSettings(**arguments)


def test_envs_that_do_not_fit() -> None:
    """A channel without a hub, agents of several rows, unknown nodes, arguments that are ours, continuous actions."""
    with pytest.raises(ValueError, match=r"a node must reach all agents to be their hub.*agent_3"):
        make(rounds_env(4, topology="ring", nodes=None))
    env = rounds_env(3, nodes={"hub": [], "a": ["agent_0", "agent_1"], "b": ["agent_2"]})
    with pytest.raises(ValueError, match=r"each agent must have one row\. 'a' has 2"):
        make(env)
    with pytest.raises(UnknownNameError, match="unknown node of `presence` 'agent_7'"):
        make(rounds_env(), presence={"agent_7": [(0, 1)]})
    with pytest.raises(ValueError, match="`algorithm_kwargs` must not have 'learning_starts'"):
        make(rounds_env(), algorithm_kwargs={"learning_starts": 5})
    with pytest.raises(ValueError, match=r"`buffer_size` must hold the 300 steps of `meeting_steps`\. Received 64"):
        make(rounds_env(), meeting_steps=300)
    with pytest.raises(ValueError, match="must have Discrete actions"):
        make("LifelongCartPole-v0")


def test_a_round_too_short_is_reported() -> None:
    """An agent that doesn't get to know its task learns nothing in it."""
    model = make(rounds_env(2, 2, 24), meeting_steps=40)
    with pytest.warns(UserWarning, match="didn't learn in round 0: its task changed before it was recognised"):
        model.learn(2 * 2 * 24)


def test_presence_is_half_open() -> None:
    """From the first round to before the end."""
    presence = {"a": [(0, 2), (5, None)]}
    assert [is_present(presence, "a", k) for k in range(7)] == [True, True, False, False, False, True, True]
    assert is_present(presence, "b", 3)


def test_a_file_for_acting(tmp_path: Path) -> None:
    """Without an environment the agents act as they did."""
    model = make(rounds_env(2, 1, 40), threshold=1.0).learn(80)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    acting = SharedExperienceDQN.load(file, device="cpu")
    seen = np.array([0, 1])
    assert np.array_equal(acting.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])
    assert math.isclose(len(acting.hub.catalogue.entries), len(model.hub.catalogue.entries))


def test_under_the_protocol_of_rounds(tmp_path: Path) -> None:
    """Agents in a star, whose first is the hub: bytes are in the run file, and a repetition is equal."""
    arguments = {"meeting_steps": 16, "threshold": 1.0, "continual": "library", "algorithm_kwargs": OWN}
    learner = {"class": "lifelong_gym.agents:SharedExperienceDQN", "arguments": arguments}
    rounds = {"name": "rounds", "episodes_per_task": 8, "n_evaluations": 2, "n_eval_episodes": 1, "n_agents": 2}
    content = {
        "learners": {"shared": learner},
        "families": {CHAIN: {"n_tasks": 2, "horizon": 12}},
        "protocol": {**rounds, "rounds": "permutation", "topology": "star"},
        "seeds": 1,
    }
    runs = [run_here(Experiment.of_dict(content), tmp_path / name)[0] for name in "ab"]
    assert np.array_equal(runs[0].returns, runs[1].returns)
    assert runs[0].of_agents().shape == (3, 2, 2)
    sent = [counts.bytes for counts in runs[0].communication if counts is not None]
    assert sent[0] == 0 < sent[1] < sent[2]


def test_a_constructor_repeats_its_settings() -> None:
    """Names, defaults and meanings are those of the settings class."""
    parameters = inspect.signature(SharedExperienceDQN).parameters
    told, settled = meanings(SharedExperienceDQN, "Args"), meanings(SharingSettings, "Attributes")
    assert list(told) == [name for name in parameters if not name.startswith("_")]
    for field in dataclasses.fields(SharingSettings):
        assert parameters[field.name].default == field.default
        assert parameters[field.name].annotation == field.type
        assert told[field.name] == settled[field.name]


@pytest.mark.parametrize(
    ("signature", "continual", "borrow"),
    [("observation", "library", "replay"), ("probe", "packnet", None), ("observation", "ewc", "replay")],
)
def test_a_task_that_was_met_is_recognised(signature: str, continual: str, borrow: str | None) -> None:
    """By a report from a row of its own: an agent that kept a policy for it acts by that, and nothing changes."""
    env = rounds_env(2, 2, 80)
    more: dict[str, Any] = {"continual_kwargs": {"retrain": 2}} if continual == "packnet" else {}
    meeting = {"signature": signature, "meeting_steps": 60, "threshold": 0.2}
    model = make(env, continual=continual, borrow=borrow, **meeting, **more)
    tasks: list[list[int]] = [[], []]

    def note(*_: Any) -> bool:
        for agent, task in enumerate(env.core.task_of_row.tolist()):
            if model.agents[agent].desk.stage == "learning" and task not in tasks[agent]:  # type: ignore[attr-defined]
                tasks[agent].append(task)
        return True

    model.learn(2 * 2 * 80, callback=note)
    model.on_task_end({})
    assert sorted(map(len, tasks)) == [2, 2]
    before = model.hub.state_dict()["catalogue"]["n_reports"]
    for agent, known in enumerate(tasks):
        for order, task in enumerate(known):
            settings: dict[str, Any] = {"schedule": {"rounds": "uniform"}, "backend": "numpy", "horizon": 10}
            alone: Any = as_vec_env(pettingzoo.make("parallel", CHAIN, n_agents=1, tasks=[TASKS[task]], **settings))
            alone.budget = AgentBudget(alone.core, 1, 60)
            alone.seed(7)
            met = model.meet(HiddenTasks(alone), agent)
            assert alone.budget.taken.tolist() == [0 if continual == "ewc" else 60]
            way: Any = model.agents[agent].way  # type: ignore[attr-defined]
            if continual == "ewc":
                assert met is None
                continue
            label = [*way.kept.values["shelf"]][order] if continual == "library" else way.labels[order]
            assert met is not None
            kept, found = way.policy_of(label), met.state_dict()
            assert all(th.equal(kept[name], tensor) for name, tensor in found.items())
    assert model.hub.state_dict()["catalogue"]["n_reports"] == before
    if continual != "ewc":
        with pytest.raises(ValueError, match=r"must be at least the learner's, 60\. Received 0"):
            model.meet(HiddenTasks(alone), 0)


def images_env(steps: int) -> CoreVecEnv:
    """Two agents in three rounds of cameras, by night and by day."""
    tasks = [{"ground": "night", "drift": 1}, {"ground": "day", "drift": 1}]
    rows: dict[str, Any] = {"schedule": {"rounds": "permutation"}, "n_agents": 2}
    venv = as_vec_env(ParameterSharing(LifelongParallelEnv("tests.camera:Camera", tasks=tasks, **rows), "star"))
    assert isinstance(venv, CoreVecEnv)
    venv.budget = AgentBudget(venv.core, 3, steps)
    venv.seed(1)
    return venv


def test_images_are_shared_and_resumed_to_the_bit(tmp_path: Path) -> None:
    """Tasks are recognised by what cameras see, their packed frames are borrowed, and a killed run goes on."""
    steps, own = 60, {**OWN, "train_freq": 6, "target_update_interval": 12}

    def made() -> SharedExperienceDQN:
        kinds = {"features_extractor_class": "SmallCNN", "features_extractor_kwargs": {"features_dim": 8}}
        more: dict[str, Any] = {
            "meeting_steps": 24,
            "threshold": 0.6,
            "algorithm_kwargs": own,
            "seed": 0,
            "device": "cpu",
        }
        sizes = {**kinds, "net_arch": [8]}
        return SharedExperienceDQN("CnnPolicy", images_env(steps), 1e-3, policy_kwargs=sizes, **more)

    whole, met = made(), {}
    core: Any = whole.env.unwrapped.core  # type: ignore[union-attr]

    def note(*_: Any) -> bool:
        for i, agent in enumerate(whole._members()):
            if agent.is_learning and (i, agent.desk.round) not in met:
                met[i, agent.desk.round] = (int(core.task_of_row[i]), agent.desk.label, agent._borrowed())
        return True

    whole.learn(3 * 2 * steps, callback=note)
    assert len(met) == 6
    assert len({(task, label) for task, label, _ in met.values()}) == len(whole.hub.catalogue.entries) == 2
    borrowed = [stores[0] for _, _, stores in met.values() if stores]
    assert len(borrowed) >= 2
    assert borrowed[0].read(np.arange(3)).observations.shape == (3, 1, 40, 40)
    for store in whole.hub.memory.stores.values():
        packed = sum(chunk.nbytes for chunk in store.sent().values())
        assert packed < len(store) * 2 * 40 * 40 / 10
    for n_sweeps in (12, 27):
        model = made()
        model.learn(3 * 2 * steps, callback=lambda _l, _g, n=n_sweeps, m=model: m._n_updates < n)
        model.save(tmp_path / "model")
        resumed = SharedExperienceDQN.load(tmp_path / "model", env=images_env(steps), device="cpu")
        resumed.learn(3 * 2 * steps - resumed.num_timesteps, reset_num_timesteps=False)
        assert_same(resumed, whole)
