"""What touches the data: a few passes over the rows, wherever they are, and nothing else.

Imports `lpgeom.io` and `lpgeom.kernels`. Begin with `base` (the passes), `door` (from the user's
array to rows: `KINDS`) and `place` (one memory: its array functions, kernels and block sizes).
"""
