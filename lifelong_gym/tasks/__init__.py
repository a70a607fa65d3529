"""Tasks: named parameters, the distributions they are drawn from, sets of tasks, and the order they are met in."""
