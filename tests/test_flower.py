"""The strategy for Flower against Flower's own, and the example as a user starts it. Needs flwr: ``make federated``."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from lifelong_gym.envs.spaces import EntityBox

pytest.importorskip("flwr")

from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from lifelong_gym.agents import LearnedAggregation

ROOT = Path(__file__).parents[1]
N_CLIENTS, HISTORY = 10, 5
Arrays = list[Any]


class Weights:
    """A policy that says what it is told, and keeps what it was asked."""

    observation_space = EntityBox(np.zeros(60), np.ones(60), N_CLIENTS, HISTORY + 1)
    action_space = spaces.Box(0.0, 1.0, (N_CLIENTS,))

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = np.array([*weights, *[0.0] * (N_CLIENTS - len(weights))], np.float32)
        self.asked: list[Any] = []

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
        """The weights."""
        self.asked.append(observation.reshape(N_CLIENTS, HISTORY + 1))
        return self.weights, None


@pytest.fixture(autouse=True)
def _within_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a run, messages come from nobody."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture(scope="module")
def models() -> list[Arrays]:
    """Of ten clients."""
    rng = np.random.default_rng(0)
    return [[rng.normal(size=(25, 32)).astype(np.float32), rng.normal(size=10).astype(np.float32)] for _ in range(10)]


def replies(models: Sequence[Arrays], failed: Sequence[int] = (), metrics: bool = True) -> Iterator[Message]:
    """What clients answer, each its model; some fail."""
    for i, model in enumerate(models):
        asked = Message(content=RecordDict(), dst_node_id=i + 1, message_type="train")
        if i in failed:
            yield Message(Error(code=1, reason="out of reach"), reply_to=asked)
            continue
        told = {"metrics": MetricRecord({"num-examples": 300, "loss": float(i)})} if metrics else {}
        yield Message(RecordDict({"arrays": ArrayRecord(model), **told}), reply_to=asked)


def score(arrays: ArrayRecord) -> float:
    """Some number in [0, 1] that follows from the model."""
    return float(np.abs(arrays.to_numpy_ndarrays()[1][0]) % 1.0)


def arrays_of(found: tuple[ArrayRecord | None, Any]) -> Arrays:
    """The aggregate."""
    assert found[0] is not None
    return found[0].to_numpy_ndarrays()


def test_equal_weights_are_fedavg(models: list[Arrays]) -> None:
    """To the bit."""
    ours = LearnedAggregation(Weights([0.1] * 10), score).aggregate_train(1, replies(models))
    for found, expected in zip(arrays_of(ours), arrays_of(FedAvg().aggregate_train(1, replies(models))), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_models_and_metrics_are_averaged_by_the_policys_weights(models: list[Arrays]) -> None:
    """As NumPy does it; what the policy saw are the models' scores."""
    weights = np.random.default_rng(1).dirichlet(np.ones(10))
    policy = Weights(weights.tolist())
    ours = LearnedAggregation(policy, score).aggregate_train(1, replies(models))
    for found, parts in zip(arrays_of(ours), zip(*models, strict=True), strict=True):
        np.testing.assert_allclose(found, np.tensordot(weights, np.array(parts), 1), atol=1e-6)
    metrics = ours[1]
    assert metrics is not None
    assert metrics["loss"] == pytest.approx(weights @ np.arange(10), rel=1e-6)
    np.testing.assert_allclose(policy.asked[0][:, -2], [score(ArrayRecord(model)) for model in models], rtol=1e-6)


def test_a_round_goes_on_without_those_who_failed(models: list[Arrays]) -> None:
    """The policy sees eight clients and two absent ones, and the eight share the whole."""
    policy = Weights([0.3] + [0.1] * 7)
    strategy = LearnedAggregation(policy, score)
    strategy.aggregate_train(1, replies(models))
    found = arrays_of(strategy.aggregate_train(2, replies(models, failed=(3, 7))))
    assert policy.asked[1][:, -1].tolist() == [1.0] * 8 + [0.0] * 2
    assert not policy.asked[1][8:].any()
    left = [model for i, model in enumerate(models) if i not in (3, 7)]
    expected = 0.3 * left[0][0] + 0.1 * np.sum([model[0] for model in left[1:]], axis=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_nobody_answers(models: list[Arrays]) -> None:
    """The network stays what it is, as with FedAvg."""
    policy = Weights([1.0])
    assert LearnedAggregation(policy, score).aggregate_train(1, replies(models, failed=range(10))) == (None, None)
    assert policy.asked == []


def test_clients_need_no_metrics_but_a_model(models: list[Arrays]) -> None:
    """A reply with two models is refused in FedAvg's words."""
    strategy = LearnedAggregation(Weights([0.5, 0.5]), score)
    found = arrays_of(strategy.aggregate_train(1, replies(models[:2], metrics=False)))
    np.testing.assert_allclose(found[1], (models[0][1] + models[1][1]) / 2, atol=1e-6)
    several = list(replies(models[:2]))
    several[1].content["more"] = ArrayRecord(models[1])
    with pytest.raises(InconsistentMessageReplies):
        strategy.aggregate_train(2, several)


def test_the_key_is_the_policys() -> None:
    """It can't be another; all other arguments are FedAvg's."""
    with pytest.raises(ValueError, match=r"`weighted_by_key` is the policy's\. Received 'num-examples'"):
        LearnedAggregation(Weights([1.0]), score, weighted_by_key="num-examples")
    assert LearnedAggregation(Weights([1.0]), score, min_available_nodes=10).min_available_nodes == 10


@pytest.fixture
def flwr(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Flower's command with a SuperLink of its own, which ends with the test."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    home = tmp_path / "flwr"
    home.mkdir()
    config = f'[superlink]\ndefault = "own"\n[superlink.own]\naddress = "{address}"\ninsecure = true\n'
    (home / "config.toml").write_text(config, encoding="utf-8")
    binaries = Path(sys.executable).parent
    off = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "LIFELONG_GYM_QUICK": "1"}
    env = os.environ | off | {"FLWR_HOME": str(home), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    host, port = address.split(":")
    words = ["flower-superlink", "--insecure", "--simulation", "--host", host, "--port", port]

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    with (tmp_path / "superlink.log").open("w") as log:
        link = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(host, int(port), link)
        yield run
    finally:
        link.terminate()
        link.wait(30)


def wait_for(host: str, port: int, link: subprocess.Popen[bytes]) -> None:
    """Until somebody listens there."""
    end = time.monotonic() + 120
    while link.poll() is None and time.monotonic() < end:
        with socket.socket() as one:
            if one.connect_ex((host, port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("flower-superlink doesn't listen; see superlink.log")


def test_the_example_runs_and_survives_failures(flwr: Callable[..., str], tmp_path: Path) -> None:
    """From a policy that is learned to a table, with the words that the page says, but fewer rounds."""
    folder = ROOT / "examples" / "federated_flower"
    flwr(sys.executable, str(folder / "learn.py"))
    policy = tmp_path / "runs" / "federated_flower" / "policy.zip"
    assert policy.is_file()
    said = re.search(r"flwr run (?:.|\n)*?1\"", (folder / "federated_flower.py").read_text(encoding="utf-8"))
    assert said is not None
    words = shlex.split(said[0].replace("\\\n", "").replace("$PWD", str(tmp_path)))
    words[words.index("examples/federated_flower")] = str(folder)
    out = flwr(*words, "--run-config", "rounds=4 failing-from-round=3")
    assert out.count("Received 10 results and 0 failures") == 4
    assert out.count("Received 8 results and 2 failures") == 4
    table = re.findall(r"^\s+(\d+|mean)\s+(0\.\d{3})\s+(0\.\d{3})$", out, flags=re.MULTILINE)
    assert [row[0] for row in table] == ["1", "2", "3", "4", "mean"]
    assert all(0.1 < float(number) < 1.0 for row in table[1:] for number in row[1:])
