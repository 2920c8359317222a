"""What the measurements of neighbours and descriptions over HTTP are made of, and what they say."""

import numpy as np

from fpserver.descriptors import FACTS, LAYOUT
from fpserver.terms import Group, Vector
from loadtest.similarity import describing, serving


def real(n: int) -> list[dict[Group, Vector]]:
    rng = np.random.default_rng(3)
    return [
        {group: rng.uniform(0, 1, len(LAYOUT[group])).astype(np.float32) for group in Group} for _ in range(n)
    ]


def test_made_tracks_lie_between_two_real_ones_and_are_the_same_every_time() -> None:
    tracks = list(serving.made_tracks(real(5), 200))
    again = list(serving.made_tracks(real(5), 200))
    for one, other in zip(tracks, again, strict=True):
        assert one.genre == other.genre
        for group in Group:
            np.testing.assert_array_equal(one.vectors[group], other.vectors[group])
            assert one.vectors[group].min() >= 0 and one.vectors[group].max() <= 1
    genres = [track.genre for track in tracks]
    assert 0 < genres.count(serving.RARE) < 10 and 70 < genres.count(serving.HALF) < 130


def test_facts_are_those_that_people_filter_by() -> None:
    (vectors,) = real(1)
    facts = serving.facts_of(vectors)
    assert set(facts) <= set(FACTS) and {"tempo_bpm", "loudness_db", "centroid_hz"} <= set(facts)
    assert facts["tempo_bpm"] == vectors[Group.RHYTHM][0]


def test_a_page_says_which_questions_take_too_long() -> None:
    questions = {
        "quick": {"p50_ms": 3.0, "p95_ms": 9.0, "p99_ms": 12.0},
        "slow": {"p50_ms": 3.0, "p95_ms": 29.0, "p99_ms": 40.0},
    }
    found = {
        "setting": "2 cores",
        "n_real": 460,
        "n_tracks": 100_000,
        "n_asked": 300,
        "learn_s": 3.0,
        "fill_s": 90.0,
        "web_peak_bytes": 2**30,
        "questions": questions,
        "matrix": {"n": 2000, "seconds": 2.5, "bytes": 2**25},
    }
    page = serving.page(found)
    assert "| quick | 3.0 | 9.0 | 12.0 | yes |" in page and "| slow | 3.0 | 29.0 | 40.0 | no |" in page
    assert "1024 MiB" in page and "2,000 tracks" in page and "32 MiB of JSON" in page


def test_a_page_says_how_much_longer_indexing_takes() -> None:
    rounds = [{"off": {"indexed_s": 10.0}, "on": {"indexed_s": 10.5, "audio_s": 600.0, "described_s": 21.0}}]
    wait = {"p50_ms": 40.0, "p95_ms": 60.0}
    found = {
        "setting": "2 cores",
        "rounds": rounds,
        "n_files": 40,
        "n_clips": 120,
        "beside": wait,
        "alone": wait,
    }
    assert "| 1 | 10.0 | 10.5 | 1.05 | 21.0 |" in describing.page(found)
