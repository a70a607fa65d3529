"""Agents that learn one policy together, each in tasks of its own, and mix what they learn over a graph."""
