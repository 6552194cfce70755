"""Mutations that keep a file's outer form: checksums, lengths and JSON are made to fit again."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

Bytes = Callable[[bytes], bytes]

VALUES: tuple[Any, ...] = (
    0, 1, -1, 2, 7, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, 10**18, 10**400, -(10**18), True,
    False, None, 0.5, -0.0, 1e308, 1e-320, "", "a", "b", "inf", "nan", "-inf", "$array", "\ud800",
    "a\nb", "\0", [], {}, [1, 2], [0, 0], [-1, 3], [10**18, 3], [3, 10**18], [2**32, 2**32],
    {"$float": "inf"}, {"$float": "nan"}, {"$tuple": []}, {"$array": "a0"}, {"$array": "header"},
)  # fmt: skip
"""What is put in the place of a value in JSON."""

EXTENTS = ("0", "1", "-1", "3", "5", "15", "4294967296", "1000000000", "1000000000000000000",
           "9223372036854775808", "1" + "0" * 40)  # fmt: skip
DESCRS = ("'<f8'", "'>f8'", "'|O'", "'<f2'", "'<c16'", "'|V8'", "'<M8[s]'", "'|b1'", "'<U3'",
          "'<i8'", "[('a', '<f8')]", "'<f16'", "('<f8', (2, 2))", "'|V0'", "'<f8,<f8'")  # fmt: skip


def blind(rng: random.Random) -> Bytes:
    """Flips, cuts, repeats and insertions, for when no engine offers better ones."""

    def mutate(data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            at = rng.randrange(len(out) + 1)
            kind = rng.randrange(6)
            if kind == 0 and at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            elif kind == 1 and at < len(out):
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif kind == 2:
                out[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 4, 8))))
            elif kind == 3:
                del out[at : at + rng.choice((1, 2, 4, 8, 64, 1024))]
            elif kind == 4:
                out[at:at] = out[at : at + rng.choice((1, 8, 64))]
            else:
                width = rng.choice((2, 4, 8))
                number = rng.choice((0, 1, 2**15, 2**31, 2**32 - 1, 2**63, 10**18, 2**64 - 1))
                out[at : at + width] = (number % 256**width).to_bytes(width, "little")
        return bytes(out)

    return mutate


def mutated(kind: str, data: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    """A variant of an input of that target; `mutate` works on bare bytes."""
    form = _FORMS.get(kind)
    if form is None or rng.random() < 0.25:
        return mutate(data)
    try:
        return form(data, rng, mutate)
    except Exception:  # too damaged to have a form
        return mutate(data)


def _json(data: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.choice([p for p in _places(value) if p] or [()])
        if not at:
            break
        inner = value
        for key in at[:-1]:
            inner = inner[key]
        kind = rng.randrange(5)
        if kind == 0:
            del inner[at[-1]]
        elif kind == 1 and isinstance(inner[at[-1]], int | float):
            step = rng.choice((1, -1, 2, 10**9))
            inner[at[-1]] = inner[at[-1]] * step if rng.random() < 0.3 else inner[at[-1]] + step
        elif kind == 2 and isinstance(inner, dict):
            inner[rng.choice((*inner, "a", "b", "x", "$array", "c" * 70))] = inner[at[-1]]
        elif kind == 3 and isinstance(inner[at[-1]], str):
            text = mutate(inner[at[-1]].encode())
            inner[at[-1]] = text.decode(errors="surrogateescape")
        else:
            inner[at[-1]] = rng.choice(VALUES)
    return json.dumps(value).encode()


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    out = [at]
    if len(at) < 12:
        items = value.items() if isinstance(value, dict) else ()
        items = enumerate(value[:50]) if isinstance(value, list) else items
        for key, below in items:
            out += _places(below, (*at, key))
    return out


def _npy(data: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    wide = data[6] > 1
    start = 12 if wide else 10
    end = start + int.from_bytes(data[8:start], "little")
    text = data[start:end].decode("latin1")
    kind = rng.randrange(4)
    if kind == 0:
        extents = ", ".join(rng.choice(EXTENTS) for _ in range(rng.choice((0, 1, 2, 2, 2, 3))))
        text = text.split("'shape': (")[0] + f"'shape': ({extents},), }}"
    elif kind == 1:
        rest = text[text.index("'fortran_order'") :]
        text = f"{{'descr': {rng.choice(DESCRS)}, {rest}"
    elif kind == 2:
        text = mutate(text.encode("latin1")).decode("latin1")
    else:
        return data[:end] + mutate(data[end:])
    header = text.encode("latin1")
    length = len(header).to_bytes(4 if wide else 2, "little")
    return data[:8] + length + header + data[end:]


def _zip(inner: Callable[[str, bytes, random.Random, Bytes], bytes]) -> Callable[..., bytes]:
    def form(data: bytes, rng: random.Random, mutate: Bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        at = rng.randrange(len(members))
        if rng.random() < 0.6:  # the header, where there is one, decides most
            at = next((i for i, (name, _) in enumerate(members) if name == "header.npy"), at)
        name, content = members[at]
        if rng.random() < 0.1:
            name = rng.choice(("b.npy", "a", "../a.npy", "header.npy", name, "é.npy"))
        members[at] = name, inner(name, content, rng, mutate)
        if rng.random() < 0.05:
            members.append(members[rng.randrange(len(members))])
        out = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, method)
        return out.getvalue()

    return form


def _array_member(name: str, content: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    return mutate(content) if rng.random() < 0.2 else _npy(content, rng, mutate)


def _record_member(name: str, content: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    if name != "header.npy":
        return _array_member(name, content, rng, mutate)
    end = 10 + int.from_bytes(content[8:10], "little")
    text = (_json if rng.random() < 0.9 else lambda d, _, m: m(d))(content[end:], rng, mutate)
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(text)},), }}".encode()
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    return content[:8] + len(header).to_bytes(2, "little") + header + text


def _safetensors(data: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    end = 8 + int.from_bytes(data[:8], "little")
    text, rest = data[8:end], data[end:]
    kind = rng.randrange(4)
    if kind == 0:
        rest = mutate(rest)
    elif kind == 1:
        text = mutate(text)
    else:
        text = _json(text, rng, mutate)
    return len(text).to_bytes(8, "little") + text + rest


def _zarr(data: bytes, rng: random.Random, mutate: Bytes) -> bytes:
    meta, _, chunk = data.partition(b"\n---\n")
    if rng.random() < 0.3:
        return meta + b"\n---\n" + mutate(chunk)
    return _json(meta, rng, mutate) + b"\n---\n" + chunk


_FORMS: dict[str, Callable[[bytes, random.Random, Bytes], bytes]] = {
    "npy": _npy,
    "npz": _zip(_array_member),
    "safetensors": _safetensors,
    "zarr": _zarr,
    "result": _zip(_record_member),
    "factors": _zip(_record_member),
    "stream": _zip(_record_member),
    "recipe": _json,
    "tensors": _safetensors,
    "directory": _safetensors,
}
