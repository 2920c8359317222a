"""One web process, from listening to drained; and nothing in it stops the event loop."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from io import BytesIO
from pathlib import Path

import aiohttp
import msgspec
import pytest

from fpserver.config import Config
from fpserver.web.app import pool_processes
from fpserver.web.life import listening
from tests.web.conftest import Web
from tests.web.helpers import audio_form

SLOW_S = 0.25  # two shared cores take some of that without anybody's fault


async def test_a_server_that_stops_ends_its_long_answers_first(config: Config, tmp_path: Path) -> None:
    config = config.with_values(redis={"data_dir": str(tmp_path / "data")}, web={"port": 0, "drain_s": 5.0})
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        async with listening(config) as life:
            url = f"http://127.0.0.1:{life.port}/v1"
            async with session.post(f"{url}/ingest", data={"file": BytesIO(b"never indexed")}) as response:
                batch_id = (await response.json())["batch_id"]
            events = await session.get(f"{url}/ingest/{batch_id}/events")
            assert (await events.content.readline()) == b"event: progress\n"
            waiting = asyncio.create_task(session.post(f"{url}/tracks?wait=1", data=b"never indexed either"))
            await asyncio.sleep(0.2)
        assert b"event: done" not in await events.content.read()
        response = await waiting
        assert (response.status, (await response.json())["status"]) == (202, "queued")


async def test_what_is_there_for_good_is_not_looked_through_for_garbage(
    config: Config, tmp_path: Path
) -> None:
    gc.unfreeze()
    config = config.with_values(redis={"data_dir": str(tmp_path / "data")}, web={"port": 0})
    async with listening(config):
        assert gc.get_freeze_count() > 10_000
    gc.unfreeze()


async def test_a_process_listens_until_sigterm_and_leaves_with_0(config: Config, tmp_path: Path) -> None:
    config = config.with_values(redis={"data_dir": str(tmp_path)}, web={"port": 0}, log={"format": "json"})
    code = (
        "import os, msgspec\nfrom fpserver import log\nfrom fpserver.config import Config\n"
        "from fpserver.web.life import run\n"
        "config = msgspec.json.decode(os.environ['CONFIG'], type=Config); log.configure(config.log); run(config)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code),
        env=os.environ | {"CONFIG": msgspec.json.encode(config).decode()},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            async for line in process.stderr:
                event = json.loads(line)
                if event["event"] == "web.listening":
                    break
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{event['port']}/healthz") as response,
            ):
                assert response.status == 200
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.alone
async def test_nothing_stops_the_event_loop(
    web: Web, worker: None, recordings: dict[int, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    before = loop.slow_callback_duration
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW_S
    try:
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            await web.post("/v1/tracks", data=BytesIO(os.urandom(2**21)))
            await web.post("/v1/tracks?wait=1", data=audio_form(recordings[6]))
            await asyncio.gather(*(web.post("/v1/identify", data=recordings[seed]) for seed in (5, 6)))
            await web.post("/v1/tracks/known", json={"sha256": [f"{n:064x}" for n in range(10_000)]})
            for path in ("/docs", "/v1/openapi.json", "/metrics", "/readyz", "/v1/tracks?limit=200"):
                assert (await web.get(path)).status == 200
    finally:
        loop.slow_callback_duration = before
        loop.set_debug(False)
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_web_processes_share_the_cores() -> None:
    cores = os.cpu_count() or 1
    assert pool_processes(Config()) == cores
    assert pool_processes(Config().with_values(web={"processes": 1000})) == 1
