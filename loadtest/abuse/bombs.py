"""Audio files that cost more than they look, by name: small and endless, lying, nested, or of the dearest make.

All fit into `audio.max_clip_bytes`. Some are made by the tests of the audio room.
"""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable

import av
import numpy as np

from fpserver.audio.encode import encode
from fpserver.demo.songs import song
from tests.audio.files import flac_silence, picture, raw_wav

RATE_HZ = 22050
LIMIT_BYTES = 16 * 2**20 - 4096
UNKNOWN_SIZE = b"\x01\xff\xff\xff\xff\xff\xff\xff"
SEGMENT, CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
AAC_FRAME = bytes.fromhex("fff150800120fcde3400")[:9]  # ADTS, 9 bytes in all, two of them data


def _song(container: str, duration_s: float = 3.0) -> bytes:
    return encode(song(1, duration_s, RATE_HZ), RATE_HZ, container=container)


def _ogg_page(serial: int, number: int, flags: int, granule: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(bytes([255] * (len(each) // 255) + [len(each) % 255]) for each in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, number, 0, len(lacing)) + lacing
    page = bytearray(head + b"".join(packets))
    page[22:26] = struct.pack("<I", _ogg_crc(bytes(page)))
    return bytes(page)


def _crc_row(byte: int) -> int:
    rest = byte << 24
    for _ in range(8):
        rest = (rest << 1) ^ (0x04C11DB7 if rest >> 31 else 0)
        rest &= 0xFFFFFFFF
    return rest


_CRC_TABLE = [_crc_row(byte) for byte in range(256)]


def _ogg_crc(page: bytes) -> int:
    rest = 0
    for byte in page:
        rest = (rest << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[rest >> 24 ^ byte]
    return rest


def _opus_silence(hours: float) -> bytes:
    """Packets of one byte that say 120 ms of nothing, 255 in a page."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0)
    pages = [_ogg_page(1, 0, 2, 0, [head]), _ogg_page(1, 1, 0, 0, [tags])]
    n_pages = round(hours * 3600 / (255 * 0.12))
    pages += [
        _ogg_page(1, 2 + number, 0, (number + 1) * 255 * 5760, [b"\x19"] * 255) for number in range(n_pages)
    ]
    return b"".join(pages)


def _chained_ogg() -> bytes:
    link = _song("ogg", 0.2)
    return link * (LIMIT_BYTES // len(link))


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of the boxes of an mp4, or of one of them."""
    found, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _edited(data: bytes, path: tuple[bytes, ...], edit: Callable[[bytes], bytes]) -> bytes:
    """An mp4 with the content of the boxes at a path changed, and all sizes made right."""
    return b"".join(
        _box(kind, content)
        if kind != path[0]
        else _box(kind, edit(content) if len(path) == 1 else _edited(content, path[1:], edit))
        for kind, content in _boxes(data)
    )


TRACK = (b"moov", b"trak")
TABLE = (*TRACK, b"mdia", b"minf", b"stbl")


def _many_samples() -> bytes:
    """An m4a that says it has 2³¹ packets of one byte."""
    data = _edited(_song("m4a"), (*TABLE, b"stsz"), lambda _: struct.pack(">III", 0, 1, 2**31 - 1))
    data = _edited(data, (*TABLE, b"stts"), lambda _: struct.pack(">IIII", 0, 1, 2**31 - 1, 1024))
    return _edited(data, (*TABLE, b"stsc"), lambda _: struct.pack(">IIIII", 0, 1, 1, 2**31 - 1, 1))


def _one_byte_samples() -> bytes:
    """An m4a of a million packets of a byte or two."""
    n = 10**6
    data = _edited(_song("m4a"), (*TABLE, b"stsz"), lambda _: struct.pack(">III", 0, 2, n))
    data = _edited(data, (*TABLE, b"stts"), lambda _: struct.pack(">IIII", 0, 1, n, 1024))
    data = _edited(data, (*TABLE, b"stsc"), lambda _: struct.pack(">IIIII", 0, 1, 1, n, 1))
    return _edited(data, (b"mdat",), lambda _: bytes(2 * n))


def _edit_list() -> bytes:
    """An m4a whose edit list plays the first second 200,000 times."""
    entries = struct.pack(">II", 0, 200_000) + struct.pack(">IIHH", 1000, 0, 1, 0) * 200_000
    return _edited(
        _song("m4a"),
        TRACK,
        lambda content: b"".join(
            _box(kind, old) + (_box(b"edts", _box(b"elst", entries)) if kind == b"tkhd" else b"")
            for kind, old in _boxes(content)
            if kind != b"edts"
        ),
    )


def _elsewhere() -> bytes:
    """An m4a whose sound is said to be in another file."""
    refer = _box(b"url ", struct.pack(">I", 0) + b"file:///etc/hostname\0")
    return _edited(
        _song("m4a"),
        (*TRACK, b"mdia", b"minf", b"dinf", b"dref"),
        lambda _: struct.pack(">II", 0, 1) + refer,
    )


def _nested_boxes() -> bytes:
    data = b""
    for _ in range(20_000):
        data = _box(b"moov", data) if len(data) < 10**6 else data
    return _box(b"ftyp", b"M4A \0\0\0\0") + data


def _matroska_pcm() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ones((1, 48), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
    return buffer.getvalue()


def _with_blocks(data: bytes, blocks: bytes) -> bytes:
    """A Matroska file that goes on with one more cluster, and says of nothing how long it is."""
    at = data.index(SEGMENT) + 4
    width = next(i + 1 for i in range(8) if data[at] & 0x80 >> i)
    opened = data[:at] + UNKNOWN_SIZE + data[at + width :]
    return opened + CLUSTER + UNKNOWN_SIZE + b"\xe7\x81\x00" + blocks


def _one_sample_packets() -> bytes:
    """48 kHz PCM, each sample a block of its own."""
    return _with_blocks(_matroska_pcm(), b"\xa3\x86\x81\x00\x00\x80\x01\x00" * 2_000_000)


def _laced() -> bytes:
    """Blocks that each hold 256 packets of no bytes."""
    block = b"\x81\x00\x00\x82" + b"\xff" + bytes(255)
    size = struct.pack(">H", 0x4000 | len(block))
    return _with_blocks(_matroska_pcm(), (b"\xa3" + size + block) * 60_000)


def _giant_element() -> bytes:
    return _with_blocks(
        _matroska_pcm(), b"\xa3\x01\x00\x00\xff\xff\xff\xff\xff\x81\x00\x00\x80" + bytes(10**6)
    )


def _nested_unknown() -> bytes:
    data = _matroska_pcm()
    return data[: data.index(SEGMENT)] + (SEGMENT + UNKNOWN_SIZE + CLUSTER + UNKNOWN_SIZE) * 500_000


def _bad_but_for_a_few() -> bytes:
    """ADTS of tiny frames that cannot be decoded; 1 in 400 can, so that they are no run."""
    good = _song("aac", 1.0)[:400]
    run = AAC_FRAME * 400 + good
    return run * (LIMIT_BYTES // 4 // len(run))


def _many_streams() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        for stream in [output.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(120)]:
            frame = av.AudioFrame.from_ndarray(np.ones((1, 16000), np.int16), format="s16", layout="mono")
            frame.sample_rate = 8000
            output.mux(stream.encode(frame))
    return buffer.getvalue()


def _id3(frames: bytes) -> bytes:
    size = len(frames)
    return b"ID3\x03\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames


def _cover() -> bytes:
    art = picture() + np.random.default_rng(1).bytes(14 * 2**20)
    frame = b"\0image/jpeg\0\x03\0" + art
    return _id3(b"APIC" + struct.pack(">IH", len(frame), 0) + frame) + _song("mp3")


def _many_tags() -> bytes:
    frame = b"TXXX" + struct.pack(">IH", 8, 0) + b"\0a\0bcdef"
    return _id3(frame * 500_000) + _song("mp3")


def _dear_minute() -> bytes:
    """A minute at 384 kHz in 8 channels: the most samples that are heard."""
    return flac_silence(hours=62 / 3600, rate_hz=384_000, channels=8)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(64 * 2**20))
    return buffer.getvalue()


def _wav(**claims: int) -> bytes:
    return raw_wav(bytes(2 * 2**20), **{"rate_hz": 44100, **claims})


MAKERS: dict[str, Callable[[], bytes]] = {
    "10 h of silence, flac": lambda: flac_silence(hours=10),
    "10 h of silence, opus": lambda: _opus_silence(10),
    "a minute at 384 kHz in 8 channels": _dear_minute,
    "wav at 1 Hz": lambda: _wav(rate_hz=1),
    "wav that says 4 GB": lambda: _wav(claimed_bytes=2**32 - 100),
    "wav of 1,000 channels": lambda: _wav(channels=1000),
    "ogg, chained": _chained_ogg,
    "mp4 of 2³¹ packets": _many_samples,
    "mp4 of a million tiny packets": _one_byte_samples,
    "mp4 with 200,000 edits": _edit_list,
    "mp4 with its sound elsewhere": _elsewhere,
    "mp4, boxes in boxes": _nested_boxes,
    "matroska, a packet per sample": _one_sample_packets,
    "matroska, laced empty packets": _laced,
    "matroska, an element of 1 TB": _giant_element,
    "matroska, nested without sizes": _nested_unknown,
    "matroska of 120 streams": _many_streams,
    "aac, nearly all frames bad": _bad_but_for_a_few,
    "mp3 with a cover of 14 MB": _cover,
    "mp3 with 500,000 tags": _many_tags,
    "playlist (HLS)": lambda: (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    ),
    "playlist (concat)": lambda: b"ffconcat version 1.0\nfile '/etc/hostname'\n",
    "playlist (DASH)": lambda: b"<?xml version='1.0'?><MPD><BaseURL>http://127.0.0.1:1/</BaseURL></MPD>",
    "zip": _zip,
    "gzip": lambda: gzip.compress(bytes(64 * 2**20)),
}
