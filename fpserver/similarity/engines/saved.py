"""A file of arrays and a document, read where it lies: what the embedded engine keeps between runs.

    8 bytes    MAGIC
    8 bytes    length of the header, little endian
    header     msgpack: [document, [[name, dtype, shape, first byte, CRC-32], …]]
    4 bytes    CRC-32 of the header
    arrays     each at a multiple of ALIGNMENT

It appears when it is whole. It is a cache: one that is missing, damaged or of another kind is no error, it is lost.
"""

import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

MAGIC = b"fpnear\x00\x01"  # the last byte is the version
ALIGNMENT = 64
PIECE_BYTES = 1 << 22  # written and checked at a time

Arrays = dict[str, npt.NDArray[Any]]


class Lost(Exception):
    """There is nothing to be read."""


def save(path: Path, arrays: Mapping[str, npt.NDArray[Any]], document: Any) -> None:
    """Write a file in the place of the one there.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            header = _header(arrays, document)
            file.write(MAGIC + len(header).to_bytes(8, "little") + header)
            file.write(zlib.crc32(header).to_bytes(4, "little"))
            for array in arrays.values():
                file.write(bytes(-file.tell() % ALIGNMENT))
                for piece in _pieces(array):
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def load(path: Path) -> tuple[Arrays, Any]:
    """The arrays, which are read from the file when they are looked at, and the document.

    Raises:
        Lost: there is no such file, or it is not as it was written.
    """
    try:
        with path.open("rb") as file:
            if file.read(8) != MAGIC:
                raise Lost(f"{path} is no file of vectors, or of another version")
            length = int.from_bytes(file.read(8), "little")
            if length > os.fstat(file.fileno()).st_size:
                raise Lost(f"{path} is cut off")
            header, check = file.read(length), file.read(4)
            if zlib.crc32(header).to_bytes(4, "little") != check:
                raise Lost(f"{path} is damaged")
            document, described = msgpack.unpackb(header, strict_map_key=False)
            start = file.tell()
        whole = np.memmap(path, np.uint8, mode="c").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise Lost(f"{path}: {error}") from error
    arrays: Arrays = {}
    for name, dtype, shape, first, crc in described:
        at = start + -start % ALIGNMENT + first
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        told = whole[at : at + n_bytes]
        if len(told) != n_bytes or _crc(told) != crc:
            raise Lost(f"{path} is damaged at {name}")
        arrays[name] = told.view(dtype).reshape(shape)
    return arrays, document


def _header(arrays: Mapping[str, npt.NDArray[Any]], document: Any) -> bytes:
    described, at = [], 0
    for name, array in arrays.items():
        at += -at % ALIGNMENT
        described.append((name, array.dtype.str, array.shape, at, _crc(array)))
        at += array.nbytes
    header: bytes = msgpack.packb((document, described))
    return header


def _crc(array: npt.NDArray[Any]) -> int:
    crc = 0
    for piece in _pieces(array):
        crc = zlib.crc32(piece, crc)
    return crc


def _pieces(array: npt.NDArray[Any]) -> list[memoryview]:
    plain = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return [plain[at : at + PIECE_BYTES] for at in range(0, len(plain), PIECE_BYTES)]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
