"""Steps of an interior-point method for small regressions. See `lpgeom.kernels.cpu.regression`.

A warp for each problem, its lanes along the entries, so that what a step needs of a problem is
reduced by shuffles alone. Expected to gain with some thousand problems; a few are better left to
the CPU. The small factors are made a warp each too, which suits k up to some hundred.
"""

from lpgeom.kernels.cpu import regression as text
from lpgeom.kernels.cuda.lanes import told
from lpgeom.kernels.cuda.launch import WARP, by_rows

begin, predict = by_rows()(told(text.begin)), by_rows()(told(text.predict))
correct, advance = by_rows(WARP)(told(text.correct)), by_rows(WARP)(told(text.advance))
cholesky, unpack, solve = (
    by_rows(WARP)(told(kernel)) for kernel in (text.cholesky, text.unpack, text.solve)
)
