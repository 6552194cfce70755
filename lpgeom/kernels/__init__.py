"""Compiled kernels: numbers in, numbers out."""
