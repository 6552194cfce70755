"""Matrices in chunked storage: .zarr, .h5 and .parquet, left where they are."""

from __future__ import annotations

import os
from typing import Any

from lpgeom.io.readers.layout import Layout
from lpgeom.io.readers.names import ReadError, choose, reading
from lpgeom.io.sources import ParquetTable, Stored, StoredArray


def read_zarr(path: str | os.PathLike[str], tensor: str | None) -> Stored:
    """The array, or one of a group's."""
    import zarr

    # zarr has no base class for what can be wrong with a store.
    with reading(path, "not a Zarr array or group, or damaged", Exception):
        found = zarr.open(os.fspath(path), mode="r")
        if hasattr(found, "shape"):
            if tensor is not None:
                raise ReadError(f"{path}: holds one array, which has no name ({tensor!r})")
            return StoredArray(found)
        names = [name for name, item in found.members(max_depth=None) if hasattr(item, "shape")]
        return StoredArray(found[choose(path, names, tensor)])


def read_hdf5(path: str | os.PathLike[str], tensor: str | None) -> Stored:
    """A dataset, wherever in the file it lies; nothing that lies in another file."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ReadError(f"{path}: not an HDF5 file, or truncated ({error})") from error
    names: list[str] = []
    # h5py passes on what its C library finds, under many types.
    with reading(path, "damaged HDF5 file", Exception):
        # It goes along no link that may lead to another file.
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        wanted = None if tensor is None else tensor.strip("/")
        if wanted is not None and wanted not in names:
            _refuse_links(path, file, wanted)
        dataset = file[choose(path, names, wanted)]
        if dataset.external or dataset.is_virtual:
            raise ReadError(f"{path}: {dataset.name!r} has its numbers in other files, "
                            "which are not read")  # fmt: skip
        return StoredArray(dataset)


def _refuse_links(path: str | os.PathLike[str], group: Any, name: str) -> None:
    """Say that a name is a link, or begins with one; step by step, so that none is followed."""
    import h5py

    for part in name.split("/"):
        link = group.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            raise ReadError(f"{path}: {part!r} is a link to {link.path!r}; links aren't followed")
        group = None if link is None else group[part]
        if not isinstance(group, h5py.Group):
            return


def read_parquet(path: str | os.PathLike[str], tensor: str | None, layout: Layout) -> Stored:
    """All columns, of numbers, or those asked for; or the one of that name, of vectors."""
    import pyarrow
    from pyarrow import parquet

    with reading(path, "", pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        names = file.schema_arrow.names
        chosen = layout.chosen(path, names, len(names))
        if tensor is not None:
            columns: list[str] | None = [tensor]
        else:
            columns = None if chosen is None else [names[j] for j in chosen]
        return ParquetTable(file, columns, missing=layout.missing)
