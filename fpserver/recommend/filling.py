"""A shelf that is being filled: tracks come, change and go; from time to time it is laid down as a value.

Here a track has a row. One that changes gets another, and the old one stays empty until so many are that all are moved
together. What is laid down has no empty ones, and is in the order of ids.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fpserver.recommend.shelf import Shelf, Slots, described
from fpserver.roster import Passes, Roster
from fpserver.terms import METADATA_FIELDS, Metadata, Sieve, TrackIds, Vector

COMMON = frozenset({"artist", "album", "genre", "tags"})  # fields that tracks share
MIN_DEAD, DEAD_SHARE = 1000, 0.1  # empty rows that are borne
_Words: TypeAlias = tuple[str | None, ...]  # metadata in order: the garbage collector passes over such tuples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stocked:
    """A shelf, and what else is known of its tracks: all of one moment, by slot."""

    shelf: Shelf
    _rows: Slots  # by slot: where the rest is
    _metadata: Sequence[_Words]
    _roster: Roster

    def metadata(self, slot: int) -> Metadata:
        """What people call the track of a slot."""
        return Metadata(**dict(zip(METADATA_FIELDS, self._metadata[self._rows[slot]], strict=True)))

    def passing(self, sieve: Sieve | None) -> Passes:
        """By slot: whether the track passes. Some milliseconds for very many: call it on a thread.

        Raises:
            InvalidRequest: there is no such field.
        """
        passes: Passes = self._roster.passing(sieve)[self._rows]
        return passes


@dataclass(slots=True, kw_only=True)
class _Texts:
    """The numbers of texts, from 1 in the order in which they came; and columns of them."""

    numbers: dict[str, int] = field(default_factory=lambda: {"": 0})
    column: "array[int]" = field(default_factory=lambda: array("i"))

    def add(self, text: str) -> None:
        self.column.append(self.numbers.setdefault(text, len(self.numbers)))

    def array(self) -> npt.NDArray[np.int32]:
        return np.array(self.column, np.int32)


class Filling:
    """Tracks that can be recommended, as they come."""

    def __init__(self, *, n_dimensions: int, scales: str = "") -> None:
        self.scales = scales  # version of those that audio vectors are made with
        self._roster = Roster()
        self._metadata: list[_Words] = []
        self._artists, self._genres, self._tags = _Texts(), _Texts(), _Texts()  # of tags one after the other
        self._n_tags = array("i")  # by row
        self._added_at = array("d")
        self._audio = np.zeros((0, n_dimensions), np.float32)
        self._has_audio = array("b")

    def __len__(self) -> int:
        return len(self._roster)

    @property
    def n_empty(self) -> int:
        """Rows of tracks that are no longer held."""
        return self._roster.n_dead

    def put(
        self,
        *,
        track_id: int,
        metadata: Metadata,
        facts: Mapping[str, float],
        key: str | None,
        audio: Vector | None,
        added_at: float,
    ) -> None:
        """Hold a track, in the place of what was held of it; an audio vector of another size is left out.

        Args:
            track_id, metadata, facts, key: as the catalogue tells them.
            audio: how it sounds, if that is known.
            added_at: when it came into the catalogue, seconds since 1970.
        """
        self.remove(track_id)
        row = self._roster.add(track_id=track_id, metadata=metadata, facts=facts, key=key)
        self._metadata.append(_words(metadata))
        known = described(track_id, metadata, audio, added_at=added_at)
        self._added_at.append(added_at)
        self._artists.add(known.artist)
        self._genres.add(known.genre)
        self._n_tags.append(len(known.tags))
        for tag in known.tags:
            self._tags.add(tag)
        fits = audio is not None and audio.shape == self._audio.shape[1:]
        self._has_audio.append(fits)
        if row >= len(self._audio):
            n_more = max(64, len(self._audio) // 2)
            self._audio = np.concatenate([self._audio, np.zeros((n_more, self._audio.shape[1]), np.float32)])
        if fits:
            self._audio[row] = audio

    def remove(self, track_id: int) -> None:
        """Hold a track no more, if it is held."""
        if (row := self._roster.remove(track_id)) is not None:
            self._metadata[row] = ()

    def laid_down(self) -> Stocked:
        """What is held now, as a value."""
        if self.n_empty > max(MIN_DEAD, DEAD_SHARE * len(self)):
            self._move_together()
        roster = self._roster.frozen()
        there = np.flatnonzero(roster.alive)
        rows = there[np.argsort(roster.ids[there])]
        shelf = Shelf(
            track_id=roster.ids[rows],
            artist=self._artists.array()[rows],
            genre=self._genres.array()[rows],
            tags=self._tagged()[rows],
            audio=self._audio[rows],
            has_audio=np.array(self._has_audio, np.bool_)[rows],
            added_at=np.array(self._added_at)[rows],
            artists=tuple(self._artists.numbers),
            genres=tuple(self._genres.numbers),
            tag_names=tuple(self._tags.numbers),
            scales=self.scales,
        )
        return Stocked(shelf=shelf, _rows=rows, _metadata=list(self._metadata), _roster=roster)

    def _tagged(self) -> sparse.csr_array:
        """(n_rows, n_tags + 1)."""
        columns = self._tags.array()
        starts = np.concatenate([[0], np.cumsum(np.array(self._n_tags, np.int64))])
        shape = (len(self._n_tags), len(self._tags.numbers))
        return sparse.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=shape)

    def _move_together(self) -> None:
        """Leave no empty rows but one."""
        roster, new = self._roster.compacted()
        kept: TrackIds = np.zeros(len(roster.ids), np.int64)
        kept[new] = np.arange(len(new))
        tags = self._tagged()[kept]
        self._tags.column, self._n_tags = _column(tags.indices), _column(np.diff(tags.indptr))
        self._artists.column = _column(self._artists.array()[kept])
        self._genres.column = _column(self._genres.array()[kept])
        self._added_at = array("d", np.array(self._added_at)[kept].tobytes())
        self._has_audio = array("b", np.array(self._has_audio, np.int8)[kept].tobytes())
        self._audio = self._audio[kept]
        self._metadata = [self._metadata[row] for row in kept.tolist()]
        self._roster = roster


def _column(numbers: npt.NDArray[np.integer]) -> "array[int]":
    return array("i", numbers.astype(np.int32).tobytes())


def _words(metadata: Metadata) -> _Words:
    """What many tracks have in common is kept once."""
    return tuple(intern(text) if text and name in COMMON else text for name, text in metadata.items())
