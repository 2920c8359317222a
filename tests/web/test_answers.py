"""What an answer looks like on the wire."""

import msgspec
import numpy as np
import pytest

from fpserver.web.answers import preferred, to_json, to_msgpack
from fpserver.web.convert import moment
from fpserver.web.media import JSON, MSGPACK
from fpserver.web.schemas import Clip, IdentifyAnswer


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/msgpack", MSGPACK),
        ("Application/MsgPack; q=0.5, */*; q=0.1", MSGPACK),
        ("application/json, application/msgpack;q=0.9", JSON),
        ("application/msgpack;q=0", JSON),
        ("application/msgpack;q=nonsense", JSON),
        ("text/html,,;;=", JSON),
    ],
)
def test_msgpack_is_spoken_when_it_is_preferred(accept: str, kind: str) -> None:
    assert preferred(accept) == kind


def test_what_is_left_of_numpy_in_an_explanation_becomes_plain() -> None:
    answer = IdentifyAnswer(
        request_id="r",
        clip=Clip(duration_s=1.0, n_landmarks=2),
        matches=[],
        degraded=False,
        timings_ms={},
        explanation={"votes": np.int64(3), "scores": np.array([1.5, float("nan")], dtype=np.float32)},
    )
    assert msgspec.json.decode(to_json(answer))["explanation"] == {"votes": 3, "scores": [1.5, None]}
    assert msgspec.msgpack.decode(to_msgpack(answer))["explanation"]["votes"] == 3


def test_an_answer_without_an_explanation_does_not_speak_of_it() -> None:
    answer = IdentifyAnswer(
        request_id="r",
        clip=Clip(duration_s=1.0, n_landmarks=2),
        matches=[],
        degraded=False,
        timings_ms={"audio": 1.0},
    )
    assert to_json(answer) == (
        b'{"request_id":"r","clip":{"duration_s":1.0,"n_landmarks":2,"truncated":false,"n_hashes":0,"n_postings":0},'
        b'"matches":[],"degraded":false,"timings_ms":{"audio":1.0}}'
    )


def test_moments_are_utc_with_milliseconds() -> None:
    assert moment(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
