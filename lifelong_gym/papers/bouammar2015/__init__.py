"""Bou Ammar et al. (2015), Safe policy search for lifelong reinforcement learning with sublinear regret."""
