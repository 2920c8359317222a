import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from fpserver.web.media import FINGERPRINT
from loadtest.scale import serving_page
from loadtest.scale.asking import Body, arriving, one_by_one

SLOW_S = 0.05


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """A server that knows track 7, one clip at a time, and refuses whoever says "busy"."""
    turn = asyncio.Lock()

    async def identify(request: web.Request) -> web.Response:
        body = await request.read()
        if body == b"busy":
            return web.json_response({}, status=503, headers={"Retry-After": "1"})
        async with turn:
            await asyncio.sleep(SLOW_S)
        return web.json_response({"matches": [{"track_id": 7}] if body == b"seven" else []})

    app = web.Application()
    app.router.add_post("/v1/identify", identify)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_right_is_the_clip_s_track_or_nothing_for_nobody_s(address: str) -> None:
    bodies = [
        Body(kind=FINGERPRINT, data=data, track_id=track_id)
        for data, track_id in (
            (b"seven", 7),
            (b"seven", 8),
            (b"seven", 0),
            (b"x", 0),
            (b"x", 7),
            (b"busy", 0),
        )
    ]
    replies = await one_by_one(address, bodies)
    assert [each.right for each in replies] == [True, False, False, True, False, False]
    assert [each.served for each in replies] == [True] * 5 + [False]
    assert [each.retry_after for each in replies] == [False] * 5 + [True]


async def test_who_arrives_while_others_are_served_waits_for_them(address: str) -> None:
    body = Body(kind=FINGERPRINT, data=b"seven", track_id=7)
    replies = await arriving(address, [body], rate=100, seconds=0.2, seed=1)
    assert len(replies) == 20
    assert all(each.right for each in replies)
    longest = max(each.seconds for each in replies)
    assert longest > 20 * SLOW_S - 0.6  # they came within some 0.2 s, and the last one waited for all


def test_the_page_tells_every_size_and_how_much_longer_it_took() -> None:
    times = {"p50": 10.0, "p95": 20.0, "p99": 30.0, "most": 40.0}
    row = {
        "clips": 5,
        "right": 4,
        "refused": 1,
        "failed": 0,
        "ms": times,
        "cpu_ms": {"web": 8.0, "decoding": 1.0, "store": 3.0},
        "peak_mb": {"web": 300, "decoding": 100},
        "rate": 60,
        "served_per_s": 59.5,
    }
    held = {"tracks": 10_376, "hours": 725.0, "postings": 58_000_000, "bytes": 350_000_000, "load_s": 9}
    small = {
        "held": held | {"bytes_per_hour": 480_000},
        "alone": {f"clean_10s {FINGERPRINT}": row, "clean_10s audio/wav": row},
        "costly": {"white noise": row},
        "arriving": {FINGERPRINT: {"steady": [row, row], "over": row, "after": row}},
    }
    slow = row | {"ms": {name: 3 * value for name, value in times.items()}}
    large = small | {"alone": {f"clean_10s {FINGERPRINT}": slow}, "arriving": {}}
    page = serving_page.page({"setting": "S.", "cores": 2, "sizes": {"10000": small, "100000": large}})
    assert "| 10,376 | clean_10s | 3.00 | 3.00 |" in page
    assert "| 10,376 | 725.0 | 58,000,000 | 350 | 0.480 | 6.0 | 9 |" in page
    assert page.count("| 10,376 | fingerprint | 60 | 59.5 | 4 of 5 | 1 | 0 | 10 | 20 | 30 | 40 |") == 4
