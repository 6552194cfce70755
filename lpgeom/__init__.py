"""Provable low-rank approximation and geometry of l_p subspace problems."""
