"""Uploads on their way to disk: bounded, and gone when their request is."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from fpserver.errors import AudioEmpty, AudioTooLarge, BodyTooLarge, UploadTimeout
from fpserver.web import uploads
from fpserver.web.uploads import (
    FREE_UNPACKED_BYTES,
    PART,
    STALE_S,
    WRITE_BYTES,
    Patience,
    Spool,
    check_unpacked,
    whole,
)
from tests.web.helpers import until


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.open()
    return spool


async def test_an_upload_is_on_disk_whole_and_hashed_while_its_request_runs_and_gone_after(
    spool: Spool,
) -> None:
    body = os.urandom(2 * WRITE_BYTES + 17)
    async with spool.receive(
        pieces(body[:5], body[5:-1], body[-1:]), what="clip", max_bytes=len(body)
    ) as upload:
        assert upload.path.read_bytes() == body
        assert upload.sha256 == hashlib.sha256(body).hexdigest()
        assert upload.path.suffix == PART
    assert list(spool.folder.iterdir()) == []


async def test_an_upload_that_is_kept_stays_under_its_own_name(spool: Spool) -> None:
    async with spool.receive(pieces(b"song"), what="file", max_bytes=10) as upload:
        source = upload.keep()
    path = Path(source.removeprefix("spool:"))
    assert list(spool.folder.iterdir()) == [path]
    assert path.suffix == ""
    assert path.read_bytes() == b"song"


async def test_many_uploads_at_once_keep_little_in_memory(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_WAITING_BYTES", 1000)
    go_on, n_begun = asyncio.Event(), 0

    async def slow() -> AsyncIterator[bytes]:
        nonlocal n_begun
        yield bytes(300)
        n_begun += 1
        await go_on.wait()
        yield bytes(300)

    async def upload() -> int:
        async with spool.receive(slow(), what="clip", max_bytes=10_000) as upload:
            return upload.path.stat().st_size

    receiving = [asyncio.create_task(upload()) for _ in range(10)]
    await until(lambda: n_begun == 10)
    sizes = [path.stat().st_size for path in spool.folder.iterdir()]
    go_on.set()
    assert await asyncio.gather(*receiving) == [600] * 10
    assert 0 < len(sizes) <= 10, "some were written before their end"
    assert spool._n_waiting == 0


async def test_an_upload_without_bytes_is_refused(spool: Spool) -> None:
    with pytest.raises(AudioEmpty, match="clip is empty: 0 bytes"):
        async with spool.receive(pieces(), what="clip", max_bytes=10):
            pass


async def test_an_upload_over_its_limit_is_refused_and_leaves_nothing(spool: Spool) -> None:
    with pytest.raises(AudioTooLarge, match="more than 10 bytes"):
        async with spool.receive(pieces(b"12345678", b"901"), what="clip", max_bytes=10):
            pass
    assert list(spool.folder.iterdir()) == []


async def test_an_upload_whose_client_leaves_leaves_nothing(spool: Spool) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(WRITE_BYTES)  # on disk by now
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        async with spool.receive(broken(), what="clip", max_bytes=2 * WRITE_BYTES):
            pass
    assert list(spool.folder.iterdir()) == []


def test_partial_uploads_of_a_killed_process_are_removed_after_a_day(spool: Spool) -> None:
    old, fresh, track = (spool.folder / name for name in (f"old{PART}", f"fresh{PART}", "track"))
    for path in (old, fresh, track):
        path.write_bytes(b"x")
    for path in (old, track):
        os.utime(path, (1000, 1000))
    assert spool.open(now=fresh.stat().st_mtime + STALE_S - 10) == 1
    assert sorted(spool.folder.iterdir()) == sorted([fresh, track])


async def test_a_body_that_stands_still_is_given_up() -> None:
    patience = Patience(idle_s=0.01, total_s=60)
    with pytest.raises(UploadTimeout, match=r"stood still for 0\.01 s"):
        await patience.wait(asyncio.sleep(5))


async def test_a_body_that_drips_is_given_up_at_the_limit() -> None:
    patience = Patience(idle_s=60, total_s=0.05)
    with pytest.raises(UploadTimeout, match=r"longer than 0\.05 s"):
        while True:
            await patience.wait(asyncio.sleep(0.01))


async def test_a_document_over_its_limit_is_refused() -> None:
    with pytest.raises(BodyTooLarge, match="more than 3 bytes"):
        await whole(pieces(b"12", b"34"), what="body", max_bytes=3)


async def test_a_compressed_body_that_is_nothing_but_air_is_refused() -> None:
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**30)
    content.feed_data(bytes(FREE_UNPACKED_BYTES))
    check_unpacked(content)
    content.total_compressed_bytes = 100
    check_unpacked(content)
    content.feed_data(b"x")
    with pytest.raises(BodyTooLarge, match="more than 100 times its 100 bytes"):
        check_unpacked(content)
    content.total_compressed_bytes = 2**20
    check_unpacked(content)
