"""Wrappers: our environments for Stable-Baselines3."""

from __future__ import annotations

from lifelong_gym.wrappers.vec_env import CoreVecEnv, ParallelVecEnv, as_vec_env

__all__ = ["CoreVecEnv", "ParallelVecEnv", "as_vec_env"]
