"""Traffic of every kind, so that every figure moves: what people ask, what they get wrong, what workers do.

Series that are there for the first time have no rate yet: what is to have one must happen in several rounds.
"""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.audio.encode import encode
from fpserver.demo.songs import song, title
from fpserver.terms import Metadata
from fpserver.web.client import Client
from fpserver.web.media import FINGERPRINT

RATE_HZ = 22050
SONG_S, CLIP_S = 20.0, 6.0
N_SONGS = 10  # of the first round
N_CROWD = 12  # clips at once, more than places
N_BROKEN = 3
USERS = ("anna", "ben", "cleo")
KINDS = ("play", "like", "skip", "dislike")
SETTINGS = {
    "FPSERVER_ACCESS__REQUIRED": "true",
    "FPSERVER_WEB__PLACES": "2",
    "FPSERVER_WEB__MAX_WAIT_FOR_PLACE_S": "0.3",
    "FPSERVER_RECOMMEND__TRAIN_EVERY_S": "0",
    "FPSERVER_LOG__FORMAT": "json",
    "FPSERVER_LOG__SLOW_REQUEST_S": "0.2",
}


class Traffic:
    """Somebody who asks everything of one server."""

    def __init__(self, address: str, folder: Path, *, key: str, slow_key: str) -> None:
        self._address = address
        self._key = key
        self._headers = _shown(key)
        nobody: dict[str, str] = {}
        self._refused = (_shown(slow_key), _shown("fps_nobody"), nobody)
        self._folder = folder
        self.counts: dict[str, int] = {}  # answers by route and status

    async def settle_in(self) -> None:
        """The first tracks, until they are indexed, described and can be compared."""
        await self._add(range(N_SONGS))
        async with Client(self._address, key=self._key) as client:
            while (await client.tracks(status="indexed", limit=200))["tracks"][N_SONGS - 1 :] == []:  # noqa: ASYNC110 – another process, no event of ours
                await asyncio.sleep(0.5)
        async with aiohttp.ClientSession(self._address, headers=self._headers) as session:
            for path in ("/v1/tracks/1/similar", "/v1/users/anna/recommendations"):
                while (await session.get(path)).status != 200:  # noqa: ASYNC110 – another process, no event of ours
                    await asyncio.sleep(0.5)

    async def round(self, number: int) -> None:
        """One of everything."""
        await self._add([N_SONGS + number])
        await self._break(number)
        async with aiohttp.ClientSession(self._address, headers=self._headers) as session:
            await self._identify(session, number)
            await self._compare(session)
            await self._taste(session, number)
            await self._post(session, "/v1/nothing", data=b"")
            for path in (
                "/healthz",
                "/readyz",
                "/v1/tracks",
                "/v1/tracks/999999",
                "/v1/recommendations/model",
            ):
                await self._note("GET", path, await session.get(path))
        for headers in self._refused:
            async with aiohttp.ClientSession(self._address, headers=headers) as session:
                for _ in range(2):
                    await self._note("GET", "/v1/tracks", await session.get("/v1/tracks"))

    async def _add(self, seeds: Any) -> None:
        files = []
        for seed in seeds:
            path = self._folder / f"song{seed}.mp3"
            path.write_bytes(encode(song(seed, SONG_S, RATE_HZ), RATE_HZ, bitrate=64_000))
            name, artist = title(seed)
            files.append((path, path.name, Metadata(title=name, artist=artist)))
        async with Client(self._address, key=self._key) as client:
            await client.ingest(files)

    async def _break(self, number: int) -> None:
        """Files that cannot be indexed, and a fingerprint that cannot be described."""
        rng = np.random.default_rng(number)
        async with Client(self._address, key=self._key) as client:
            files = []
            for i in range(N_BROKEN):
                path = self._folder / f"broken{number}-{i}.mp3"
                path.write_bytes(rng.bytes(5000))
                files.append((path, path.name, Metadata(title="noise")))
            silent = self._folder / f"silent{number}.wav"
            silent.write_bytes(encode(np.zeros(RATE_HZ * (3 + number), np.float32), RATE_HZ, container="wav"))
            await client.ingest([*files, (silent, silent.name, Metadata(title="silence"))])
        known = self._folder / f"known{number}.mp3"
        known.write_bytes(encode(song(500 + number, SONG_S, RATE_HZ), RATE_HZ, bitrate=64_000))
        body = await asyncio.to_thread(_fingerprint_of, known)
        async with aiohttp.ClientSession(self._address, headers=self._headers) as session:
            await self._post(session, "/v1/ingest", data=body, headers={"Content-Type": FINGERPRINT})

    async def _identify(self, session: aiohttp.ClientSession, number: int) -> None:
        there = self._clip(number % N_SONGS)
        foreign = self._clip(900 + number)
        for clip in (there, foreign, b"no sound at all", b""):
            await self._post(session, "/v1/identify", data=clip)
        path = self._folder / f"asked{number}.mp3"
        path.write_bytes(there)
        body = await asyncio.to_thread(_fingerprint_of, path)
        await self._post(session, "/v1/identify", data=body, headers={"Content-Type": FINGERPRINT})
        await asyncio.gather(*(self._post(session, "/v1/identify", data=there) for _ in range(N_CROWD)))

    async def _compare(self, session: aiohttp.ClientSession) -> None:
        await self._note("GET", "/v1/tracks/{}/similar", await session.get("/v1/tracks/1/similar"))
        await self._note("GET", "/v1/similarity/{}/{}", await session.get("/v1/similarity/1/2"))
        await self._post(session, "/v1/similar", data=self._clip(3))
        await self._post(session, "/v1/segments/search", data=self._clip(4))
        await self._post(session, "/v1/map", json={})

    async def _taste(self, session: aiohttp.ClientSession, number: int) -> None:
        events: list[Mapping[str, Any]] = [
            {"user": user, "track_id": 1 + (i + j + number) % N_SONGS, "kind": kind}
            for i, user in enumerate(USERS)
            for j, kind in enumerate(KINDS)
        ]
        again = {"user": "anna", "track_id": 1, "kind": "like", "event_id": "once"}
        unknown = {"user": "anna", "track_id": 999999, "kind": "like"}
        await self._post(session, "/v1/feedback", json={"events": [*events, again, unknown]})
        for user in USERS:
            path = f"/v1/users/{user}/recommendations"
            await self._note("GET", "/v1/users/{}/recommendations", await session.get(path))
        await self._post(session, "/v1/recommendations", json={"track_ids": [1, 2]})
        before = await self._version(session)
        await self._post(session, "/v1/recommendations/model")
        while await self._version(session) == before:  # noqa: ASYNC110 – another process, no event of ours
            await asyncio.sleep(0.2)

    async def _version(self, session: aiohttp.ClientSession) -> Any:
        document = await (await session.get("/v1/recommendations/model")).json()
        return (document["model"] or {}).get("version")

    def _clip(self, seed: int) -> bytes:
        heard = song(seed, SONG_S, RATE_HZ)[5 * RATE_HZ : round((5 + CLIP_S) * RATE_HZ)]
        return encode(heard, RATE_HZ, bitrate=48_000)

    async def _post(self, session: aiohttp.ClientSession, path: str, **body: Any) -> None:
        await self._note("POST", path, await session.post(path, **body))

    async def _note(self, method: str, path: str, response: aiohttp.ClientResponse) -> None:
        await response.read()
        what = f"{method} {path} {response.status}"
        self.counts[what] = self.counts.get(what, 0) + 1


def _shown(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def made_key(data_dir: Path, name: str, *arguments: str) -> str:
    """A key for a server of this data folder, which need not run."""
    command = [sys.executable, "-m", "fpserver", "keys", "create", name, "--data", str(data_dir), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _fingerprint_of(path: Path) -> bytes:
    command = [sys.executable, "-m", "fpserver", "fingerprint", str(path), "--out", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout
