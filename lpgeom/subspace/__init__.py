"""One subspace for the rows: starts, descents, the best of them, and its certificate.

May import coresets, bounds, geometry, rows, records, kernels and io. Begin with `approx_rows` in
``approx.py``, which reads as the road; `METHODS` in ``solve.py`` lists the solvers.
"""
