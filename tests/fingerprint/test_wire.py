import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpserver.config import FingerprintConfig
from fpserver.errors import (
    AudioTooLong,
    AudioTooShort,
    FingerprintForeign,
    FingerprintInvalid,
    FpserverError,
)
from fpserver.fingerprint import wire
from fpserver.fingerprint.cells import levels_of
from fpserver.fingerprint.constellation import band, constellation_of
from fpserver.fingerprint.stamp import digest, stamp
from fpserver.terms import Constellation, Detail, Hearing, Metadata, Samples
from tests.synth import noise, song

CONFIG = FingerprintConfig()


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    return heard(song(11, 10.0, CONFIG.rate_hz))


def heard(samples: Samples) -> Hearing:
    """A clip, with its detail."""
    between = constellation_of(samples[CONFIG.hop // 2 :], CONFIG)
    return Hearing(
        constellation=constellation_of(samples, CONFIG),
        detail=Detail(between=between, levels=levels_of(samples, CONFIG)),
        duration_s=len(samples) / CONFIG.rate_hz,
        truncated=False,
        timings_s={},
    )


def plain(hearing: Hearing) -> Hearing:
    """The same as a track is heard: without detail."""
    return replace(hearing, detail=None)


def unpack(body: bytes, *, min_s: float = 1, max_s: float = 60, cut: bool = True) -> Hearing:
    return wire.unpack(body, CONFIG, min_s=min_s, max_s=max_s, cut=cut)


def changed(hearing: Hearing, path: str, value: Any) -> bytes:
    """The hearing's body with one field replaced, or, by None, left out; `peaks.bin` is the field bin of peaks."""
    body = msgpack.unpackb(wire.pack(hearing, CONFIG))
    *outer, name = path.split(".")
    fields = body
    for each in outer:
        fields = fields[each]
    fields[name] = value
    if value is None:
        del fields[name]
    return bytes(msgpack.packb(body))


def same(ours: Constellation, theirs: Constellation) -> None:
    assert ours.n_frames == theirs.n_frames
    for column in ("frame", "bin", "level"):
        assert getattr(ours, column).dtype == getattr(theirs, column).dtype
        np.testing.assert_array_equal(getattr(ours, column), getattr(theirs, column))


@pytest.mark.parametrize("duration_s", [0.3, 1.01, 7.77, 10.0])
@pytest.mark.parametrize("detailed", [True, False], ids=["a clip", "a track"])
def test_unpacking_gives_back_exactly_what_was_packed(duration_s: float, detailed: bool) -> None:
    clip = heard(song(12, duration_s, CONFIG.rate_hz))
    clip = clip if detailed else plain(clip)
    back = unpack(wire.pack(clip, CONFIG), min_s=0.1)
    assert (back.duration_s, back.truncated) == (clip.duration_s, clip.truncated)
    same(back.constellation, clip.constellation)
    if not detailed:
        assert back.detail is None
        return
    assert clip.detail
    assert back.detail
    assert back.detail.levels.dtype == clip.detail.levels.dtype
    np.testing.assert_array_equal(back.detail.levels, clip.detail.levels)
    between = clip.detail.between
    np.testing.assert_array_equal(back.detail.between.frame, between.frame)
    np.testing.assert_array_equal(back.detail.between.bin, between.bin)
    np.testing.assert_array_equal(back.detail.between.level, between.level)


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.sets(st.tuples(st.integers(0, max(0, n - 1)), st.integers(50, 1497))) if n else st.just(set()),
        )
    )
)
def test_any_peaks_travel(drawn: tuple[int, set[tuple[int, int]]]) -> None:
    n_frames, places = drawn
    frame, bin_ = np.array(sorted(places), np.int32).reshape(-1, 2).T
    peaks = Constellation(frame=frame, bin=bin_, level=(frame * 7 + bin_).astype(np.uint8), n_frames=n_frames)
    hearing = Hearing(
        constellation=peaks, duration_s=n_frames * CONFIG.hop / CONFIG.rate_hz, truncated=True, timings_s={}
    )
    back = unpack(wire.pack(hearing, CONFIG), min_s=0)
    same(back.constellation, peaks)
    assert back.truncated


@pytest.mark.parametrize(
    "samples", [song(11, 10.0, CONFIG.rate_hz), noise(1, 10.0, CONFIG.rate_hz)], ids=["song", "noise"]
)
def test_ten_seconds_in_detail_take_at_most_64_kilobytes(samples: Samples) -> None:
    assert len(wire.pack(heard(samples), CONFIG)) <= 64_000


def test_a_track_takes_less_than_a_kilobyte_a_second(hearing: Hearing) -> None:
    assert len(wire.pack(plain(hearing), CONFIG)) < 10_000


def test_a_body_is_what_its_drawing_says() -> None:
    first, last = band(CONFIG)
    n_cells = 20 * (last - first)
    body = msgpack.packb(
        {
            "format": "fpserver-fingerprint",
            "version": 3,
            "stamp": digest(CONFIG),
            "duration_s": 1.0,
            "truncated": False,
            "n_frames": 20,
            "peaks": {
                "n_peaks": bytes([0, 0, 0, 1, 2]),
                "bin": b"\x64\x00\x2c\x01\x2d\x01",
                "level": b"\x28\x50\x00",
            },
            "between": {"n_peaks": b"\x01", "bin": b"\x90\x03", "level": b"\xff"},
            "levels": zlib.compress(bytes([0b11_10_01_00]) + bytes(n_cells // 4 - 1)),
        }
    )
    back = unpack(body)
    peaks = back.constellation
    assert (peaks.frame.tolist(), peaks.bin.tolist(), peaks.level.tolist()) == (
        [3, 4, 4],
        [100, 300, 301],
        [40, 80, 0],
    )
    assert back.detail
    between = back.detail.between
    assert (between.frame.tolist(), between.bin.tolist(), between.level.tolist()) == ([0], [912], [255])
    assert back.detail.levels.shape == (20, last - first)
    assert back.detail.levels[:5, 0].tolist() == [0, 1, 2, 3, 0]
    assert not back.detail.levels[:, 1:].any()


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
    body = wire.pack(hearing, FingerprintConfig(fan_out=3))
    with pytest.raises(FingerprintForeign, match="stamp"):
        unpack(body)
    with pytest.raises(FingerprintForeign, match="version 1"):
        unpack(changed(hearing, "version", 1))


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
    assert cut.constellation.frame.max() < cut.constellation.n_frames == 107
    assert cut.detail
    assert cut.detail.between.frame.max() < cut.detail.between.n_frames == len(cut.detail.levels) == 107


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("format", "something else", "format"),
        ("n_frames", -1, "n_frames is -1"),
        ("n_frames", "many", "n_frames is 'many'"),
        ("n_frames", True, "n_frames is True"),
        ("n_frames", 2**40, "n_frames is"),
        ("n_frames", 100, "duration_s"),
        ("duration_s", float("nan"), "duration_s is nan"),
        ("duration_s", 100.0, "duration_s is 100.0"),
        ("duration_s", None, "duration_s is None"),
        ("peaks", None, "peaks must be a map"),
        ("peaks", b"", "peaks must be a map"),
        ("peaks.n_peaks", b"\x01", "n_peaks counts 1 peaks"),
        ("peaks.n_peaks", b"\x00" * 500, "n_peaks counts 0 peaks in 500 frames"),
        ("peaks.n_peaks", [1, 2], "n_peaks must be bytes"),
        ("peaks.bin", b"\x00" * 7, "bin must be bytes, 2"),
        ("peaks.bin", "text", "bin must be bytes"),
        ("peaks.bin", None, "bin must be bytes"),
        ("peaks.level", b"", "0 levels"),
        ("between", None, "peaks must be a map"),
        ("between", 7, "peaks must be a map"),
        ("between.bin", b"\x00" * 7, "bin must be bytes, 2"),
        ("between.level", None, "level must be bytes"),
        ("levels", b"", "levels must be bytes, compressed as by zlib, 2 bits for each of"),
        ("levels", b"\x00" * 99, "levels must be bytes"),
        ("levels", "text", "levels must be bytes"),
        ("levels", zlib.compress(bytes(99)), "levels must be bytes"),
        ("levels", zlib.compress(bytes(10**6)), "levels must be bytes"),
        ("levels", zlib.compress(bytes(74_934)) + b"\0", "levels must be bytes"),
        ("levels", zlib.compress(bytes(74_934))[:-1], "levels must be bytes"),
    ],
    ids=str,
)
def test_a_field_that_breaks_its_rule_is_named(hearing: Hearing, path: str, value: Any, says: str) -> None:
    with pytest.raises(FingerprintInvalid) as refused:
        unpack(changed(hearing, path, value))
    assert says in str(refused.value)


@pytest.mark.parametrize("where", ["peaks", "between"])
def test_peaks_out_of_order_or_out_of_range_are_refused(hearing: Hearing, where: str) -> None:
    assert hearing.detail
    peaks = hearing.constellation if where == "peaks" else hearing.detail.between
    bin_ = peaks.bin.astype("<u2")
    with pytest.raises(FingerprintInvalid, match="ordered"):
        unpack(changed(hearing, f"{where}.bin", bin_[::-1].tobytes()))
    with pytest.raises(FingerprintInvalid, match="bins"):
        unpack(changed(hearing, f"{where}.bin", np.full_like(bin_, 1600).tobytes()))


def test_more_peaks_than_a_clip_can_have_are_refused() -> None:
    n_peaks, bin_ = np.full(43, 200, np.uint8), np.tile(np.arange(200) + 30, 43)
    body = msgpack.packb(
        {
            "format": wire.FORMAT,
            "version": wire.VERSION,
            "stamp": digest(CONFIG),
            "duration_s": 2.0,
            "truncated": False,
            "n_frames": 43,
            "peaks": {
                "n_peaks": n_peaks.tobytes(),
                "bin": bin_.astype("<u2").tobytes(),
                "level": bytes(8600),
            },
        }
    )
    with pytest.raises(FingerprintInvalid, match="8600 peaks in 43 frames"):
        unpack(body)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x01\x02", b"\x81" * 5000, bytes(range(256))], ids=repr)
def test_bytes_that_are_no_body_are_refused(body: bytes) -> None:
    with pytest.raises(FpserverError):
        unpack(body)
