"""Drawing, imported only when a frame is asked for."""
