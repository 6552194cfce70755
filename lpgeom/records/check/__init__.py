"""How anyone checks a statement: NumPy and records only."""
