"""Compressed models saved and loaded, and stored ones compressed tensor by tensor.

`recipe.py` says what is in ``lpgeom.json``. Imports all other rooms of `lpgeom.nn`. Begin with
`checkpoint.py`.
"""
