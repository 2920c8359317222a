import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpserver.index import lists

postings_ = st.lists(
    st.tuples(st.integers(1, lists.MAX_TRACK_ID), st.integers(0, lists.MAX_OFFSET)), min_size=1, max_size=120
)


def columns(postings: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    track_id, offset = zip(*sorted(postings), strict=True)
    return np.array(track_id, np.int64), np.array(offset, np.int32)


def unpacked(packed: bytes, sizes: list[int]) -> list[tuple[int, int]]:
    found = lists.unpack(packed, np.array(sizes))
    return list(zip(found.track_id.tolist(), found.offset.tolist(), strict=True))


@settings(deadline=None)
@given(several=st.lists(postings_, min_size=1, max_size=4))
def test_lists_come_back_plain_or_sealed(several: list[list[tuple[int, int]]]) -> None:
    sizes = [len(postings) for postings in several]
    track_id, offset = (np.concatenate(column) for column in zip(*map(columns, several), strict=True))
    packed = lists.packed(track_id, offset, np.array(sizes))
    assert [each[:4] == bytes(4) for each in packed] == [size > lists.HEAD_POSTINGS for size in sizes]
    found = lists.unpack(b"".join(packed), np.array(sizes))
    assert found.track_id.tolist() == track_id.tolist()
    assert found.offset.tolist() == offset.tolist()
    assert found.n_bytes.tolist() == [len(each) for each in packed]
    assert [len(lists.split(each)[0]) for each in packed] == found.head_bytes.tolist()


@settings(deadline=None)
@given(sealed=postings_.filter(lambda postings: len(postings) > 42), added=postings_)
def test_what_was_added_to_a_sealed_list_stands_around_its_code(
    sealed: list[tuple[int, int]], added: list[tuple[int, int]]
) -> None:
    (packed,) = lists.packed(*columns(sealed), np.array([len(sealed)]))
    head, tail = lists.split(packed)
    plain = lists.plain(*columns(added))
    room = lists.HEAD_BYTES - len(head)
    stored = head + plain[:room] + tail + plain[room:]
    n = len(sealed) + len(added)
    assert sorted(unpacked(stored, [n])) == sorted(sealed + added)
    found = lists.unpack(stored, np.array([n]))
    assert (found.n_sealed.tolist(), found.head_bytes.tolist()) == ([len(sealed)], [len(head + plain[:room])])


def test_a_list_as_that_of_a_large_catalogue_takes_three_bytes_a_posting(rng: np.random.Generator) -> None:
    track_id = np.sort(rng.integers(1, 100_000, 400))
    offset = rng.integers(0, 4000, 400).astype(np.int32)
    (packed,) = lists.packed(track_id, offset, np.array([400]))
    assert len(packed) < 3.2 * 400


def test_bytes_that_are_no_lists_are_refused_wherever_they_are_broken(rng: np.random.Generator) -> None:
    track_id = np.sort(rng.integers(1, 10_000, 100))
    offset = rng.integers(0, 4000, 100).astype(np.int32)
    (packed,) = lists.packed(track_id, offset, np.array([100]))
    for end in range(len(packed)):
        with pytest.raises(ValueError, match="are not the posting lists of 1 hashes"):
            lists.unpack(packed[:end], np.array([100]))
    for size in (99, 101):
        with pytest.raises(ValueError, match="are not the posting lists"):
            lists.unpack(packed, np.array([size]))
    for _ in range(2000):  # whatever stands there, nothing is read or written outside
        broken = bytearray(packed)
        broken[rng.integers(0, len(broken))] = rng.integers(0, 256)
        with contextlib.suppress(ValueError):
            lists.unpack(bytes(broken), np.array([100]))
