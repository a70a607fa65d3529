"""Zhan, Bou Ammar and Taylor, Scalable lifelong reinforcement learning, Pattern Recognition 72, 2017."""
