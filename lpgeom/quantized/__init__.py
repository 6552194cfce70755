"""A table of rows in few bits: how many for every component of every group, from one budget.

Begin with `approx` (the coder) and `layout` (where the bits lie); `rounding` and `feedback` are for
the weights of linear layers, entry by entry.
"""
