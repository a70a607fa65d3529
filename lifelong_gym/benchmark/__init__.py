"""Evidence: protocols, metrics, statistics, figures, and the command line."""
