"""Kernels compiled for CUDA devices: the names and signatures of `lpgeom.kernels.cpu`.

Importing them compiles nothing and asks for no device: kernels are compiled at their first launch.
"""

from importlib.util import find_spec

if find_spec("numba_cuda") is None:
    raise ImportError(
        "the CUDA kernels need numba-cuda, which is not installed: pip install 'lpgeom[cuda]'"
    )
