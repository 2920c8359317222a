import csv
import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from loadtest.accuracy.answers import Answer, Guess
from loadtest.accuracy.clips import Clip, Part
from loadtest.accuracy.published import PublishedPeer, guesses_of, published
from loadtest.corpus import Pcm

SILENCE: Pcm = np.zeros(8, np.int16)
SHA = "0123456789abcdef" * 4


@dataclass
class Asked:
    """A peer of two systems that counts how often it is asked."""

    systems: list[str] = field(default_factory=lambda: ["one", "two"])
    times: int = 0

    def settings_digest(self, system: str) -> str:
        return system

    def ask(self, clip: Clip, pcm: Pcm) -> list[Answer]:
        self.times += 1
        return [Answer(system=name, clip=clip.key, guesses=[], seconds=0.1) for name in self.systems]


def clip(number: int, *, sha256: str = SHA, cell: str = "noise_0dB_5s") -> Clip:
    part = Part(track="a.ogg", start_s=1.0, clip_start_s=0.0, clip_end_s=5.0)
    return Clip(key=f"k{number}", cell=cell, number=number, kind="", parts=[part], sha256=sha256)


@pytest.fixture
def peer(tmp_path: Path) -> PublishedPeer:
    rows = [
        ("noise_0dB_5s", "one", 0, "accepted a b.ogg @12.34 score 9.000 speed 1 pitch 0.98"),
        ("noise_0dB_5s", "two", 0, ""),
        ("noise_0dB_5s", "one", 1, ""),  # of clip 1 the table does not tell what the other said
        *((cell, system, 0, "") for cell in ("both_10s", "clean_5s") for system in ("one", "two")),
    ]
    path = tmp_path / "clips.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cell", "number", "sha256", "system", "said"])
        writer.writerows([cell, number, SHA[:16], system, said] for cell, system, number, said in rows)
    return published(path, Asked())


def asked(peer: PublishedPeer) -> int:
    assert isinstance(peer.peer, Asked)
    return peer.peer.times


def test_a_clip_of_the_same_samples_is_answered_from_the_table(peer: PublishedPeer) -> None:
    one, two = peer.ask(clip(0), SILENCE)
    assert one.guesses == [
        Guess(track="a b.ogg", score=9.0, accepted=True, offset_s=12.34, speed=1.0, pitch=0.98)
    ]
    assert (one.clip, one.seconds, two.guesses) == ("k0", None, [])
    assert asked(peer) == 0


@pytest.mark.parametrize(
    "other",
    [
        clip(0, sha256="f" * 64),
        clip(0, cell="both_10s"),
        clip(0, cell="clean_5s"),
        clip(1),
        clip(2),
    ],
    ids=[
        "other samples",
        "two tracks",
        "faintly degraded",
        "one system alone is told of",
        "not in the table",
    ],
)
def test_any_other_clip_is_asked_of_the_peer(peer: PublishedPeer, other: Clip) -> None:
    assert [answer.seconds for answer in peer.ask(other, SILENCE)] == [0.1, 0.1]
    assert asked(peer) == 1


def test_kept_answers_know_the_table_they_are_from(peer: PublishedPeer) -> None:
    assert peer.settings_digest("one") != peer.peer.settings_digest("one")


def test_words_that_are_no_guess_are_refused() -> None:
    with pytest.raises(ValueError, match="is no guess"):
        guesses_of("first a.ogg")
