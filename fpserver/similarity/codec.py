"""From the parts of a description to bytes, and back.

    vector   | version : u8 | numbers : f32 × n_dimensions |                       little endian, the order of LAYOUT
    moments  | version : u8 | timbre : matrix | chroma : matrix |
    matrix   | rows : u32 | columns : u32 | least : f32 × columns | step : f32 × columns | steps : u8 × rows × columns |

A number of a matrix is least + step · steps: its error is at most 1/510 of what its column spans, less than a tenth of
what separates neighbouring moments of one recording. What another version wrote is taken for missing.
"""

import struct
from collections.abc import Mapping

import numpy as np

from fpserver.descriptors import LAYOUT, MOMENT_TIMBRE_DIM, N_PITCH_CLASSES, VERSION
from fpserver.errors import InvalidRequest
from fpserver.terms import SEGMENTS, Description, Group, Moments, Vector, Vectors

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


def pack(description: Description) -> dict[str, bytes]:
    """The parts of a description by name, as bytes."""
    parts = {group.value: pack_vector(vector) for group, vector in description.vectors.items()}
    if description.moments is not None:
        parts[SEGMENTS] = pack_moments(description.moments)
    return parts


def unpack(parts: Mapping[str, bytes], *, facts: Mapping[str, float], key: str | None) -> Description:
    """A description, of parts that somebody else may have written.

    Raises:
        InvalidRequest: one is of another version, damaged, or holds what is no number.
    """
    vectors = {Group(name): _vector(name, packed) for name, packed in parts.items() if name in set(Group)}
    moments = _moments(parts[SEGMENTS]) if SEGMENTS in parts else None
    return Description(vectors=vectors, facts=facts, key=key, moments=moments)


def _vector(name: str, packed: bytes) -> Vector:
    n_dimensions = len(LAYOUT[Group(name)])
    vector = unpack_vector(packed) if len(packed) == 1 + 4 * n_dimensions else None
    if vector is None or not np.isfinite(vector).all():
        raise InvalidRequest(
            f"its {name} descriptors are not the {n_dimensions} numbers of version {VERSION}"
        )
    return vector


def _moments(packed: bytes) -> Moments:
    try:
        moments = unpack_moments(packed)
    except (ValueError, struct.error):
        moments = None
    sizes = None if moments is None else (moments.timbre.shape[1], moments.chroma.shape[1])
    if moments is None or sizes != (MOMENT_TIMBRE_DIM, N_PITCH_CLASSES) or not _is_sound(moments):
        raise InvalidRequest(f"its segments are damaged, or not of version {VERSION}")
    return moments


def _is_sound(moments: Moments) -> bool:
    numbers = (moments.timbre, moments.chroma)
    return len(moments.timbre) == len(moments.chroma) and all(np.isfinite(each).all() for each in numbers)


def _pack_matrix(matrix: Vectors) -> bytes:
    least = matrix.min(axis=0, initial=np.inf) if len(matrix) else np.zeros(matrix.shape[1])
    span = matrix.max(axis=0) - least if len(matrix) else np.zeros(matrix.shape[1])
    step = np.asarray(span / _STEPS, np.float32)
    step = np.where(step > 0, step, np.float32(1))
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
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # whoever must not have infinite numbers looks for them
        return (steps * step + least).astype(np.float32), at + n_rows * n_columns
