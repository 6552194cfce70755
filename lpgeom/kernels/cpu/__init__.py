"""Kernels compiled for the CPU: what `lpgeom.rows.place.Place` finds by name, here and on a device.

Imports `lpgeom.kernels.scalar` and nothing else of lpgeom. Begin with `rowwise`; every file has a
twin of the same names and arguments in `lpgeom.kernels.cuda`, where a route has a device.
"""

from numpy import matmul

from lpgeom.kernels.cpu import regression
from lpgeom.kernels.cpu.blas import rank_update
from lpgeom.kernels.cpu.lines import line_search
from lpgeom.kernels.cpu.mvee import exchange_steps
from lpgeom.kernels.cpu.outlyingness import farthest_off, quantile
from lpgeom.kernels.cpu.proximal import prox_entries, split_step
from lpgeom.kernels.cpu.rounding import descend_codes, feed_back, fit_scales, nearest_codes
from lpgeom.kernels.cpu.rowwise import add_row_dots, add_row_squares, pack_rows, scale_rows
from lpgeom.kernels.cpu.shallow_cut import column_norms, shallow_cuts
from lpgeom.kernels.cpu.simplex import pairwise_descent
from lpgeom.kernels.cpu.trellis import decode_rows, encode_rows

__all__ = [
    "add_row_dots",
    "add_row_squares",
    "column_norms",
    "decode_rows",
    "descend_codes",
    "encode_rows",
    "exchange_steps",
    "farthest_off",
    "feed_back",
    "fit_scales",
    "line_search",
    "matmul",
    "nearest_codes",
    "pack_rows",
    "pairwise_descent",
    "prox_entries",
    "quantile",
    "rank_update",
    "regression",
    "scale_rows",
    "shallow_cuts",
    "split_step",
]
