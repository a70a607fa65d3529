"""Learners: Stable-Baselines3's interface, for many tasks at once."""

from __future__ import annotations

from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.linear.enac import ENAC
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.reinforce import REINFORCE
from lifelong_gym.agents.linear.rwr import RWR
from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projected_pg import ProjectedPG
from lifelong_gym.agents.safety.safe_lifelong_pg import SafeLifelongPG
from lifelong_gym.agents.safety.safe_search import SafeSearch
from lifelong_gym.agents.shared_basis.basis_search import BasisSearch
from lifelong_gym.agents.shared_basis.go_mtl import GOMTL
from lifelong_gym.agents.shared_basis.pg_ella import PGELLA
from lifelong_gym.agents.shared_basis.scalable_pg_ella import ScalablePGELLA

__all__ = [
    "ENAC",
    "GOMTL",
    "PGELLA",
    "REINFORCE",
    "RWR",
    "BasisSearch",
    "LinearGaussianPolicy",
    "MultiTaskAlgorithm",
    "PolicyConstraints",
    "PolicySearch",
    "ProjectedPG",
    "SafeLifelongPG",
    "SafeSearch",
    "ScalablePGELLA",
]
