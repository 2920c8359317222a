"""Answers of a system that has not changed, read from the table of an earlier run instead of asked for again.

`accuracy_clips.csv.gz` names each clip by a digest of its samples and tells the first guess of each system. A clip that
sounds as it did then is answered from there; any other is asked of the system, and so are those whose further guesses
count: clips of two tracks, and faintly degraded ones, which tell who shares material. How long the system took is not
told there.
"""

import csv
import gzip
import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.accuracy.answers import Answer, Guess, digest
from loadtest.accuracy.cells import Mix, grid
from loadtest.accuracy.clips import Clip
from loadtest.accuracy.judge import FAINTLY_DEGRADED
from loadtest.accuracy.run import Peer
from loadtest.corpus import Pcm

DIGITS = 16  # of a clip's digest that the table has
MORE_COUNTS = {cell.name for cell in grid() if cell.family in FAINTLY_DEGRADED or cell.mix is not Mix.ONE}
GUESS = re.compile(r"(accepted|weighed) (.+) @(\S+) score (\S+) speed (\S+) pitch (\S+)")

# By clip and system: digest of the samples, the words.
Told = Mapping[tuple[str, int], Mapping[str, tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPeer:
    """A peer that is asked only what the table does not tell."""

    peer: Peer
    told: Told
    source: str  # digest of the table

    @property
    def systems(self) -> list[str]:
        """As the peer's."""
        return self.peer.systems

    def settings_digest(self, system: str) -> str:
        """Of the table, too."""
        return digest(self.source, self.peer.settings_digest(system))

    def ask(self, clip: Clip, pcm: Pcm) -> list[Answer]:
        """What the table tells of the clip, or what the peer says."""
        told = self.told.get((clip.cell, clip.number), {})
        known = all(told.get(name, ("", ""))[0] == clip.sha256[:DIGITS] for name in self.systems)
        if not known or clip.cell in MORE_COUNTS:
            return self.peer.ask(clip, pcm)
        return [
            Answer(system=name, clip=clip.key, guesses=guesses_of(told[name][1]), seconds=None)
            for name in self.systems
        ]


def published(path: Path, peer: Peer) -> PublishedPeer:
    """The peer behind the table of an earlier run."""
    packed = path.read_bytes()
    told: dict[tuple[str, int], dict[str, tuple[str, str]]] = defaultdict(dict)
    for row in csv.DictReader(gzip.decompress(packed).decode().splitlines()):
        told[row["cell"], int(row["number"])][row["system"]] = row["sha256"], row["said"]
    return PublishedPeer(peer=peer, told=told, source=hashlib.sha256(packed).hexdigest())


def guesses_of(said: str) -> list[Guess]:
    """The first guess, from the words of the table; none where there was none.

    Raises:
        ValueError: they are not such words.
    """
    if not said:
        return []
    found = GUESS.fullmatch(said)
    if found is None:
        raise ValueError(f"{said!r} is no guess as accuracy_clips.csv.gz tells it")
    how, track, offset, score, speed, pitch = found.groups()
    return [
        Guess(
            track=track,
            score=float(score),
            accepted=how == "accepted",
            offset_s=float(offset),
            speed=float(speed),
            pitch=float(pitch),
        )
    ]
