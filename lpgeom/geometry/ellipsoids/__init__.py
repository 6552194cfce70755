"""Löwner, John and minimum-volume ellipsoids, and the lp-SVD that rests on them.

Imports what `lpgeom.geometry` may. Begin with `loewner` and `mvee`; `dense` is their door, `design`
and `shallow_cut` the methods, `sandwich` the proof of what is found.
"""
