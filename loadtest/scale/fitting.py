"""The fit of synthetic tracks, measured: beside real ones of other clusters than the clips', as many of each."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fpserver.config import Config
from fpserver.terms import Hearing, TrackPeaks
from loadtest.scale import fit, stock
from loadtest.scale.among import Chance, among, ask_all_steps
from loadtest.scale.synthetic import Sources, synthetic

MAX_CLIPS = 150  # all steps of each, at every kind of track
OWN = -1  # group of the tracks that clips are cut from: one cluster, which is none of the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Real tracks."""

    sources: Sequence[TrackPeaks]  # what synthetic tracks are made of
    reporting: Sequence[TrackPeaks]  # what clips are cut from
    others: Sequence[TrackPeaks]  # of other clusters than those
    clusters: Sequence[str]  # of the others


def measured(
    folder: Path, material: Material, hearings: Sequence[Hearing], config: Config, *, seed: int
) -> dict[str, Any]:
    """All that page.py tells of the fit; clips evenly chosen."""
    folder.mkdir()
    n = len(material.others)
    sources = Sources.of(material.sources)
    made = [synthetic(sources, i, seed=seed, config=config.fingerprint) for i in range(1, n + 1)]
    tracks = {"real": list(material.others), "synthetic": made}
    chunks = {
        kind: _chunk(folder / f"{i}.postings", of_kind, config)
        for i, (kind, of_kind) in enumerate(tracks.items())
    }
    own, _ = stock.hashes_of(_chunk(folder / "reporting.postings", material.reporting, config))
    asking = own, np.full(len(own), OWN, np.int64)
    groups = {kind: stock.hashes_of(chunk) for kind, chunk in chunks.items()}
    hashes, track_id = groups["real"]
    _, cluster = np.unique(material.clusters, return_inverse=True)
    groups["real"] = hashes, cluster.astype(np.int64)[track_id - 1]
    n_hashes, n_postings = len(np.unique(hashes)), min(each.n_postings for each in chunks.values())
    shape = {}
    for kind, chunk in chunks.items():
        top = fit.top_shares(
            groups[kind][0], n_hashes=n_hashes, n_postings=n_postings, rng=np.random.default_rng(seed)
        )
        shape[kind] = fit.shape(tracks[kind], chunk.n_postings, config.fingerprint) | {"top_shares": top}
    met = {
        f"of a track that clips are cut from, among {kind}": fit.met(asking, of)
        for kind, of in groups.items()
    }
    met |= {f"of {kind}, among {kind}": fit.met(of, of) for kind, of in groups.items()}
    chosen = np.linspace(0, len(hearings) - 1, min(MAX_CLIPS, len(hearings))).astype(int).tolist()
    found = {
        kind: asyncio.run(_chance(chunk, [hearings[i] for i in chosen], config, folder / f"store{i}"))
        for i, (kind, chunk) in enumerate(chunks.items())
    }
    return {
        "shape": shape,
        "met": met,
        "clips": len(chosen),
        "tracks": n,
        "postings": {kind: chunk.n_postings for kind, chunk in chunks.items()},
        "by_chance": fit.by_chance(found),
    }


def _chunk(path: Path, tracks: Sequence[TrackPeaks], config: Config) -> stock.Chunk:
    return stock.write(path, partial(_nth, tracks), range(1, len(tracks) + 1), config.fingerprint)


def _nth(tracks: Sequence[TrackPeaks], track_id: int) -> TrackPeaks:
    return tracks[track_id - 1]


async def _chance(
    chunk: stock.Chunk, hearings: Sequence[Hearing], config: Config, folder: Path
) -> list[list[Chance]]:
    async with among([chunk], config, folder) as opened:
        return [await ask_all_steps(opened.index, each, config) for each in hearings]
