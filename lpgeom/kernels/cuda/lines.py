"""The step that minimises a sum of q-th powers along a line. See `lpgeom.kernels.cpu.lines`.

A warp for each line, its lanes along the entries; expected to gain with some thousand lines.
"""

from numba import cuda

from lpgeom.kernels.cpu import lines as text
from lpgeom.kernels.cuda.lanes import told
from lpgeom.kernels.cuda.launch import WARP, by_rows

slope = cuda.jit(device=True)(told(text.slope))
line_search = by_rows(WARP)(told(text.line_search, slope=slope))
