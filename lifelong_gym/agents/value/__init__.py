"""Agents that learn values by least squares, find out which task they face, and share what they know."""
