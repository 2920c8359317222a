"""From the parts of a description to bytes, and back.

    vector   | version : u8 | numbers : f32 × n_dimensions |                       little endian, the order of LAYOUT
    moments  | version : u8 | timbre : matrix | chroma : matrix |
    matrix   | rows : u32 | columns : u32 | least : f32 × columns | step : f32 × columns | steps : u8 × rows × columns |

A number of a matrix is least + step · steps: its error is at most 1/510 of what its column spans, less than a tenth of
what separates neighbouring moments of one recording. What another version wrote is taken for missing.
"""

import struct

import numpy as np

from fpserver.descriptors import VERSION
from fpserver.terms import Moments, Vector, Vectors

_VERSION = bytes([VERSION])
_SHAPE = struct.Struct("<II")
_STEPS = 255


def pack_vector(vector: Vector) -> bytes:
    """A group's vector as bytes."""
    return _VERSION + vector.astype("<f4").tobytes()


def unpack_vector(packed: bytes | None) -> Vector | None:
    """A group's vector; None where there is none of this version."""
    if packed is None or packed[:1] != _VERSION:
        return None
    return np.frombuffer(packed, "<f4", offset=1).astype(np.float32)


def pack_moments(moments: Moments) -> bytes:
    """Moments as bytes."""
    return _VERSION + _pack_matrix(moments.timbre) + _pack_matrix(moments.chroma)


def unpack_moments(packed: bytes | None) -> Moments | None:
    """Moments; None where there are none of this version."""
    if packed is None or packed[:1] != _VERSION:
        return None
    timbre, end = _unpack_matrix(packed, 1)
    chroma, _ = _unpack_matrix(packed, end)
    return Moments(timbre=timbre, chroma=chroma)


def _pack_matrix(matrix: Vectors) -> bytes:
    least = matrix.min(axis=0, initial=np.inf) if len(matrix) else np.zeros(matrix.shape[1])
    span = matrix.max(axis=0) - least if len(matrix) else np.zeros(matrix.shape[1])
    step = np.where(span > 0, span / _STEPS, 1.0)
    steps = np.rint((matrix - least) / step).astype(np.uint8)
    return b"".join(
        (
            _SHAPE.pack(*matrix.shape),
            least.astype("<f4").tobytes(),
            step.astype("<f4").tobytes(),
            steps.tobytes(),
        )
    )


def _unpack_matrix(packed: bytes, at: int) -> tuple[Vectors, int]:
    n_rows, n_columns = _SHAPE.unpack_from(packed, at)
    at += _SHAPE.size
    least, step = np.frombuffer(packed, "<f4", 2 * n_columns, at).reshape(2, n_columns)
    at += 8 * n_columns
    steps = np.frombuffer(packed, np.uint8, n_rows * n_columns, at).reshape(n_rows, n_columns)
    return (steps * step + least).astype(np.float32), at + n_rows * n_columns
