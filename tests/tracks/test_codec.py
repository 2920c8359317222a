from hypothesis import given
from hypothesis import strategies as st

from fpserver.terms import METADATA_FIELDS, Metadata, Submission, TrackStatus
from fpserver.tracks import codec

texts = st.none() | st.text(min_size=1, max_size=40)


@given(st.fixed_dictionaries(dict.fromkeys(METADATA_FIELDS, texts)), st.text(max_size=40))
def test_a_record_gives_back_the_submission(metadata: dict[str, str | None], source: str) -> None:
    offer = Submission(source=source, place="p", content_sha256="00", metadata=Metadata(**metadata))
    fields = {
        **codec.record(offer),
        "status": "queued",
        "created_at": "1.5",
        "updated_at": "2",
        "attempts": "0",
    }
    flat = [text.encode("utf-8", "surrogateescape") for pair in fields.items() for text in pair]
    track = codec.track(7, flat)
    assert (track.track_id, track.metadata, track.source, track.place) == (7, offer.metadata, source, "p")


def test_a_record_written_by_hand_is_read() -> None:
    flat = (
        b"status|indexed|source|file:/a|place|here|content_sha256|ab|created_at|1.5|updated_at|2.5|attempts|3"
        b"|duration_s|61.25|n_landmarks|1400|title|T\xc3\xa4g|batch_id|b1|search|\x1ft\xc3\xa4g\x1f\x1f\x1f\x1f"
    ).split(b"|")
    track = codec.track(4, flat)
    assert (track.status, track.attempts, track.duration_s, track.n_landmarks) == (
        TrackStatus.INDEXED,
        3,
        61.25,
        1400,
    )
    assert track.metadata == Metadata(title="Täg")
    assert (track.duplicate_of, track.error_code, track.batch_id) == (None, None, "b1")


def test_search_holds_folded_metadata_with_separators_that_no_text_contains() -> None:
    metadata = Metadata(external_id="E\x1f1", title="Straße", genre="POP", tags="Calm, a\x1fb,calm")
    offer = Submission(source="s", place="p", content_sha256="00", metadata=metadata)
    assert codec.record(offer)["search"] == "e 1\x1fstrasse\x1f\x1f\x1f\x1fpop\x1f,calm,a b,"
