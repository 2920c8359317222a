"""What counts as right.

A guess is right when it names the clip's track, or one that shares material with it: the corpus says so (its `near`
column), or two systems that know nothing of each other find it in a clip that is hardly degraded (`found_to_share`).
Where a clip holds two tracks, it is right when both are accepted. Offsets are judged where the track named is the
clip's own and does not repeat itself.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.accuracy.answers import Answer, Guess
from loadtest.accuracy.cells import Cell
from loadtest.accuracy.clips import Clip, Part
from loadtest.accuracy.run import Heard
from loadtest.corpus import Recording

FAINTLY_DEGRADED = ("clean", "codec")
SHARED_HASHES = 20  # aligned hashes of audfprint in a few seconds: no chance
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One answer, judged. For unknown clips only `accepted_wrong` and `score` say something."""

    right: bool  # right and accepted; of two tracks, both
    some_right: bool  # of two tracks, at least one
    first_right: bool  # the first guess, accepted or not
    accepted_wrong: bool  # accepts a track that is not in the clip, whatever else it accepts
    score: float  # of the first guess
    offset_error_s: float | None = None  # of the right guess, where judged
    speed_error: float | None = None  # of the accepted right guess: found / true − 1
    pitch_error: float | None = None


class Judge:
    """Knows the tracks, and which of them share material."""

    def __init__(self, recordings: Iterable[Recording], shared: Collection[Pair] = ()) -> None:
        self.recordings = {each.name: each for each in recordings}
        self.shared = {frozenset(pair) for pair in shared}

    def same(self, truth: str, other: str) -> bool:
        """Whether `other` is an answer to a clip of `truth`."""
        if truth == other or frozenset((truth, other)) in self.shared:
            return True
        a, b = self.recordings.get(truth), self.recordings.get(other)
        return a is not None and b is not None and a.shares_material(b)

    def verdict(self, clip: Clip, cell: Cell, answer: Answer, *, threshold: float | None = None) -> Verdict:
        """Judge one answer; with `threshold`, as many first guesses as the clip holds are accepted above it."""
        guesses = answer.guesses
        if threshold is None:
            accepted = [each for each in guesses if each.accepted]
        else:
            accepted = [each for each in guesses[: max(1, len(clip.parts))] if each.score > threshold]
        found = [self._find(part, accepted) for part in clip.parts]
        first = guesses[0] if guesses else None
        best = found[0] or (self._find(clip.parts[0], guesses[:1])) if clip.parts else None
        own = found[0] if found else None
        return Verdict(
            right=bool(found) and all(found),
            some_right=any(found),
            first_right=first is not None and any(self.same(part.track, first.track) for part in clip.parts),
            accepted_wrong=any(
                not any(self.same(part.track, guess.track) for part in clip.parts) for guess in accepted
            ),
            score=first.score if first else float("-inf"),
            offset_error_s=self._offset_error(clip.parts[0], cell, best) if best else None,
            speed_error=own.speed / cell.tempo_factor - 1 if own else None,
            pitch_error=own.pitch / cell.pitch_factor - 1 if own else None,
        )

    def _find(self, part: Part, guesses: Sequence[Guess]) -> Guess | None:
        """The part's own track before those that share its material."""
        right = [guess for guess in guesses if self.same(part.track, guess.track)]
        return min(right, key=lambda guess: guess.track != part.track, default=None)

    def _offset_error(self, part: Part, cell: Cell, guess: Guess) -> float | None:
        if guess.track != part.track or guess.offset_s is None or self.recordings[part.track].repeats:
            return None
        return abs(guess.offset_s - (part.start_s - part.clip_start_s * cell.tempo_factor))


def found_to_share(
    heard: Sequence[Heard], cells: Mapping[str, Cell], judge: Judge, *, ours: str
) -> Counter[Pair]:
    """Pairs (truth, other), with clips, where `other` is no answer but two independent systems found it.

    In a clip that is clean or only coded, `ours` accepted it, and an audfprint variant has SHARED_HASHES aligned
    hashes with it.
    """
    pairs: Counter[Pair] = Counter()
    for each in heard:
        if cells[each.clip.cell].family not in FAINTLY_DEGRADED or ours not in each.answers:
            continue
        truth = each.clip.parts[0].track
        for guess in each.answers[ours].guesses:
            if guess.accepted and not judge.same(truth, guess.track) and _confirmed(each, guess.track):
                pairs[truth, guess.track] += 1
    return pairs


def suspected(heard: Sequence[Heard], judge: Judge, *, ours: str) -> list[tuple[Clip, Guess]]:
    """Accepted guesses that are wrong, or whose clip is unknown."""
    return [
        (each.clip, guess)
        for each in heard
        if ours in each.answers
        for guess in each.answers[ours].guesses
        if guess.accepted and not any(judge.same(part.track, guess.track) for part in each.clip.parts)
    ]


def _confirmed(heard: Heard, track: str) -> bool:
    return any(
        guess.track == track and guess.score >= SHARED_HASHES
        for name, answer in heard.answers.items()
        if name.startswith("audfprint")
        for guess in answer.guesses
    )
