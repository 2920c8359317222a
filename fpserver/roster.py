"""Which tracks are held, and which pass a sieve: a column per field and fact, a slot per track.

A track that is replaced gets another slot: what was held under the old one is removed with it. Text is folded when it
comes in, and equal text is one number, so a filter is a comparison of columns.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.errors import InvalidRequest
from fpserver.terms import METADATA_FIELDS, Metadata, Sieve, TrackIds, fold, tags_of

Passes: TypeAlias = npt.NDArray[np.bool_]  # by slot: whether the track may be found
Slots: TypeAlias = npt.NDArray[np.int32]

KEY = "key"  # the estimated one, beside the fields of the metadata
TAG = "tag"  # one of the tags
FIELDS = (*(name for name in METADATA_FIELDS if name != "tags"), KEY, TAG)  # that can be filtered by
SEARCHED = ("title", "artist", "album", "external_id", "isrc")  # by `q`
NONE = 0  # number of a text that is not there
BETWEEN = "\0"  # texts that are searched together


class Roster:
    """The tracks."""

    def __init__(self) -> None:
        self.slot_of: dict[int, int] = {}  # by track id
        self._n_slots = 0
        self._ids = np.empty(0, np.int64)
        self._alive = np.empty(0, np.bool_)
        self._texts: dict[str, _Texts] = {name: _texts_of(name) for name in FIELDS}
        self._facts: dict[str, npt.NDArray[np.float64]] = {}  # NaN: not there
        self._searched: list[str] = []
        self._n_chars = 0  # of those

    def __len__(self) -> int:
        return len(self.slot_of)

    @property
    def ids(self) -> TrackIds:
        """Track id by slot."""
        return self._ids[: self._n_slots]

    @property
    def alive(self) -> Passes:
        """By slot: whether the track is still held."""
        return self._alive[: self._n_slots]

    @property
    def memory_bytes(self) -> int:
        """Of all columns and texts, about."""
        columns = (
            self._ids,
            self._alive,
            *self._facts.values(),
            *(texts.column for texts in self._texts.values()),
        )
        of_text = 60 * len(self._searched) + 2 * self._n_chars  # as they are and, at most, once more by field
        return sum(column.nbytes for column in columns) + of_text + 100 * len(self.slot_of)

    @property
    def n_dead(self) -> int:
        """Slots of tracks that are no longer held."""
        return self._n_slots - len(self.slot_of)

    def add(self, *, track_id: int, metadata: Metadata, facts: Mapping[str, float], key: str | None) -> int:
        """Hold a track that is not held; says its slot."""
        slot = self._n_slots
        self._grow(slot + 1)
        self._n_slots += 1
        self.slot_of[track_id] = slot
        self._ids[slot], self._alive[slot] = track_id, True
        folded = {name: fold(value) for name, value in metadata.items() if value is not None}
        if key is not None:
            folded[KEY] = fold(key)
        if tags := tags_of(metadata.tags):
            folded[TAG] = ",".join(tags)
        for name, texts in self._texts.items():
            texts.put(slot, folded.get(name))
        for name, value in facts.items():
            if not math.isfinite(value):
                continue
            if name not in self._facts:
                self._facts[name] = np.full(len(self._ids), np.nan)
            self._facts[name][slot] = value
        self._searched.append(BETWEEN.join(folded.get(name, "") for name in SEARCHED))
        self._n_chars += len(self._searched[-1])
        return slot

    def remove(self, track_id: int) -> int | None:
        """Hold a track no more; says the slot it had, if it was held."""
        slot = self.slot_of.pop(track_id, None)
        if slot is not None:
            self._alive[slot] = False
            self._n_chars -= len(self._searched[slot])
            self._searched[slot] = ""
        return slot

    def frozen(self) -> "Roster":
        """The same as it is now; it shares what never changes, and is only asked."""
        other = Roster()
        other.slot_of = dict(self.slot_of)
        other._n_slots = self._n_slots
        other._ids, other._alive = self.ids, self.alive.copy()
        other._facts = {name: column[: self._n_slots] for name, column in self._facts.items()}
        other._texts = {name: texts.until(self._n_slots) for name, texts in self._texts.items()}
        other._searched, other._n_chars = list(self._searched), self._n_chars
        return other

    def compacted(self) -> tuple["Roster", Slots]:
        """The same without the slots of tracks that are no longer held, and the new slot of each.

        What lies in a slot that is gone is in one more, behind all others, whose track is not held.
        """
        arrays, document = self.columns()
        kept = np.append(np.flatnonzero(self.alive), np.flatnonzero(~self.alive)[:1])
        new = np.full(self._n_slots, len(self), np.int32)
        new[kept] = np.arange(len(kept))
        searched = [self._searched[slot] for slot in kept.tolist()]
        arrays = {name: array[kept] for name, array in arrays.items()}
        return Roster.restored(arrays, document | {"searched": searched}), new

    def passing(self, sieve: Sieve | None) -> Passes:
        """By slot: whether a track is held and passes.

        Raises:
            InvalidRequest: there is no such field.
        """
        if sieve is None:
            return self.alive
        passes = self.alive.copy()
        for name, value in sieve.equal.items():
            if name not in self._texts:
                raise InvalidRequest(f'"{name}" is no field to filter by; there are {", ".join(FIELDS)}')
            passes &= self._texts[name].equal(fold(value), self._n_slots)
        for name, (least, most) in sieve.ranges.items():
            passes &= self._within(name, least, most)
        if sieve.q:
            sought = fold(sieve.q)
            passes &= np.fromiter((sought in text for text in self._searched), np.bool_, self._n_slots)
        for track_id in sieve.without:
            if (slot := self.slot_of.get(track_id)) is not None:
                passes[slot] = False
        return passes

    def wanted(self, track_ids: Sequence[int]) -> Passes:
        """By slot: whether it is one of these tracks."""
        wanted = np.zeros(self._n_slots, np.bool_)
        wanted[[self.slot_of[track_id] for track_id in track_ids if track_id in self.slot_of]] = True
        return wanted

    def columns(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """All that is held, as arrays by name and a document; `restored` takes them back."""
        arrays: dict[str, npt.NDArray[Any]] = {"ids": self.ids.copy(), "alive": self.alive.copy()}
        arrays |= {f"fact:{name}": column[: self._n_slots].copy() for name, column in self._facts.items()}
        arrays |= {
            f"text:{name}": texts.column[: self._n_slots].copy() for name, texts in self._texts.items()
        }
        vocabularies = {name: list(texts.numbers) for name, texts in self._texts.items()}
        return arrays, {"facts": list(self._facts), "texts": vocabularies, "searched": list(self._searched)}

    @classmethod
    def restored(cls, arrays: Mapping[str, npt.NDArray[Any]], document: Mapping[str, Any]) -> "Roster":
        """What `columns` told."""
        roster = cls()
        roster._ids, roster._alive = arrays["ids"].copy(), arrays["alive"].copy()
        roster._n_slots = len(roster._ids)
        roster._facts = {name: arrays[f"fact:{name}"].copy() for name in document["facts"]}
        for name in FIELDS:
            known = document["texts"].get(name, [])  # none of tags, in what an earlier version has kept
            column = arrays.get(f"text:{name}", np.zeros(roster._n_slots, np.int32)).copy()
            roster._texts[name] = _texts_of(name, column, known)
        roster._searched = list(document["searched"])
        roster._n_chars = sum(map(len, roster._searched))
        roster.slot_of = {
            track_id: slot
            for slot, (track_id, alive) in enumerate(
                zip(roster._ids.tolist(), roster._alive.tolist(), strict=True)
            )
            if alive
        }
        return roster

    def _grow(self, n_slots: int) -> None:
        if n_slots <= len(self._ids):
            return
        n_more = max(n_slots, 2 * len(self._ids), 64) - len(self._ids)
        self._ids = np.concatenate([self._ids, np.zeros(n_more, np.int64)])
        self._alive = np.concatenate([self._alive, np.zeros(n_more, np.bool_)])
        self._facts = {
            name: np.concatenate([column, np.full(n_more, np.nan)]) for name, column in self._facts.items()
        }
        for texts in self._texts.values():
            texts.column = np.concatenate([texts.column, np.zeros(n_more, np.int32)])

    def _within(self, name: str, least: float | None, most: float | None) -> Passes:
        """By slot: whether a fact is there and in its range."""
        if name not in self._facts:
            return np.zeros(self._n_slots, np.bool_)
        column = self._facts[name][: self._n_slots]
        within = ~np.isnan(column)
        if least is not None:
            within &= column >= least
        if most is not None:
            within &= column <= most
        return within


class _Texts:
    """One field of all tracks: the number of its text, by slot."""

    def __init__(self, column: npt.NDArray[np.int32] | None = None, known: Sequence[str] = ()) -> None:
        self.column = np.empty(0, np.int32) if column is None else column
        self.numbers: dict[str, int] = dict(_numbered(known))

    def put(self, slot: int, text: str | None) -> None:
        self.column[slot] = NONE if text is None else self.numbers.setdefault(text, len(self.numbers) + 1)

    def until(self, n_slots: int) -> "_Texts":
        """Of the first slots; numbers are shared, and those that come later are in none of these slots."""
        first = copy(self)
        first.column = self.column[:n_slots]
        return first

    def equal(self, text: str, n_slots: int) -> Passes:
        number = self.numbers.get(text)
        return self.column[:n_slots] == number if number is not None else np.zeros(n_slots, np.bool_)


class _Tags(_Texts):
    """The tags of all tracks: a text is those of a track, folded, with commas between; equal to each of them."""

    def __init__(self, column: npt.NDArray[np.int32] | None = None, known: Sequence[str] = ()) -> None:
        super().__init__(column, known)
        self._with: dict[str, list[int]] = {}  # tag → numbers of the texts it is in
        for text, number in self.numbers.items():
            self._note(text, number)

    def put(self, slot: int, text: str | None) -> None:
        n_before = len(self.numbers)
        super().put(slot, text)
        if text is not None and len(self.numbers) > n_before:
            self._note(text, len(self.numbers))

    def equal(self, text: str, n_slots: int) -> Passes:
        return np.isin(self.column[:n_slots], self._with.get(text.strip(), []))

    def _note(self, text: str, number: int) -> None:
        for tag in text.split(","):
            self._with.setdefault(tag, []).append(number)


def _texts_of(name: str, column: npt.NDArray[np.int32] | None = None, known: Sequence[str] = ()) -> _Texts:
    return (_Tags if name == TAG else _Texts)(column, known)


def _numbered(texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    return zip(texts, range(1, len(texts) + 1), strict=True)
