"""One weight into factors: what is asked of it, the solver, and the factors as they are stored.

Tensors in, tensors out: nothing here knows a torch module. Imports nothing else of `lpgeom.nn`.
Begin with `factor.py`.
"""
