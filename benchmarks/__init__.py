"""Benchmarks: ``python -m benchmarks NAME``. Tables on standard output, JSON in results/."""
