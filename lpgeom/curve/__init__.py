"""The cost over the rank: subspaces and lower bounds of many ranks, from work that they share.

May import the solvers of one subspace (`subspace`), `coresets`, `bounds` and what lies below them.
Begin with `curve` (`cost_curve`); `search` says which rank comes when, `solver` solves one of them.
"""
