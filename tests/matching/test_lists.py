import numpy as np
import pytest

from fpserver.matching.lists import Lists
from fpserver.terms import Hashes, Lookup

POSTINGS = {3: [(1, 10), (2, 20)], 5: [], 8: [(1, 30)], 9: [(7, 70), (7, 71), (8, 80)]}


def hashes(*numbers: int) -> Hashes:
    return np.array(numbers, np.uint32)


def asked_for(some: Hashes, *, left_out: tuple[int, ...] = (), degraded: bool = False) -> Lookup:
    """What an index of POSTINGS tells of these hashes."""
    lists = [[] if hash_ in left_out else POSTINGS.get(hash_, []) for hash_ in some.tolist()]
    rows = [(i, *posting) for i, postings in enumerate(lists) for posting in postings]
    hash_index, track_id, offset = np.array(rows, np.int64).reshape(-1, 3).T
    return Lookup(
        hash_index=hash_index,
        track_id=track_id,
        offset=offset.astype(np.int32),
        left_out=np.array([len(POSTINGS[h]) if h in left_out else 0 for h in some.tolist()], np.int64),
        n_indexed=6,
        degraded=degraded,
    )


def rows(found: Lookup, of: Hashes) -> list[tuple[int, int, int]]:
    columns = of[found.hash_index].tolist(), found.track_id.tolist(), found.offset.tolist()
    return sorted(zip(*columns, strict=True))


def test_what_was_read_is_not_asked_for_again_and_is_told_with_what_is_new() -> None:
    first, second = hashes(3, 5, 8), hashes(3, 5, 9)
    lists = Lists().and_of(first, asked_for(first))
    asked = lists.unread(second)
    assert asked.tolist() == [9]
    together = lists.together(second, asked, asked_for(asked))
    assert rows(together, second) == rows(asked_for(second), second)
    assert together.n_indexed == 6


def test_a_list_that_was_left_out_is_asked_for_again() -> None:
    some = hashes(3, 9)
    found = asked_for(some, left_out=(9,))
    together = Lists().together(some, some, found)
    assert together.left_out.tolist() == [0, 3]
    lists = Lists().and_of(some, found)
    assert lists.unread(some).tolist() == [9]
    assert rows(lists.together(some, hashes(9), asked_for(hashes(9))), some) == rows(asked_for(some), some)


def test_an_answer_that_misses_a_shard_is_used_and_not_kept() -> None:
    some = hashes(3, 8)
    found = asked_for(hashes(3, 8), degraded=True)
    assert Lists().together(some, some, found).degraded
    assert Lists().and_of(some, found).unread(some).tolist() == [3, 8]


@pytest.mark.parametrize("second", [(), (1,), (3, 8), (4, 6, 10), (9,)])
def test_hashes_that_have_nothing_to_do_with_what_was_read(second: tuple[int, ...]) -> None:
    first, again = hashes(3, 8), hashes(*second)
    lists = Lists().and_of(first, asked_for(first))
    asked = lists.unread(again)
    together = lists.together(again, asked, asked_for(asked))
    assert rows(together, again) == rows(asked_for(again), again)
    assert len(together.left_out) == len(again)
