"""Bounds 3g, 3h and 3i."""
