"""Read a matrix from a file, without running anything in it.

.npy and .safetensors are memory mapped, .zarr, .h5 and .parquet left where they are (`sources`):
only the blocks that an algorithm reads come into memory.
Everything that can be wrong with a file is a `ReadError` of one line that names the file.
What is read is checked again, as every input is, at the public door (`validation`).

Imports nothing of lpgeom but io. Begin with `door`: a type of file is an entry of `READERS` there.
"""

from lpgeom.io.readers.names import ReadError
from lpgeom.io.readers.read import READERS, SUFFIXES, Reader, read_matrix, read_vector

__all__ = ["READERS", "SUFFIXES", "ReadError", "Reader", "read_matrix", "read_vector"]
