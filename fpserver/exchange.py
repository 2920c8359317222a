"""A catalogue, or a part of it, as one portable file: written, and read into another catalogue.

A file holds for every track what people call it, the SHA-256 of its audio file's bytes, its peaks, of which its
landmarks are made anew, and what it sounds like, if that is known. So it serves wherever peaks are found by the same
settings, which it names. How they are paired, and how many shards they go to, may differ: an index with other such
settings is made beside the old one, which answers meanwhile.

    | MAGIC | frame × n |        frame: | n_bytes : 32, big endian | MessagePack |

The first frame is a Header, the last a Footer, those between are Records.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from fpserver.config import FingerprintConfig
from fpserver.descriptions import keep
from fpserver.descriptors import VERSION
from fpserver.errors import FingerprintForeign, InvalidRequest
from fpserver.files import appearing
from fpserver.fingerprint.landmarks import track_landmarks
from fpserver.fingerprint.stamp import stamp
from fpserver.ingest import Known, adopt
from fpserver.services import Services
from fpserver.similarity import codec
from fpserver.terms import (
    MAX_METADATA_CHARS,
    METADATA_FIELDS,
    Description,
    Fingerprint,
    Group,
    Metadata,
    Submission,
    Track,
    TrackPeaks,
    TrackStatus,
)
from fpserver.thinking import think
from fpserver.tracks.catalogue import TrackFilter

MAGIC = b"fpserver catalogue 1\n"
PLACE = "(import)"  # no worker's: what a broken-off import leaves is taken up by the next
MAX_FRAME_BYTES = 64 * 2**20
MAX_FRAMES = 1 << 20  # of a track, as its postings tell them
PAIRING = frozenset(  # settings that landmarks depend on, and peaks do not
    f"fingerprint.{name}" for name in ("fan_out", "min_delta_frames", "max_delta_frames", "max_delta_bins")
)
PAGE = 50  # tracks
AT_ONCE = 64  # tracks
PEAK_BYTES = 6  # besides its bit of `strong`

Text: TypeAlias = Annotated[str, Meta(max_length=MAX_METADATA_CHARS)]


class Header(msgspec.Struct, frozen=True, tag="header"):
    """By which settings the peaks were made."""

    stamp: dict[str, str]


class Sound(msgspec.Struct, frozen=True):
    """What a track sounds like. `parts`: as the store keeps them (similarity/codec.py)."""

    parts: dict[str, bytes]
    facts: dict[str, float]
    key: str | None


class Record(msgspec.Struct, frozen=True, tag="track", omit_defaults=True):
    """A track. `peaks`: columns gap of frame (u32), bin (u16), little endian, and `strong` (a bit each), deflated."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    duration_s: Annotated[float, Meta(gt=0)]
    n_frames: Annotated[int, Meta(ge=0, le=MAX_FRAMES)]
    n_peaks: Annotated[int, Meta(ge=0, le=MAX_FRAME_BYTES // PEAK_BYTES)]
    peaks: bytes
    external_id: Text | None = None
    title: Text | None = None
    artist: Text | None = None
    album: Text | None = None
    isrc: Text | None = None
    genre: Text | None = None
    tags: Text | None = None  # files of earlier versions have none
    sound: Sound | None = None


class Footer(msgspec.Struct, frozen=True, tag="end"):
    """How many tracks there were: a file that breaks off has none."""

    n_tracks: int


Frame: TypeAlias = Header | Record | Footer
_DECODER = msgspec.msgpack.Decoder(Frame)


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of a file's tracks."""

    written: int = 0
    audio_s: float = 0.0
    indexed: int = 0
    known: int = 0  # there already, by their bytes or their peaks, or taken out meanwhile
    failures: list[str] = field(default_factory=list)


async def export(services: Services, path: Path, filters: TrackFilter) -> Counts:
    """Write the indexed tracks that pass the filters; the file appears when it is whole.

    Raises:
        InvalidRequest: the file cannot be written.
        StoreUnavailable: the store did not answer.
    """
    counts = Counts()
    with appearing(path) as file:
        file.write(MAGIC + framed(Header(stamp=stamp(services.config.fingerprint))))
        async for track, peaks, description in _indexed(services, filters):
            file.write(framed(await think(record_of, track, peaks, description)))
            counts.written += 1
            counts.audio_s += track.duration_s or 0.0
        file.write(framed(Footer(n_tracks=counts.written)))
    return counts


async def read_in(services: Services, path: Path) -> Counts:
    """Put a file's tracks into the catalogue; those that are there already stay as they are.

    Repeating it goes on where it broke off. A track that the index cannot hold is told and left out.

    Raises:
        InvalidRequest: it is no such file, or damaged; what came before the damage is in.
        FingerprintForeign: its peaks were made by other settings than this catalogue's.
        StoreUnavailable: the store did not answer; repeat it later.
    """
    counts = Counts()
    try:
        with path.open("rb") as file:
            frames = _frames(file, path)
            _check(next(frames, None), stamp(services.config.fingerprint), path)
            while True:
                records, damage = await asyncio.to_thread(_some, frames)
                await _adopt(services, records, counts)
                if damage:
                    raise damage
                if not records:
                    return counts
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error


async def _indexed(
    services: Services, filters: TrackFilter
) -> AsyncIterator[tuple[Track, TrackPeaks, Description | None]]:
    after: int | None = 0
    while after is not None:
        tracks, after = await services.tracks.page(after=after, limit=PAGE, filters=filters)
        indexed = {each.track_id: each for each in tracks if each.status is TrackStatus.INDEXED}
        peaks = await services.index.peaks(list(indexed))
        described = await _descriptions(services, list(indexed.values()))
        for track_id, track in indexed.items():
            if track_id in peaks:  # else removed meanwhile
                yield track, peaks[track_id], described.get(track_id)


async def _descriptions(services: Services, tracks: Sequence[Track]) -> dict[int, Description]:
    """What those tracks sound like that are described by this version of descriptors."""
    described = {each.track_id: each for each in tracks if each.description_version == VERSION}
    vectors = await services.descriptions.vectors(list(described), list(Group))
    moments = await services.descriptions.moments(list(described))
    return {
        track_id: Description(
            vectors=vectors[track_id], facts=track.facts, key=track.key, moments=moments.get(track_id)
        )
        for track_id, track in described.items()
    }


async def _adopt(services: Services, records: Sequence[Record], counts: Counts) -> None:
    outcomes = await think(_known, records, services.config.fingerprint)
    recordings = [each for each in outcomes if isinstance(each, Known)]
    try:
        adopted = await adopt(services, recordings)
    except InvalidRequest as error:  # the index cannot hold one of them
        if len(records) == 1:
            counts.failures.append(_told(records[0], error))
            return
        for record in records:
            await _adopt(services, [record], counts)
        return
    counts.failures += [each for each in outcomes if isinstance(each, str)]
    ids = {each.submission.content_sha256: to.track_id for each, to in zip(recordings, adopted, strict=True)}
    await _describe(services, {ids[each.sha256]: each for each in records if each.sha256 in ids}, counts)
    for recording, submitted in zip(recordings, adopted, strict=True):
        if submitted.status is TrackStatus.INDEXED and not submitted.duplicate:
            counts.indexed += 1
            counts.audio_s += recording.duration_s
        else:
            counts.known += 1


async def _describe(services: Services, records: Mapping[int, Record], counts: Counts) -> None:
    """Keep the descriptions of tracks that have none, if this catalogue keeps any."""
    tracks = await services.tracks.get(list(records))
    wanted = services.config.features.parts
    for track_id, track in tracks.items():
        sound = records[track_id].sound
        if sound is None or track.status is not TrackStatus.INDEXED or track.description_version == VERSION:
            continue
        parts = {name: packed for name, packed in sound.parts.items() if name in wanted}
        try:
            description = await think(codec.unpack, parts, facts=sound.facts, key=sound.key)
        except InvalidRequest as error:
            counts.failures.append(_told(records[track_id], error))
            continue
        if parts:
            await keep(services, track, description)


def _known(records: Sequence[Record], config: FingerprintConfig) -> list[Known | str]:
    """What can be adopted; or what is wrong with it."""
    outcomes: list[Known | str] = []
    for record in records:
        try:
            fingerprint = _fingerprint(record, config)
        except InvalidRequest as error:
            outcomes.append(_told(record, error))
            continue
        submission = Submission(
            source=f"import:{record.sha256}",
            place=PLACE,
            content_sha256=record.sha256,
            metadata=Metadata(**{name: getattr(record, name) for name in METADATA_FIELDS}),
        )
        outcomes.append(Known(submission=submission, fingerprint=fingerprint, duration_s=record.duration_s))
    return outcomes


def _told(record: Record, error: InvalidRequest) -> str:
    return f"{record.title or record.external_id or record.sha256}: {error.message}"


def record_of(track: Track, peaks: TrackPeaks, description: Description | None = None) -> Record:
    """A track as a file holds it."""
    columns = (
        np.diff(peaks.frame, prepend=0).astype("<u4").tobytes(),
        peaks.bin.astype("<u2").tobytes(),
        np.packbits(peaks.strong).tobytes(),
    )
    return Record(
        sha256=track.content_sha256,
        duration_s=track.duration_s or 0.0,
        n_frames=peaks.n_frames,
        n_peaks=len(peaks),
        peaks=zlib.compress(b"".join(columns)),
        sound=None
        if description is None
        else Sound(parts=codec.pack(description), facts=dict(description.facts), key=description.key),
        **dict(track.metadata.items()),
    )


def _fingerprint(record: Record, config: FingerprintConfig) -> Fingerprint:
    n = record.n_peaks
    n_bytes = PEAK_BYTES * n + (n + 7) // 8
    inflate = zlib.decompressobj()
    try:
        packed = inflate.decompress(record.peaks, n_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"its peaks cannot be inflated: {error}") from error
    if len(packed) != n_bytes or not inflate.eof:
        raise InvalidRequest(f"its peaks are not the {n_bytes} bytes of {n} peaks")
    frame = np.cumsum(np.frombuffer(packed, "<u4", n), dtype=np.int64)
    bin_ = np.frombuffer(packed, "<u2", n, offset=4 * n).astype(np.int32)
    if n and (frame[-1] >= record.n_frames or bin_.max() > config.window // 2):
        raise InvalidRequest(f"its peaks reach beyond {record.n_frames} frames or {config.window // 2} bins")
    strong = np.unpackbits(np.frombuffer(packed, np.uint8, offset=6 * n), count=n).astype(np.bool_)
    peaks = TrackPeaks(frame=frame.astype(np.int32), bin=bin_, strong=strong, n_frames=record.n_frames)
    return Fingerprint(landmarks=track_landmarks(peaks, config), peaks=peaks)


def framed(frame: Frame) -> bytes:
    """A frame with its length."""
    body = msgspec.msgpack.encode(frame)
    return len(body).to_bytes(4, "big") + body


def _frames(file: BinaryIO, path: Path) -> Iterator[Frame]:
    """All frames but the last, which is checked."""
    if file.read(len(MAGIC)) != MAGIC:
        raise InvalidRequest(f"{path} is no file that `fpserver export` has written")
    n_tracks = 0
    while True:
        at = file.tell()
        n_bytes = int.from_bytes(file.read(4), "big")
        packed = file.read(n_bytes) if 0 < n_bytes <= MAX_FRAME_BYTES else b""
        if len(packed) != n_bytes or not packed:
            raise InvalidRequest(f"{path} breaks off, or is damaged, at byte {at}, after {n_tracks} tracks")
        try:
            frame = _DECODER.decode(packed)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(
                f"{path} is damaged at byte {at}, after {n_tracks} tracks: {error}"
            ) from error
        if isinstance(frame, Footer):
            if frame.n_tracks != n_tracks:
                raise InvalidRequest(f"{path} should hold {frame.n_tracks} tracks and has {n_tracks}")
            return
        yield frame
        n_tracks += isinstance(frame, Record)


def _some(frames: Iterator[Frame]) -> tuple[list[Record], InvalidRequest | None]:
    """The next records, none at the end; and what is wrong with the file behind them."""
    records = []
    try:
        for frame in frames:
            if isinstance(frame, Record):
                records.append(frame)
            if len(records) == AT_ONCE:
                break
    except InvalidRequest as damage:
        return records, damage
    return records, None


def _check(header: Frame | None, ours: dict[str, str], path: Path) -> None:
    theirs = header.stamp if isinstance(header, Header) else {}
    for name in sorted({*theirs, *ours} - PAIRING):
        if theirs.get(name) != ours.get(name):
            raise FingerprintForeign(
                f"{path} was made with {name} = {theirs.get(name, 'nothing')}, this catalogue has "
                f"{ours.get(name, 'nothing')}: its tracks must be ingested from their audio"
            )
