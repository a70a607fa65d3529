"""Families of finitely many states and actions."""
