"""Kernels compiled for CUDA devices: the names and arguments of `lpgeom.kernels.cpu`.

Imports `lpgeom.kernels.scalar` and nothing else of lpgeom; that compiles nothing and asks for no
device: kernels are compiled at their first launch. Begin with `rowwise` and `launch`.
"""

from importlib.util import find_spec

if find_spec("numba_cuda") is None:
    raise ImportError(
        "the CUDA kernels need numba-cuda, which is not installed: pip install 'lpgeom[cuda]'"
    )

from lpgeom.kernels.cuda import regression
from lpgeom.kernels.cuda.blas import matmul, rank_update
from lpgeom.kernels.cuda.lines import line_search
from lpgeom.kernels.cuda.mvee import exchange_steps
from lpgeom.kernels.cuda.proximal import prox_entries, split_step
from lpgeom.kernels.cuda.rounding import descend_codes, feed_back, fit_scales, nearest_codes
from lpgeom.kernels.cuda.rowwise import add_row_dots, add_row_squares, pack_rows, scale_rows
from lpgeom.kernels.cuda.shallow_cut import column_norms, shallow_cuts
from lpgeom.kernels.cuda.trellis import decode_rows, encode_rows

__all__ = [
    "add_row_dots",
    "add_row_squares",
    "column_norms",
    "decode_rows",
    "descend_codes",
    "encode_rows",
    "exchange_steps",
    "feed_back",
    "fit_scales",
    "line_search",
    "matmul",
    "nearest_codes",
    "pack_rows",
    "prox_entries",
    "rank_update",
    "regression",
    "scale_rows",
    "shallow_cuts",
    "split_step",
]
