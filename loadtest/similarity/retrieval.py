"""Measure what similarity finds on real music: labels, changed copies, moments.

    python -m loadtest.similarity.retrieval CORPUS --out DIR

Recipes were chosen on all clusters but the largest; what is reported is asked about the largest (or, where the corpus
has no clusters, the folder with most tracks). Candidates are always all tracks. Descriptions are kept in --kept, under
the digest of the code that made them.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.similarity import scales
from fpserver.similarity.scales import Scales
from fpserver.terms import Description
from loadtest import report
from loadtest.accuracy.clips import studio
from loadtest.accuracy.statistics import Interval, wilson
from loadtest.corpus import Recording, music
from loadtest.similarity import distances, labels, segments
from loadtest.similarity.copies import COPIES
from loadtest.similarity.described import described
from loadtest.similarity.page import page

MAX_TRACK_S = 1800.0  # longer ones are left out
N_COPIED = 200  # tracks of which copies are made
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """All tracks, described, and what was learned of them."""

    recordings: list[Recording]
    descriptions: list[Description]
    scales: Scales
    reported: npt.NDArray[np.bool_]  # tracks of the largest cluster
    near: npt.NDArray[np.bool_]  # pairs that are the same or share material


def usable(corpus: Path) -> list[Recording]:
    """Tracks of at least 25 s and at most half an hour."""
    return [each for each in music(corpus) if each.seconds <= MAX_TRACK_S]


def largest(recordings: Sequence[Recording]) -> str:
    """The cluster that is reported on."""
    counts = Counter(each.cluster for each in recordings)
    return min(counts, key=lambda name: (-counts[name], name))


def originals(recordings: Sequence[Recording]) -> list[Recording]:
    """Of which copies are made: the shortest ones, since whole tracks are changed."""
    cluster = largest(recordings)
    ours = [each for each in recordings if each.cluster == cluster]
    return sorted(ours, key=lambda each: (each.seconds, each.name))[:N_COPIED]


def stock(corpus: Path, kept: Path) -> Stock:
    """Describe a corpus, and learn its scales."""
    found = list(described(usable(corpus), None, kept))
    recordings = [each.recording for each in found]
    descriptions = [each.description for each in found]
    timbre = [each.moments.timbre for each in descriptions if each.moments is not None]
    cluster = largest(recordings)
    return Stock(
        recordings=recordings,
        descriptions=descriptions,
        scales=scales.learn([each.vectors for each in descriptions], timbre, seed=SEED),
        reported=np.array([each.cluster == cluster for each in recordings]),
        near=np.array([[one.shares_material(other) for other in recordings] for one in recordings]),
    )


def ask_labels(corpus: Path, tracks: Stock) -> dict[str, Any]:
    """Same label among the five nearest, by label, half and measure."""
    tables = distances.by_vectors(tracks.scales, tracks.descriptions, tracks.descriptions)
    kinds = {
        "package": [each.package for each in tracks.recordings],
        "artist": labels.artists(corpus, tracks.recordings),
    }
    found: dict[str, Any] = {}
    for kind, names in kinds.items():
        for half, among in (("reported", tracks.reported), ("tuned on", ~tracks.reported)):
            queries = labels.asked(names, among)
            if not len(queries):
                continue
            share, any_ = labels.by_chance(names, queries)
            found[f"{kind}, {half}"] = {
                "n": len(queries),
                "chance": {"share": share, "any": any_},
                "measures": {
                    name: asdict(labels.shown(table, names, queries, tracks.near))
                    for name, table in tables.items()
                },
            }
    return found


def ask_copies(tracks: Stock, kept: Path) -> Iterator[tuple[str, Any]]:
    """By copy: share of copies whose original is nearest of all, by measure.

    Tracks that share material with the original are no candidates.
    """
    of_track = [distances.comparable(tracks.scales, each) for each in tracks.descriptions]
    place = {each.name: index for index, each in enumerate(tracks.recordings)}
    for copy in COPIES:
        asked = list(described(originals(tracks.recordings), copy, kept))
        index = np.array([place[each.recording.name] for each in asked])
        tables = distances.by_vectors(
            tracks.scales, [each.description for each in asked], tracks.descriptions
        )
        hidden = tracks.near[index].copy()
        hidden[np.arange(len(index)), index] = False
        first = np.where(hidden, np.inf, tables[distances.TRANSPOSED])
        within = np.argsort(first, axis=1)[:, : distances.N_RERANKED] == index[:, None]
        moments = [distances.comparable(tracks.scales, each.description) for each in asked]
        tables |= distances.by_warping(first, moments, of_track, part="excerpt" in copy)
        yield (
            copy,
            {
                "n": len(asked),
                "among_reranked": float(within.any(axis=1).mean()),
                "measures": {
                    name: asdict(_first(np.where(hidden, np.inf, table), index))
                    for name, table in tables.items()
                },
            },
        )


def ask_segments(corpus: Path, tracks: Stock, *, n: int) -> dict[str, Any]:
    """Where the true moment is among the hits, by treatment."""
    timbre = [each.moments.timbre for each in tracks.descriptions if each.moments is not None]
    catalogue = segments.Catalogue(timbre, tracks.scales)
    heard = studio(corpus, [], [], SEED)
    reported = [each for each, is_in in zip(tracks.recordings, tracks.reported, strict=True) if is_in]
    clips = list(segments.cuts(reported, n, seed=SEED))
    found: dict[str, Any] = {}
    for treatment in segments.TREATMENTS:
        rng = np.random.default_rng(SEED)
        ranks = [
            segments.ranks(cut, segments.degraded(cut, treatment, heard, rng), catalogue, tracks.recordings)
            for cut in clips
        ]
        found[treatment] = {
            "n": len(ranks),
            **{
                f"{truth}_{k}": asdict(wilson(sum(each[truth] < k for each in ranks), len(ranks)))
                for truth in segments.TRUTHS
                for k in (1, 5)
            },
        }
        print(treatment, found[treatment], flush=True)
    return {"n_moments": len(catalogue), "clips": found}


def _first(table: distances.Table, index: npt.NDArray[np.int64]) -> Interval:
    """Share of rows whose least is at the index."""
    return wilson(int(np.count_nonzero(table.argmin(axis=1) == index)), len(index))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument(
        "--kept", type=Path, default=Path(tempfile.gettempdir()) / "fpserver-loadtest-described"
    )
    parser.add_argument("--clips", type=int, default=100, help="of each kind, for segments")
    arguments = parser.parse_args()
    tracks = stock(arguments.corpus, arguments.kept)
    found: dict[str, Any] = {
        "machine": report.machine(),
        "n_tracks": len(tracks.recordings),
        "hours": sum(each.seconds for each in tracks.recordings) / 3600,
        "n_reported": int(tracks.reported.sum()),
        "labels": ask_labels(arguments.corpus, tracks),
        "segments": ask_segments(arguments.corpus, tracks, n=arguments.clips),
        "copies": {},
    }
    for copy, shares in ask_copies(tracks, arguments.kept):
        found["copies"][copy] = shares
        report.write("similarity_retrieval", found, page(found), out=arguments.out)


if __name__ == "__main__":
    main()
