"""Scaling distributed multi-task reinforcement learning with experience sharing (Amani et al., 2023), as data."""
