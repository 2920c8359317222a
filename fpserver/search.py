"""The search for a clip in steps, each asking more than the one before; whoever asked stops when he is sure.

plain    few hashes of the highest peaks: most clips end here
dense    many hashes, of frames at two phases
warped   few hashes under each hypothesis of another speed, tempo or pitch; in two rounds where lists are long

Each step: pair the peaks, look up, count votes, read the candidates' peaks around their alignments, judge. What a step
may look up and read is bounded by the settings, whatever the clip and the catalogue.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fpserver.config import Config, StepConfig
from fpserver.fingerprint.cells import levels_from_peaks
from fpserver.fingerprint.constellation import band
from fpserver.fingerprint.query import query_of, warped_query_of
from fpserver.matching.candidates import candidates_of, hits_of, lacking_lists, split, together
from fpserver.matching.evidence import ClipMap
from fpserver.matching.verdict import matches_of
from fpserver.matching.warp import hypotheses
from fpserver.terms import Candidate, Hashes, Hearing, Landmarks, Lookup, Match, Peaks, Warp, Window
from fpserver.thinking import think

N_STEPS = 3
CANDIDATES_PER_WARP = 6
SECOND_ROUND_LOOKUPS, SECOND_ROUND_POSTINGS = 0.1, 0.5  # shares of what the warped step may ask and read


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
        yield
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
    """What a step asks; `warp_of` says under which of the warps each landmark was made, if under one."""

    landmarks: Landmarks
    asks: StepConfig
    warps: Sequence[Warp] = ()
    warp_of: npt.NDArray[np.int64] | None = None


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
    with clock.stage("matching"):
        clip_map = await think(clip_map_of, hearing, config)
    for name in ("plain", "dense", "warped") if warped else ("plain", "dense"):
        yield await _step(index, name, hearing, clip_map, config, clock)


async def _step(
    index: Index, name: str, hearing: Hearing, clip_map: ClipMap, config: Config, clock: Clock
) -> Step:
    with clock.stage("fingerprint"):
        query = await think(_query, name, hearing, config)
        hashes, hash_of_landmark = await think(np.unique, query.landmarks.hash, return_inverse=True)
    with clock.stage("index"):
        found, n_lookups = await _lookup(index, hashes, hash_of_landmark, query, config)
    with clock.stage("matching"):
        candidates = await think(_candidates, query, found, hash_of_landmark, config)
    with clock.stage("index"):
        peaks = await index.windows([_window(each, clip_map.n_frames) for each in candidates])
    with clock.stage("matching"):
        ranked = await think(
            matches_of,
            clip_map,
            candidates,
            peaks,
            max_verified=config.matching.max_verified,
            n_steps=N_STEPS,
        )
    return Step(
        name=name,
        n_landmarks=len(query.landmarks),
        n_lookups=n_lookups,
        n_postings=len(found),
        n_stopped=found.n_stopped,
        n_candidates=len(candidates),
        ranked=ranked,
        degraded=found.degraded or any(each is None for each in peaks),
    )


async def _lookup(
    index: Index,
    hashes: Hashes,
    hash_of_landmark: npt.NDArray[np.intp],
    query: _Query,
    config: Config,
) -> tuple[Lookup, int]:
    """What the hashes find, and look-ups; under warps first the rarest of all, then what each warp lacks."""
    asks = query.asks
    if query.warp_of is None:
        return await index.lookup(hashes, max_postings=asks.max_postings), len(hashes)
    rarest = await index.lookup(hashes, max_postings=round(asks.max_postings * (1 - SECOND_ROUND_POSTINGS)))
    lacking = await think(
        lacking_lists,
        rarest,
        hash_of_landmark,
        query.warp_of,
        longest=config.index.max_postings_per_hash,
        max_lists=asks.max_lookups - len(hashes),
        max_postings=asks.max_postings - len(rarest),
    )
    if not len(lacking):
        return rarest, len(hashes)
    more = await index.lookup(hashes[lacking])
    return await think(together, rarest, more, lacking), len(hashes) + len(lacking)


def clip_map_of(hearing: Hearing, config: Config) -> ClipMap:
    """What a clip's cells say; of one that was heard without detail, what its peaks tell of them."""
    levels = (
        hearing.detail.levels
        if hearing.detail
        else levels_from_peaks(hearing.constellation, config.fingerprint)
    )
    return ClipMap(hearing.constellation, levels, first_bin=band(config.fingerprint)[0])


def _query(name: str, hearing: Hearing, config: Config) -> _Query:
    asks = {"plain": config.plain, "dense": config.dense, "warped": config.warped}[name]
    if name == "warped":
        warps = hypotheses()
        landmarks, warp_of = warped_query_of(
            hearing.constellation,
            warps,
            config.fingerprint,
            peaks_per_s=asks.peaks_per_s,
            fan_out=asks.fan_out,
            max_hashes=round(asks.max_lookups * (1 - SECOND_ROUND_LOOKUPS)),
        )
        return _Query(landmarks=landmarks, asks=asks, warps=warps, warp_of=warp_of)
    between = [hearing.detail.between] if name == "dense" and hearing.detail else []
    landmarks = query_of(
        [hearing.constellation, *between],
        config.fingerprint,
        peaks_per_s=asks.peaks_per_s,
        fan_out=asks.fan_out,
        max_hashes=asks.max_lookups,
    )
    return _Query(landmarks=landmarks, asks=asks)


def _candidates(
    query: _Query, found: Lookup, hash_of_landmark: npt.NDArray[Any], config: Config
) -> list[Candidate]:
    matching = config.matching
    hits = hits_of(found, hash_of_landmark, query.landmarks.offset, max_hits=matching.max_hits)
    if query.warp_of is None:
        return candidates_of(hits, max_candidates=query.asks.max_candidates)
    under_all = [
        candidate
        for warp, some in zip(query.warps, split(hits, query.warp_of, len(query.warps)), strict=True)
        for candidate in candidates_of(some, max_candidates=CANDIDATES_PER_WARP, warp=warp)
    ]
    return sorted(under_all, key=lambda each: -each.votes)[: query.asks.max_candidates]


def _window(candidate: Candidate, n_frames: int) -> Window:
    first = int(candidate.alignment) - 3
    return Window(
        track_id=candidate.track_id,
        first_frame=first,
        last_frame=first + int(n_frames * candidate.warp.speed * 1.01) + 6,
    )
