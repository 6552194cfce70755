"""Save and load a stream (format: `lpgeom.records.files`)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lpgeom.coresets.streaming import FAN_IN, Bucket, State, StreamingCoreset
from lpgeom.records.files import Fields, read_record, write_record

KIND = "StreamingCoreset"
OPTIONS = ("p", "size", "k", "seed", "failure_probability")
STATE = ("n_rows", "d", "pending", "levels", "reductions", "spent")
BUCKET = ("rows", "weights", "indices", "growth", "growth_fixed")


def save_stream(stream: StreamingCoreset, path: str | os.PathLike[str]) -> None:
    """Write `stream` to `path`; see `StreamingCoreset.save`."""
    state = stream._state
    values: dict[str, Any] = {name: getattr(stream, name) for name in OPTIONS}
    values["state"] = None
    if state is not None:
        values["state"] = {
            **{name: getattr(state, name) for name in STATE},
            "pending": _bucket_fields(state.pending),
            "levels": [[_bucket_fields(bucket) for bucket in level] for level in state.levels],
            "reductions": list(state.reductions),
        }
    write_record(path, KIND, values)


def load_stream(path: str | os.PathLike[str]) -> StreamingCoreset:
    """Read what `save_stream` wrote; see `StreamingCoreset.load`."""
    return read_record(path, KIND, "stream", _build_stream)


def _bucket_fields(bucket: Bucket) -> dict[str, Any]:
    return {name: getattr(bucket, name) for name in BUCKET}


def _build_stream(values: Any) -> StreamingCoreset:
    f = Fields(values, "stream", dict.fromkeys((*OPTIONS, "state")))
    stream = StreamingCoreset(**{name: f.values[name] for name in OPTIONS})
    if f.values["state"] is not None:
        stream._state = _build_state(f.values["state"], stream.size)
    return stream


def _build_state(values: Any, size: int) -> State:
    f = Fields(values, "state", dict.fromkeys(STATE))
    n_rows, d = f.integer("n_rows", 1), f.integer("d", 1)
    reductions, levels = f.values["reductions"], f.values["levels"]
    if not isinstance(reductions, list) or not all(
        type(count) is int and count >= 0 for count in reductions
    ):
        raise f.fail("reductions", "a list of counts")
    if not isinstance(levels, list) or not all(
        isinstance(level, list) and len(level) < FAN_IN for level in levels
    ):
        raise f.fail("levels", f"a list of lists of fewer than {FAN_IN} buckets")
    pending = _build_bucket(f.values["pending"], d, n_rows, size - 1)
    return State(
        n_rows,
        pending,
        tuple(tuple(_build_bucket(b, d, n_rows, size) for b in level) for level in levels),
        tuple(reductions),
        f.real("spent", 0.0),
    )


def _build_bucket(values: Any, d: int, n_rows: int, most: int) -> Bucket:
    f = Fields(values, "bucket", dict.fromkeys(BUCKET))
    indices = f.values["indices"]
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64 or indices.ndim != 1:
        raise f.fail("indices", "a vector of integers")
    count = len(indices)
    if count > most:
        raise f.fail("indices", f"a vector of at most {most} integers")
    if count and (indices.min() < 0 or indices.max() >= n_rows):
        raise f.fail("indices", f"between 0 and {n_rows}")
    weights = f.matrix("weights", (count,))
    if not (weights > 0.0).all():
        raise f.fail("weights", "positive")
    return Bucket(
        f.matrix("rows", (count, d)),
        weights,
        indices,
        f.real("growth", 0.0, finite=False),
        f.real("growth_fixed", 0.0, finite=False),
    )
