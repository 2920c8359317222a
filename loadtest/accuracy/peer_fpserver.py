"""fpserver, asked over HTTP as anyone would: its own server, its own store, WAV bodies, `explain=1`.

Guesses that were not accepted come from the explanation: without them there are no curves.
"""

import asyncio
import http.client
import io
import json
import os
import sys
import time
import urllib.request
import wave
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import log10
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fpserver
from fpserver.config import Config, load
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.index.store import Index
from fpserver.store.connect import open_store
from fpserver.terms import Metadata
from fpserver.web.client import Client
from loadtest.accuracy.answers import Answer, Guess, digest
from loadtest.accuracy.clips import Clip
from loadtest.corpus import RATE_HZ, Pcm, Recording
from loadtest.server import Server, serving

NAME = "fpserver"
CHUNK_FILES = 16
MAX_GUESSES = 10
TIMEOUT_S = 120.0
ATTEMPTS = 4
MAX_FAILED = 0.02  # share of the catalogue that may be unreadable; with more, nothing that follows says much


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the catalogue takes in the store."""

    tracks: int
    hours: float
    used_bytes: int  # used_memory after less before
    keys_bytes: int  # sum of MEMORY USAGE
    keys_bytes_by_kind: dict[str, int]
    postings: int
    ingest_s: float

    @property
    def mb_per_hour(self) -> float:
        """As stored, all included."""
        return self.used_bytes / 1e6 / self.hours


@dataclass(slots=True)
class FpserverPeer:
    """A running server with the catalogue in it."""

    address: str
    track_of_id: dict[int, str]
    stored: Stored
    settings: Mapping[str, str]
    frame_s: float
    source: str  # digest of the server's source when it was started
    name: str = NAME
    _connection: tuple[int, http.client.HTTPConnection] | None = field(default=None, repr=False)

    @property
    def systems(self) -> list[str]:
        """Names of what answers."""
        return [self.name]

    def settings_digest(self, system: str) -> str:
        """Of its own source and settings: a changed server is asked anew."""
        return digest(self.source, sorted(self.settings.items()), sorted(self.track_of_id.values()))

    def ask(self, clip: Clip, pcm: Pcm) -> list[Answer]:
        """One request; a refusal (a silent clip, say) is an answer without guesses."""
        body = wav(pcm)
        begin = time.perf_counter()
        status, document = self._post(body)
        seconds = time.perf_counter() - begin
        if status >= 500 or status in {401, 403, 404, 429}:
            raise RuntimeError(f"the server answered {status}: {document}")
        if status != 200:
            return [
                Answer(
                    system=self.name, clip=clip.key, guesses=[], seconds=seconds, detail={"refused": document}
                )
            ]
        return [
            Answer(
                system=self.name,
                clip=clip.key,
                guesses=guesses_of(document, self.track_of_id, self.frame_s),
                seconds=seconds,
                detail={
                    "timings_ms": document["timings_ms"],
                    "steps": [
                        {key: value for key, value in step.items() if key != "candidates"}
                        for step in document.get("explanation", {}).get("steps", [])
                    ],
                },
            )
        ]

    def _post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """(status, document); a connection that was closed, or a server that is full, is tried again."""
        for attempt in range(ATTEMPTS):
            if self._connection is None or self._connection[0] != os.getpid():
                host = urlsplit(self.address).netloc
                self._connection = os.getpid(), http.client.HTTPConnection(host, timeout=TIMEOUT_S)
            connection = self._connection[1]
            try:
                connection.request(
                    "POST", "/v1/identify?explain=1", body, {"Content-Type": "application/octet-stream"}
                )
                response = connection.getresponse()
                document: dict[str, Any] = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                self._connection = None
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                if response.status != 503 or attempt == ATTEMPTS - 1:
                    return response.status, document
            time.sleep(attempt)
        raise AssertionError("every attempt returns, raises or is followed by another")


@contextmanager
def fpserver_peer(
    catalogue: Sequence[Recording], data_dir: Path, *, settings: Mapping[str, str], name: str = NAME
) -> Iterator[FpserverPeer]:
    """Start a server, ingest, answer until the end."""
    source = source_digest()
    with serving(data_dir, settings=settings) as server:
        before = _metric(server, "fpserver_store_bytes")
        begin = time.perf_counter()
        audio_s = asyncio.run(_ingest(server, catalogue))
        ingest_s = time.perf_counter() - begin
        config = load(env=settings).with_values(redis={"data_dir": str(data_dir)})
        asyncio.run(_seal(config))
        time.sleep(2)  # the store's figures are read by the second
        track_of_id = asyncio.run(_names(server))
        keys = asyncio.run(_keys_bytes(config))
        stored = Stored(
            tracks=len(track_of_id),
            hours=audio_s / 3600,
            used_bytes=int(_metric(server, "fpserver_store_bytes") - before),
            keys_bytes=sum(keys.values()),
            keys_bytes_by_kind=dict(keys),
            postings=int(_metric(server, "fpserver_index_postings")),
            ingest_s=round(ingest_s, 1),
        )
        yield FpserverPeer(
            address=server.address,
            track_of_id=track_of_id,
            stored=stored,
            settings=settings,
            frame_s=1 / frames_per_s(config.fingerprint),
            source=source,
            name=name,
        )


def guesses_of(document: Mapping[str, Any], track_of_id: Mapping[int, str], frame_s: float) -> list[Guess]:
    """Accepted matches in the order of the answer, then what was weighed and not accepted, surest first."""
    guesses = [
        Guess(
            track=track_of_id.get(match["track_id"], "?"),
            score=surety(match["false_accept_rate"], match["score"]),
            accepted=True,
            offset_s=match["track_offset_s"],
            speed=match["speed"],
            pitch=match["pitch"],
            false_accept_rate=match["false_accept_rate"],
        )
        for match in document["matches"]
    ]
    named = {guess.track for guess in guesses}
    weighed: dict[str, Guess] = {}
    for step in document.get("explanation", {}).get("steps", []):
        for candidate in step.get("candidates", []):
            track = track_of_id.get(candidate["track_id"], "?")
            guess = Guess(
                track=track,
                score=surety(candidate["false_accept_rate"], candidate["score"]),
                accepted=False,
                offset_s=candidate.get("alignment_frames", 0) * frame_s,
                speed=candidate.get("speed", 1.0),
                pitch=candidate.get("pitch", 1.0),
                false_accept_rate=candidate["false_accept_rate"],
            )
            if track not in named and (track not in weighed or weighed[track].score < guess.score):
                weighed[track] = guess
    return (guesses + sorted(weighed.values(), key=lambda each: -each.score))[:MAX_GUESSES]


def surety(false_accept_rate: float, score: float) -> float:
    """One scale for all steps: −log10 of the rate; among those whose rate is 1, below 0, the evidence decides."""
    return -log10(max(false_accept_rate, 1e-300)) if false_accept_rate < 1 else score / 1e3 - 1


def wav(pcm: Pcm) -> bytes:
    """A WAV file, mono, 16 bits, 44.1 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())
    return buffer.getvalue()


async def _ingest(server: Server, catalogue: Sequence[Recording]) -> float:
    """Seconds of audio indexed."""
    batch_id = None
    async with Client(server.address) as client:
        for first in range(0, len(catalogue), CHUNK_FILES):
            chunk = catalogue[first : first + CHUNK_FILES]
            files = [(each.path, each.name, Metadata(external_id=each.name)) for each in chunk]
            batch_id = (await client.ingest(files, batch_id=batch_id))["batch_id"]
        assert batch_id is not None
        while not (batch := await client.batch(batch_id))["done"]:  # noqa: ASYNC110 – another process
            await asyncio.sleep(0.2)
        for error in batch["errors"][:10]:
            print(f"not catalogued: {error['item']}: {error['message']}", file=sys.stderr)
        if batch["n_errors"] > MAX_FAILED * len(catalogue):
            raise SystemExit(f"{batch['n_errors']} of {len(catalogue)} tracks were not catalogued")
        return float(batch["audio_s"])


async def _names(server: Server) -> dict[int, str]:
    names: dict[int, str] = {}
    cursor = None
    async with Client(server.address) as client:
        while True:
            page = await client.tracks(limit=200, status="indexed", cursor=cursor)
            names |= {track["track_id"]: track["external_id"] for track in page["tracks"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return names


async def _seal(config: Config) -> None:
    """Do at once what the server's workers do when half a minute is over."""
    async with open_store(config.redis) as store:
        await Index(store, config.index).seal()


async def _keys_bytes(config: Config) -> Counter[str]:
    """MEMORY USAGE of every key, summed by what it holds."""
    kinds = {b"b": "postings", b"t": "postings", b"p": "constellations"}
    total: Counter[str] = Counter()
    async with open_store(config.redis) as store:
        cursor = 0
        while True:
            cursor, keys = await store.execute_command("SCAN", cursor, "COUNT", 2000)
            cursor = int(cursor)
            async with store.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.execute_command("MEMORY", "USAGE", key, "SAMPLES", "0")
                sizes = await pipe.execute()
            for key, size in zip(keys, sizes, strict=True):
                parts = bytes(key).split(b":")
                total[kinds.get(parts[2] if len(parts) > 2 else b"", "other")] += size or 0
            if cursor == 0:
                return total


def _metric(server: Server, name: str) -> float:
    page = urllib.request.urlopen(f"{server.address}/metrics", timeout=30).read().decode()
    return sum(
        float(line.split()[-1]) for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
    )


def source_digest() -> str:
    folder = Path(fpserver.__file__).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".lua"})
    return digest(*((str(path.relative_to(folder)), path.read_bytes()) for path in files))
