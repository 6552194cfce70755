"""Arrays of other libraries as NumPy's: dataframes, tensors, and whatever offers a standard way in.

No library is imported here: a value is known by its type's module, or by the protocol it offers.
Nothing is copied that NumPy can view.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KIND_WORDS = {"b": "booleans", "M": "dates", "m": "time spans", "c": "complex numbers"}


def as_numpy(value: Any, name: str, *, missing: bool = False, masks: bool = False) -> NDArray[Any]:
    """`value` as a NumPy array, with errors that name the argument and the column at fault.

    Parameters
    ----------
    value : object
        An ndarray (a memory map stays one; ml_dtypes' bfloat16 becomes float32); a pandas or
        polars DataFrame, Series or Index; a torch tensor (detached; brought to the CPU; bfloat16
        becomes float32); a CuPy array (fetched); anything else that has ``__array__``,
        ``__dlpack__``, or is made of nested sequences of numbers.
    name : str
        What messages call it.
    missing : bool
        Whether a dataframe may have missing values. They are NaN then.
    masks : bool
        Whether a dataframe's columns may be boolean.

    Raises
    ------
    TypeError
        The name of a file, a coreset, columns that do not hold numbers, a frame that is not
        computed yet, a sparse tensor, or what cannot be read at all.
    ValueError
        A missing value in a dataframe, named by its row and column.
    """
    _check_kind(value, name)
    if hasattr(type(value), "__cuda_array_interface__") and hasattr(value, "get"):
        fetched: NDArray[Any] = value.get()
        return fetched
    if isinstance(value, np.ndarray):
        if value.dtype.type.__module__ == "ml_dtypes":  # bfloat16 and smaller: float32 has them all
            return value.astype(np.float32)
        return value if isinstance(value, np.memmap) else np.asarray(value)
    library = type(value).__module__.split(".")[0]
    if library == "pandas" and hasattr(value, "to_numpy"):
        return _from_pandas(value, name, missing, "biuf" if masks else "iuf")
    if library == "polars":
        return _from_polars(value, name, missing, masks)
    if library == "xarray" and not hasattr(value, "__array__"):
        raise TypeError(f"{name} is an xarray {type(value).__name__}: pass {name}.to_dataarray()")
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return _from_torch(value, name)
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from error


def _check_kind(value: Any, name: str) -> None:
    """Not what NumPy would make an array without numbers of."""
    if type(value).__module__.startswith("lpgeom.coresets."):
        if type(value).__name__ == "Coreset":
            raise TypeError(
                f"{name} is a Coreset: pass its rows, coreset.rows, and its weights, "
                "row_weights=coreset.weights"
            )
        raise TypeError(f"{name} is a {type(value).__name__}: pass what its coreset() returns")
    if isinstance(value, str | bytes | os.PathLike):
        reader = "read_vector" if name == "row_weights" else "read_matrix"
        raise TypeError(
            f"{name} is a {type(value).__name__}, not an array; to use a file, read it first: "
            f"numpy.load(path, mmap_mode='r'), or lpgeom.io.{reader}(path) for other formats"
        )


def _from_torch(tensor: Any, name: str) -> NDArray[Any]:
    if str(getattr(tensor, "layout", "torch.strided")) != "torch.strided":
        raise TypeError(
            f"{name} is a sparse tensor; sparse input is not supported: pass {name}.to_dense() if "
            "it fits into memory"
        )
    tensor = tensor.detach().cpu()
    if hasattr(tensor, "resolve_conj"):
        tensor = tensor.resolve_conj().resolve_neg()
    try:
        return np.asarray(tensor)
    except TypeError:  # a type that NumPy does not have, such as bfloat16
        return np.asarray(tensor.float())


def _from_pandas(value: Any, name: str, missing: bool, kinds: str) -> NDArray[Any]:
    """A DataFrame, Series, Index or extension array of numbers."""
    columns = value.columns if value.ndim == 2 else [None]
    dtypes = list(value.dtypes) if value.ndim == 2 else [value.dtype]
    for column, dtype in zip(columns, dtypes, strict=True):
        _check_column(name, column, dtype, kinds)
    if all(isinstance(dtype, np.dtype) for dtype in dtypes):
        array = np.asarray(value)
    else:  # nullable and Arrow types: as float64 NumPy has a value for what is missing
        array = np.asarray(value.to_numpy(dtype=np.float64, na_value=np.nan))
    if not missing:
        _check_missing(array, name, getattr(value, "index", None), columns)
    return array


def _check_column(name: str, column: Any, dtype: Any, kinds: str) -> None:
    """Numbers: integers or floats, of NumPy's types or nullable."""
    if hasattr(dtype, "fill_value"):
        raise TypeError(
            f"{_column(name, column)} is sparse ({dtype}); sparse input is not supported: pass "
            f"{name}.sparse.to_dense() if it fits into memory"
        )
    kind = getattr(dtype, "kind", "O")
    if kind not in kinds:
        raise TypeError(_not_numbers(name, column, dtype, kind))


def _from_polars(value: Any, name: str, missing: bool, masks: bool) -> NDArray[Any]:
    """A DataFrame or Series of numbers."""
    kind = type(value).__name__
    if kind == "LazyFrame":
        raise TypeError(f"{name} is a polars LazyFrame, not computed yet: pass {name}.collect()")
    if kind not in ("DataFrame", "Series"):
        raise TypeError(f"{name} is a polars {kind}, which holds no numbers")
    columns = value.get_columns() if kind == "DataFrame" else [value]
    for column in columns:
        label = column.name if kind == "DataFrame" else None
        mask = str(column.dtype) == "Boolean"
        if not column.dtype.is_numeric() and not (mask and masks):
            raise TypeError(_not_numbers(name, label, column.dtype, "b" if mask else "O"))
        if not missing and column.null_count():
            i = int(column.is_null().arg_max())
            raise ValueError(_missing(name, i, i, label))
    array: NDArray[Any] = np.asarray(value.to_numpy())
    if array.dtype.kind == "O":  # decimals, or masks beside numbers
        array = array.astype(np.float64)
    if not missing:
        _check_missing(array, name, None, getattr(value, "columns", None))
    return array


def _check_missing(array: NDArray[Any], name: str, index: Any, columns: Any) -> None:
    """No NaN; infinities are left to others, who look at any array."""
    if array.dtype.kind != "f" or array.size == 0 or not np.isnan(array.min()):
        return
    first = np.argwhere(np.isnan(array))[0]
    i = int(first[0])
    label = i if index is None else index[i]
    raise ValueError(_missing(name, i, label, columns[int(first[1])] if array.ndim == 2 else None))


def _missing(name: str, i: int, label: Any, column: Any) -> str:
    row = f"row {i}" if label == i else f"row {label!r} (number {i})"
    place = row if column is None else f"{row}, column {column!r}"
    return f"{name} has a missing value in {place}: fill or drop missing values first"


def _not_numbers(name: str, column: Any, dtype: Any, kind: str) -> str:
    what = _KIND_WORDS.get(kind)
    holds = f"holds {what}" if what else "does not hold numbers"
    hint = "convert it with astype(float)" if kind == "b" else "drop it, or encode it as numbers"
    return f"{_column(name, column)} {holds} ({dtype}): {hint}"


def _column(name: str, column: Any) -> str:
    return name if column is None else f"column {column!r} of {name}"
