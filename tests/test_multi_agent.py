"""SB3's algorithms as parts: side by side as alone, sharing through the channel, killed at any step and resumed."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
import stable_baselines3
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger

from lifelong_gym import registry, sample_tasks
from lifelong_gym.agents import MultiAgentAlgorithm
from lifelong_gym.agents.contract import state, trees
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import EVALUATION_SEED, Protocol
from lifelong_gym.benchmark.run import RunSpec, execute
from lifelong_gym.errors import CheckpointError, UnknownNameError
from lifelong_gym.wrappers import Budget, CoreVecEnv, Faults, HiddenTasks, ParameterSharing, Stage, as_vec_env
from tests.toy_agents import AveragingPPO, ReplayingDQN

SMALL = {"net_arch": [8]}
CART, GRID = "LifelongCartPole-v0", "LifelongGridWorld-v0"
PPO = {"n_steps": 8, "batch_size": 4, "n_epochs": 2}
DQN = {"learning_starts": 6, "buffer_size": 20, "target_update_interval": 10, "batch_size": 4}
SAC = {"learning_starts": 6, "buffer_size": 20, "batch_size": 4}
TINY_CNN = {"features_extractor_kwargs": {"features_dim": 8}, "net_arch": []}
TOYS: dict[str, tuple[type[MultiAgentAlgorithm], str, str, dict[str, Any], dict[str, Any]]] = {
    "ppo-market": (AveragingPPO, "MlpPolicy", "market:Market", PPO, SMALL),
    "ppo-images": (AveragingPPO, "CnnPolicy", "camera:Camera", PPO, TINY_CNN),
    "dqn-mdp": (ReplayingDQN, "MlpPolicy", "linear_mdp:LinearMDP", DQN, SMALL),
    "dqn-images": (ReplayingDQN, "CnnPolicy", "camera:Camera", DQN, TINY_CNN),
}
SWEEP = {"ppo-market": 16, "ppo-images": 16, "dqn-mdp": 8, "dqn-images": 8}
every_toy = pytest.mark.parametrize("toy", TOYS)


@pytest.fixture(scope="module", autouse=True)
def families() -> Iterator[None]:
    """The toy families under ids, and one thread, whose sums come in one order."""
    import gymnasium as gym

    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    names = {family.partition(":")[2]: f"tests.{family}" for _, _, family, _, _ in TOYS.values()}
    for name, path in names.items():
        registry.register_family(f"{name}-v0", path)
    yield
    th.set_num_threads(n_threads)
    for id in (f"{name}-v0" for name in names):
        del registry.FAMILIES[id], gym.registry[id]
        del pettingzoo.parallel_registry[id], pettingzoo.aec_registry[id]


def agents_env(id: str, n_tasks: int = 2, **sharing: Any) -> CoreVecEnv:
    """A task an agent, with a channel between them; episodes end often."""
    tasks = sample_tasks(id, n_tasks, seed=0)
    env = pettingzoo.make("parallel", id, tasks=tasks, horizon=5, backend="numpy" if id in (CART, GRID) else "python")
    venv = as_vec_env(ParameterSharing(env, **{"topology": "complete", **sharing}))
    assert isinstance(venv, CoreVecEnv)
    return venv


def env_of(toy: str, **sharing: Any) -> CoreVecEnv:
    """Of a toy's family."""
    return agents_env(f"{TOYS[toy][2].partition(':')[2]}-v0", **sharing)


def make(toy: str, env: Any = None, **more: Any) -> MultiAgentAlgorithm:
    """A toy that has learned nothing."""
    kind, policy, _, arguments, policy_kwargs = TOYS[toy]
    own: dict[str, Any] = {"seed": 0, "device": "cpu", "algorithm_kwargs": arguments, "policy_kwargs": policy_kwargs}
    return kind(policy, env or env_of(toy), learning_rate=0.01, **{**own, **more})


def everything(model: Any) -> tuple[str, dict[str, bytes]]:
    """All its parts, but for the time of day."""
    arrays: dict[str, Any] = {}
    told = {name: trees.encode(value, name, arrays) for name, value in state.told(state.others(model)).items()}
    arrays |= {name: tensor.numpy().copy() for name, tensor in state.tensors(model).items()}
    return json.dumps(told), {name: array.tobytes() for name, array in arrays.items()}


def assert_same(one: Any, other: Any) -> None:
    """Equal to the bit in all parts."""
    (told, arrays), (told_too, arrays_too) = everything(one), everything(other)
    assert told == told_too
    assert arrays.keys() == arrays_too.keys()
    assert [name for name in arrays if arrays[name] != arrays_too[name]] == []
    assert one.num_timesteps == other.num_timesteps


# Side by side.


@pytest.mark.parametrize(
    ("algorithm", "id", "arguments"), [("PPO", CART, PPO), ("A2C", CART, {}), ("DQN", GRID, DQN), ("SAC", CART, SAC)]
)
def test_side_by_side_equals_alone(algorithm: str, id: str, arguments: dict[str, Any]) -> None:
    """Policies, moments and replay of each agent, with a learning rate that changes, are those of a plain SB3 run."""

    def rate(remaining: float) -> float:
        return 1e-3 * remaining + 1e-5

    own: dict[str, Any] = {"policy_kwargs": SMALL, "device": "cpu"}
    together = MultiAgentAlgorithm(
        "MlpPolicy", agents_env(id), rate, algorithm=algorithm, algorithm_kwargs=arguments, seed=3, **own
    ).learn(48)
    tasks = sample_tasks(id, 2, seed=0)
    kind = getattr(stable_baselines3, algorithm)
    for i, agent in enumerate(together.agents):
        env = as_vec_env(id, tasks=tasks[[i]], horizon=5, backend="numpy")
        more: Any = copy.deepcopy({**arguments, **own})  # SB3 writes into them
        alone = kind("MlpPolicy", env, rate, seed=together.seed_of(i), **more)
        alone.learn(24)
        assert alone._n_updates == agent.algorithm._n_updates > 0
        for name, expected in alone.get_parameters().items():
            assert str(agent.algorithm.get_parameters()[name]) == str(expected)
        for name, tensor in alone.policy.state_dict().items():
            assert th.equal(tensor, agent.policy.state_dict()[name]), name
        if hasattr(alone, "replay_buffer"):
            assert np.array_equal(alone.replay_buffer.observations, agent.algorithm.replay_buffer.observations)


def generators() -> Any:
    """What Python, NumPy and torch would draw next."""
    return (
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        th.random.get_rng_state().tolist(),
    )


def test_the_global_generators_are_left_alone() -> None:
    """Making, learning, saving and loading draw from nobody's streams but the agents' own."""
    before = generators()
    model = make("ppo-market").learn(16)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    AveragingPPO.load(file, env=env_of("ppo-market")).learn(16, reset_num_timesteps=False)
    assert generators() == before


# Sharing.


def test_parameters_are_averaged_after_training_and_before_collecting() -> None:
    """A complete graph's agents are equal after each sweep; PPO's ratios are 1 when training begins."""

    class Watched(AveragingPPO):
        n_watched = 0

        def train(self) -> None:
            for agent in self.agents:
                buffer = agent.algorithm.rollout_buffer
                seen, actions = (th.as_tensor(a.reshape(8, -1)) for a in (buffer.observations, buffer.actions))
                _, log_prob, _ = agent.algorithm.policy.evaluate_actions(seen, actions)
                np.testing.assert_allclose(log_prob.detach(), buffer.log_probs.ravel(), rtol=0, atol=1e-6)
                self.n_watched += 1
            super().train()

    model = Watched("MlpPolicy", env_of("ppo-market"), 0.01, algorithm_kwargs=PPO, policy_kwargs=SMALL, seed=0)
    first, second = (agent.policy.state_dict() for agent in model.agents)
    assert not all(th.equal(first[name], second[name]) for name in first)
    model.learn(48)
    assert model.n_watched == 6
    assert all(th.allclose(first[name], second[name], atol=1e-7) for name in first)
    n_bytes = sum(tensor.numel() * 4 for tensor in first.values())
    assert model.channel.ledger.snapshot() == {"rounds": 3, "messages": 6, "bytes": 6 * n_bytes}


def test_replay_is_exchanged() -> None:
    """Each agent's buffer holds its own steps and, behind each four of them, the other's."""
    model = make("dqn-images").learn(16)
    one, other = (agent.algorithm.replay_buffer for agent in model.agents)
    assert (one.pos, other.pos) == (16, 16)
    for block in (0, 8):
        own, sent = slice(block, block + 4), slice(block + 4, block + 8)
        for name in ReplayingDQN.arrays:
            assert np.array_equal(getattr(one, name)[own], getattr(other, name)[sent])
            assert np.array_equal(getattr(one, name)[sent], getattr(other, name)[own])
    assert not np.array_equal(one.observations[:4], other.observations[:4])


# The contract.


class Recorder(BaseCallback):
    """Notes when it is called, and stops after some sweeps."""

    def __init__(self, stop: int = 99) -> None:
        super().__init__()
        self.stop, self.seen = stop, list[int]()

    def _on_step(self) -> bool:
        self.seen.append(self.num_timesteps)
        return len(self.seen) < self.stop


class Log(KVWriter):
    """The last that was logged."""

    values: dict[str, Any]

    def write(self, key_values: Any, key_excluded: Any, step: int = 0) -> None:
        """Keep it."""
        self.values = dict(key_values)


@every_toy
def test_learning_and_callbacks(toy: str) -> None:
    """Whole sweeps until the steps are reached, counted for all agents together; a callback stops; the log says it."""
    model, recorder = make(toy), Recorder(stop=2)
    model.learn(10 * SWEEP[toy], callback=recorder)
    assert recorder.seen == [SWEEP[toy], 2 * SWEEP[toy]]
    assert model.num_timesteps == 2 * SWEEP[toy]
    log = Log()
    model.set_logger(Logger(None, [log]))
    model.learn(SWEEP[toy], reset_num_timesteps=False)
    assert log.values["time/total_timesteps"] == 3 * SWEEP[toy]
    assert "train/loss" in log.values
    assert model._current_progress_remaining == 0.0


@every_toy
def test_acting(toy: str) -> None:
    """``for_task`` is a copy of the agent's policy; a batch of the rows is acted in by each one's own."""
    model, env = make(toy).learn(2 * SWEEP[toy]), env_of(toy)
    seen = env.reset()
    actions, _ = model.predict(seen, deterministic=True)
    twice, _ = model.predict(np.concatenate([seen, seen]), deterministic=True)
    for task in (0, 1):
        alone, _ = model.for_task(task).predict(seen, deterministic=True)
        np.testing.assert_allclose(actions[task], alone[task], rtol=1e-5)  # sums in batches of other sizes
        np.testing.assert_allclose(twice[[task, task + 2]], alone[[task, task]], rtol=1e-5)
    mean, _ = evaluate_policy(model.for_task(1), env, n_eval_episodes=2)
    assert np.isfinite(mean)
    with pytest.raises(ValueError, match=r"one row for each of the 2 rows or tasks.* Received 3"):
        model.predict(np.concatenate([seen, seen[:1]]))
    with pytest.raises(UnknownNameError, match="unknown task 2"):
        model.for_task(2)


class KilledError(Exception):
    """As a kill would, it ends everything in the middle of a step."""


def killed_after(env: CoreVecEnv, n_calls: int) -> CoreVecEnv:
    """An env in which the n-th step is never taken."""
    steps = iter(range(n_calls))

    def count(n_steps: int) -> None:
        if n_steps == 1 and next(steps, None) is None:
            raise KilledError

    env.before_steps = count
    return env


@every_toy
def test_killed_at_any_step_and_resumed_to_the_bit(toy: str, tmp_path: Path) -> None:
    """What SB3's callback last saved goes on inside episodes as if nothing had happened.

    Parameters, moments, replay, streams, the env and the channel, whose faults go on too.
    """
    sharing = {"faults": Faults(loss=0.5, seed=1)} if "dqn" in toy else {}
    n = SWEEP[toy]
    whole = make(toy, env_of(toy, **sharing)).learn(4 * n)
    for n_calls in (n // 2, n + 1, 3 * n - 1):
        folder = tmp_path / str(n_calls)
        model = make(toy, killed_after(env_of(toy, **sharing), n_calls))
        saving = CheckpointCallback(1, str(folder), "run")
        model.save(folder / "run_0_steps")
        with pytest.raises(KilledError):
            model.learn(4 * n, callback=saving)
        taken = n_calls // n * n
        resumed = TOYS[toy][0].load(folder / f"run_{taken}_steps", env=env_of(toy, **sharing), device="cpu")
        resumed.learn(4 * n - taken, reset_num_timesteps=taken == 0)
        assert_same(resumed, whole)


@every_toy
def test_files(toy: str, tmp_path: Path) -> None:
    """A loaded learner is the saved one, with an environment or for acting only, and may be saved again."""
    model, env = make(toy).learn(SWEEP[toy]), env_of(toy)
    model.save(tmp_path / "model")
    seen = env.reset()
    expected, _ = model.predict(seen, deterministic=True)
    acting = type(model).load(tmp_path / "model", device="cpu")
    assert np.array_equal(acting.predict(seen, deterministic=True)[0], expected)
    acting.save(tmp_path / "again")
    for name in ("model", "again"):
        loaded = type(model).load(tmp_path / name, env=env_of(toy), device="cpu")
        assert_same(loaded, model)
    with pytest.raises(ValueError, match="without an environment"):
        acting.learn(1)
    acting.set_env(env)
    acting.learn(SWEEP[toy], reset_num_timesteps=False)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert sorted(archive.namelist()) == ["arrays.safetensors", "model.json"]
    other = make(toy, seed=5)
    other.set_parameters(model.get_parameters())
    assert str(other.get_parameters()) == str(model.get_parameters())


def test_a_checkpoint_that_does_not_fit(tmp_path: Path) -> None:
    """Another family, other nodes, other networks or another learner: said, and the env is as it was."""
    make("ppo-market").learn(16).save(tmp_path / "model")
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (env_of("ppo-images"), {}, "doesn't fit"),
        (env_of("ppo-market", nodes={"all": ["task_0", "task_1"]}), {}, r"must have nodes of rows \{'task_0': \[0\]"),
        (as_vec_env("Market-v0", n_tasks=2), {}, "must have"),
        (env_of("ppo-market"), {"policy_kwargs": {"net_arch": [4]}}, "must be float32 of shape"),
        (env_of("ppo-market"), {"algorithm": "A2C", "algorithm_kwargs": {}}, "part 'task_0.policy.optimizer'"),
    ]
    for env, changes, message in cases:
        before = json.dumps(trees.encode(env.state_dict(), "env", {}))
        with pytest.raises(CheckpointError, match=message):
            AveragingPPO.load(tmp_path / "model", env=env, device="cpu", **changes)
        assert json.dumps(trees.encode(env.state_dict(), "env", {})) == before
    with pytest.raises(CheckpointError, match="holds a model of AveragingPPO, not of ReplayingDQN"):
        ReplayingDQN.load(tmp_path / "model")


def test_nodes_of_several_rows_and_servers() -> None:
    """An agent may have several rows; a node without any takes part in the channel alone."""
    nodes = {"server": [], "big": ["task_2", "task_0"], "small": ["task_1"]}
    env = agents_env(CART, 3, nodes=nodes, topology="star")
    model = MultiAgentAlgorithm(
        "MlpPolicy", env, 1e-3, algorithm_kwargs=PPO, policy_kwargs=SMALL, seed=0, device="cpu"
    ).learn(24)
    assert [agent.node for agent in model.agents] == ["big", "small"]
    assert [agent.algorithm.num_timesteps for agent in model.agents] == [16, 8]
    assert model.policy.agent_of_row.tolist() == [0, 1, 0]
    assert model.for_task(2).state_dict().keys() == model.agents[0].policy.state_dict().keys()
    assert len(model.channel.nodes) == 3


@pytest.mark.parametrize("hide", [False, True])
def test_budgets_end_learning(hide: bool) -> None:
    """Every task gets its steps and no more; who evaluates does so between sweeps; a save in one is of its start."""
    tasks = sample_tasks(CART, 2, seed=0)
    env = as_vec_env(CART, tasks=tasks, horizon=5, backend="numpy", hide_task_id=hide)
    at, saved = list[int](), io.BytesIO()
    assert isinstance(env, CoreVecEnv)
    env.budget = Budget(env.core, [Stage((0, 1), 20)])
    model = MultiAgentAlgorithm(
        "MlpPolicy", HiddenTasks(env) if hide else env, 1e-3, algorithm_kwargs=PPO, policy_kwargs=SMALL, seed=0
    )

    def note(n_steps: int) -> None:
        if n_steps > 1:
            at.append(n_steps)
        elif n_steps == 1 and model.num_timesteps < 32:
            with pytest.raises(CheckpointError, match="in the middle of collecting"):
                model.save(io.BytesIO())
        elif n_steps == 1:
            saved.seek(0)
            model.save(saved)

    env.before_steps = note
    model.learn(1000)
    assert env.budget.taken.tolist() == [20, 20]
    assert (model.num_timesteps, at) == (40, [16, 16, 8])
    saved.seek(0)
    assert MultiAgentAlgorithm.load(saved).num_timesteps == 32


def test_more_tasks_than_rows_and_new_ones() -> None:
    """Rows that walk through tasks: task i is of the agent of row i mod R, and so are tasks added later."""
    tasks = sample_tasks(CART, 6, seed=0)
    import gymnasium as gym

    env = as_vec_env(gym.make_vec(CART, num_envs=2, tasks=tasks[:4], horizon=5, backend="numpy"))
    model = MultiAgentAlgorithm("MlpPolicy", env, algorithm_kwargs=PPO, policy_kwargs=SMALL, seed=0, device="cpu")
    assert [model.policy.agent_of_task(task) for task in range(4)] == [0, 1, 0, 1]
    model.learn(16).add_tasks(tasks)
    assert (model.n_tasks, model.policy.agent_of_task(5)) == (6, 1)
    assert model.predict(np.zeros((6, 4), np.float32))[0].shape == (6, 1)


def test_agents_that_know_no_task(tmp_path: Path) -> None:
    """In rounds, through an env that hides tasks: nodes and channel are there, and the env's owner keeps its state."""

    def hidden() -> tuple[CoreVecEnv, HiddenTasks]:
        settings: dict[str, Any] = {"tasks": sample_tasks(CART, 3, seed=0), "horizon": 5, "backend": "numpy"}
        env = pettingzoo.make("parallel", CART, n_agents=2, schedule={"rounds": "permutation"}, **settings)
        owned = as_vec_env(ParameterSharing(env, topology="complete"))
        assert isinstance(owned, CoreVecEnv)
        return owned, HiddenTasks(owned)

    def made(env: Any) -> AveragingPPO:
        own: dict[str, Any] = {"algorithm_kwargs": PPO, "policy_kwargs": SMALL, "seed": 0, "device": "cpu"}
        return AveragingPPO("MlpPolicy", env, 0.01, **own)

    (owned, env), (owned_too, env_too) = hidden(), hidden()
    whole, half = made(env).learn(16), made(env_too).learn(16)
    assert [agent.node for agent in half.agents] == ["agent_0", "agent_1"]
    assert (half.n_tasks, half.tasks) == (2, None)
    for rows in (half.agents[0].rows, half.agents[0].algorithm.env):
        with pytest.raises(AttributeError):
            rows.get_attr("tasks")
    half.save(tmp_path / "half")
    kept = owned_too.state_dict()
    owned_too, env_too = hidden()
    owned_too.load_state_dict(kept)
    resumed = AveragingPPO.load(tmp_path / "half", env=env_too, device="cpu")
    for model, env_of_it in ((whole, owned), (resumed, owned_too)):
        env_of_it.next_round()
        model.learn(32, reset_num_timesteps=False)
    assert_same(whole, resumed)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"algorithm": "PP0"}, UnknownNameError, "unknown algorithm 'PP0'. Did you mean 'PPO'"),
    ({"algorithm": "tests.toy_agents:np"}, TypeError, "must be an algorithm in SB3's form"),
    ({"algorithm": "sb3_contrib:RecurrentPPO"}, TypeError, "`algorithm` must have no recurrent policies"),
    ({"policy": "MlpPolicy", "algorithm": "sb3_contrib:ARS"}, TypeError, "must be an on-policy or off-policy"),
    ({"algorithm_kwargs": {"n_step": 8}}, UnknownNameError, "'n_step'. Did you mean 'n_steps'"),
    ({"algorithm_kwargs": {"seed": 8}}, UnknownNameError, "unknown argument of `algorithm_kwargs` 'seed'"),
    ({"learning_rate": -1.0}, ValueError, "`learning_rate` must be"),
    ({"seed": -1}, ValueError, "`seed` must be"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Named, with what there is instead."""
    with pytest.raises(error, match=message):
        MultiAgentAlgorithm(**{"policy": "MlpPolicy", "env": agents_env(CART), **arguments})


def test_bad_environments(register: Callable[..., str]) -> None:
    """Rows that can't be stepped apart, and agents that want to share without a channel."""
    import gymnasium as gym
    from stable_baselines3.common.vec_env import DummyVecEnv

    foreign = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2)
    with pytest.raises(TypeError, match=r"can be stepped apart.*DummyVecEnv"):
        MultiAgentAlgorithm("MlpPolicy", foreign)
    model = AveragingPPO("MlpPolicy", as_vec_env(CART, n_tasks=2, horizon=5), algorithm_kwargs=PPO, device="cpu")
    with pytest.raises(ValueError, match="wrap the ParallelEnv in `ParameterSharing`"):
        model.learn(16)


@pytest.mark.parametrize(
    ("learner", "protocol", "arguments"), [("AveragingPPO", "distributed", PPO), ("Apart", "lifelong", DQN)]
)
def test_a_killed_benchmark_goes_on(
    learner: str, protocol: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at any evaluation, also where a stage ends in the midst of a sweep: it ends in the same bytes."""
    family = FamilySpec("Camera-v0", "default", 2)
    small = Protocol(name=protocol, episodes_per_task=1, n_evaluations=2, n_eval_episodes=1)
    given = {"policy": "CnnPolicy", "algorithm_kwargs": arguments, "policy_kwargs": TINY_CNN}
    spec = LearnerSpec.of(f"tests.toy_agents:{learner}", arguments=given)
    references = measured_references("Camera-v0", family.tasks, 1, EVALUATION_SEED)
    run = RunSpec(spec, family, family.tasks, small, 0, references)
    measure, calls = Evaluation.measure, list[int]()

    def measure_or_die(self: Evaluation, learner: Any) -> Any:
        if len(calls) == fatal:
            raise KilledError
        calls.append(learner.num_timesteps)
        return measure(self, learner)

    monkeypatch.setattr(Evaluation, "measure", measure_or_die)
    fatal = 99
    whole = execute(run, tmp_path / "whole").read_bytes()
    n_marks = len(calls)
    for done in range(2, n_marks):
        fatal, folder = done, tmp_path / str(done)
        calls.clear()
        with pytest.raises(KilledError):
            execute(run, folder)
        fatal = 99
        calls.clear()
        assert execute(run, folder).read_bytes() == whole
        assert len(calls) == n_marks - done
