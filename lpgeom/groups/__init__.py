"""Several subspaces for one matrix: rows in groups, each group in a subspace of its own.

May import the solvers of one subspace (`subspace`) and what lies below them. Begin with `clusters`
(`approx_clusters`: equal ranks) and `mixed` (`approx_mixed`: ranks by one budget, `allocation`);
both search with `splits`, which descends from the starts of `seeding` as `lloyd` does.
"""
