"""What is asked before and after: clips of five kinds, and what users did; and their answers, without ids and times."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.demo.songs import song
from fpserver.fingerprint import wire
from fpserver.hearing import hear_clip
from fpserver.terms import Samples
from fpserver.web.media import FINGERPRINT
from loadtest.accuracy import degrade, sounds
from loadtest.corpus import RATE_HZ, Recording, cut, music, readable, thirds

CLIP_S = 7.0
SONG_S = 45.0
MAX_TRACK_S = 300.0
SNR_DB = 3.0
SPEEDS = (0.94, 1.05)
KINDS = ("clean", "noisy", "another speed", "unknown", "fingerprint")
AUDIO = "application/octet-stream"
CONFIG = Config()
PER_ANSWER = re.compile(rb'"request_id":"[^"]*"|"timings_ms":\{[^}]*\}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A body to ask with."""

    kind: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Music:
    """Recordings by what they are for."""

    catalogue: list[Recording]
    late: list[Recording]  # are being indexed during a backup
    unknown: list[Recording]


def chosen(corpus: Path | None, folder: Path, *, n_tracks: int, n_late: int) -> Music:
    """Of a corpus; without one, songs made into `folder`."""
    if corpus is None:
        made = [_made(folder, seed) for seed in range(n_tracks + n_late + 10)]
        return Music(
            catalogue=made[:n_tracks],
            late=made[n_tracks : n_tracks + n_late],
            unknown=made[n_tracks + n_late :],
        )
    parts = thirds(music(corpus))
    known = readable(
        [each for each in parts.reporting if each.seconds <= MAX_TRACK_S][: n_tracks + n_late + 10]
    )
    unknown = readable([each for each in parts.unknown if each.seconds <= MAX_TRACK_S][:20])
    return Music(catalogue=known[:n_tracks], late=known[n_tracks : n_tracks + n_late], unknown=unknown)


def clips(of: Music, n: int, *, seed: int = 1) -> list[Clip]:
    """`n` clips, the kinds in turn."""
    return [_clip(of, KINDS[i % len(KINDS)], np.random.default_rng([seed, i])) for i in range(n)]


def clip_of(recording: Recording, *, seed: int) -> Clip:
    """A clean one."""
    _, samples = cut(recording, CLIP_S, np.random.default_rng(seed))
    return Clip(kind="clean", content_type=AUDIO, body=_coded(samples))


async def answer(session: aiohttp.ClientSession, clip: Clip) -> bytes:
    """What the server says to a clip, without the request's id and times."""
    headers = {"Content-Type": clip.content_type}
    async with session.post("/v1/identify", data=clip.body, headers=headers) as response:
        return b"%d %s" % (response.status, PER_ANSWER.sub(b"", await response.read()))


async def answers(
    session: aiohttp.ClientSession, asked: Sequence[Clip], *, users: Sequence[str], track_ids: Sequence[int]
) -> dict[str, bytes]:
    """Question → answer: of clips, of what users did and what they are recommended, of what is like a track."""
    found = {f"clip {i}, {clip.kind}": await answer(session, clip) for i, clip in enumerate(asked)}
    paths = [f"/v1/users/{user}{what}" for user in users for what in ("", "/recommendations")]
    paths += [f"/v1/tracks/{track_id}{what}" for track_id in track_ids for what in ("", "/similar")]
    for path in paths:
        async with session.get(path) as response:
            found[path] = b"%d %s" % (response.status, PER_ANSWER.sub(b"", await response.read()))
    return found


def _made(folder: Path, seed: int) -> Recording:
    path = folder / f"song-{seed}.flac"
    path.write_bytes(encode(song(seed, SONG_S), 22050, container="flac"))
    return Recording(path=path, seconds=SONG_S, cluster=path.stem, package="songs", name=path.name)


def _clip(of: Music, kind: str, rng: np.random.Generator) -> Clip:
    recordings = of.unknown if kind == "unknown" else of.catalogue
    _, samples = cut(recordings[rng.integers(len(recordings))], CLIP_S, rng)
    if kind == "noisy":
        samples = degrade.add_noise(samples, sounds.pink(len(samples), rng), snr_db=SNR_DB)
    if kind == "another speed":
        samples = degrade.at_speed(samples, float(rng.choice(SPEEDS)))
    body = _coded(samples)
    if kind == "fingerprint":
        return Clip(kind=kind, content_type=FINGERPRINT, body=_fingerprint(body))
    return Clip(kind=kind, content_type=AUDIO, body=body)


def _coded(samples: Samples) -> bytes:
    return encode(degrade.normalised(samples), RATE_HZ, container="mp3", bitrate=96_000)


def _fingerprint(audio: bytes) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        file.write(audio)
        file.flush()
        return wire.pack(hear_clip(Path(file.name), CONFIG.audio, CONFIG.fingerprint), CONFIG.fingerprint)
