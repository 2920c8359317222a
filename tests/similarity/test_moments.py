"""Segment search, the pure part: from nearest vectors to the places that sound like a clip."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from fpserver.errors import InvalidRequest
from fpserver.similarity.engines.engine import Found
from fpserver.similarity.moments import MAX_HITS, candidates, hits
from fpserver.similarity.scales import Scales
from fpserver.terms import Vectors
from tests.similarity.making import learned, moments


@pytest.fixture(scope="module")
def scales() -> Scales:
    return learned(20)


@pytest.fixture(scope="module")
def tracks(scales: Scales) -> dict[int, Vectors]:
    return {track_id: scales.embed_moments(moments(track_id)) for track_id in range(1, 21)}


def nearest(tracks: dict[int, Vectors], clip: Vectors, *, k: int = 20) -> list[Found]:
    """What an engine would say: an exact search."""
    ids = np.concatenate([np.full(len(each), track_id) for track_id, each in tracks.items()])
    rows = np.concatenate([np.arange(len(each)) for each in tracks.values()])
    everything = np.concatenate(list(tracks.values()))
    found = []
    for moment in clip:
        distance = np.linalg.norm(everything - moment, axis=1)
        best = np.argsort(distance, kind="stable")[:k]
        found.append(Found(track_id=ids[best], row=rows[best], distance=distance[best].astype(np.float32)))
    return found


@pytest.mark.parametrize("n_moments", [1, 2, 5, 12])
def test_a_clip_is_found_where_it_was_cut(n_moments: int, tracks: dict[int, Vectors], scales: Scales) -> None:
    clip = tracks[7][10 : 10 + n_moments]
    likely = candidates([nearest(tracks, clip)], limit=5)
    assert likely[0] == 7
    best = hits([clip], {each: tracks[each] for each in likely}, shifts_s=[0.0], scales=scales)[0]
    assert (best.track_id, best.start_s, best.end_s) == (7, 5.0, 5.0 + (n_moments + 1) / 2)
    assert (best.distance, best.similarity) == (0, 1)


def test_the_shift_that_fits_best_says_where_between_two_moments_it_begins(
    tracks: dict[int, Vectors], scales: Scales
) -> None:
    rng = np.random.default_rng(1)
    off, fitting = (tracks[3][20:25] + rng.normal(0, size, tracks[3][20:25].shape) for size in (0.3, 0.01))
    clip = [off.astype(np.float32), fitting.astype(np.float32)]
    best = hits(clip, tracks, shifts_s=[0.0, 0.125], scales=scales)[0]
    assert (best.track_id, best.start_s) == (3, 9.875)
    assert best.end_s == pytest.approx(9.875 + 0.125 + 3)


def test_hits_of_one_track_do_not_overlap_and_the_best_come_first(
    tracks: dict[int, Vectors], scales: Scales
) -> None:
    found = hits([tracks[5][4:10]], tracks, shifts_s=[0.0], scales=scales)
    assert len(found) == MAX_HITS
    assert [hit.distance for hit in found] == sorted(hit.distance for hit in found)
    assert all(0 < hit.similarity <= 1 for hit in found)
    for track_id in tracks:
        ours = sorted((hit.start_s, hit.end_s) for hit in found if hit.track_id == track_id)
        assert all(before[1] <= after[0] for before, after in pairwise(ours))


def test_a_repeated_moment_is_found_as_often_as_it_is_heard(scales: Scales) -> None:
    loop = scales.embed_moments(moments(1, n_moments=8))
    found = hits([loop[:4]], {1: np.concatenate([loop] * 3)}, shifts_s=[0.0], scales=scales, limit=3)
    assert sorted(hit.start_s for hit in found) == [0.0, 4.0, 8.0]
    assert all(hit.distance == 0 for hit in found)


def test_the_place_that_was_asked_from_can_be_left_out(tracks: dict[int, Vectors], scales: Scales) -> None:
    found = hits([tracks[5][10:14]], tracks, shifts_s=[0.0], scales=scales, without=(5, 5.0, 7.5), limit=100)
    assert all(hit.track_id != 5 or hit.end_s <= 5.0 or hit.start_s >= 7.5 for hit in found)
    assert any(hit.track_id == 5 for hit in found)


def test_a_track_shorter_than_the_clip_is_compared_as_far_as_it_goes(
    tracks: dict[int, Vectors], scales: Scales
) -> None:
    best = hits([tracks[5][10:20]], {9: tracks[5][10:13]}, shifts_s=[0.0], scales=scales)
    assert [(hit.track_id, hit.start_s, hit.distance) for hit in best] == [(9, 0.0, 0.0)]


def test_aligned_votes_count_more_than_scattered_ones() -> None:
    def near(*places: tuple[int, int]) -> Found:
        ids, rows = zip(*places, strict=True)
        return Found(track_id=np.array(ids), row=np.array(rows), distance=np.full(len(ids), 0.5, np.float32))

    aligned = [near((2, 9), (1, 30)), near((2, 3), (1, 31)), near((2, 17), (1, 32))]
    assert candidates([aligned]) == [1, 2]
    assert candidates([aligned], limit=1) == [1]


def test_no_neighbours_are_no_candidates() -> None:
    nothing = Found(track_id=np.zeros(0, int), row=np.zeros(0, int), distance=np.zeros(0, np.float32))
    assert candidates([[nothing, nothing]]) == []


@pytest.mark.parametrize("clip", [[], [np.zeros((0, 32), np.float32)]])
def test_a_clip_without_moments_is_refused(clip: Sequence[Vectors], scales: Scales) -> None:
    with pytest.raises(InvalidRequest, match="needs at least 1"):
        hits(clip, {}, shifts_s=[0.0] * len(clip), scales=scales)
