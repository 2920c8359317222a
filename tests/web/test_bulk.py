"""Bodies that hold many items: split where they should be, however the network cut them."""

from collections.abc import AsyncIterator

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpserver.errors import AudioTooLarge, FingerprintInvalid, InvalidRequest
from fpserver.terms import Metadata
from fpserver.web.bulk import MAX_LINE_BYTES, lines, metadata_of, msgpack_objects


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def collect(items: AsyncIterator[bytes]) -> list[bytes]:
    return [item async for item in items]


@given(
    bodies=st.lists(st.dictionaries(st.text(), st.binary() | st.lists(st.integers(0, 2**32)))),
    size=st.integers(1, 50),
)
async def test_concatenated_objects_come_out_byte_for_byte(
    bodies: list[dict[str, object]], size: int
) -> None:
    packed = [msgpack.packb(body) for body in bodies]
    assert await collect(msgpack_objects(cut(b"".join(packed), size), max_bytes=10_000)) == packed


async def test_a_stream_that_ends_in_the_middle_of_an_object_says_where() -> None:
    body = msgpack.packb({"a": b"123"})
    objects = msgpack_objects(cut(body + body[:-1], 4), max_bytes=100)
    assert await anext(objects) == body
    with pytest.raises(FingerprintInvalid, match=f"middle of a fingerprint, after byte {len(body)}"):
        await anext(objects)


@pytest.mark.parametrize("body", [b"\xc1", b"\x91" * 5000])
async def test_bytes_that_are_no_msgpack_are_refused(body: bytes) -> None:
    with pytest.raises((FingerprintInvalid, AudioTooLarge)):
        await collect(msgpack_objects(cut(body, 700), max_bytes=2000))


async def test_an_object_over_the_limit_is_refused_before_it_is_whole() -> None:
    with pytest.raises(AudioTooLarge, match="more than 100 bytes"):
        await collect(msgpack_objects(cut(msgpack.packb(bytes(100_000)), 64), max_bytes=100))


def test_metadata_of_a_fingerprint_is_read_without_unpacking_the_rest() -> None:
    body = {"format": "x", "frame": bytes(1000), "metadata": {"title": "Song", "isrc": "X"}, "more": [1, {}]}
    assert metadata_of(msgpack.packb(body)) == Metadata(title="Song", isrc="X")
    assert metadata_of(msgpack.packb({"format": "x"})) == Metadata()


@pytest.mark.parametrize("metadata", [{"colour": "red"}, {"title": 5}, {"title": "x" * 1001}, "text"])
def test_metadata_of_a_fingerprint_that_breaks_a_rule_is_refused(metadata: object) -> None:
    with pytest.raises(InvalidRequest, match="metadata"):
        metadata_of(msgpack.packb({"metadata": metadata}))


@pytest.mark.parametrize("body", [b"\x05", b"\xa3abc", b"\x82\xa1a", b""])
def test_a_body_that_is_no_map_is_no_fingerprint(body: bytes) -> None:
    with pytest.raises(FingerprintInvalid):
        metadata_of(body)


@given(body=st.binary(), size=st.integers(1, 20))
async def test_lines_come_out_as_splitting_the_whole_body_would_give_them(body: bytes, size: int) -> None:
    expected = [line for line in body.split(b"\n") if line.strip()]
    assert await collect(lines(cut(body, size))) == expected


async def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="line has more than"):
        await collect(lines(cut(b"x" * (2 * MAX_LINE_BYTES), 1000)))
