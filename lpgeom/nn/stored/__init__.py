"""Saved and loaded."""
