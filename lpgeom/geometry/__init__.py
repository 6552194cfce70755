"""Geometry of the rows: Lewis ellipsoid, Fantope, subspaces."""
