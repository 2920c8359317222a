from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from fpserver.config import FingerprintConfig
from fpserver.errors import (
    AudioTooLong,
    AudioTooShort,
    FingerprintForeign,
    FingerprintInvalid,
    FpserverError,
)
from fpserver.fingerprint import wire
from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.stamp import digest, stamp
from fpserver.terms import Hearing, Metadata
from tests.synth import song

CONFIG = FingerprintConfig()


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    samples = song(11, 10.0, CONFIG.rate_hz)
    return Hearing(
        constellation=constellation_of(samples, CONFIG), duration_s=10.0, truncated=False, timings_s={}
    )


def unpack(body: bytes, *, min_s: float = 1, max_s: float = 60, cut: bool = True) -> Hearing:
    return wire.unpack(body, CONFIG, min_s=min_s, max_s=max_s, cut=cut)


def changed(hearing: Hearing, **fields: Any) -> bytes:
    body = msgpack.unpackb(wire.pack(hearing, CONFIG)) | fields
    return bytes(msgpack.packb({name: value for name, value in body.items() if value is not None}))


def test_unpacking_gives_back_what_was_packed(hearing: Hearing) -> None:
    back = unpack(wire.pack(hearing, CONFIG))
    assert back.duration_s == 10.0
    for column in ("frame", "bin", "level"):
        ours, theirs = getattr(back.constellation, column), getattr(hearing.constellation, column)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_ten_seconds_take_at_most_ten_kilobytes(hearing: Hearing) -> None:
    assert len(wire.pack(hearing, CONFIG)) < 10_000


def test_a_body_is_what_its_drawing_says() -> None:
    body = msgpack.packb(
        {
            "format": "fpserver-fingerprint",
            "version": 1,
            "stamp": digest(CONFIG),
            "duration_s": 2.0,
            "truncated": False,
            "n_frames": 86,
            "frame": b"\x03\x00\x00\x00\x04\x00\x00\x00",
            "bin": b"\x64\x00\x2c\x01",
            "level": b"\x28\x50",
        }
    )
    peaks = unpack(body).constellation
    assert (peaks.frame.tolist(), peaks.bin.tolist(), peaks.level.tolist()) == ([3, 4], [100, 300], [40, 80])


def test_a_file_is_a_fingerprint_by_its_first_bytes_or_its_name(hearing: Hearing, tmp_path: Path) -> None:
    for name, content, expected in [
        ("a", wire.pack(hearing, CONFIG), True),
        ("b", wire.pack(hearing, CONFIG, metadata=Metadata(title="x")), True),
        ("c", b"RIFF....WAVEfmt ", False),
        ("d", b"", False),
        ("e.fingerprint", b"anything", True),
    ]:
        (tmp_path / name).write_bytes(content)
        assert wire.is_fingerprint(tmp_path / name) is expected


def test_metadata_travels_with_the_body(hearing: Hearing) -> None:
    body = wire.pack(hearing, CONFIG, metadata=Metadata(title="Ström", isrc="X"))
    assert msgpack.unpackb(body)["metadata"] == {"title": "Ström", "isrc": "X"}
    assert len(unpack(body).constellation) == len(hearing.constellation)


def test_a_fingerprint_of_other_settings_is_refused(hearing: Hearing) -> None:
    body = wire.pack(hearing, FingerprintConfig(fan_out=2))
    with pytest.raises(FingerprintForeign, match="stamp"):
        unpack(body)


def test_every_setting_and_the_band_are_in_the_stamp() -> None:
    names = set(stamp(CONFIG))
    assert {f"fingerprint.{field}" for field in CONFIG.__struct_fields__} < names
    assert digest(CONFIG) != digest(FingerprintConfig(hop=128))


def test_lengths_outside_the_limits_are_refused_or_cut(hearing: Hearing) -> None:
    body = wire.pack(hearing, CONFIG)
    with pytest.raises(AudioTooShort, match=r"10\.0 s, need at least 20 s"):
        unpack(body, min_s=20)
    with pytest.raises(AudioTooLong, match="at most 5 s"):
        unpack(body, max_s=5, cut=False)
    assert not unpack(body, max_s=10).truncated
    cut = unpack(body, max_s=5)
    assert cut.truncated
    assert cut.duration_s == 5
    assert cut.constellation.frame.max() < cut.constellation.n_frames == 215


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "something else"},
        {"n_frames": -1},
        {"n_frames": "many"},
        {"n_frames": 2**40},
        {"duration_s": float("nan")},
        {"duration_s": 100.0},
        {"duration_s": None},
        {"frame": b"\x00" * 7},
        {"frame": "text"},
        {"bin": None},
        {"level": b""},
    ],
    ids=str,
)
def test_a_field_that_breaks_its_rule_is_named(hearing: Hearing, fields: dict[str, Any]) -> None:
    with pytest.raises(FingerprintInvalid) as refused:
        unpack(changed(hearing, **fields))
    name = next(iter(fields))
    assert name in str(refused.value) or "columns" in str(refused.value)


def test_peaks_out_of_order_or_out_of_range_are_refused(hearing: Hearing) -> None:
    frame, bin_ = hearing.constellation.frame.astype("<u4"), hearing.constellation.bin.astype("<u2")
    with pytest.raises(FingerprintInvalid, match="ordered"):
        unpack(changed(hearing, frame=frame[::-1].tobytes()))
    with pytest.raises(FingerprintInvalid, match="bins"):
        unpack(changed(hearing, bin=np.full_like(bin_, 500).tobytes()))
    with pytest.raises(FingerprintInvalid, match="frames"):
        unpack(changed(hearing, frame=(frame + np.uint32(400)).tobytes()))


def test_more_peaks_than_a_clip_can_have_are_refused() -> None:
    n = 86 * 100
    frame, bin_ = np.divmod(np.arange(n), 100)
    body = msgpack.packb(
        {
            "format": wire.FORMAT,
            "version": wire.VERSION,
            "stamp": digest(CONFIG),
            "duration_s": 2.0,
            "truncated": False,
            "n_frames": 86,
            "frame": frame.astype("<u4").tobytes(),
            "bin": (bin_ + 20).astype("<u2").tobytes(),
            "level": bytes(n),
        }
    )
    with pytest.raises(FingerprintInvalid, match="8600 peaks in 86 frames"):
        unpack(body)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x01\x02", b"\x81" * 5000, bytes(range(256))], ids=repr)
def test_bytes_that_are_no_body_are_refused(body: bytes) -> None:
    with pytest.raises(FpserverError):
        unpack(body)
