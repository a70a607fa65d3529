"""Efficient reinforcement learning in resource allocation problems through permutation invariant multi-task learning."""
