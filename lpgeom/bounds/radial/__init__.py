"""The radial bounds 3g, 3h and 3i, the tightest, which hold with high probability.

May import bounds, geometry, rows and records. Begin with `radial_bound` in ``bound.py``;
``form.py`` has the minorants of the rows that it sums up.
"""
