from dataclasses import replace

import numpy as np
import pytest

from fpserver.matching.candidates import AS_PLAYED, Hits, candidates_of, commonness, hits_of
from fpserver.terms import Lookup, Warp


def hits(*rows: tuple[int, int, int], warp: Warp = AS_PLAYED) -> Hits:
    """Hits of weight 1 from (track_id, track_offset, query_offset)."""
    track_id, track_offset, query_offset = np.array(rows, np.int64).reshape(-1, 3).T
    found = Lookup(
        hash_index=np.arange(len(rows)),
        track_id=np.ascontiguousarray(track_id),
        offset=track_offset.astype(np.int32),
        left_out=np.zeros(len(rows), np.int64),
    )
    offsets = query_offset.astype(np.int32)
    given = hits_of(found, np.arange(len(rows)), offsets, max_hits=len(rows), warps=[warp])
    return replace(given, weight=np.ones(len(rows)))


def test_hits_that_agree_on_an_alignment_are_one_candidate() -> None:
    found = candidates_of(
        hits((7, 110, 10), (7, 150, 50), (7, 290, 190), (8, 5, 1), (8, 99, 3)), max_candidates=10
    )
    best = found[0]
    assert (best.track_id, best.alignment, best.votes, best.n_votes) == (7, 100, 3.0, 3)


def test_neighbouring_alignments_vote_together_and_are_one_candidate() -> None:
    found = candidates_of(hits((1, 100, 0), (1, 101, 0), (1, 102, 1), (1, 500, 0)), max_candidates=10)
    assert [(each.alignment, each.votes) for each in found] == [(pytest.approx(100 + 2 / 3), 3.0), (500, 1.0)]


def test_a_clip_that_begins_before_its_track_has_a_negative_alignment() -> None:
    (found,) = candidates_of(hits((3, 2, 40), (3, 12, 50)), max_candidates=1)
    assert found.alignment == -38
    assert found.track_id == 3


def test_neighbours_of_different_tracks_do_not_vote_together() -> None:
    found = candidates_of(hits((1, 100, 0), (2, 100, 0)), max_candidates=10)
    assert [each.votes for each in found] == [1.0, 1.0]


def test_candidates_are_bounded_and_ordered_by_votes_then_track() -> None:
    rows = [(track, 50 + i, i) for track in (3, 1, 2) for i in range(4)] + [(9, 7, 1)]
    found = candidates_of(hits(*rows), max_candidates=3)
    assert [each.track_id for each in found] == [1, 2, 3]


def test_no_hits_make_no_candidates() -> None:
    assert candidates_of(hits(), max_candidates=5) == []


@pytest.mark.parametrize(("n", "limit"), [(200, 3), (5000, 5), (5000, 400), (20, 50)])
def test_candidates_are_those_that_a_plain_count_gives(rng: np.random.Generator, n: int, limit: int) -> None:
    rows = [tuple(row) for row in rng.integers([1, 0, 0], [2 + n // 20, 60, 10], (n, 3)).tolist()]
    given = hits(*rows)
    counts: dict[tuple[int, int], int] = {}
    for track, there, here in rows:
        counts[track, there - here] = counts.get((track, there - here), 0) + 1
    votes = {
        (t, a): m + counts.get((t, a - 1), 0) + counts.get((t, a + 1), 0) for (t, a), m in counts.items()
    }
    expected: list[tuple[int, int]] = []
    for track, place in sorted(votes, key=lambda each: (-votes[each], each)):
        if not {(track, place - 1), (track, place + 1)} & set(expected):
            expected.append((track, place))
    found = candidates_of(given, max_candidates=limit)
    assert [each.votes for each in found] == [votes[each] for each in expected[:limit]]
    assert [each.n_votes for each in found] == [each.votes for each in found]
    assert all(
        each.track_id == track and abs(each.alignment - place) < 1
        for each, (track, place) in zip(found, expected, strict=False)
    )


def test_alignment_is_refined_below_a_frame_by_its_votes() -> None:
    rows = [(1, 100, 0), (1, 101, 0), (1, 151, 50), (1, 152, 50), (1, 152, 50), (1, 300, 0), (2, 100, 0)]
    (best,) = candidates_of(hits(*rows), max_candidates=1)
    assert best.alignment == pytest.approx((100 + 101 + 101 + 102 + 102) / 5)


def test_under_a_warp_the_clip_s_frames_count_at_its_speed() -> None:
    rows = [(4, round(200 + 1.1 * frame), frame) for frame in (3, 30, 80, 160, 210)]
    warp = Warp(speed=1.1, pitch=1.1)
    (found, *_) = candidates_of(hits(*rows, warp=warp), max_candidates=5)
    assert (found.track_id, found.n_votes, found.warp) == (4, 5, warp)
    assert found.alignment == pytest.approx(200, abs=0.5)
    assert candidates_of(hits(*rows), max_candidates=5)[0].n_votes < 5


FOUND = Lookup(
    hash_index=np.array([0, 1, 1]),
    track_id=np.array([5, 6, 7]),
    offset=np.array([10, 20, 30], np.int32),
    left_out=np.zeros(3, np.int64),
    n_indexed=1000,
)
HASH_OF_LANDMARK, QUERY_OFFSET = np.array([1, 0, 1]), np.array([3, 4, 8], np.int32)


def places(given: Hits, warp: int) -> list[tuple[int, float]]:
    return [(each.track_id, each.alignment) for each in candidates_of(given, max_candidates=9, warp=warp)]


def test_a_hash_that_stands_twice_in_the_clip_hits_twice() -> None:
    given = hits_of(FOUND, HASH_OF_LANDMARK, QUERY_OFFSET, max_hits=100)
    assert len(given) == 5
    assert sorted(places(given, 0)) == [(5, 6), (6, 12), (6, 17), (7, 22), (7, 27)]


def test_landmarks_vote_under_their_own_warp_alone() -> None:
    warps, warp_of = [Warp(pitch=1.1), Warp(speed=2.0), Warp()], np.array([0, 1, 1])
    given = hits_of(FOUND, HASH_OF_LANDMARK, QUERY_OFFSET, max_hits=100, warps=warps, warp_of=warp_of)
    assert sorted(places(given, 0)) == [(6, 17), (7, 27)]
    assert sorted(places(given, 1)) == [(5, 2), (6, 4), (7, 14)]
    assert places(given, 2) == []


@pytest.mark.parametrize("alignment", [-(2**20), 2**20 - 1])
def test_the_farthest_alignments_of_the_highest_track_are_told(alignment: int) -> None:
    highest = 2**28 - 1
    (found,) = candidates_of(hits((highest, max(alignment, 0), max(-alignment, 0))), max_candidates=1)
    assert (found.track_id, found.alignment) == (highest, alignment)


def test_a_rare_hash_weighs_more_than_a_common_one_whatever_the_size_of_the_index() -> None:
    def weights(scale: int) -> np.ndarray:
        found = Lookup(
            hash_index=np.r_[np.zeros(1 * scale, int), np.ones(50 * scale, int)],
            track_id=np.ones(51 * scale, np.int64),
            offset=np.zeros(51 * scale, np.int32),
            left_out=np.zeros(2, np.int64),
            n_indexed=1_000_000 * scale,
        )
        return hits_of(found, np.array([0, 1]), np.array([0, 0], np.int32), max_hits=10_000).weight

    small, large = weights(1), weights(10)
    assert small[0] > small[-1] > 0
    assert (small[0], small[-1]) == pytest.approx((large[0], large[-1]))


@pytest.mark.parametrize(("max_hits", "n_hits"), [(100, 62), (61, 12), (12, 12), (11, 2), (1, 0)])
def test_hits_are_bounded_and_the_commonest_hashes_are_left_out_first(max_hits: int, n_hits: int) -> None:
    postings = [1, 2, 5]  # of hashes 0, 1, 2, which stand 2, 5 and 10 times in the clip: 2, 10 and 50 hits
    found = Lookup(
        hash_index=np.repeat([0, 1, 2], postings),
        track_id=np.arange(8, dtype=np.int64),
        offset=np.zeros(8, np.int32),
        left_out=np.zeros(3, np.int64),
        n_indexed=1000,
    )
    hash_of_landmark = np.repeat([0, 1, 2], [2, 5, 10])
    given = hits_of(found, hash_of_landmark, np.arange(17, dtype=np.int32), max_hits=max_hits)
    assert len(given) == n_hits


def test_hashes_are_as_common_as_their_lists_are_long_whether_read_or_left_out() -> None:
    found = Lookup(
        hash_index=np.array([0, 1, 1, 1]),
        track_id=np.ones(4, np.int64),
        offset=np.zeros(4, np.int32),
        left_out=np.array([0, 0, 7, 0]),
    )
    hash_of_landmark, group_of_landmark = np.array([0, 1, 2, 3, 2]), np.array([0, 0, 2, 2, 3])
    common = commonness(found, hash_of_landmark, group_of_landmark, 5)
    np.testing.assert_allclose(common, np.log([8**0.5, 1, 8**0.5, 8, 1]))
