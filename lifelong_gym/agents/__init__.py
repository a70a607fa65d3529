"""Learners: Stable-Baselines3's interface, for many tasks at once."""

from __future__ import annotations

from lifelong_gym.agents.base import MultiTaskAlgorithm
from lifelong_gym.agents.enac import ENAC
from lifelong_gym.agents.pg_ella import PGELLA
from lifelong_gym.agents.policies import LinearGaussianPolicy
from lifelong_gym.agents.policy_search import PolicySearch
from lifelong_gym.agents.reinforce import REINFORCE

__all__ = ["ENAC", "PGELLA", "REINFORCE", "LinearGaussianPolicy", "MultiTaskAlgorithm", "PolicySearch"]
