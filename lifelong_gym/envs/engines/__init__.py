"""Physics engines that simulate our families."""
