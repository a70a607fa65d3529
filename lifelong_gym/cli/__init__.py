"""The command lifelong."""
