from pathlib import Path

import numpy as np
import pytest

from loadtest.accuracy.answers import Answer, Guess, KeptFile
from loadtest.accuracy.cells import SMALL, Cell, Mix, grid
from loadtest.accuracy.clips import Clip, Part
from loadtest.accuracy.judge import Judge, found_to_share
from loadtest.accuracy.peer_fpcalc import bit_errors
from loadtest.accuracy.peer_fpserver import guesses_of, surety
from loadtest.accuracy.run import Heard
from loadtest.corpus import Recording

A, B, C = (
    Recording(path=Path(f"/m/{n}.ogg"), seconds=60, cluster="m", package="m", name=f"{n}.ogg") for n in "abc"
)


def clip(*parts: Part, cell: str = "clean_5s") -> Clip:
    return Clip(key="k", cell=cell, number=0, kind="", parts=list(parts), sha256="")


def part(track: str, *, start_s: float = 10.0, begin: float = 0.0, end: float = 5.0) -> Part:
    return Part(track=track, start_s=start_s, clip_start_s=begin, clip_end_s=end)


def answer(*guesses: Guess, system: str = "fpserver") -> Answer:
    return Answer(system=system, clip="k", guesses=list(guesses), seconds=0.1)


def guess(track: str, *, accepted: bool = True, score: float = 9.0, offset_s: float = 10.05) -> Guess:
    return Guess(track=track, score=score, accepted=accepted, offset_s=offset_s)


def cell(name: str) -> Cell:
    return next(each for each in grid() if each.name == name)


def test_a_torn_last_line_is_no_answer_and_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    KeptFile(path, Answer, "clip").add(answer(guess("a.ogg")))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    again = KeptFile(path, Answer, "clip")
    assert again.known == {"k": answer(guess("a.ogg"))}
    again.add(answer(guess("b.ogg")))
    assert KeptFile(path, Answer, "clip").known["k"].guesses[0].track == "b.ogg"


def test_right_is_accepted_and_its_offset_is_judged() -> None:
    judge = Judge([A, B, C])
    verdict = judge.verdict(clip(part("a.ogg")), cell("clean_5s"), answer(guess("a.ogg")))
    assert verdict.right
    assert not verdict.accepted_wrong
    assert verdict.offset_error_s == pytest.approx(0.05)
    weighed = judge.verdict(clip(part("a.ogg")), cell("clean_5s"), answer(guess("a.ogg", accepted=False)))
    assert weighed.first_right
    assert not weighed.right
    wrong = judge.verdict(clip(part("a.ogg")), cell("clean_5s"), answer(guess("b.ogg"), guess("a.ogg")))
    assert wrong.right
    assert wrong.accepted_wrong
    assert not wrong.first_right


def test_a_clip_of_two_tracks_is_right_when_both_are_accepted() -> None:
    two = clip(part("a.ogg", end=5.0), part("b.ogg", begin=5.0, end=10.0))
    judge, crossing = Judge([A, B, C]), cell(f"{Mix.CROSSING}_10s")
    one = judge.verdict(two, crossing, answer(guess("b.ogg")))
    assert (one.right, one.some_right) == (False, True)
    assert judge.verdict(two, crossing, answer(guess("b.ogg"), guess("a.ogg"))).right


def test_an_unknown_clip_has_only_wrong_answers() -> None:
    verdict = Judge([A]).verdict(clip(), cell("unknown_music_5s"), answer(guess("a.ogg")))
    assert verdict.accepted_wrong
    assert not verdict.right


def test_a_threshold_replaces_the_systems_own_rule() -> None:
    judge, said = Judge([A]), answer(guess("a.ogg", accepted=False, score=3.0))
    assert judge.verdict(clip(part("a.ogg")), cell("clean_5s"), said, threshold=2.0).right
    assert not judge.verdict(clip(part("a.ogg")), cell("clean_5s"), said, threshold=3.0).right
    assert judge.verdict(clip(), cell("unknown_music_5s"), said, threshold=2.0).accepted_wrong


def test_material_is_shared_when_two_independent_systems_say_so() -> None:
    both = Heard(
        clip=clip(part("a.ogg")),
        answers={
            "fpserver": answer(guess("a.ogg"), guess("b.ogg")),
            "audfprint tuned": answer(guess("a.ogg", score=90), guess("b.ogg", score=40)),
        },
    )
    alone = Heard(clip=both.clip, answers=both.answers | {"audfprint tuned": answer(guess("a.ogg"))})
    cells = {each.name: each for each in grid()}
    judge = Judge([A, B, C])
    assert found_to_share([both], cells, judge, ours="fpserver") == {("a.ogg", "b.ogg"): 1}
    assert not found_to_share([alone], cells, judge, ours="fpserver")
    assert Judge([A, B, C], [("a.ogg", "b.ogg")]).same("b.ogg", "a.ogg")


def test_guesses_come_from_matches_and_then_from_what_was_weighed() -> None:
    match = {"track_id": 1, "track_offset_s": 3.0, "speed": 1.0, "pitch": 1.0, "score": 20.0}
    weighed = [
        {"track_id": each, "alignment_frames": 100, "score": score, "false_accept_rate": rate}
        for each, score, rate in ((1, 19.0, 1e-8), (2, 5.0, 1.0), (3, 4.0, 1.0), (2, 8.0, 0.1))
    ]
    document = {
        "matches": [match | {"false_accept_rate": 1e-9}],
        "explanation": {"steps": [{"step": "plain", "candidates": weighed}]},
    }
    found = guesses_of(document, {1: "a.ogg", 2: "b.ogg", 3: "c.ogg"}, 0.02)
    assert [(each.track, each.accepted) for each in found] == [
        ("a.ogg", True),
        ("b.ogg", False),
        ("c.ogg", False),
    ]
    assert found[1].offset_s == pytest.approx(2.0)
    assert surety(1.0, 500.0) < surety(0.5, 0.0)


def test_bit_errors_are_counted_at_every_place(rng: np.random.Generator) -> None:
    catalogue = rng.integers(0, 2**32, 50, dtype=np.uint32)
    clip_items = catalogue[20:30] ^ np.uint32(1)
    errors = bit_errors(clip_items, catalogue)
    assert len(errors) == 41
    assert int(errors.argmin()) == 20
    assert int(errors.min()) == 10
    assert not len(bit_errors(catalogue, clip_items))


def test_cells_have_names_of_their_own_and_the_small_ones_exist() -> None:
    names = [each.name for each in grid()]
    assert len(set(names)) == len(names)
    assert set(names) >= SMALL
