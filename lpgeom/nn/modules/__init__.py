"""Torch modules in factors, and what they have to know of the dense ones whose place they take.

One family: `LowRank` holds rows in groups, each in factors of its own rank; embeddings, linear
layers and bare parameters use them. Imports `lpgeom.nn.factors` only. Begin with `low_rank.py`.
"""
