"""Replay that is kept packed: frames once, compressed, in chunks that are read one by one."""
