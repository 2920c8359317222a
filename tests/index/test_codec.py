import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpserver.errors import AudioTooLong, InvalidRequest
from fpserver.index import codec
from fpserver.terms import Constellation, Hashes

offsets_ = st.lists(st.integers(0, codec.MAX_OFFSET), max_size=50)


def peaks(frames: list[int], bins: list[int], levels: list[int], n_frames: int) -> Constellation:
    return Constellation(
        frame=np.array(frames, np.int32),
        bin=np.array(bins, np.int32),
        level=np.array(levels, np.uint8),
        n_frames=n_frames,
    )


def hashes_of(*values: int) -> Hashes:
    return np.array(values, np.uint32)


def test_postings_are_six_bytes_of_track_then_offset() -> None:
    offsets = np.array([0, 1, 0xABCDE], np.int32)
    assert codec.pack_postings(0x1234567, offsets).hex(" ", 6) == "123456700000 123456700001 1234567abcde"


@given(track_id=st.integers(1, codec.MAX_TRACK_ID), offsets=offsets_)
def test_postings_come_back(track_id: int, offsets: list[int]) -> None:
    packed = codec.pack_postings(track_id, np.array(offsets, np.int32))
    track_ids, unpacked = codec.unpack_postings(packed)
    assert unpacked.tolist() == offsets
    assert track_ids.tolist() == [track_id] * len(offsets)


@pytest.mark.parametrize("track_id", [0, -1, 2**28])
def test_a_track_id_that_does_not_fit_is_refused(track_id: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"track_id is {track_id}, the index holds ids of 1..268435455"):
        codec.pack_postings(track_id, np.zeros(1, np.int32))


def test_an_offset_that_does_not_fit_is_refused() -> None:
    with pytest.raises(AudioTooLong, match=r"frame 1048576, the index holds frames of 0..1048575"):
        codec.pack_postings(1, np.array([2**20], np.int32))


def test_a_question_lists_buckets_then_sizes_then_low_bits() -> None:
    packed = codec.pack_question(hashes_of(0x40, 0x41, 0x7F, 0xFFFFC0))
    assert packed == bytes.fromhex("00000002" + "000000010003ffff" + "0301" + "00013f00")


def test_a_question_about_nothing_is_a_zero() -> None:
    assert codec.pack_question(hashes_of()) == bytes(4)


def test_a_chunk_is_a_question_then_sizes_then_postings() -> None:
    packed = codec.pack_chunk(1, hashes_of(0x41, 0x41, 0x42), np.array([5, 6, 7], np.int32))
    assert packed == bytes.fromhex("000000010000000102010200020001000000100005000000100006000000100007")


def test_an_answer_tells_lists_not_read_from_empty_ones() -> None:
    packed = bytes.fromhex("000000000000000900000002ffffffff00000000000000100005000000200006")
    answer = codec.unpack_answer(packed, 3)
    assert (answer.n_indexed, answer.sizes.tolist(), answer.n_stopped) == (9, [2, 0, 0], 1)
    track_ids, offsets = codec.unpack_postings(answer.postings)
    assert (track_ids.tolist(), offsets.tolist()) == ([1, 2], [5, 6])


def test_a_constellation_is_three_bytes_per_peak_and_three_for_a_long_pause() -> None:
    packed = codec.pack_constellation(peaks([0, 2, 2, 65], [1, 3, 1023, 4], [255, 0, 16, 7], 70))
    words = [1 << 8 | 255, 2 << 18 | 3 << 8, 1023 << 8 | 16, 63 << 18 | 63, 4 << 8 | 7]
    assert packed == bytes.fromhex("01000046" + "".join(f"{word:06x}" for word in words))


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 5, 62, 63, 64, 2**18 - 1, 2**18, 700_000]), st.integers(0, 1023)),
        max_size=20,
    ),
    st.integers(0, 255),
)
def test_a_constellation_comes_back(steps: list[tuple[int, int]], level: int) -> None:
    frames = np.cumsum([step for step, _ in steps], dtype=np.int64).tolist()
    given_ = peaks(frames, [bin_ for _, bin_ in steps], [level] * len(steps), 2**24 - 1)
    packed = codec.pack_constellation(given_)
    back = codec.unpack_constellation(packed)
    assert back.n_frames == given_.n_frames
    for column in ("frame", "bin", "level"):
        expected, found = getattr(given_, column), getattr(back, column)
        assert found.tolist() == expected.tolist()
        assert found.dtype == expected.dtype


def test_a_constellation_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"bin 1024, a constellation holds bins of 0..1023"):
        codec.pack_constellation(peaks([0], [1024], [0], 1))
    with pytest.raises(AudioTooLong, match=r"16777216 frames, a constellation at most 16777215"):
        codec.pack_constellation(peaks([], [], [], 2**24))


def test_bytes_of_another_layout_are_no_constellation() -> None:
    with pytest.raises(ValueError, match="version 2"):
        codec.unpack_constellation(bytes([2, 0, 0, 1]))
