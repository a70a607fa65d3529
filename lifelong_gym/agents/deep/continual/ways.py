"""Ways not to forget, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lifelong_gym.agents.contract.checks import choice
from lifelong_gym.agents.deep.continual.base import Continual
from lifelong_gym.agents.deep.continual.distill import Distill
from lifelong_gym.agents.deep.continual.ewc import EWC
from lifelong_gym.agents.deep.continual.l2_init import L2Init
from lifelong_gym.agents.deep.continual.library import Library
from lifelong_gym.agents.deep.continual.online_ewc import OnlineEWC
from lifelong_gym.agents.deep.continual.packnet import PackNet
from lifelong_gym.agents.deep.continual.redo import ReDo
from lifelong_gym.agents.deep.continual.replay import Replay
from lifelong_gym.errors import unknown

WAYS: dict[str, type[Continual]] = {
    "ewc": EWC,
    "online_ewc": OnlineEWC,
    "l2_init": L2Init,
    "redo": ReDo,
    "packnet": PackNet,
    "distill": Distill,
    "replay": Replay,
    "library": Library,
}


def make_way(name: str, arguments: Mapping[str, Any]) -> Continual:
    """One of them.

    Raises:
        UnknownNameError: no such way, or it has no such argument.
        ValueError: an argument out of range.
    """
    kind = WAYS[choice("continual", name, WAYS)]
    known = [] if kind.__init__ is Continual.__init__ else list(inspect.signature(kind).parameters)
    for argument in arguments:
        if argument not in known:
            raise unknown("argument of `continual_kwargs`", argument, known)
    return kind(**arguments)
