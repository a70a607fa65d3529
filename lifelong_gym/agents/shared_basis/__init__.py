"""Policies that are sparse combinations of a basis, which all tasks share."""
