"""Model files: whole or not at all, nothing executed, and learning goes on to the bit."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
import safetensors.numpy
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

import lifelong_gym
from lifelong_gym import sample_tasks
from lifelong_gym.agents import (
    ENAC,
    GOMTL,
    PGELLA,
    REINFORCE,
    RWR,
    LinearGaussianPolicy,
    MultiAgentAlgorithm,
    MultiTaskAlgorithm,
    ProjectedPG,
    SafeLifelongPG,
    ScalablePGELLA,
)
from lifelong_gym.agents.contract import checkpoint
from lifelong_gym.agents.contract.state import tensors
from lifelong_gym.agents.shared_basis.basis import sums
from lifelong_gym.errors import CheckpointError
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
TASKS = sample_tasks(ID, 3, seed=0, preset="hetero")
LEARNERS: dict[str, tuple[type[MultiTaskAlgorithm], dict[str, Any]]] = {
    "reinforce": (REINFORCE, {"bias": False}),
    "reinforce-shared": (REINFORCE, {"shared": True}),
    "enac": (ENAC, {"n_trajectories": 8, "max_kl": 0.1}),
    "pgella": (PGELLA, {"n_basis": 2, "sigma": 0.5}),
    "pgella-enac": (PGELLA, {"base": "enac", "n_trajectories": 8}),
    "rwr": (RWR, {"beta": 2.0, "reward_to_go": True}),
    "gomtl": (GOMTL, {"base": "rwr", "base_settings": {"beta": 2.0}, "mean_basis": True}),
    "scalable": (ScalablePGELLA, {"admm_iterations": 5, "penalty": 0.2}),
    "safe": (SafeLifelongPG, {"n_trajectories": 8, "mu_1": 0.01, "forget": 0.9}),
    "safe-linearised": (SafeLifelongPG, {"n_trajectories": 8, "variant": "B"}),
    "projected": (ProjectedPG, {"n_trajectories": 8}),
    "scalable-enac": (ScalablePGELLA, {"base": "enac", "n_trajectories": 8, "consensus": "all_reduce"}),
}
AGENTS = {"algorithm_kwargs": {"n_steps": 8, "batch_size": 8}, "policy_kwargs": {"net_arch": [4]}}
OF_PARTS: dict[str, tuple[type[MultiTaskAlgorithm], dict[str, Any]]] = {
    "ppo-agents": (MultiAgentAlgorithm, AGENTS),
    "sac-agents": (MultiAgentAlgorithm, {"algorithm": "SAC", "algorithm_kwargs": {"buffer_size": 50}}),
}
every_learner = pytest.mark.parametrize("name", LEARNERS)
Contents = dict[str, bytes]


def env(tasks: Any = TASKS) -> VecEnv:
    """Short episodes."""
    return as_vec_env(ID, tasks=tasks, horizon=10)


def pendulums() -> VecEnv:
    """An environment that has to be stepped."""
    return DummyVecEnv([lambda: gym.make("Pendulum-v1", max_episode_steps=5)] * 2)


def make(name: str, venv: VecEnv | None = None, **more: Any) -> MultiTaskAlgorithm:
    """A learner that has learned nothing."""
    kind, arguments = {**LEARNERS, **OF_PARTS}[name]
    policy = POLICY if name in LEARNERS else "MlpPolicy"
    model: MultiTaskAlgorithm = kind(policy, venv or env(), **{"seed": 0, **arguments, **more})
    return model


def state(model: MultiTaskAlgorithm) -> dict[str, np.ndarray]:
    """Everything that was learned."""
    return {name: tensor.numpy().copy() for name, tensor in tensors(model).items()}


def assert_same(one: MultiTaskAlgorithm, other: MultiTaskAlgorithm) -> None:
    """Equal to the bit."""
    assert state(one).keys() == state(other).keys()
    for name, array in state(one).items():
        assert np.array_equal(array, state(other)[name]), name


@pytest.fixture
def contents() -> Contents:
    """The members of a good file."""
    buffer = io.BytesIO()
    make("pgella").learn(1).save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(contents: Contents, compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    """A file of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    buffer.seek(0)
    return buffer


def with_text(contents: Contents, change: Callable[[dict[str, Any]], object]) -> io.BytesIO:
    """The same file with its JSON changed."""
    text = json.loads(contents["model.json"])
    change(text)
    return packed({**contents, "model.json": json.dumps(text).encode()})


def with_arrays(contents: Contents, change: Callable[[dict[str, np.ndarray]], object]) -> io.BytesIO:
    """The same file with its arrays changed."""
    arrays = {name: array.copy() for name, array in safetensors.numpy.load(contents["arrays.safetensors"]).items()}
    change(arrays)
    return packed({**contents, "arrays.safetensors": safetensors.numpy.save(arrays)})


# There and back.


@pytest.mark.parametrize("name", [*LEARNERS, *OF_PARTS])
def test_a_loaded_model_is_the_saved_one(name: str, tmp_path: Path) -> None:
    """Parameters, settings and actions, with an environment or without."""
    model = make(name).learn(1)
    model.save(tmp_path / "model")
    observations = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for venv in (env(), None):
        loaded = type(model).load(tmp_path / "model.zip", env=venv)
        assert_same(model, loaded)
        arguments = {**LEARNERS, **OF_PARTS}[name][1]
        assert {key: getattr(loaded, key) for key in arguments} == arguments
        for one, other in ((model, loaded), (model.for_task(2), loaded.for_task(2))):
            actions, again = (m.predict(observations, deterministic=True)[0] for m in (one, other))
            assert np.array_equal(actions, again)
        assert (loaded.num_timesteps, loaded.n_tasks) == (model.num_timesteps, 3)
    with pytest.raises(ValueError, match="without an environment"):
        loaded.learn(1)
    second = io.BytesIO()
    loaded.save(second)  # the tasks' hash is not forgotten
    second.seek(0)
    with pytest.raises(CheckpointError, match="tasks with hash"):
        type(model).load(second, env=env(sample_tasks(ID, 3, seed=1)))


@every_learner
@pytest.mark.parametrize("make_env", [env, pendulums], ids=["fused", "stepped"])
def test_going_on_equals_not_stopping(name: str, make_env: Callable[[], VecEnv], tmp_path: Path) -> None:
    """Two sweeps, save, load, two sweeps: as four sweeps, to the bit, also without a seed."""
    whole, first = (make(name, make_env(), seed=None, learning_rate=0.2) for _ in range(2))
    first.noise_seed = whole.noise_seed
    n = whole.learn(1).num_timesteps
    whole.learn(3 * n, reset_num_timesteps=False)
    first.learn(2 * n).save(tmp_path / "half")
    second = type(first).load(tmp_path / "half", env=make_env())
    second.learn(2 * n, reset_num_timesteps=False)
    assert second.num_timesteps == whole.num_timesteps == 4 * n
    assert_same(whole, second)


def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path: Path) -> None:
    """What SB3's callback saved after a sweep leads to the same parameters."""
    model = make("pgella")
    n = model.learn(1).num_timesteps
    saving = CheckpointCallback(save_freq=1, save_path=str(tmp_path), name_prefix="run")
    model.learn(3 * n, callback=saving, reset_num_timesteps=False)
    resumed = PGELLA.load(tmp_path / f"run_{2 * n}_steps.zip", env=env())
    resumed.learn(2 * n, reset_num_timesteps=False)
    assert_same(model, resumed)


def test_names_of_files(tmp_path: Path) -> None:
    """``.zip`` is added where there is no suffix; folders are made; any path or binary file will do."""
    model = make("reinforce")
    model.save(str(tmp_path / "new" / "folder" / "model"))
    model.save(tmp_path / "model.v1")
    assert (tmp_path / "new" / "folder" / "model.zip").is_file()
    assert (tmp_path / "model.v1").is_file()
    with (tmp_path / "open").open("wb") as file:
        model.save(file)
    with (tmp_path / "open").open("rb") as file:
        assert_same(REINFORCE.load(file), model)
    with pytest.raises(FileNotFoundError):
        REINFORCE.load(tmp_path / "nothing")


def test_a_file_says_what_it_is(contents: Contents) -> None:
    """Class, arguments, tasks and versions in plain JSON; the tasks are found again by their hash."""
    text = json.loads(contents["model.json"])
    assert (text["format"], text["agent"], text["arguments"]["n_basis"]) == (checkpoint.FORMAT, "PGELLA", 2)
    assert text["tasks"]["hash"] == TASKS.hash
    assert text["versions"]["lifelong-gym"] == lifelong_gym.__version__
    assert {"numpy", "torch", "stable-baselines3", "gymnasium", "python"} < text["versions"].keys()
    assert contents.keys() == {"model.json", "arrays.safetensors"}


def test_system_info(contents: Contents, capsys: pytest.CaptureFixture[str]) -> None:
    """On request, the versions that wrote the file are printed."""
    PGELLA.load(packed(contents), print_system_info=True)
    assert f"lifelong-gym {lifelong_gym.__version__}" in capsys.readouterr().out


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the new file or all of the old one, and nothing lying about."""
    model = make("reinforce")
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()

    def full_disk(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        model.learn(1).save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
    assert (tmp_path / "model.zip").read_bytes() == before


def test_a_policy_has_files_too(tmp_path: Path) -> None:
    """``for_task`` gives a policy that can be saved alone, without pickle, and acts the same."""
    policy = make("pgella").learn(1).for_task(1)
    assert isinstance(policy, LinearGaussianPolicy)
    policy.save(tmp_path / "policy")
    loaded = LinearGaussianPolicy.load(tmp_path / "policy")
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    actions, again = (p.predict(observations, deterministic=True)[0] for p in (policy, loaded))
    assert np.array_equal(actions, again)
    assert loaded.sigma == policy.sigma
    with pytest.raises(CheckpointError, match="holds a model of LinearGaussianPolicy, not of PGELLA"):
        PGELLA.load(tmp_path / "policy")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=-1),
        spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
        spaces.Box(np.array([-1.0, 0.1]), np.array([1 / 3, np.inf]), dtype=np.float64),
        spaces.Box(0, 255, (2, 2), np.uint8),
    ],
    ids=str,
)
def test_spaces_survive_json(space: Any) -> None:
    """Also infinite bounds, which JSON doesn't know."""
    text = json.dumps(checkpoint.encode_space(space), allow_nan=False)
    assert checkpoint.decode_space(json.loads(text)) == space


def test_a_learning_rate_that_is_a_function(tmp_path: Path) -> None:
    """It isn't stored: `load` asks for it, and takes any other argument to replace a stored one."""
    model = REINFORCE(POLICY, env(), lambda remaining: 0.1 * remaining + 0.01, seed=0)
    model.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="pass `learning_rate` to `load`"):
        REINFORCE.load(tmp_path / "model")
    loaded = REINFORCE.load(tmp_path / "model", env=env(), learning_rate=0.3, n_trajectories=7, seed=4)
    assert (loaded.learning_rate, loaded.n_trajectories, loaded.noise_seed) == (0.3, 7, 4)
    assert loaded.learn(1).num_timesteps == 3 * 7 * 10


# What is refused.


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(contents: Contents, share: float) -> None:
    """Cut anywhere."""
    whole = packed(contents).getvalue()
    with pytest.raises(CheckpointError, match="truncated, damaged or no model file"):
        PGELLA.load(io.BytesIO(whole[: int(share * len(whole))]))


def test_a_damaged_file(contents: Contents) -> None:
    """A flipped bit in the numbers is found by the checksum."""
    whole = bytearray(packed(contents).getvalue())
    whole[whole.index(contents["arrays.safetensors"]) + len(contents["arrays.safetensors"]) - 20] ^= 1
    with pytest.raises(CheckpointError, match="damaged"):
        PGELLA.load(io.BytesIO(bytes(whole)))


class Malice:
    """Leaves a trace when unpickled."""

    def __init__(self, trace: Path) -> None:
        """Where."""
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


@pytest.mark.parametrize("member", ["model.json", "arrays.safetensors", "data", "policy.pth", None])
def test_a_malicious_file_executes_nothing(contents: Contents, member: str | None, tmp_path: Path) -> None:
    """A pickle in place of a member, beside the members, or as the file itself."""
    trace = tmp_path / "trace"
    evil = pickle.dumps(Malice(trace))
    pickle.loads(evil)
    assert trace.exists()  # it would work
    trace.unlink()
    file = io.BytesIO(evil) if member is None else packed({**contents, member: evil})
    if member in contents or member is None:
        with pytest.raises(CheckpointError):
            PGELLA.load(file)
    else:
        PGELLA.load(file)
    model = make("pgella")
    before = state(model)
    file.seek(0)
    if member in contents or member is None:
        with pytest.raises(CheckpointError):
            model.set_parameters(file)
        assert all(np.array_equal(array, before[name]) for name, array in state(model).items())
    assert not trace.exists()


def test_a_file_of_sb3(tmp_path: Path) -> None:
    """Another library's zip is told apart by what it holds."""
    A2C("MlpPolicy", gym.make("Pendulum-v1"), device="cpu").save(tmp_path / "a2c")
    with pytest.raises(CheckpointError, match=r"not a model file of lifelong_gym: it holds no 'model.json'"):
        PGELLA.load(tmp_path / "a2c")


def test_another_class(contents: Contents) -> None:
    """The error names both."""
    with pytest.raises(CheckpointError, match="holds a model of PGELLA, not of REINFORCE"):
        REINFORCE.load(packed(contents))


def test_a_compressed_member(contents: Contents) -> None:
    """It could unpack to any size."""
    with pytest.raises(CheckpointError, match="compressed"):
        PGELLA.load(packed(contents, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.update(format=checkpoint.FORMAT + 1), "newer than"),
        (lambda text: text.pop("format"), "names no format"),
        (lambda text: text.pop("arguments"), "'arguments' is missing"),
        (lambda text: text.update(policy=[1]), "'policy' is missing in 'model.json' or of the wrong type"),
        (lambda text: text["arguments"].update(n_basis=0), "`n_basis` must be an integer of at least 1. Received 0"),
        (
            lambda text: text["arguments"].update(n_basis=3),
            r"array .knowledge.basis. must be float64 of shape \(5, 3\)",
        ),
        (lambda text: text["arguments"].update(bias="no"), "`bias` must be True or False. Received 'no'"),
        (lambda text: text["arguments"].update(surprise=1), "surprise"),
        (lambda text: text["policy"].update(name="MlpPolicy"), "unknown policy 'MlpPolicy'"),
        (lambda text: text["policy"].update(action_space={"type": "Dict"}), "not a space"),
        (lambda text: text["policy"].update(feature_scale=[1.0]), "`feature_scale` must be 4 positive numbers"),
        (lambda text: text["counters"].pop("_n_visits"), "counter '_n_visits' is missing"),
        (lambda text: text["counters"].update(learn=1), "counter 'learn' is not known here"),
        (lambda text: text["counters"].update(n_tasks=1.5), "must be a whole number from 0 on. Received 1.5"),
        (lambda text: text["counters"].update(n_tasks=10**15), "doesn't fit"),
    ],
)
def test_a_text_that_does_not_fit(contents: Contents, change: Any, message: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(CheckpointError, match=message):
        PGELLA.load(with_text(contents, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("knowledge.basis"), "array 'knowledge.basis' is missing"),
        (lambda a: a.update({"knowledge.extra": np.zeros(1)}), "array 'knowledge.extra' is not known here"),
        (lambda a: a.update({"policy.theta": np.zeros((3, 4))}), r"must be float64 of shape \(3, 5\)"),
        (lambda a: a.update({"policy.theta": np.zeros((3, 5), np.float32)}), "Received float32"),
        (lambda a: a["policy.theta"].__setitem__((0, 0), np.nan), "'policy.theta' holds values that are not finite"),
    ],
)
def test_arrays_that_do_not_fit(contents: Contents, change: Any, message: str) -> None:
    """Neither `load` nor `set_parameters` takes them, and a model stays as it was and usable."""
    with pytest.raises(CheckpointError, match=message):
        PGELLA.load(with_arrays(contents, change))
    model = make("pgella").learn(1)
    before = state(model)
    with pytest.raises(CheckpointError, match=message):
        model.set_parameters(with_arrays(contents, change))
    assert all(np.array_equal(array, before[name]) for name, array in state(model).items())
    model.learn(1)


def test_another_environment(contents: Contents) -> None:
    """Other tasks, another number of them, or other spaces: a policy belongs to its task."""
    for venv, message in (
        (env(sample_tasks(ID, 3, seed=1)), "tasks with hash"),
        (env(sample_tasks(ID, 4)), "must have 3 tasks. Received 4"),
        (as_vec_env("LifelongSimpleMass-v0", n_tasks=3), "Observation spaces do not match"),
    ):
        with pytest.raises(CheckpointError, match=message):
            PGELLA.load(packed(contents), env=venv)
    parallel = pettingzoo.make("parallel", ID, tasks=TASKS)
    assert PGELLA.load(packed(contents), env=parallel).tasks == TASKS


def test_parameters_by_hand() -> None:
    """`get_parameters` of one model fit another; a part of them does only without ``exact_match``."""
    model, other = make("pgella").learn(1), make("pgella")
    parameters = model.get_parameters()
    other.set_parameters(parameters)
    assert_same(model, other)
    part = {"knowledge": {"basis": 0.5 * parameters["knowledge"]["basis"]}}
    with pytest.raises(CheckpointError, match="missing"):
        other.set_parameters(part)
    other.set_parameters(part, exact_match=False)
    assert np.array_equal(state(other)["policy.theta"], 0.5 * state(model)["policy.theta"])
    alone = make("reinforce")
    alone.set_parameters({"policy": {"theta": np.ones((3, 4))}}, exact_match=False)
    assert np.all(state(alone)["policy.theta"] == 1.0)


@pytest.mark.parametrize("name", ["pgella", "gomtl", "scalable"])
def test_parts_of_parameters_keep_policies_and_basis_in_agreement(name: str) -> None:
    """What follows from others follows: policies from L and s, sums from codes. It can't be replaced alone."""
    model, other = make(name).learn(1), make(name, seed=1).learn(1)
    given = {
        key: 2.0 * tensor for key, tensor in model.get_parameters()["knowledge"].items() if key in ("codes", "bases")
    }
    other.set_parameters({"knowledge": given}, exact_match=False)
    knowledge, after = getattr(other, "knowledge"), state(other)  # noqa: B009 (only some learners have it)
    every = np.arange(3)
    assert np.array_equal(after["policy.theta"], knowledge.policies(every))
    assert np.array_equal(after["knowledge.codes"], 2.0 * state(model)["knowledge.codes"])
    if name == "scalable":
        assert np.array_equal(knowledge.array("basis"), knowledge.array("bases").mean(axis=0))
    else:
        gram, moment = sums(knowledge.array("codes"), knowledge.points(every))
        np.testing.assert_allclose(knowledge.array("gram"), gram, rtol=1e-12)
        np.testing.assert_allclose(knowledge.array("moment"), moment, rtol=1e-12)
    followers = ["policy.theta", "knowledge.gram", "knowledge.moment"] + ["knowledge.basis"] * (name == "scalable")
    for follower in followers:
        module, _, key = follower.partition(".")
        part = {module: {key: model.get_parameters()[module][key]}}
        with pytest.raises(CheckpointError, match=f"'{follower}' follows from .*knowledge.codes"):
            other.set_parameters(part, exact_match=False)
        assert all(np.array_equal(array, after[entry]) for entry, array in state(other).items())
    other.learn(1)


def nested(depth: int) -> bytes:
    """JSON that no parser follows to its end."""
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("where", ["file", "arguments", "tasks", "constraints"])
def test_a_text_that_is_nested_too_deeply(contents: Contents, where: str) -> None:
    """It is refused like any other damaged file."""
    text = json.loads(contents["model.json"])
    if where == "file":
        damaged = nested(100_000)
    elif where == "constraints":
        text["arguments"]["base_settings"] = "HERE"
        damaged = json.dumps(text).encode().replace(b'"HERE"', nested(900))
    else:
        text[where]["more"] = "HERE"
        damaged = json.dumps(text).encode().replace(b'"HERE"', nested(100_000))
    with pytest.raises(CheckpointError):
        PGELLA.load(packed({**contents, "model.json": damaged}))


def test_options_of_sb3_that_need_pickle() -> None:
    """They are refused rather than ignored."""
    model = make("reinforce")
    with pytest.raises(ValueError, match="`exclude` and `include` must be None"):
        model.save(io.BytesIO(), include=["env"])
    with pytest.raises(ValueError, match="`custom_objects` must be None"):
        REINFORCE.load(io.BytesIO(), custom_objects={})
