"""Task families, the core that steps them, and the thin adapters over it."""
