"""Policies that satisfy constraints: the sets, points inside them, projections onto them, and steps within them."""
