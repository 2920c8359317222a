"""Clips sent to a running server: one after the other, or as they come, whether the server keeps up or not."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import numpy as np

from loadtest.load.arrivals import open_loop
from loadtest.processes import cpu_s
from loadtest.server import Server

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A clip as it is sent."""

    kind: str  # its media type
    data: bytes
    track_id: int = 0  # whose it is; 0: nobody's


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server said, and when."""

    seconds: float  # from when the clip was to be sent
    status: int
    right: bool  # its track is the best match, or it is nobody's and nothing matches
    retry_after: bool

    @property
    def served(self) -> bool:
        """Answered, not refused."""
        return self.status == 200


@contextmanager
def cpu_of(server: Server, store: int) -> Iterator[dict[str, float]]:
    """Processor time of web processes, their decoding processes and the store, by its pid; told at the end, seconds."""

    def now() -> dict[str, float]:
        by_kind = server.cpu_s_by_kind()
        return {"web": by_kind["web"], "decoding": by_kind["decoding"], "store": cpu_s(store)}

    before, used = now(), dict[str, float]()
    yield used
    used.update({name: seconds - before[name] for name, seconds in now().items()})


async def one_by_one(address: str, bodies: Sequence[Body]) -> list[Reply]:
    """Each when the one before is answered."""
    async with _session() as session:
        return [await _ask(session, address, body, due=time.perf_counter()) for body in bodies]


async def arriving(
    address: str, bodies: Sequence[Body], *, rate: float, seconds: float, seed: int
) -> list[Reply]:
    """At random times, `rate` a second, as `loadtest.load.arrivals` sends them."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    dues = time.perf_counter() + 0.1 + np.cumsum(gaps)
    async with _session() as session:
        return await open_loop(
            dues.tolist(), lambda i, due: _ask(session, address, bodies[i % len(bodies)], due=due)
        )


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))


async def _ask(session: aiohttp.ClientSession, address: str, body: Body, *, due: float) -> Reply:
    headers = {"Content-Type": body.kind}
    async with session.post(f"{address}/v1/identify", data=body.data, headers=headers) as response:
        document = await response.json()
        found = [match["track_id"] for match in document.get("matches", [])]
        return Reply(
            seconds=time.perf_counter() - due,
            status=response.status,
            right=response.status == 200 and found[:1] == ([body.track_id] if body.track_id else []),
            retry_after="Retry-After" in response.headers,
        )
