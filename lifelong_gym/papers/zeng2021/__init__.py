"""Zeng et al. (2021), A decentralized policy gradient approach to multi-task reinforcement learning."""
