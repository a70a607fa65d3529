"""Wrappers: our environments for Stable-Baselines3, and the channel by which agents share parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifelong_gym.imports import lazy

if TYPE_CHECKING:
    from lifelong_gym.wrappers.agent_budget import AgentBudget
    from lifelong_gym.wrappers.budget import Budget, Stage
    from lifelong_gym.wrappers.channel import Channel
    from lifelong_gym.wrappers.faults import Faults
    from lifelong_gym.wrappers.hidden_tasks import HiddenTasks
    from lifelong_gym.wrappers.ledger import Ledger
    from lifelong_gym.wrappers.node_rows import NodeRows, rows_of, rows_of_nodes, steps_left
    from lifelong_gym.wrappers.parallel_vec_env import ParallelVecEnv
    from lifelong_gym.wrappers.parameter_sharing import ParameterSharing
    from lifelong_gym.wrappers.topology import colouring, graph_of, hub_of, mixing_matrix, spanning_tree
    from lifelong_gym.wrappers.vec_env import CoreVecEnv, as_vec_env

__all__ = [
    "AgentBudget",
    "Budget",
    "Channel",
    "CoreVecEnv",
    "Faults",
    "HiddenTasks",
    "Ledger",
    "NodeRows",
    "ParallelVecEnv",
    "ParameterSharing",
    "Stage",
    "as_vec_env",
    "colouring",
    "graph_of",
    "hub_of",
    "mixing_matrix",
    "rows_of",
    "rows_of_nodes",
    "spanning_tree",
    "steps_left",
]

# Sharing needs no torch, and the bridge to Stable-Baselines3 no networkx.
__getattr__ = lazy(
    __name__,
    {
        "budget": ["Budget", "Stage"],
        "channel": ["Channel"],
        "faults": ["Faults"],
        "hidden_tasks": ["HiddenTasks"],
        "ledger": ["Ledger"],
        "node_rows": ["NodeRows", "rows_of", "rows_of_nodes", "steps_left"],
        "parallel_vec_env": ["ParallelVecEnv"],
        "parameter_sharing": ["ParameterSharing"],
        "agent_budget": ["AgentBudget"],
        "topology": ["colouring", "graph_of", "hub_of", "mixing_matrix", "spanning_tree"],
        "vec_env": ["CoreVecEnv", "as_vec_env"],
    },
)
