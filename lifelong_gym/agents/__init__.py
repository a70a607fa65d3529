"""Learners: Stable-Baselines3's interface, for many tasks at once; and the parts that policy searches are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifelong_gym.imports import lazy

if TYPE_CHECKING:
    from lifelong_gym.agents.allocation.flower import LearnedAggregation
    from lifelong_gym.agents.allocation.learned_weights import LearnedWeights
    from lifelong_gym.agents.contract.arguments import CommonSettings
    from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
    from lifelong_gym.agents.decentralised.dcpg import DCPG
    from lifelong_gym.agents.deep.continual.distill import Distill
    from lifelong_gym.agents.deep.continual.ewc import EWC
    from lifelong_gym.agents.deep.continual.l2_init import L2Init
    from lifelong_gym.agents.deep.continual.library import Library
    from lifelong_gym.agents.deep.continual.online_ewc import OnlineEWC
    from lifelong_gym.agents.deep.continual.packnet import PackNet
    from lifelong_gym.agents.deep.continual.redo import ReDo
    from lifelong_gym.agents.deep.continual.replay import Replay
    from lifelong_gym.agents.deep.extractors import C3F2, SmallCNN
    from lifelong_gym.agents.deep.multi_agent import MultiAgentAlgorithm
    from lifelong_gym.agents.deep.multi_task.multi_head_ppo import MultiHeadPPO
    from lifelong_gym.agents.deep.multi_task.multi_head_sac import MultiHeadSAC
    from lifelong_gym.agents.deep.multi_task.soft_modular import SoftModularPPO, SoftModularSAC
    from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer
    from lifelong_gym.agents.deep.sharing.shared_experience_dqn import SharedExperienceDQN
    from lifelong_gym.agents.equivariant.lspi import LSPI
    from lifelong_gym.agents.equivariant.policies import EquivariantPolicy, FlatSimplexPolicy
    from lifelong_gym.agents.equivariant.prioritized_mtl import PrioritizedMTL
    from lifelong_gym.agents.equivariant.soft_policies import EquivariantSACPolicy
    from lifelong_gym.agents.equivariant.task_buffers import TaskReplayBuffer
    from lifelong_gym.agents.equivariant.task_sampling import TaskSampling
    from lifelong_gym.agents.linear.base_learners import BaseSettings
    from lifelong_gym.agents.linear.enac import ENAC
    from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
    from lifelong_gym.agents.linear.policy_search import PolicySearch
    from lifelong_gym.agents.linear.reinforce import REINFORCE
    from lifelong_gym.agents.linear.rwr import RWR
    from lifelong_gym.agents.linear.sampling import Sampler
    from lifelong_gym.agents.linear.sharers import Sharer, Taskwise
    from lifelong_gym.agents.safety.constraints import PolicyConstraints
    from lifelong_gym.agents.safety.projected_pg import ProjectedPG
    from lifelong_gym.agents.safety.safe_lifelong_pg import SafeLifelongPG
    from lifelong_gym.agents.safety.safe_search import SafeSearch
    from lifelong_gym.agents.shared_basis.go_mtl import GOMTL
    from lifelong_gym.agents.shared_basis.pg_ella import PGELLA
    from lifelong_gym.agents.shared_basis.scalable_pg_ella import ScalablePGELLA
    from lifelong_gym.agents.shared_basis.sharers import BasisSettings, BasisSharer, InTurns
    from lifelong_gym.agents.value.dist_mt_lsvi import DistMTLSVI

__all__ = [
    "C3F2",
    "DCPG",
    "ENAC",
    "EWC",
    "GOMTL",
    "LSPI",
    "PGELLA",
    "REINFORCE",
    "RWR",
    "BaseSettings",
    "BasisSettings",
    "BasisSharer",
    "CommonSettings",
    "DistMTLSVI",
    "Distill",
    "EquivariantPolicy",
    "EquivariantSACPolicy",
    "FlatSimplexPolicy",
    "InTurns",
    "L2Init",
    "LearnedAggregation",
    "LearnedWeights",
    "Library",
    "LinearGaussianPolicy",
    "MultiAgentAlgorithm",
    "MultiHeadPPO",
    "MultiHeadSAC",
    "MultiTaskAlgorithm",
    "OnlineEWC",
    "PackNet",
    "PackedReplayBuffer",
    "PolicyConstraints",
    "PolicySearch",
    "PrioritizedMTL",
    "ProjectedPG",
    "ReDo",
    "Replay",
    "SafeLifelongPG",
    "SafeSearch",
    "Sampler",
    "ScalablePGELLA",
    "SharedExperienceDQN",
    "Sharer",
    "SmallCNN",
    "SoftModularPPO",
    "SoftModularSAC",
    "TaskReplayBuffer",
    "TaskSampling",
    "Taskwise",
]

__getattr__ = lazy(
    __name__,
    {
        "allocation.flower": ["LearnedAggregation"],
        "allocation.learned_weights": ["LearnedWeights"],
        "contract.arguments": ["CommonSettings"],
        "contract.base": ["MultiTaskAlgorithm"],
        "decentralised.dcpg": ["DCPG"],
        "deep.continual.distill": ["Distill"],
        "deep.continual.ewc": ["EWC"],
        "deep.continual.l2_init": ["L2Init"],
        "deep.continual.library": ["Library"],
        "deep.continual.online_ewc": ["OnlineEWC"],
        "deep.continual.packnet": ["PackNet"],
        "deep.continual.redo": ["ReDo"],
        "deep.continual.replay": ["Replay"],
        "deep.extractors": ["C3F2", "SmallCNN"],
        "deep.multi_agent": ["MultiAgentAlgorithm"],
        "deep.multi_task.multi_head_ppo": ["MultiHeadPPO"],
        "deep.multi_task.multi_head_sac": ["MultiHeadSAC"],
        "deep.multi_task.soft_modular": ["SoftModularPPO", "SoftModularSAC"],
        "deep.replay.buffer": ["PackedReplayBuffer"],
        "deep.sharing.shared_experience_dqn": ["SharedExperienceDQN"],
        "linear.base_learners": ["BaseSettings"],
        "equivariant.lspi": ["LSPI"],
        "equivariant.policies": ["EquivariantPolicy", "FlatSimplexPolicy"],
        "equivariant.prioritized_mtl": ["PrioritizedMTL"],
        "equivariant.soft_policies": ["EquivariantSACPolicy"],
        "equivariant.task_buffers": ["TaskReplayBuffer"],
        "equivariant.task_sampling": ["TaskSampling"],
        "linear.enac": ["ENAC"],
        "linear.policies": ["LinearGaussianPolicy"],
        "linear.policy_search": ["PolicySearch"],
        "linear.reinforce": ["REINFORCE"],
        "linear.rwr": ["RWR"],
        "linear.sampling": ["Sampler"],
        "linear.sharers": ["Sharer", "Taskwise"],
        "safety.constraints": ["PolicyConstraints"],
        "safety.projected_pg": ["ProjectedPG"],
        "safety.safe_lifelong_pg": ["SafeLifelongPG"],
        "safety.safe_search": ["SafeSearch"],
        "shared_basis.go_mtl": ["GOMTL"],
        "shared_basis.pg_ella": ["PGELLA"],
        "shared_basis.scalable_pg_ella": ["ScalablePGELLA"],
        "shared_basis.sharers": ["BasisSettings", "BasisSharer", "InTurns"],
        "value.dist_mt_lsvi": ["DistMTLSVI"],
    },
)
