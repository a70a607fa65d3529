"""Stable-Baselines3's contract for many tasks: learning, state, files and arguments."""
