"""From a file to its dense constellation, or to its tags, in one call that runs inside a child process.

Samples are made and used up here: they never cross a process border. A file that holds a fingerprint body
instead of audio is unpacked, so that fingerprints made elsewhere walk the same way as sound.
"""

from pathlib import Path
from time import perf_counter

from fpserver.audio.decode import decode
from fpserver.audio.tags import read_tags
from fpserver.config import AudioConfig, FingerprintConfig
from fpserver.errors import AudioTooShort
from fpserver.fingerprint import wire
from fpserver.fingerprint.cells import levels_of
from fpserver.fingerprint.constellation import constellation_of
from fpserver.terms import Constellation, Detail, Hearing, Metadata


def hear_clip(path: Path, audio: AudioConfig, fingerprint: FingerprintConfig) -> Hearing:
    """Hear a clip: at most `audio.max_clip_s` of it.

    Raises:
        AudioError: it cannot be used as audio, or is shorter than `audio.min_clip_s`.
        FingerprintInvalid, FingerprintForeign: it is a fingerprint body that cannot be used.
    """
    return _hear(
        path,
        fingerprint,
        max_s=audio.max_clip_s,
        max_bytes=audio.max_clip_bytes,
        min_s=audio.min_clip_s,
        is_clip=True,
    )


def hear_track(path: Path, audio: AudioConfig, fingerprint: FingerprintConfig) -> Hearing:
    """Hear a whole recording.

    Raises:
        AudioError: it cannot be used as audio, or is longer than `audio.max_track_s`.
        FingerprintInvalid, FingerprintForeign: it is a fingerprint body that cannot be used.
    """
    return _hear(
        path,
        fingerprint,
        max_s=audio.max_track_s,
        max_bytes=audio.max_track_bytes,
        min_s=audio.min_clip_s,
        is_clip=False,
    )


def hear_recording(path: Path, audio: AudioConfig, fingerprint: FingerprintConfig) -> Hearing:
    """Hear a whole recording, so that its fingerprint body serves to ingest it and, if it is short, to ask about it.

    Raises:
        AudioError: it cannot be used as audio, or is longer than `audio.max_track_s`.
        FingerprintInvalid, FingerprintForeign: it is a fingerprint body that cannot be used.
    """
    hearing = hear_track(path, audio, fingerprint)
    return hear_clip(path, audio, fingerprint) if hearing.duration_s <= audio.max_clip_s else hearing


def tags_of(path: Path, name: str) -> Metadata:
    """What a file says about itself. A file without a title is called `name`."""
    return read_tags(path, name)


def _hear(
    path: Path, config: FingerprintConfig, *, max_s: float, max_bytes: int, min_s: float, is_clip: bool
) -> Hearing:
    """A clip is heard in detail, and cut where it is too long; a track is refused."""
    start = perf_counter()
    if wire.is_fingerprint(path):
        hearing = wire.unpack_file(path, config, min_s=min_s, max_s=max_s, max_bytes=max_bytes, cut=is_clip)
        _refuse_if_shorter_than_a_frame(hearing.constellation)
        return hearing
    sound = decode(path, rate_hz=config.rate_hz, max_s=max_s, max_bytes=max_bytes, min_s=min_s, cut=is_clip)
    decoded = perf_counter()
    constellation = constellation_of(sound.samples, config)
    _refuse_if_shorter_than_a_frame(constellation)
    detail = None
    if is_clip:
        between = constellation_of(sound.samples[config.hop // 2 :], config)
        detail = Detail(between=between, levels=levels_of(sound.samples, config))
    return Hearing(
        constellation=constellation,
        detail=detail,
        duration_s=sound.duration_s,
        truncated=sound.truncated,
        timings_s={"audio": decoded - start, "fingerprint": perf_counter() - decoded},
    )


def _refuse_if_shorter_than_a_frame(constellation: Constellation) -> None:
    if not constellation.n_frames:
        raise AudioTooShort("too short to be analysed: it has no frame")
