import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpserver.errors import AudioTooLong, InvalidRequest
from fpserver.index import codec, lists
from fpserver.terms import Hashes

offsets_ = st.lists(st.integers(0, lists.MAX_OFFSET), max_size=50)


def hashes_of(*values: int) -> Hashes:
    return np.array(values, np.uint32)


def test_postings_are_six_bytes_of_track_then_offset() -> None:
    offsets = np.array([0, 1, 0xABCDE], np.int32)
    packed = lists.plain(np.full(3, 0x1234567), offsets)
    assert packed.hex(" ", 6) == "123456700000 123456700001 1234567abcde"


@settings(deadline=None)  # the first call compiles
@given(track_id=st.integers(1, lists.MAX_TRACK_ID), offsets=offsets_)
def test_postings_come_back(track_id: int, offsets: list[int]) -> None:
    packed = lists.plain(np.full(len(offsets), track_id), np.array(offsets, np.int32))
    unpacked = lists.unpack(packed, np.array([len(offsets)]))
    assert unpacked.offset.tolist() == offsets
    assert unpacked.track_id.tolist() == [track_id] * len(offsets)


@pytest.mark.parametrize("track_id", [0, -1, 2**28])
def test_a_track_id_that_does_not_fit_is_refused(track_id: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"track_id is {track_id}, the index holds ids of 1..268435455"):
        codec.check(track_id, np.zeros(1, np.int32))


def test_an_offset_that_does_not_fit_is_refused() -> None:
    with pytest.raises(AudioTooLong, match=r"frame 1048576, the index holds frames of 0..1048575"):
        codec.check(1, np.array([2**20], np.int32))


def test_a_question_lists_buckets_then_sizes_then_low_bits() -> None:
    packed = codec.pack_question(hashes_of(0x80, 0x81, 0xFF, 0x1FFFF80))
    assert packed == bytes.fromhex("00000002" + "000000010003ffff" + "0301" + "00017f00")


def test_a_question_about_nothing_is_a_zero() -> None:
    assert codec.pack_question(hashes_of()) == bytes(4)


def test_a_chunk_is_a_question_then_sizes_then_postings() -> None:
    packed = codec.pack_chunk(hashes_of(0x81, 0x81, 0x82), np.array([1, 3, 2]), np.array([5, 6, 7], np.int32))
    assert packed == bytes.fromhex("000000010000000102010200020001000000100005000000300006000000200007")


def test_an_answer_tells_lists_not_read_from_empty_ones() -> None:
    packed = bytes.fromhex("0000000000000009000000028000000700000000000000100005000000200006")
    answer = codec.unpack_answer(packed, 3)
    assert answer.n_indexed == 9
    assert (answer.sizes.tolist(), answer.left_out.tolist()) == ([2, 0, 0], [0, 7, 0])
    found = lists.unpack(answer.lists, answer.sizes)
    assert (found.track_id.tolist(), found.offset.tolist()) == ([1, 2], [5, 6])


def test_a_replacement_tells_what_was_read_by_its_digest() -> None:
    read = bytes(range(255))
    one = codec.Replacement(read=read, n_head=252, new=b"new")
    packed = codec.pack_replacements(hashes_of(0x81), [one])
    digest = hashlib.sha1(read).hexdigest().encode()
    assert (
        packed
        == bytes.fromhex("00000001000000010101fc00000003") + digest + bytes.fromhex("00000003") + b"new"
    )
