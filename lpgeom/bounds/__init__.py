"""Lower bounds that hold for every subspace of a dimension: what makes a result certified.

May import geometry, rows, records, kernels and io. Begin with ``table.py``: `BOUNDS` lists every
bound with the p it is for, and `lower_bounds` computes those that apply.
"""
