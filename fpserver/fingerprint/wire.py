"""The fingerprint body: what a client sends instead of sound, and what `fpserver fingerprint` writes.

A msgpack map, `format` first. Columns are little-endian, one entry per peak, ordered by frame, then bin. A clip's body
holds all that its sound would have told: about 5 kB a second.

    format      "fpserver-fingerprint"
    version     3
    stamp       digest of the settings that made it (stamp.py); a server with others refuses it
    duration_s  float, length of the recording
    truncated   bool, the recording goes on past what was heard
    n_frames    int, spectrogram columns
    peaks       the dense constellation:
      n_peaks   bin, uint8 each: peaks of each frame
      bin       bin, uint16 each
      level     bin, uint8 each, steps of 0.25 dB
    between     the same of the frames half a hop later (clips only)
    levels      bin, level of each cell, 0..3, by bin, then frame; 2 bits each, the lowest first; compressed as by
                zlib, RFC 1950 (clips only)
    metadata    map of title, artist, … (optional; used when the body is ingested, not when it asks)
"""

import zlib
from math import isfinite
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.errors import AudioTooLarge, AudioTooLong, AudioTooShort, FingerprintForeign, FingerprintInvalid
from fpserver.fingerprint.constellation import band, frames_per_s
from fpserver.fingerprint.stamp import digest
from fpserver.terms import CellLevels, Constellation, Detail, Hearing, Metadata

FORMAT = "fpserver-fingerprint"
VERSION = 3
SUFFIX = ".fingerprint"
_MAGIC = msgpack.packb("format") + msgpack.packb(FORMAT)
HEAD_BYTES = 1 + len(_MAGIC)  # of a map of some length
_COLUMNS: dict[str, np.dtype[Any]] = {
    "n_peaks": np.dtype("u1"),
    "bin": np.dtype("<u2"),
    "level": np.dtype("u1"),
}
_CELLS_PER_BYTE = 4
MAX_LEVELS_BYTES = 2**24  # uncompressed: half an hour


def is_fingerprint(path: Path) -> bool:
    """Whether a file is a fingerprint body, by its name's ending or its first bytes."""
    with path.open("rb") as file:
        return path.suffix == SUFFIX or begins_as_fingerprint(file.read(HEAD_BYTES))


def begins_as_fingerprint(head: bytes) -> bool:
    """Whether the first HEAD_BYTES of a body are those of a fingerprint."""
    return bool(head[1:HEAD_BYTES] == _MAGIC)


def pack(hearing: Hearing, config: FingerprintConfig, *, metadata: Metadata | None = None) -> bytes:
    """A fingerprint body; `unpack` is the way back."""
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "stamp": digest(config),
        "duration_s": hearing.duration_s,
        "truncated": hearing.truncated,
        "n_frames": hearing.constellation.n_frames,
        "peaks": _packed_peaks(hearing.constellation),
    }
    if hearing.detail:
        body["between"] = _packed_peaks(hearing.detail.between)
        body["levels"] = _packed_levels(hearing.detail.levels)
    if metadata is not None:
        body["metadata"] = {name: value for name, value in metadata.items() if value is not None}
    packed: bytes = msgpack.packb(body)
    return packed


def unpack(body: bytes, config: FingerprintConfig, *, min_s: float, max_s: float, cut: bool) -> Hearing:
    """Read a fingerprint body, trusting nothing in it.

    Args:
        body: as `pack` makes it.
        config: this index's settings.
        min_s: shorter recordings are refused.
        max_s: longer ones are cut to here, or refused without `cut`.
        cut: see `max_s`.

    Raises:
        FingerprintInvalid: a field is missing or breaks its rule.
        FingerprintForeign: made by other settings or another version.
        AudioTooShort, AudioTooLong: its length is outside the limits.
    """
    fields = _fields(body)
    if (fields.get("version"), fields.get("stamp")) != (VERSION, digest(config)):
        raise FingerprintForeign(
            f"fingerprint has version {fields.get('version')!r} and stamp {fields.get('stamp')!r}, "
            f"this server needs version {VERSION} and stamp {digest(config)!r}"
        )
    n_frames = fields.get("n_frames")
    if type(n_frames) is not int or not 0 <= n_frames < 2**31:
        raise FingerprintInvalid(f"n_frames is {n_frames!r}, must be a whole number from 0 to 2^31 - 1")
    duration_s = _duration_s(fields, n_frames, config)
    if duration_s < min_s:
        raise AudioTooShort(f"clip is {duration_s:.1f} s, need at least {min_s:g} s")
    peaks = _constellation(fields.get("peaks"), n_frames, config)
    detail = _detail(fields, n_frames, config)
    truncated = fields.get("truncated") is True
    if duration_s > max_s:
        if not cut:
            raise AudioTooLong(f"recording is {duration_s:.0f} s, at most {max_s:g} s are taken")
        n_kept = int(max_s * frames_per_s(config))
        peaks, duration_s, truncated = _cut(peaks, n_kept), max_s, True
        if detail:
            detail = Detail(between=_cut(detail.between, n_kept), levels=detail.levels[:n_kept])
    return Hearing(
        constellation=peaks,
        detail=detail,
        duration_s=duration_s,
        truncated=truncated,
        timings_s={},
        is_audio=False,
    )


def unpack_file(
    path: Path, config: FingerprintConfig, *, min_s: float, max_s: float, max_bytes: int, cut: bool
) -> Hearing:
    """`unpack` for a file of at most `max_bytes`; AudioTooLarge beyond."""
    n_bytes = path.stat().st_size
    if n_bytes > max_bytes:
        raise AudioTooLarge(f"fingerprint has {n_bytes} bytes, at most {max_bytes} are taken")
    return unpack(path.read_bytes(), config, min_s=min_s, max_s=max_s, cut=cut)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise FingerprintInvalid(
            f"fingerprint body of {len(body)} bytes is not one msgpack map: {error}"
        ) from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise FingerprintInvalid(f"fingerprint body is not a map with format {FORMAT!r}")
    return fields


def _duration_s(fields: dict[str, Any], n_frames: int, config: FingerprintConfig) -> float:
    duration_s = fields.get("duration_s")
    heard_s = n_frames / frames_per_s(config)
    if not isinstance(duration_s, float) or not isfinite(duration_s) or abs(duration_s - heard_s) > 1:
        raise FingerprintInvalid(
            f"duration_s is {duration_s!r}, but {n_frames} frames are {heard_s:.2f} s; they must agree within 1 s"
        )
    return duration_s


def _packed_peaks(peaks: Constellation) -> dict[str, bytes]:
    n_peaks = np.bincount(peaks.frame, minlength=peaks.n_frames)
    columns: dict[str, npt.NDArray[Any]] = {"n_peaks": n_peaks, "bin": peaks.bin, "level": peaks.level}
    return {name: column.astype(_COLUMNS[name]).tobytes() for name, column in columns.items()}


def _packed_levels(levels: CellLevels) -> bytes:
    cells = np.zeros((-(-levels.size // _CELLS_PER_BYTE), _CELLS_PER_BYTE), np.uint8)
    cells.ravel()[: levels.size] = levels.T.ravel()
    return zlib.compress((cells << _SHIFTS).sum(axis=1, dtype=np.uint8).tobytes())


_SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)
_CELLS_OF_BYTE = (
    (np.arange(256)[:, None] >> _SHIFTS & _CELLS_PER_BYTE - 1).astype(np.uint8).view(np.uint32).ravel()
)


def _detail(fields: dict[str, Any], n_frames: int, config: FingerprintConfig) -> Detail | None:
    if "levels" not in fields:
        return None
    first, last = band(config)
    n_cells = n_frames * (last - first)
    packed = _uncompressed(fields["levels"], n_bytes=-(-n_cells // _CELLS_PER_BYTE))
    if packed is None:
        raise FingerprintInvalid(
            f"levels must be bytes, compressed as by zlib, 2 bits for each of {n_cells} cells; "
            f"at most {MAX_LEVELS_BYTES} bytes before they are compressed"
        )
    levels: CellLevels = _CELLS_OF_BYTE[np.frombuffer(packed, np.uint8)].view(np.uint8)[:n_cells]
    between = _constellation(fields.get("between"), n_frames, config)
    return Detail(between=between, levels=np.ascontiguousarray(levels.reshape(last - first, n_frames).T))


def _uncompressed(packed: Any, *, n_bytes: int) -> bytes | None:
    """What was compressed, if it is so long; never more is made of it."""
    if not isinstance(packed, bytes) or n_bytes > MAX_LEVELS_BYTES:
        return None
    stream = zlib.decompressobj()
    try:
        whole = stream.decompress(packed, n_bytes + 1)
    except zlib.error:
        return None
    return whole if len(whole) == n_bytes and stream.eof and not stream.unused_data else None


def _constellation(fields: Any, n_frames: int, config: FingerprintConfig) -> Constellation:
    if not isinstance(fields, dict):
        raise FingerprintInvalid(f"peaks must be a map of {', '.join(_COLUMNS)}")
    n_peaks, bin_, level = (_column(fields, name, dtype) for name, dtype in _COLUMNS.items())
    if len(n_peaks) > n_frames or not len(bin_) == len(level) == int(n_peaks.sum()):
        raise FingerprintInvalid(
            f"n_peaks counts {int(n_peaks.sum())} peaks in {len(n_peaks)} frames, but there are {len(bin_)} bins, "
            f"{len(level)} levels and {n_frames} frames"
        )
    most = config.dense_peaks_per_s * (n_frames / frames_per_s(config) + 1)
    if len(bin_) > 2 * most:
        raise FingerprintInvalid(f"{len(bin_)} peaks in {n_frames} frames are more than {2 * most:.0f}")
    frame, bin_ = np.repeat(np.arange(len(n_peaks)), n_peaks), bin_.astype(np.int64)
    first, last = band(config)
    if len(bin_) and not (first <= bin_.min() and bin_.max() < last):
        raise FingerprintInvalid(f"peaks must lie in bins {first}..{last - 1}")
    if (np.diff(frame * last + bin_) <= 0).any():
        raise FingerprintInvalid("peaks must be ordered by frame, then bin, each once")
    return Constellation(
        frame=frame.astype(np.int32),
        bin=bin_.astype(np.int32),
        level=level.astype(np.uint8),
        n_frames=n_frames,
    )


def _column(fields: dict[str, Any], name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) % dtype.itemsize:
        raise FingerprintInvalid(f"{name} must be bytes, {dtype.itemsize} for each entry")
    return np.frombuffer(value, dtype)


def _cut(peaks: Constellation, n_frames: int) -> Constellation:
    n_kept = int(np.searchsorted(peaks.frame, n_frames))
    return Constellation(
        frame=peaks.frame[:n_kept], bin=peaks.bin[:n_kept], level=peaks.level[:n_kept], n_frames=n_frames
    )
