"""Torch modules in factors."""
