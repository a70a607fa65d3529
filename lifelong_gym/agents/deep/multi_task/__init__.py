"""One network for many tasks: heads, soft modules, and gradients and returns that are brought together task by task."""
