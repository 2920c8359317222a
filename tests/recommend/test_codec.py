import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fpserver.recommend import codec
from fpserver.terms import KINDS, FeedbackEvent, FeedbackKind

EVENTS = st.builds(
    FeedbackEvent,
    user=st.just("ann"),
    event_id=st.just("1"),
    track_id=st.integers(1, 2**32 - 1),
    kind=st.sampled_from(FeedbackKind),
    value=st.floats(0, 5, width=32),
    at=st.floats(0, 1e11),
)


@given(EVENTS)
def test_an_event_comes_back_as_it_was(event: FeedbackEvent) -> None:
    assert codec.unpack("ann", "1", codec.pack(event)) == event


@given(st.lists(st.lists(EVENTS, max_size=5), max_size=5))
def test_a_history_is_all_events_oldest_first_user_by_user(users: list[list[FeedbackEvent]]) -> None:
    packed = [b"".join(map(codec.pack, events)) for events in users]
    found = codec.history(packed, first_user=3)
    wanted = [
        (3 + i, event.at, event.track_id, KINDS.index(event.kind), event.value)
        for i, events in enumerate(users)
        for event in sorted(events, key=lambda e: (e.at, e.track_id, KINDS.index(e.kind), e.value))
    ]
    columns = (found.user, found.at, found.track_id, found.kind, found.value)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == wanted
    assert len(found) == len(wanted)


def test_a_history_owns_its_numbers() -> None:
    event = FeedbackEvent(user="a", event_id="1", track_id=2, kind=FeedbackKind.SKIP, value=0.25, at=3.0)
    found = codec.history([codec.pack(event)])
    for column in (found.user, found.track_id, found.kind, found.value, found.at):
        assert column.flags.c_contiguous and column.flags.owndata


def test_the_layout_is_the_one_that_is_drawn() -> None:
    event = FeedbackEvent(user="a", event_id="1", track_id=258, kind=FeedbackKind.RATING, value=2.0, at=1.0)
    assert codec.pack(event) == b"\x02\x01\0\0" + b"\x04" + b"\0\0\0\x40" + b"\0\0\0\0\0\0\xf0\x3f"


def test_events_are_grouped_by_user_and_their_places_remembered() -> None:
    events = [
        FeedbackEvent(user=user, event_id=str(i), track_id=1, kind=FeedbackKind.LIKE, at=0.0)
        for i, user in enumerate(["b", "a", "b"])
    ]
    packed, places = codec.by_user((event.user.encode(), event) for event in events)
    assert places == [0, 2, 1]
    assert np.count_nonzero(np.frombuffer(packed, "S1") == b"b") == 1
