"""Resource allocation: shares of one resource among m entities of a universe."""
