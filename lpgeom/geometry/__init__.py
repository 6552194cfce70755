"""Shapes that hold at any cost: Lewis weights, spectra, the Fantope, the Grassmannian, medians.

May import rows, records, kernels and io. Begin with ``spectrum.py``, which everything here uses;
``ellipsoids/`` has the ellipsoids around unit balls and around points.
"""
