"""How large federated experiments are: two settings, and single numbers of them that users may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from lifelong_gym.envs.allocation.federated_training import FIRST_RARE, KERNEL
from lifelong_gym.envs.arguments import Argument
from lifelong_gym.errors import as_float, integer
from lifelong_gym.numerics.arrays import IntArray


@dataclass(frozen=True)
class Setting:
    """The sizes of an experiment.

    Attributes:
        rounds: aggregations, the horizon.
        local_steps: of gradient descent, that each client takes in a round.
        batch_size: images a local step.
        client_learning_rate: of gradient descent.
        images_per_client: how many each holds.
        evaluation_images: on which the aggregate's reward is measured.
        observed_images: the first of these, on which clients' models are observed.
        side: of the images, in pixels.
        stride: of the convolution.
        filters: of the convolution.
    """

    rounds: int
    local_steps: int
    batch_size: int
    client_learning_rate: float
    images_per_client: int
    evaluation_images: int
    observed_images: int
    side: int
    stride: int
    filters: int = 32


QUICK = Setting(20, 3, 16, 0.15, 150, 250, 125, 14, 2)
PAPER = Setting(50, 12, 50, 0.05, 600, 1000, 1000, 28, 1)
SETTINGS = {"quick": QUICK, "paper": PAPER}
MEANINGS = {
    "rounds": "aggregations in an episode",
    "local_steps": "of each client's gradient descent in a round",
    "batch_size": "images in a local step",
    "client_learning_rate": "of the clients' gradient descent",
    "images_per_client": "how many each holds",
    "evaluation_images": "on which the reward is measured, other than those of the test",
    "observed_images": "the first of these, on which clients' models are observed",
    "side": "of the images in pixels; larger ones are shrunk",
    "stride": "of the convolution",
    "filters": "of the convolution",
}


def setting_arguments() -> tuple[Argument, ...]:
    """``setting`` by name, and each of its numbers, by default the setting's."""
    kinds = {name: float if name == "client_learning_rate" else int for name in MEANINGS}
    numbers = [
        Argument(name, kinds[name], None, f"{meaning}; default: the setting's") for name, meaning in MEANINGS.items()
    ]
    return Argument("setting", str, "quick", "sizes, see there", SETTINGS), *numbers


def chosen_setting(setting: Setting, given: Mapping[str, Any]) -> Setting:
    """The setting with the numbers that were given in place of its own.

    Raises:
        ValueError: a number out of its range, or a batch larger than what a client holds.
    """
    changes = {name: given[name] for name in MEANINGS if given[name] is not None}
    chosen = replace(setting, **changes)
    for field in fields(Setting):
        if field.name != "client_learning_rate":
            integer(field.name, getattr(chosen, field.name), KERNEL if field.name == "side" else 1)
    if not 0.0 < as_float(chosen.client_learning_rate) < float("inf"):
        raise ValueError(f"`client_learning_rate` must be positive. Received {chosen.client_learning_rate}")
    return chosen


def fitted(setting: Setting, given: Mapping[str, Any], labels: IntArray, n_test: int, side: int) -> Setting:
    """The setting for images of these labels and that side: what wasn't ``given`` gives way to them.

    A client holds at most 3/40 of the images to train with (300 of 4,000), and half of those to test on stay for the
    final test.

    Raises:
        ValueError: numbers that were given and don't fit.
    """
    limits = {"images_per_client": len(labels) * 3 // 40, "evaluation_images": n_test // 2}
    changes = {name: min(getattr(setting, name), limit) for name, limit in limits.items() if given[name] is None}
    chosen = replace(setting, side=min(setting.side, side), **changes)
    if given["observed_images"] is None:
        chosen = replace(chosen, observed_images=min(chosen.observed_images, chosen.evaluation_images))
    n_rare = int(np.count_nonzero(labels >= FIRST_RARE))
    integer("images_per_client", chosen.images_per_client, 1, min(n_rare, len(labels) - n_rare))
    integer("evaluation_images", chosen.evaluation_images, 1, n_test - 1)
    integer("observed_images", chosen.observed_images, 1, chosen.evaluation_images)
    if chosen.batch_size > chosen.images_per_client:
        raise ValueError(
            f"`batch_size` must be at most {chosen.images_per_client}, what a client holds. "
            f"Received {chosen.batch_size}"
        )
    return chosen
