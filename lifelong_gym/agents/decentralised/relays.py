"""Nodes without tasks, which hold a policy and hand it on."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import set_random_seed

from lifelong_gym.agents.decentralised.shared import NamedTensors
from lifelong_gym.agents.deep.agent import copy_of_policy
from lifelong_gym.agents.deep.streams import RandomStreams


class Relay:
    """A node that has no rows: it averages its neighbours' parameters and never takes a step of its own.

    Args:
        node: its name.
        like: a policy of the form that it holds.
        seed: of its first parameters.

    Attributes:
        node: as given.
        policy: what it holds.
        moments: of optimisers, where these are shared.
    """

    def __init__(self, node: Any, like: BasePolicy, seed: int) -> None:
        """See the class."""
        self.node, self.moments = node, NamedTensors()
        with RandomStreams(like.device):
            set_random_seed(seed)
            self.policy = type(like)(**like._get_constructor_parameters()).to(like.device)
        self.policy.set_training_mode(False)

    def copy_of_policy(self) -> BasePolicy:
        """A policy of one's own, with parameters as they are now."""
        return copy_of_policy(self.policy)

    def parts(self) -> dict[str, Any]:
        """What is kept."""
        return {"policy": self.policy, "moments": self.moments}
