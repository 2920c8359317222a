"""Fingerprints of many tracks on disk, in chunks, so that an index of them is written hash range by hash range.

A chunk holds consecutive tracks: their postings as sorted numbers of 64 bits, and their packed peaks end to end.

    | hash : 23 | track_id : 21 | offset : 20 |

Whatever the number of tracks, what is in memory is one chunk, or one hash range of all chunks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.landmarks import HASH_BITS, track_landmarks
from fpserver.index import keys, peaks
from fpserver.index.lists import OFFSET_BITS
from fpserver.terms import TrackPeaks
from loadtest.bulk_index import Postings

TRACK_BITS = 64 - HASH_BITS - OFFSET_BITS
CHUNK_TRACKS = 250
N_RANGES = 64  # 6 million postings each at 100,000 tracks

Keys = npt.NDArray[np.uint64]
TrackOf = Callable[[int], TrackPeaks]  # a track by its id


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Tracks first_id..first_id + n_tracks - 1, and what is told of them."""

    path: Path  # of its postings; peaks and their sizes lie beside it
    first_id: int
    n_tracks: int
    n_frames: int
    n_peaks: int
    n_postings: int


def write(path: Path, track_of: TrackOf, ids: range, config: FingerprintConfig) -> Chunk:
    """Make a chunk of these tracks."""
    if ids and ids[-1] >> TRACK_BITS:
        raise ValueError(f"track {ids[-1]}: ids of {TRACK_BITS} bits are kept")
    postings, packed, lengths = [np.zeros(0, np.uint64)], [], []
    n_frames = n_peaks = 0
    for track_id in ids:
        track = track_of(track_id)
        landmarks = track_landmarks(track, config)
        column = landmarks.hash.astype(np.uint64) << np.uint64(TRACK_BITS + OFFSET_BITS)
        column |= np.uint64(track_id << OFFSET_BITS)
        postings.append(column | landmarks.offset.astype(np.uint64))
        packed.append(peaks.pack(track))
        lengths.append(len(packed[-1]))
        n_frames, n_peaks = n_frames + track.n_frames, n_peaks + len(track)
    column = np.sort(np.concatenate(postings))
    column.tofile(path)
    path.with_suffix(".peaks").write_bytes(b"".join(packed))
    np.array(lengths, np.int64).tofile(path.with_suffix(".lengths"))
    return Chunk(
        path=path,
        first_id=ids.start,
        n_tracks=len(ids),
        n_frames=n_frames,
        n_peaks=n_peaks,
        n_postings=len(column),
    )


_TRACK_OF: list[tuple[TrackOf, FingerprintConfig]] = []  # forked: read by the processes that write chunks


def write_all(
    folder: Path, track_of: TrackOf, ends: Sequence[int], config: FingerprintConfig, *, processes: int
) -> list[Chunk]:
    """Chunks of the tracks from id ends[0] to below ends[-1]; none reaches over one of `ends`."""
    _TRACK_OF[:] = [(track_of, config)]
    jobs = [
        (folder / f"{at:07}.postings", range(at, min(at + CHUNK_TRACKS, until)))
        for begin, until in pairwise(ends)
        for at in range(begin, until, CHUNK_TRACKS)
    ]
    if processes < 2:
        return [_write(job) for job in jobs]
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        return list(pool.map(_write, jobs))


def _write(job: tuple[Path, range]) -> Chunk:
    track_of, config = _TRACK_OF[0]
    return write(job[0], track_of, job[1], config)


def up_to(chunks: Iterable[Chunk], track_id: int) -> list[Chunk]:
    """Those whose tracks have ids up to this one."""
    return [each for each in chunks if each.first_id + each.n_tracks - 1 <= track_id]


def postings_of(chunks: Sequence[Chunk], *, n_ranges: int = N_RANGES) -> Iterator[Postings]:
    """All postings, a hash range at a time."""
    bounds = _bounds(chunks[0], n_ranges)
    columns = [np.memmap(each.path, np.uint64, "r") for each in chunks if each.n_postings]
    cuts = [np.searchsorted(column, bounds) for column in columns]
    for i in range(len(bounds) - 1):
        pieces = [column[cut[i] : cut[i + 1]] for column, cut in zip(columns, cuts, strict=True)]
        piece = np.concatenate(pieces)
        piece.sort()
        yield Postings(
            hash=(piece >> np.uint64(TRACK_BITS + OFFSET_BITS)).astype(np.uint32),
            track_id=((piece >> np.uint64(OFFSET_BITS)) & np.uint64((1 << TRACK_BITS) - 1)).astype(np.int64),
            offset=(piece & np.uint64((1 << OFFSET_BITS) - 1)).astype(np.int32),
        )


def peaks_of(chunks: Iterable[Chunk]) -> Iterator[tuple[int, bytes]]:
    """(track_id, packed peaks) of every track."""
    for chunk in chunks:
        packed = chunk.path.with_suffix(".peaks").read_bytes()
        ends = np.cumsum(np.fromfile(chunk.path.with_suffix(".lengths"), np.int64)).tolist()
        for track_id, (begin, end) in enumerate(pairwise([0, *ends]), chunk.first_id):
            yield track_id, packed[begin:end]


def hashes_of(chunk: Chunk) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(hash, track_id) of each of its postings."""
    column = np.fromfile(chunk.path, np.uint64)
    track_id = (column >> np.uint64(OFFSET_BITS)) & np.uint64((1 << TRACK_BITS) - 1)
    return (column >> np.uint64(TRACK_BITS + OFFSET_BITS)).astype(np.int64), track_id.astype(np.int64)


def _bounds(chunk: Chunk, n_ranges: int) -> Keys:
    """Where hash ranges begin and end, whole buckets each: equal shares of one chunk's postings."""
    column = np.fromfile(chunk.path, np.uint64)
    low = np.uint64(TRACK_BITS + OFFSET_BITS + keys.FIELD_BITS)
    inner = column[np.linspace(0, len(column) - 1, n_ranges + 1).astype(np.int64)[1:-1]] >> low << low
    return np.unique(np.r_[np.uint64(0), inner, np.iinfo(np.uint64).max]).astype(np.uint64)
