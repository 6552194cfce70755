"""Several subspaces for one matrix."""
