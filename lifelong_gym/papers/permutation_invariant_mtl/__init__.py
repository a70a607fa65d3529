"""Permutation invariant multi-task learning in resource allocation (anonymous)."""
