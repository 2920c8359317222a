"""From a file to its dense constellation, or to its tags, in one call that runs inside a child process.

Samples are made and used up here: they never cross a process border. A file that holds a fingerprint body
instead of audio is unpacked, so that fingerprints made elsewhere walk the same way as sound.
"""

from math import inf
from pathlib import Path
from time import perf_counter

from fpserver.audio.decode import decode
from fpserver.audio.tags import read_tags
from fpserver.config import AudioConfig, FingerprintConfig
from fpserver.errors import AudioTooShort
from fpserver.fingerprint import wire
from fpserver.fingerprint.cells import levels_of
from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.terms import Constellation, Detail, Fingerprint, Hearing, Metadata, Samples


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
        cut=True,
        detailed_s=inf,
    )


def hear_track(path: Path, audio: AudioConfig, fingerprint: FingerprintConfig) -> tuple[Hearing, Fingerprint]:
    """Hear a whole recording, and make what the index keeps of it.

    Raises:
        AudioError: it cannot be used as audio, or is longer than `audio.max_track_s`.
        FingerprintInvalid, FingerprintForeign: it is a fingerprint body that cannot be used.
    """
    hearing = _hear_whole(path, audio, fingerprint, detailed_s=0.0)
    return hearing, fingerprint_of(hearing.constellation, fingerprint)


def hear_recording(path: Path, audio: AudioConfig, fingerprint: FingerprintConfig) -> Hearing:
    """Hear a whole recording, so that its fingerprint body serves to ingest it and, if it is short, to ask about it.

    Raises:
        AudioError: it cannot be used as audio, or is longer than `audio.max_track_s`.
        FingerprintInvalid, FingerprintForeign: it is a fingerprint body that cannot be used.
    """
    return _hear_whole(path, audio, fingerprint, detailed_s=audio.max_clip_s)


def tags_of(path: Path, name: str) -> Metadata:
    """What a file says about itself. A file without a title is called `name`."""
    return read_tags(path, name)


def detail_of(samples: Samples, config: FingerprintConfig) -> Detail:
    """What a clip is heard with beyond its peaks."""
    between = constellation_of(samples[config.hop // 2 :], config)
    return Detail(between=between, levels=levels_of(samples, config))


def _hear_whole(
    path: Path, audio: AudioConfig, fingerprint: FingerprintConfig, *, detailed_s: float
) -> Hearing:
    return _hear(
        path,
        fingerprint,
        max_s=audio.max_track_s,
        max_bytes=audio.max_track_bytes,
        min_s=audio.min_clip_s,
        cut=False,
        detailed_s=detailed_s,
    )


def _hear(
    path: Path,
    config: FingerprintConfig,
    *,
    max_s: float,
    max_bytes: int,
    min_s: float,
    cut: bool,
    detailed_s: float,
) -> Hearing:
    """What is longer than `max_s` is cut or refused; what is no longer than `detailed_s` is heard in detail."""
    start = perf_counter()
    if wire.is_fingerprint(path):
        hearing = wire.unpack_file(path, config, min_s=min_s, max_s=max_s, max_bytes=max_bytes, cut=cut)
        _refuse_if_shorter_than_a_frame(hearing.constellation)
        return hearing
    sound = decode(path, rate_hz=config.rate_hz, max_s=max_s, max_bytes=max_bytes, min_s=min_s, cut=cut)
    decoded = perf_counter()
    constellation = constellation_of(sound.samples, config)
    _refuse_if_shorter_than_a_frame(constellation)
    return Hearing(
        constellation=constellation,
        detail=detail_of(sound.samples, config) if sound.duration_s <= detailed_s else None,
        duration_s=sound.duration_s,
        truncated=sound.truncated,
        timings_s={"audio": decoded - start, "fingerprint": perf_counter() - decoded},
    )


def _refuse_if_shorter_than_a_frame(constellation: Constellation) -> None:
    if not constellation.n_frames:
        raise AudioTooShort("too short to be analysed: it has no frame")
