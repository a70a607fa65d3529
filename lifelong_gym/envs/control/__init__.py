"""Control families: mechanical systems to be held at a goal."""
