"""Agents that recognise tasks, and share what they have experienced in them, by way of a hub."""
