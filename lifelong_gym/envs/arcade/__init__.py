"""Arcade games: Atari 2600, and MinAtar's small ones."""
