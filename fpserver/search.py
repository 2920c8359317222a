"""The search for a clip in steps, each asking more than the one before; whoever asked stops when he is sure.

plain    few hashes of the highest peaks: most clips end here
dense    many hashes, of frames at two phases
warped   few hashes under each hypothesis of another speed, tempo or pitch
narrowed more hashes under finer hypotheses around those that are likely

Each step: pair the peaks, look up, count votes, read the candidates' peaks around their alignments, judge. What a step
may look up and read is bounded by the settings, whatever the clip and the catalogue; what an earlier step has read is
known and comes on top.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fpserver.config import Config, StepConfig
from fpserver.fingerprint.cells import levels_from_peaks
from fpserver.fingerprint.constellation import band
from fpserver.fingerprint.query import query_of, warped_query_of
from fpserver.matching import kernels, voting
from fpserver.matching.candidates import AS_PLAYED, candidates_of, commonness, hits_of
from fpserver.matching.evidence import ClipMap
from fpserver.matching.lists import Lists
from fpserver.matching.verdict import matches_of
from fpserver.matching.warp import FINE_STEP, STEP, finer, hypotheses
from fpserver.terms import Candidate, Hashes, Hearing, Landmarks, Lookup, Match, Peaks, Warp, Window
from fpserver.thinking import think

# of the rate of false accepts; together 1
SHARES = {"plain": 0.25, "dense": 0.4, "warped": 0.175, "narrowed": 0.175}
STEPS = tuple(SHARES)
CANDIDATES_PER_WARP = 6
N_LIKELY = 20  # hypotheses of another pitch that are looked at once more


class Index(Protocol):
    """What a search asks."""

    async def lookup(self, hashes: Hashes, *, max_postings: int | None = None) -> Lookup:
        """Posting lists of distinct hashes, the rarest first."""

    async def windows(self, windows: Sequence[Window]) -> list[Peaks | None]:
        """Peaks of parts of tracks."""


class Clock:
    """Time spent per stage."""

    def __init__(self, spent_s: dict[str, float]) -> None:
        self.spent_s = defaultdict(float, spent_s)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside as `name`'s."""
        start = perf_counter()
        try:
            yield
        finally:
            self.spent_s[name] += perf_counter() - start


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of the search looked at, and found."""

    name: str
    n_landmarks: int
    n_lookups: int  # distinct hashes
    n_postings: int
    n_stopped: int
    n_candidates: int
    ranked: list[Match]
    degraded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """What a step asks."""

    landmarks: Landmarks
    hashes: Hashes  # distinct ones, sorted
    unread: Hashes  # those of them that the index is asked for
    hash_of_landmark: npt.NDArray[np.intp]
    asks: StepConfig
    warps: Sequence[Warp]
    warp_of: npt.NDArray[np.int64]  # for each landmark, under which of them it was made


async def prepare() -> None:
    """Make ready to search, so that no clip waits for it: some seconds where it was never done before."""
    await think(voting.warm_up)
    await think(kernels.warm_up)


async def search(
    index: Index, hearing: Hearing, config: Config, clock: Clock, *, warped: bool
) -> AsyncIterator[Step]:
    """The steps of a search, one after the other, as long as they are asked for.

    Args:
        index: where to look.
        hearing: the clip.
        config: settings of fingerprint and matching.
        clock: told the time of each stage.
        warped: whether other speeds, tempos and pitches are tried, too.

    Raises:
        StoreUnavailable: no shard answers.
    """
    mapping: asyncio.Future[ClipMap] | None = None
    lists, warps = Lists(), list[Warp]()
    for name in STEPS if warped else STEPS[:2]:
        if name == "warped":
            warps = hypotheses()
        with clock.stage("fingerprint"):
            query = await think(_query, name, hearing, warps, lists, config)
        if mapping is None:  # made while the index looks up
            mapping = asyncio.ensure_future(think(clip_map_of, hearing, config))
        with clock.stage("index"):
            found = await index.lookup(query.unread, max_postings=query.asks.max_postings)
        with clock.stage("matching"):
            known, candidates = await think(_candidates, query, lists, found, config)
            clip_map = await mapping
        with clock.stage("index"):
            peaks = await index.windows([_window(each, clip_map.n_frames) for each in candidates])
        with clock.stage("matching"):
            ranked = await think(
                matches_of,
                clip_map,
                candidates,
                peaks,
                max_verified=config.matching.max_verified,
                share=SHARES[name],
            )
        yield Step(
            name=name,
            n_landmarks=len(query.landmarks),
            n_lookups=len(query.unread),
            n_postings=len(found),
            n_stopped=found.n_stopped,
            n_candidates=len(candidates),
            ranked=ranked,
            degraded=found.degraded or any(each is None for each in peaks),
        )
        with clock.stage("matching"):
            lists = await think(lists.and_of, query.unread, found)
            if name == "warped":
                warps = await think(_likely, query, known)


def clip_map_of(hearing: Hearing, config: Config) -> ClipMap:
    """What a clip's cells say; of one that was heard without detail, what its peaks tell of them."""
    levels = (
        hearing.detail.levels
        if hearing.detail
        else levels_from_peaks(hearing.constellation, config.fingerprint)
    )
    return ClipMap(hearing.constellation, levels, first_bin=band(config.fingerprint)[0])


def _query(name: str, hearing: Hearing, warps: Sequence[Warp], lists: Lists, config: Config) -> _Query:
    asks: StepConfig = getattr(config, name)
    if warps:
        landmarks, warp_of = warped_query_of(
            hearing.constellation,
            warps,
            config.fingerprint,
            step=STEP if name == "warped" else FINE_STEP,
            peaks_per_s=asks.peaks_per_s,
            fan_out=asks.fan_out,
            max_hashes=asks.max_lookups,
            read=lists.hashes,
        )
    else:
        between = [hearing.detail.between] if name == "dense" and hearing.detail else []
        landmarks = query_of(
            [hearing.constellation, *between],
            config.fingerprint,
            peaks_per_s=asks.peaks_per_s,
            fan_out=asks.fan_out,
            max_hashes=asks.max_lookups,
            read=lists.hashes,
        )
        warps, warp_of = [AS_PLAYED], np.zeros(len(landmarks), np.int64)
    hashes, hash_of_landmark = np.unique(landmarks.hash, return_inverse=True)
    return _Query(
        landmarks=landmarks,
        hashes=hashes,
        unread=lists.unread(hashes),
        hash_of_landmark=hash_of_landmark,
        asks=asks,
        warps=warps,
        warp_of=warp_of,
    )


def _likely(query: _Query, found: Lookup) -> list[Warp]:
    """The likely ones of the query's warps once more, finer, and all tempos, which leave every pitch as it is."""
    common = commonness(found, query.hash_of_landmark, query.warp_of, len(query.warps))
    commonest = [query.warps[i] for i in np.argsort(-common, kind="stable")]
    pitched = [warp for warp in commonest if warp.pitch != 1]
    return finer([*pitched[:N_LIKELY], *(warp for warp in commonest if warp.pitch == 1)])


def _candidates(query: _Query, lists: Lists, found: Lookup, config: Config) -> tuple[Lookup, list[Candidate]]:
    """All that is known of the query's hashes, and whom it speaks for."""
    known = lists.together(query.hashes, query.unread, found)
    hits = hits_of(
        known,
        query.hash_of_landmark,
        query.landmarks.offset,
        max_hits=config.matching.max_hits,
        warps=query.warps,
        warp_of=query.warp_of,
    )
    most = query.asks.max_candidates
    if len(query.warps) == 1:
        return known, candidates_of(hits, max_candidates=most)
    under_all = [
        candidate
        for warp in range(len(query.warps))
        for candidate in candidates_of(hits, max_candidates=CANDIDATES_PER_WARP, warp=warp)
    ]
    return known, sorted(under_all, key=lambda each: -each.votes)[:most]


def _window(candidate: Candidate, n_frames: int) -> Window:
    first = int(candidate.alignment) - 3
    return Window(
        track_id=candidate.track_id,
        first_frame=first,
        last_frame=first + int(n_frames * candidate.warp.speed * 1.01) + 6,
    )
