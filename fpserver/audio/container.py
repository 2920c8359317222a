"""Open a file of unknown origin and find the sound in it.

The file is judged by its bytes alone: its name is not shown to FFmpeg, whose probing would be swayed by the
suffix. Only the formats and decoders listed here are ever started. Formats that refer to other files
(playlists, concatenations, image sequences) are not among them, and no protocol is open to those that could.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av

from fpserver.errors import AudioDamaged, AudioEmpty, AudioTooLarge, AudioUnsupported, SourceMissing

FORMATS = ("mp3", "flac", "ogg", "mov", "aac", "wav", "w64", "aiff", "matroska", "wv", "caf")
DECODERS = frozenset(
    {"mp3", "mp3float", "mp2", "mp2float", "flac", "vorbis", "opus", "libopus", "aac", "alac", "wavpack"}
    | {name for name in av.codecs_available if name.startswith("pcm_")}
)
READABLE = "mp3, flac, ogg (vorbis, opus), m4a/aac, wav, aiff, webm, wavpack, alac"

# First bytes of the formats above: a file that begins so and cannot be read is damaged, not unsupported.
_BEGINNINGS = (
    *(b"ID3", b"fLaC", b"OggS", b"wvpk", b"caff", b"\x1aE\xdf\xa3"),
    *(bytes([0xFF, second]) for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xF1, 0xF9)),  # mp3, ADTS
)

_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "codec_whitelist": ",".join(sorted(DECODERS)),
    "protocol_whitelist": "none",
}


class _Source:
    """The bytes of an open file, and nothing else of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def open_audio(path: Path, *, max_bytes: int) -> Iterator[tuple[av.container.InputContainer, av.AudioStream]]:
    """Open the container of a file and its first stream of sound (cover pictures and video are left alone).

    Raises:
        SourceMissing: there is no such file.
        AudioEmpty, AudioTooLarge: it has no bytes, or more than `max_bytes`.
        AudioUnsupported: it is no audio file, holds no sound, or sound of a kind that is not decoded here.
        AudioDamaged: it begins like an audio file, but cannot be opened as one.
    """
    try:
        n_bytes = path.stat().st_size
        file = path.open("rb")
    except OSError as error:
        raise SourceMissing(f"audio file {path} cannot be read: {error.strerror}") from error
    with file:
        if n_bytes == 0:
            raise AudioEmpty("audio is 0 bytes long, need a whole audio file")
        if n_bytes > max_bytes:
            raise AudioTooLarge(f"audio is {n_bytes} bytes long, at most {max_bytes} are allowed")
        with _open(file) as container:
            try:
                yield container, _sound_of(container)
            except av.FFmpegError as error:
                raise AudioDamaged(f"audio cannot be decoded: {error.strerror}") from error


def _open(file: BinaryIO) -> av.container.InputContainer:
    beginning = file.read(16)
    file.seek(0)
    try:
        return av.open(
            _Source(file), "r", container_options=_OPTIONS, metadata_errors="replace", buffer_size=65536
        )
    except av.FFmpegError as error:
        if _begins_like_audio(beginning):
            raise AudioDamaged(
                f"file begins like audio ({beginning[:8]!r}) but cannot be opened: {error.strerror}; "
                "it is damaged or incomplete"
            ) from error
        raise AudioUnsupported(
            f"not an audio file: it begins with {beginning[:8]!r}; can be read: {READABLE}"
        ) from error


def _begins_like_audio(beginning: bytes) -> bool:
    is_riff = beginning[:4] in (b"RIFF", b"RF64") and beginning[8:12] == b"WAVE"
    is_aiff = beginning[:4] == b"FORM" and beginning[8:11] == b"AIF"
    is_mov = beginning[4:8] in (b"ftyp", b"moov")
    return is_riff or is_aiff or is_mov or beginning.startswith(_BEGINNINGS)


def _sound_of(container: av.container.InputContainer) -> av.AudioStream:
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise AudioUnsupported(f"{container.format.name} file holds {kinds}, but no sound")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or codec.name not in DECODERS:
        kind = "an unknown codec" if codec is None else codec.name
        raise AudioUnsupported(f"sound in {container.format.name} file is {kind}; can be read: {READABLE}")
    codec.thread_count = 1  # processes are the parallelism here; threads would only eat address space
    return stream
