"""Papers' experiments, run again by one command each."""
