"""What a model has, and what is put in its place.

`sites.py` finds the weights, `select.py` those that are meant, `replace.py` puts factors there and
multiplies them out again. Imports `modules` and `factors` of `lpgeom.nn`. Begin with `sites.py`.
"""
