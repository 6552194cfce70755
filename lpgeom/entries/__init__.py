"""Factors with a small sum of |entries|^p, and the l_p regressions they are made of.

May import the solvers of one subspace (`subspace`), which give starts and bounds, and what lies
below them. Begin with `factors` (`approx_factors`): it takes the table of `starts`, then the table
of descents in `portfolio`. `regression` has `lp_regression`.
"""
