"""Requests that arrive at random, whether the server keeps up or not, over connections that clients keep.

No request is sent twice: what a client's library would hide by trying again is seen here as a failure.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

from fpserver.audio.encode import encode
from fpserver.demo.songs import song
from fpserver.web.media import FINGERPRINT

RATE_HZ = 22050
UPLOAD_S = 6.0
TIMEOUT_S = 60.0
SHARES = {"identify audio": 0.2, "identify fingerprint": 0.4, "read": 0.3, "ingest": 0.1}
FIRST_UPLOAD = 10_000  # seeds of uploads, far from those of the catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What is asked about, in both forms, and whose it is."""

    audio: bytes
    fingerprint: bytes
    track_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a request."""

    kind: str
    at_s: float  # from the beginning of the load, when it was due
    seconds: float  # from when it was due
    failure: str  # empty: it was answered with 2xx
    wrong: str = ""  # empty: it was answered rightly
    track_id: int = 0  # of an upload


class Load:
    """Requests at `rate` a second until it is stopped."""

    def __init__(self, address: str, clips: Sequence[Clip], *, rate: float, seed: int) -> None:
        self._address = address
        self._clips = clips
        self._rate = rate
        self._rng = np.random.default_rng(seed)
        self._n_uploads = 0
        self._first_upload = FIRST_UPLOAD * (seed + 1)
        self._stopped = asyncio.Event()
        self._asking: list[asyncio.Task[Reply]] = []

    async def run(self) -> list[Reply]:
        """Ask until `stop`, and wait for every answer."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            session._retry_connection = False  # a lost connection is a failure, not tried again unseen
            begin = due = time.perf_counter()
            while not self._stopped.is_set():
                due += self._rng.exponential(1 / self._rate)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                kind = str(self._rng.choice(list(SHARES), p=list(SHARES.values())))
                self._asking.append(asyncio.create_task(self._ask(session, kind, due, begin)))
            return list(await asyncio.gather(*self._asking))

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopped.set()

    async def _ask(self, session: aiohttp.ClientSession, kind: str, due: float, begin: float) -> Reply:
        failure = wrong = ""
        track_id = 0
        try:
            wrong, track_id = await getattr(self, "_" + kind.replace(" ", "_"))(session)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = f"{type(error).__name__}: {error}"[:200]
        now = time.perf_counter()
        return Reply(
            kind=kind,
            at_s=due - begin,
            seconds=now - due,
            failure=failure,
            wrong=wrong,
            track_id=track_id,
        )

    async def _identify_audio(self, session: aiohttp.ClientSession) -> tuple[str, int]:
        clip = self._any()
        return await self._identify(session, clip.audio, "audio/mpeg", clip.track_id)

    async def _identify_fingerprint(self, session: aiohttp.ClientSession) -> tuple[str, int]:
        clip = self._any()
        return await self._identify(session, clip.fingerprint, FINGERPRINT, clip.track_id)

    async def _identify(
        self, session: aiohttp.ClientSession, body: bytes, kind: str, track_id: int
    ) -> tuple[str, int]:
        url = f"{self._address}/v1/identify"
        async with session.post(url, data=body, headers={"Content-Type": kind}) as response:
            await _accepted(response)
            document = await response.json()
        found = [match["track_id"] for match in document["matches"]]
        right = found[:1] == [track_id] and not document["degraded"]
        return "" if right else f"{found} instead of {track_id}", 0

    async def _read(self, session: aiohttp.ClientSession) -> tuple[str, int]:
        track_id = self._any().track_id
        async with session.get(f"{self._address}/v1/tracks/{track_id}") as response:
            await _accepted(response)
            document = await response.json()
        right = document["track_id"] == track_id and document["status"] == "indexed"
        return "" if right else f"{document['track_id']} {document['status']}", 0

    async def _ingest(self, session: aiohttp.ClientSession) -> tuple[str, int]:
        self._n_uploads += 1
        seed = self._first_upload + self._n_uploads
        body = await asyncio.to_thread(upload, seed)
        headers = {"Content-Type": "audio/flac"}
        async with session.post(f"{self._address}/v1/tracks", data=body, headers=headers) as response:
            await _accepted(response)
            document = await response.json()
        return "", document["track_id"]

    def _any(self) -> Clip:
        return self._clips[int(self._rng.integers(len(self._clips)))]


def upload(seed: int) -> bytes:
    """A short recording that nobody has sent before."""
    return encode(song(seed, UPLOAD_S, RATE_HZ), RATE_HZ, container="flac")


async def _accepted(response: aiohttp.ClientResponse) -> None:
    if response.status >= 300:
        raise aiohttp.ClientError(f"{response.status} {(await response.text())[:120]}")
