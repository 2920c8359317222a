"""From answers to the page: what is lost is said, what is not measured is not claimed."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadtest.accuracy.answers import Answer, Guess
from loadtest.accuracy.cells import grid
from loadtest.accuracy.clips import Clip, Part
from loadtest.accuracy.figures import curves, figures
from loadtest.accuracy.judge import Judge, suspected
from loadtest.accuracy.page import page
from loadtest.accuracy.run import Heard
from loadtest.accuracy.waveforms import Compared
from loadtest.corpus import Recording

CELLS = {each.name: each for each in grid()}
TRACKS = [
    Recording(path=Path(f"/m/{i}.ogg"), seconds=60, cluster="m", package="m", name=f"{i}.ogg")
    for i in range(10)
]


def heard(cell: str, number: int, *, ours: bool, theirs: bool) -> Heard:
    """A clip that each system gets right or wrong; unknown clips that it accepts or not."""
    truth, wrong = TRACKS[number % 10].name, TRACKS[(number + 1) % 10].name
    unknown = CELLS[cell].unknown
    parts = [] if unknown else [Part(track=truth, start_s=3, clip_start_s=0, clip_end_s=5)]
    key = f"{cell}{number}"

    def answer(system: str, right: bool) -> Answer:
        track, accepted = (truth, right) if unknown or right else (wrong, False)
        guess = Guess(
            track=track,
            score=9.0 if accepted else 1.0,
            accepted=accepted,
            offset_s=3.02,
            false_accept_rate=1e-9,
        )
        steps = [{"step": "plain", "n_hashes": 100, "n_postings": 500, "n_stopped": 0}]
        return Answer(
            system=system, clip=key, guesses=[guess], seconds=0.05, detail={"steps": steps, "timings_ms": {}}
        )

    clip = Clip(key=key, cell=cell, number=number, kind="crowd", parts=parts, sha256="00")
    answers = {"fpserver": answer("fpserver", ours), "audfprint tuned": answer("audfprint tuned", theirs)}
    return Heard(clip=clip, answers=answers)


@pytest.fixture
def report() -> dict[str, Any]:
    rows = [heard("clean_5s", i, ours=True, theirs=i < 5) for i in range(20)]
    for cell, n_right in (("noise_0dB_5s", 18), ("noise_-9dB_5s", 10), ("noise_-18dB_5s", 1)):
        rows += [heard(cell, i, ours=i < n_right, theirs=i < n_right + 1) for i in range(20)]
    rows += [heard("speed_+4%_10s", i, ours=True, theirs=False) for i in range(20)]
    rows += [heard("unknown_music_5s", i, ours=False, theirs=i == 0) for i in range(200)]
    rows += [heard("unknown_other_5s", i, ours=i == 0, theirs=False) for i in range(20)]
    alike = {
        (clip.key, guess.track): Compared(clip=clip, guess=guess, deviations=25.0, elsewhere=5.5)
        for clip, guess in suspected(rows, Judge(TRACKS), ours="fpserver")
    }
    found = figures(rows, CELLS, Judge(TRACKS), Counter(), alike, ours="fpserver", promised=1e-4)
    assert set(curves(rows, CELLS, Judge(TRACKS))[0]) == {"noise, 5 s"}
    return {"setting": ["Ten tracks."], "figures": found, "mb_per_hour": {"fpserver": 1.25}, "alone": {}}


def test_figures_count_what_was_right(report: dict[str, Any]) -> None:
    found = report["figures"]
    clean = found["cells"]["clean_5s"]["systems"]
    assert (clean["fpserver"]["right"], clean["audfprint tuned"]["right"]) == (20, 5)
    assert clean["fpserver"]["offset_within"] == {"0.1": 20, "0.5": 20}
    assert clean["audfprint tuned"]["ours_less_it"]["value"] == pytest.approx(0.75)
    assert found["cells"]["speed_+4%_10s"]["warp"]["speed"]["within"] == 0
    assert found["unknown"]["unknown_music_5s"]["audfprint tuned"]["accepted"] == 1
    assert found["unknown"]["unknown_music_5s"]["same_recording"] == 0
    assert found["unknown"]["unknown_other_5s"]["fpserver"]["accepted"] == 1
    assert found["unknown"]["unknown_other_5s"]["same_recording"] == 1
    (half,) = found["half_points"]
    assert half["systems"]["fpserver"]["value"] == pytest.approx(-9, abs=1)
    assert found["work"]["clean_5s"]["look_ups"]["max"] == 100


def test_where_ours_was_not_asked_nothing_was_compared() -> None:
    rows = [heard("unknown_other_5s", i, ours=True, theirs=True) for i in range(3)]
    found = figures(rows, CELLS, Judge(TRACKS), Counter(), {}, ours="another", promised=1e-4)
    assert found["unknown"]["unknown_other_5s"]["fpserver"]["accepted"] == 3
    assert found["unknown"]["unknown_other_5s"]["same_recording"] == 0


def test_losing_cells_are_named_and_thresholds_need_enough_clips(report: dict[str, Any]) -> None:
    text = page(report)
    assert "Cells that we lose: noise_0dB_5s against audfprint tuned" in text
    assert "| noise_0dB_5s | 20 | 94 | 90.0 |" in text
    assert "below target" in text
    assert "waveforms: 25, other tracks 5.5: the same recording" in text
    assert "At 0.1%: 200 unknown music clips are too few" in text
    assert "the score that 1.0% of 200 unknown music clips exceed" in text
