"""Families that find their way."""
