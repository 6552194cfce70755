"""Factors with a small sum of |entries|^p."""
