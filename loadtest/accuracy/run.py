"""Every clip to every system: on several processes, each clip made once, answers kept as they come."""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from loadtest.accuracy.answers import Answer, KeptFile, digest
from loadtest.accuracy.cells import Cell
from loadtest.accuracy.clips import Clip, Studio, key_of, render
from loadtest.corpus import Pcm

WAITING = 8  # clips handed out ahead, a process
SAID_EVERY_S = 20.0


class Peer(Protocol):
    """One or several systems that are asked together."""

    @property
    def systems(self) -> list[str]:
        """Their names."""

    def settings_digest(self, system: str) -> str:
        """A name for all that its answers depend on beside the clip."""

    def ask(self, clip: Clip, pcm: Pcm) -> list[Answer]:
        """One answer a system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A clip and what was said of it, by system."""

    clip: Clip
    answers: dict[str, Answer]


_STUDIO: list[Studio] = []  # forked: read by the processes that make clips and ask
_PEERS: list[Peer] = []


def run(
    studio: Studio,
    peers: Sequence[Peer],
    wanted: Sequence[tuple[Cell, int]],
    *,
    catalogue: Sequence[str],
    cache: Path,
    processes: int,
) -> list[Heard]:
    """All answers to `wanted` = (cell, clips of it); those that are kept are not asked for again."""
    _STUDIO[:], _PEERS[:] = [studio], list(peers)
    clips = KeptFile(cache / f"clips-{digest(studio.seed)}.jsonl", Clip, "key")
    kept = {
        system: KeptFile(
            cache / f"{_file_name(system)}-{_digest(peer, system, catalogue)}.jsonl", Answer, "clip"
        )
        for peer in peers
        for system in peer.systems
    }
    order = [(cell, i) for cell, n in wanted for i in range(n)]
    keys = [key_of(studio, cell, i) for cell, i in order]
    missing = []
    for (cell, i), key in zip(order, keys, strict=True):
        asked = [
            k for k, peer in enumerate(peers) if any(key not in kept[name].known for name in peer.systems)
        ]
        if asked or key not in clips.known:
            missing.append((cell, i, asked))
    say(f"{len(order)} clips, {len(missing)} of them to be asked; answers are kept in {cache}")
    for clip, answers in _work(missing, processes):
        clips.add(clip)
        for answer in answers:
            kept[answer.system].add(answer)
    return [
        Heard(clip=clips.known[key], answers={name: file.known[key] for name, file in kept.items()})
        for key in keys
    ]


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _work(
    missing: Sequence[tuple[Cell, int, list[int]]], processes: int
) -> Iterator[tuple[Clip, list[Answer]]]:
    if not missing:
        return
    begin, said_at, done = time.monotonic(), time.monotonic(), 0
    todo = iter(missing)
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(_one, *each) for each in islice(todo, WAITING * processes)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                if (each := next(todo, None)) is not None:
                    running.add(pool.submit(_one, *each))
                clip, answers = future.result()
                yield clip, answers
                done += 1
            if time.monotonic() - said_at > SAID_EVERY_S:
                said_at = time.monotonic()
                left_s = (said_at - begin) / done * (len(missing) - done)
                say(f"{done} of {len(missing)} clips, {clip.cell}; {left_s / 60:.0f} min left")


def _one(cell: Cell, number: int, asked: Sequence[int]) -> tuple[Clip, list[Answer]]:
    clip, pcm = render(_STUDIO[0], cell, number)
    return clip, [answer for k in asked for answer in _PEERS[k].ask(clip, pcm)]


def _digest(peer: Peer, system: str, catalogue: Sequence[str]) -> str:
    return digest(peer.settings_digest(system), sorted(catalogue))


def _file_name(system: str) -> str:
    return system.replace(", ", "-").replace(" ", "-")
