"""Arguments of learners that mix what they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, count, flag, number
from lifelong_gym.agents.decentralised.forms import FORMS
from lifelong_gym.agents.decentralised.shared import Share, check_share


@dataclass(frozen=True)
class MixingSettings:
    """How agents mix.

    Attributes:
        form: ``"adapt"``: step, then mix; ``"literal"``: the step is added to mixed parameters, as in the paper;
            ``"tracking"``: agents also mix an estimate of the mean step, which has no bias, and sends twice as much.
        share: ``"policy"``: all but the critic; ``"all"``; ``"features"``: all but the critic and the actor's last
            layer; or patterns of parameters' names, such as ``["action_net.*"]``.
        share_moments: whether what optimisers keep of shared parameters is mixed too.
        n_mixing: rounds of mixing each time.
        mix_every: sweeps between two mixings.
        task_weights: by which the steps of each task's agent are multiplied, (n_tasks,); None: 1.
        relative_entropy: weight of the policies' divergence from uniform choice; Discrete actions only.
        same_start: whether all agents begin with the first one's parameters.
    """

    form: str = "adapt"
    share: Share = "policy"
    share_moments: bool = False
    n_mixing: int = 1
    mix_every: int = 1
    task_weights: Sequence[float] | None = None
    relative_entropy: float = 0.0
    same_start: bool = True

    def __post_init__(self) -> None:
        check_fields(
            self,
            form=partial(choice, among=FORMS),
            share=lambda _, value: check_share(value),
            share_moments=flag,
            n_mixing=count,
            mix_every=count,
            task_weights=_weights,
            relative_entropy=number,
            same_start=flag,
        )
        if self.form == "tracking" and self.mix_every > 1:
            raise ValueError(f"`mix_every` must be 1 with `form='tracking'`. Received {self.mix_every}")
        if self.form == "tracking" and self.share_moments:
            raise ValueError(
                "`share_moments` must be False with `form='tracking'`, which is for optimisers without any"
            )


def _weights(name: str, value: Any) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"`{name}` must be a list of numbers, one a task. Received {value!r}")
    given = value.tolist() if isinstance(value, np.ndarray) else value
    return [number(f"{name}[{i}]", weight) for i, weight in enumerate(given)]
