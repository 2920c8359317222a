"""Answers in words: short, and true to the figures."""

from typing import Any

import pytest

from fpserver import words

MATCH: dict[str, Any] = {
    "track_id": 17,
    "title": "Amber Harbour",
    "artist": "The Landmarks",
    "album": None,
    "external_id": None,
    "track_offset_s": 63.2,
    "clip_start_s": 0.4,
    "clip_end_s": 9.9,
    "speed": 1.0,
    "pitch": 1.0,
    "confidence": 0.99999999999,
    "false_accept_rate": 3e-14,
}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0:00"), (7.9, "0:07"), (205.0, "3:25"), (3729.0, "1:02:09"), (-0.4, "0:00"), (-2.0, "-0:02")],
)
def test_times_are_shown_as_players_show_them(seconds: float, shown: str) -> None:
    assert words.clock(seconds) == shown


def test_a_track_is_called_by_what_is_known_of_it() -> None:
    assert words.name(MATCH) == "“Amber Harbour” by The Landmarks"
    assert words.name({**MATCH, "artist": None}) == "“Amber Harbour”"
    assert words.name({**MATCH, "title": None, "artist": None}) == "“track 17”"


def test_the_place_is_where_the_clip_agrees_in_the_track() -> None:
    assert words.place(MATCH) == "1:03 to 1:13"
    assert words.place({**MATCH, "speed": 1.05}).endswith("played at 105.0 % of its speed")


@pytest.mark.parametrize(
    ("rate", "confidence", "shown"),
    [
        (0.0, 1.0, "certain (confidence over 99.9999 %, "),
        (3e-14, 1.0, "fewer than one in a trillion clips)"),
        (2e-5, 0.99998, "sure (confidence 99.9980 %, wrong answers on such evidence: one in 50,000 clips)"),
        (0.5, 0.5, "a guess (confidence 50.0000 %, wrong answers on such evidence: one in 2 clips)"),
    ],
)
def test_confidence_is_a_word_and_figures(rate: float, confidence: float, shown: str) -> None:
    assert shown in words.sureness({**MATCH, "false_accept_rate": rate, "confidence": confidence})


def test_no_match_says_what_was_heard() -> None:
    document = {
        "clip": {"duration_s": 5.0, "n_landmarks": 3},
        "matches": [],
        "degraded": True,
        "timings_ms": {"audio": 3.0},
    }
    assert words.answer(document).splitlines() == [
        "no match: nothing in the catalogue is like this clip (5.0 s, 3 landmarks)",
        "careful: part of the index did not answer, there may be more",
        "answered in 3 ms: audio 3.0",
    ]
