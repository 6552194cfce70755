"""Compiled kernels: numbers in, numbers out.

Imports nothing else of lpgeom. Begin with `cpu`, where each kernel derives its formula; `cuda` has
the same names and arguments for device arrays, and `scalar` what both do to one number.
"""
