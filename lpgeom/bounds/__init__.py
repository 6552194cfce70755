"""Lower bounds that hold for every subspace, and their independent check."""
