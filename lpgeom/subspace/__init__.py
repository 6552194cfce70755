"""Solvers for the subspace problem and its public door."""
