"""Neural learners: Stable-Baselines3's algorithms as parts, one an agent."""
