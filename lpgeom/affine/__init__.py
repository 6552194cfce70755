"""Affine subspaces c + span V, found as linear ones of lifted rows and certified as such.

May import subspace and everything below it. Begin with `approx_affine` in ``affine.py``;
``lift.py`` has the lift and the certificate, ``joint.py`` descends on centre and subspace together.
"""
