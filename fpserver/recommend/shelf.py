"""The tracks that can be recommended, in columns: what is known of each without anybody having heard it.

A shelf is a value: it never changes, another takes its place. A slot is a track's place on it; tracks stand in the
order of their ids, so that the same catalogue gives the same answers, whatever it has been through. Texts are folded
and numbered from 1; 0 is none. Audio vectors are comparable by distance: 1 is what random tracks are apart in the
middle (`Scales.searched`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fpserver.terms import Metadata, TrackIds, Vector, Vectors, fold, tags_of

Numbers: TypeAlias = npt.NDArray[np.int32]
Slots: TypeAlias = npt.NDArray[np.int64]
Passes: TypeAlias = npt.NDArray[np.bool_]  # by slot
NOWHERE = -1  # slot of a track that is not on the shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What is known of one track."""

    track_id: int
    artist: str  # folded; empty: not known
    genre: str
    tags: tuple[str, ...]
    audio: Vector | None
    added_at: float = 0.0  # seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shelf:
    """Tracks in columns, by slot."""

    track_id: TrackIds  # ascending
    artist: Numbers
    genre: Numbers
    tags: sparse.csr_array  # (n_slots, n_tags + 1), 1 where a track has a tag; column 0 is empty
    audio: Vectors  # (n_slots, d), 0 where there is none
    has_audio: npt.NDArray[np.bool_]
    added_at: npt.NDArray[np.float64]  # when it came into the catalogue, seconds since 1970
    artists: tuple[str, ...]  # by number; the first is ""
    genres: tuple[str, ...]
    tag_names: tuple[str, ...]
    scales: str = ""  # version of the scales that audio vectors were made with

    def __len__(self) -> int:
        return len(self.track_id)

    def slots_of(self, track_ids: TrackIds) -> Slots:
        """The slot of each track, NOWHERE where it is not on the shelf."""
        if not len(self):
            return np.full(len(track_ids), NOWHERE, np.int64)
        slots = np.minimum(np.searchsorted(self.track_id, track_ids), len(self) - 1)
        return np.where(self.track_id[slots] == track_ids, slots, NOWHERE)


def described(track_id: int, metadata: Metadata, audio: Vector | None, *, added_at: float) -> Described:
    """What counts of a track's metadata; tags are parted by commas."""
    return Described(
        track_id=track_id,
        artist=fold(metadata.artist).strip(),
        genre=fold(metadata.genre).strip(),
        tags=tags_of(metadata.tags),
        audio=audio,
        added_at=added_at,
    )


def build(tracks: Sequence[Described], *, n_dimensions: int, scales: str = "") -> Shelf:
    """A shelf of these tracks.

    Args:
        tracks: in any order, each once.
        n_dimensions: of audio vectors; those of another size are left out.
        scales: version of the scales that audio vectors were made with.
    """
    artists, genres, names = {"": 0}, {"": 0}, {"": 0}
    track_id = np.zeros(len(tracks), np.int64)
    artist, genre = np.zeros(len(tracks), np.int32), np.zeros(len(tracks), np.int32)
    audio = np.zeros((len(tracks), n_dimensions), np.float32)
    has_audio, added_at = np.zeros(len(tracks), np.bool_), np.zeros(len(tracks))
    starts, tags = [0], list[int]()
    for slot, track in enumerate(sorted(tracks, key=lambda each: each.track_id)):
        track_id[slot], added_at[slot] = track.track_id, track.added_at
        artist[slot] = artists.setdefault(track.artist, len(artists))
        genre[slot] = genres.setdefault(track.genre, len(genres))
        tags += [names.setdefault(tag, len(names)) for tag in track.tags]
        if track.audio is not None and len(track.audio) == n_dimensions:
            audio[slot], has_audio[slot] = track.audio, True
        starts.append(len(tags))
    shape = (len(tracks), len(names))
    return Shelf(
        track_id=track_id,
        artist=artist,
        genre=genre,
        tags=sparse.csr_array((np.ones(len(tags), np.float32), tags, starts), shape=shape),
        audio=audio,
        has_audio=has_audio,
        added_at=added_at,
        artists=tuple(artists),
        genres=tuple(genres),
        tag_names=tuple(names),
        scales=scales,
    )
