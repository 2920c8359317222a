"""From events of feedback to bytes, and back.

    event | track_id : u32 | kind : u8 | value : f32 | at : f64 |       little endian, 17 bytes

`kind` is the place in `terms.KINDS`. All are of one size, so that numpy reads any number of them, end to end, at once.
"""

import struct
from collections.abc import Iterable, Sequence

import msgpack
import numpy as np

from fpserver.terms import KINDS, FeedbackEvent, History

_EVENT = struct.Struct("<IBfd")
_LAYOUT = np.dtype([("track_id", "<u4"), ("kind", "u1"), ("value", "<f4"), ("at", "<f8")])
_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


def pack(event: FeedbackEvent) -> bytes:
    """An event without its user and id."""
    return _EVENT.pack(event.track_id, _NUMBER[event.kind], event.value, event.at)


def unpack(user: str, event_id: str, packed: bytes) -> FeedbackEvent:
    """An event."""
    track_id, number, value, at = _EVENT.unpack(packed)
    return FeedbackEvent(
        user=user, event_id=event_id, track_id=track_id, kind=KINDS[number], value=value, at=at
    )


def by_user(events: Iterable[tuple[bytes, FeedbackEvent]]) -> tuple[bytes, list[int]]:
    """Events of named users as the function `put` reads them, and the place of each in what was given.

    The first is msgpack: user, [id, event, id, event …], user, […] …; without its type of bytes, which no server knows.
    """
    grouped: dict[bytes, list[bytes]] = {}
    places: dict[bytes, list[int]] = {}
    for place, (user, event) in enumerate(events):
        grouped.setdefault(user, []).extend((event.event_id.encode(), pack(event)))
        places.setdefault(user, []).append(place)
    flat = [word for each in grouped.items() for word in each]
    return msgpack.packb(flat, use_bin_type=False), [place for each in places.values() for place in each]


def newest_first(user: str, packed: bytes) -> list[FeedbackEvent]:
    """All events of a user, of msgpack [id, event, id, event …]; of one moment, by id."""
    flat = msgpack.unpackb(packed, raw=True)
    events = [unpack(user, id_.decode(), each) for id_, each in zip(flat[::2], flat[1::2], strict=True)]
    return sorted(events, key=lambda event: (-event.at, event.event_id))


def history(packed: Sequence[bytes], *, first_user: int = 0) -> History:
    """The events of users, numbered from `first_user` on, each user's end to end in any order.

    Returns:
        Columns; each user's oldest first, those of one moment by track, kind and value: so whatever the order in which
        the store holds them, the history is the same.
    """
    events = np.frombuffer(b"".join(packed), _LAYOUT)
    sizes = np.array([len(each) // _EVENT.size for each in packed], np.int64)
    user = np.repeat(np.arange(first_user, first_user + len(packed), dtype=np.int32), sizes)
    order = np.lexsort((events["value"], events["kind"], events["track_id"], events["at"], user))
    events = events[order]
    return History(
        user=user[order],
        track_id=events["track_id"].astype(np.int64),
        kind=events["kind"].copy(),
        value=events["value"].astype(np.float32),
        at=events["at"].astype(np.float64),
    )
