"""Policy search with linear-Gaussian policies, each task for itself."""
