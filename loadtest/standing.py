"""A server with a small catalogue behind it, as it stands before something strange is asked of it.

Two web processes, a worker and a store of their own; a few songs that are indexed and described, and what a few
people did with them. `knows_its_songs` tells whether it still does what it is for.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import numpy as np

from fpserver.audio.encode import encode
from fpserver.demo.clip import under_noise
from fpserver.demo.songs import song, title
from fpserver.terms import Metadata
from fpserver.web.client import Client
from loadtest.server import Server, serving

N_SONGS = 6
SONG_S = 24.0
RATE_HZ = 22050
CLIP_FROM_S, CLIP_S, SNR_DB = 7.0, 8.0, 10.0
SAME_PLACE_S = 0.1
N_GOOD = 40  # answers in a row
DESCRIBED_WITHIN_S = 180.0
SETTINGS = {
    "FPSERVER_WEB__PROCESSES": "2",
    "FPSERVER_WEB__PLACES": "16",  # to be refused for want of a place would say nothing of what is strange
    "FPSERVER_WEB__UPLOAD_IDLE_TIMEOUT_S": "2.0",
    "FPSERVER_WEB__CLIP_UPLOAD_TIMEOUT_S": "5.0",
    "FPSERVER_WEB__MAX_WAIT_S": "5.0",
    "FPSERVER_WORKER__POLL_S": "0.2",
    "FPSERVER_AUDIO__MAX_TRACK_BYTES": str(4 * 2**20),
    "FPSERVER_AUDIO__MAX_CLIP_BYTES": str(2 * 2**20),
    "FPSERVER_AUDIO__MAX_TRACK_S": "120.0",
    "FPSERVER_LOG__FORMAT": "json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The server, and what is behind it."""

    server: Server
    track_ids: tuple[int, ...]
    users: tuple[str, ...]
    batch_id: str
    clip: bytes  # of the first track, from CLIP_FROM_S on, under noise
    log: Path
    music: Path  # the manifest root
    key: str | None = None  # that the server asks for; it may do everything


@contextmanager
def standing(
    data_dir: Path, *, settings: Mapping[str, str] | None = None, guarded: bool = False
) -> Iterator[Standing]:
    """Start a server, and fill it; it ends with the context. A guarded one is started anew, and asks for keys."""
    music = data_dir.parent / f"{data_dir.name}-music"
    music.mkdir(parents=True, exist_ok=True)
    files = [_file(music, seed) for seed in range(N_SONGS)]
    given = SETTINGS | {"FPSERVER_WEB__MANIFEST_ROOTS": str(music)} | dict(settings or {})
    with serving(data_dir, settings=given) as server:
        ids, batch_id, users = asyncio.run(_filled(server.address, files))
        stood = Standing(
            server=server,
            track_ids=tuple(ids),
            users=users,
            batch_id=batch_id,
            clip=a_clip(),
            log=data_dir / "server.log",
            music=music,
        )
        if not guarded:
            yield stood
            return
    key = _made_key(data_dir)
    with serving(data_dir, settings=given | {"FPSERVER_ACCESS__REQUIRED": "true"}) as server:
        yield replace(stood, server=server, key=key)


def _made_key(data_dir: Path) -> str:
    """A key that may do everything, as much of it as one can."""
    command = ("create", "everything", "--scope", "admin", "--rate", "100000", "--burst", "1000000")
    made = subprocess.run(
        [sys.executable, "-m", "fpserver", "keys", *command, "--data", str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def knows_its_songs(stood: Standing) -> bool:
    """Whether the clip is found in its track, at its place; a track that was deleted meanwhile is put back."""

    async def ask() -> bool:
        path = stood.music / "clip.mp3"
        path.write_bytes(stood.clip)
        async with Client(stood.server.address, key=stood.key) as client:
            added = await client.add(_file(stood.music, 0), Metadata(), wait=True)
            matches = (await client.identify(path))["matches"]
        path.unlink()
        return any(  # the clip itself may have become a track meanwhile
            match["track_id"] == added["track_id"]
            and abs(match["track_offset_s"] - CLIP_FROM_S) < SAME_PLACE_S
            for match in matches
        )

    return asyncio.run(ask())


def _file(folder: Path, seed: int) -> Path:
    path = folder / f"song {seed}.mp3"
    if not path.exists():
        path.write_bytes(encode(song(seed, SONG_S, RATE_HZ), RATE_HZ, container="mp3", bitrate=96_000))
    return path


def a_clip() -> bytes:
    """Some seconds of the first song, under noise."""
    begin, end = round(CLIP_FROM_S * RATE_HZ), round((CLIP_FROM_S + CLIP_S) * RATE_HZ)
    heard = under_noise(song(0, SONG_S, RATE_HZ)[begin:end], SNR_DB, np.random.default_rng(1))
    return encode(heard, RATE_HZ, container="mp3", bitrate=64_000)


async def _known_everywhere(address: str, ids: list[int]) -> None:
    """Wait until every web process compares and recommends all tracks: new connections go to either."""
    n_good = 0
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(DESCRIBED_WITHIN_S):
        while n_good < N_GOOD:
            for path in (f"/v1/tracks/{ids[0]}/similar?k=50", "/v1/users/ann/recommendations"):
                async with session.get(f"{address}{path}") as response:
                    told = await response.json()
                n_there = len(told.get("neighbours", told.get("recommendations", ())))
                n_good = n_good + 1 if n_there and response.status == 200 else 0
            await asyncio.sleep(0.05)


async def _filled(address: str, files: list[Path]) -> tuple[list[int], str, tuple[str, ...]]:
    """(track ids, a batch's id, users) of a catalogue that is indexed and described."""
    async with Client(address) as client:
        names = [title(seed) for seed in range(len(files))]
        tracks = [
            await client.add(
                path, Metadata(title=name, artist=artist, genre="made", tags="new, loud"), wait=True
            )
            for path, (name, artist) in zip(files, names, strict=True)
        ]
        ids = [int(track["track_id"]) for track in tracks]
        batch = await client.ingest([(files[0], files[0].name, Metadata())])
        async with asyncio.timeout(DESCRIBED_WITHIN_S):
            while not all([(await client.track(each))["described"] for each in ids]):  # noqa: ASYNC110
                await asyncio.sleep(0.2)  # another process, no event of ours
    users = ("ann", "bob", "eve")
    events = [
        {"user": user, "track_id": each, "kind": kind}
        for user, liked in zip(users, (ids[:3], ids[2:], ids[1:5]), strict=True)
        for each, kind in zip(liked, ("like", "play", "skip", "dislike"), strict=False)
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/v1/feedback", json={"events": events}) as response,
    ):
        response.raise_for_status()
    await _known_everywhere(address, ids)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/v1/map", json={"track_ids": ids}) as drawn,
    ):
        await drawn.read()  # the first map takes its time
    return ids, str(batch["batch_id"]), users
