"""A policy that was learned in the simulator, as a strategy of Flower; needs flwr, which imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

from lifelong_gym.agents.allocation.learned_weights import LearnedWeights, SharesPolicy
from lifelong_gym.errors import MissingExtraError

try:
    from flwr.app import ArrayRecord, Message, MetricRecord
    from flwr.serverapp.strategy import FedAvg
except ImportError as error:
    raise MissingExtraError("flwr", "federated", constraints="constraints-federated.txt") from error

KEY = "aggregation-weight"


@final
class LearnedAggregation(FedAvg):
    """FedAvg, but for the weights: these come from a policy that sees how accurate each client's model is.

    In every round the models of the clients that answered are evaluated by the server, on images of its own; clients
    that failed are absent to the policy (`LearnedWeights`). FedAvg averages by a number in each reply's metrics: that
    number is written, under ``"aggregation-weight"``, and all else is FedAvg's. Metrics are averaged by it, too.

    Args:
        policy: learned on ``LifelongFederatedMNIST-v0`` by PPO, say; see `LearnedWeights`.
        score: the accuracy in [0, 1] of a model on the server's images, given a client's arrays.
        **kwargs: as of `flwr.serverapp.strategy.FedAvg`, but ``weighted_by_key``.

    Raises:
        MissingExtraError: flwr isn't installed; raised by the import.
        ValueError: a policy for other spaces, ``weighted_by_key``; later, more answers than the policy knows clients.
    """

    def __init__(self, policy: SharesPolicy, score: Callable[[ArrayRecord], float], **kwargs: Any) -> None:
        """See the class."""
        if "weighted_by_key" in kwargs:
            raise ValueError(f"`weighted_by_key` is the policy's. Received {kwargs['weighted_by_key']!r}")
        self._weights, self._score = LearnedWeights(policy), score
        super().__init__(weighted_by_key=KEY, **kwargs)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The average of the models that came, and of their metrics; None where none came.

        Raises:
            InconsistentMessageReplies: as of FedAvg, but for the weights, which clients needn't send.
        """
        replies = list(replies)
        contents = {reply.metadata.src_node_id: reply.content for reply in replies if not reply.has_error()}
        models = [list(content.array_records.values()) for content in contents.values()]
        if models and all(len(records) == 1 for records in models):  # FedAvg refuses others
            scores = {client: self._score(model) for client, (model,) in zip(contents, models, strict=True)}
            for client, weight in self._weights.weigh(scores).items():
                metrics = contents[client].metric_records
                (next(iter(metrics.values())) if metrics else _added(contents[client]))[KEY] = weight
        found: tuple[ArrayRecord | None, MetricRecord | None] = super().aggregate_train(server_round, replies)
        return found


def _added(content: Any) -> MetricRecord:
    """Metrics of a reply that had none."""
    content["metrics"] = MetricRecord()
    return content["metrics"]
