"""Is this recording in the catalogue already, under another name, in another container, encoded anew?

Some of the new track's landmarks are looked up like a clip's. A catalogued track of the same length that begins at the
same time and agrees all the way through is the same recording. Several tracks ask together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from fpserver.fingerprint.constellation import frames_per_s
from fpserver.matching import voting
from fpserver.matching.candidates import AS_PLAYED, candidates_of, hits_of
from fpserver.matching.sameness import is_same_recording
from fpserver.services import Services
from fpserver.terms import Candidate, Hashes, Heard, Landmarks, Lookup, TrackStatus
from fpserver.thinking import think

MAX_LANDMARKS = 128  # asked for a track, spread over its length; a copy shares a fifth of them at least
MAX_POSTINGS = 30_000  # read for a track, rarest first; for all together, at most as many as for any look-up
MAX_LENGTH_DIFFERENCE_S = 1.0  # encoders pad the ends
MAX_START_DIFFERENCE_S = 1.0
MAX_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of some tracks."""

    holders: dict[int, int]  # by track: the indexed one that holds the same recording
    twins: set[int]  # tracks that sound like an earlier one of those that asked with them


async def prepare() -> None:
    """Make ready to compare, so that no track waits for it: some seconds where it was never done before."""
    await think(voting.warm_up)


async def find(services: Services, company: Sequence[Heard]) -> Found:
    """Which of these are in the index already, and which may be the same as an earlier one of these."""
    if not company:
        return Found(holders={}, twins=set())
    asked = await think(_Asked.of, company)
    found = await services.index.lookup(asked.hashes, max_postings=MAX_POSTINGS * len(company))
    max_frames = MAX_START_DIFFERENCE_S * frames_per_s(services.config.fingerprint)
    candidates = await think(
        _candidates, company, asked, found, services.config.matching.max_hits, max_frames
    )
    indexed = await _lengths_of_indexed(services, {each.track_id for each in chain(*candidates)})
    holders, twins, before = {}, set(), dict[int, float]()
    for heard, near in zip(company, candidates, strict=True):
        holder = await _holder(services, heard, [each for each in near if _alike(heard, each, indexed)])
        if holder is not None:
            holders[heard.track_id] = holder
        elif any(_alike(heard, each, before) for each in near):
            twins.add(heard.track_id)
        before[heard.track_id] = heard.duration_s
    return Found(holders=holders, twins=twins)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The landmarks that some tracks ask for."""

    landmarks: Landmarks
    track: npt.NDArray[np.int64]  # whose each is: its place in the company
    hashes: Hashes  # unique
    hash_of_landmark: npt.NDArray[np.intp]

    @classmethod
    def of(cls, company: Sequence[Heard]) -> "_Asked":
        of_each = [_some(each.fingerprint.landmarks) for each in company]
        hash_ = np.concatenate([each.hash for each in of_each])
        hashes, hash_of_landmark = np.unique(hash_, return_inverse=True)
        return cls(
            landmarks=Landmarks(hash=hash_, offset=np.concatenate([each.offset for each in of_each])),
            track=np.repeat(np.arange(len(of_each)), [len(each) for each in of_each]),
            hashes=hashes,
            hash_of_landmark=hash_of_landmark,
        )


def _some(landmarks: Landmarks) -> Landmarks:
    step = -(-len(landmarks) // MAX_LANDMARKS)
    return Landmarks(hash=landmarks.hash[::step], offset=landmarks.offset[::step])


def _candidates(
    company: Sequence[Heard], asked: _Asked, found: Lookup, max_hits: int, max_frames: float
) -> list[list[Candidate]]:
    """For each track, those of the index and of the company that begin at the same time."""
    found = _with(company, asked.hashes, found)
    hits = hits_of(
        found,
        asked.hash_of_landmark,
        asked.landmarks.offset,
        max_hits=max_hits,
        warps=[AS_PLAYED] * len(company),  # one for each track: so its hits are counted apart
        warp_of=asked.track,
    )
    return [
        [
            each
            for each in candidates_of(hits, max_candidates=MAX_CANDIDATES + 1, warp=place)  # itself is one
            if each.track_id != heard.track_id and abs(each.alignment) <= max_frames
        ]
        for place, heard in enumerate(company)
    ]


def _with(company: Sequence[Heard], hashes: Hashes, found: Lookup) -> Lookup:
    """What would be found if the company were in the index."""
    landmarks = [each.fingerprint.landmarks for each in company]
    track_id = np.repeat(np.array([each.track_id for each in company]), [len(each) for each in landmarks])
    hash_ = np.concatenate([each.hash for each in landmarks])
    asked = np.flatnonzero(np.isin(hash_, hashes, kind="table"))
    hash_index = np.searchsorted(hashes, hash_[asked])
    read = found.left_out[hash_index] == 0
    asked, hash_index = asked[read], hash_index[read]
    return Lookup(
        hash_index=np.concatenate([found.hash_index, hash_index]),
        track_id=np.concatenate([found.track_id, track_id[asked]]),
        offset=np.concatenate([found.offset, np.concatenate([each.offset for each in landmarks])[asked]]),
        left_out=found.left_out,
        n_indexed=found.n_indexed + len(hash_),
    )


async def _lengths_of_indexed(services: Services, track_ids: set[int]) -> dict[int, float]:
    tracks = await services.tracks.get(sorted(track_ids))
    return {
        track_id: track.duration_s or 0.0
        for track_id, track in tracks.items()
        if track.status is TrackStatus.INDEXED
    }


def _alike(heard: Heard, candidate: Candidate, lengths_s: dict[int, float]) -> bool:
    """Whether the candidate is one of these, and as long."""
    length_s = lengths_s.get(candidate.track_id)
    return length_s is not None and abs(length_s - heard.duration_s) <= MAX_LENGTH_DIFFERENCE_S


async def _holder(services: Services, heard: Heard, candidates: Sequence[Candidate]) -> int | None:
    """The first that is the same recording."""
    for candidate in candidates:
        old = (await services.index.peaks([candidate.track_id])).get(candidate.track_id)
        if old is not None and await think(
            is_same_recording,
            old=old,
            new=heard.fingerprint.peaks,
            new_dense=heard.constellation,
            alignment=round(candidate.alignment),
        ):
            return candidate.track_id
    return None
