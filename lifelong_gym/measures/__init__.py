"""Metrics of lifelong, multi-task and distributed learning, and statistics over runs."""
