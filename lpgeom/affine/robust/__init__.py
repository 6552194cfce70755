"""Which rows a fit may rest on where up to half of them lie anywhere, and which lie off it.

May import what `lpgeom.affine` may. Begin with ``support.py`` (`supported`): ``clusters.py`` has
what is set aside first, ``directions.py`` what it looks along, ``cutoffs.py`` where a distance is
called large, ``distances.py`` the two distances of every row and what they make of it.
"""
