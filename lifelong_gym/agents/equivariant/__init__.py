"""Policies that treat entities alike, whichever order they come in, and learners that choose among tasks."""
