"""Requests, made beforehand as far as they can be: whoever sends them does as little as possible.

Clips are cut from a corpus and made worse as `loadtest.accuracy` does it. A file that goes in is spliced from stretches
of synthetic songs, so that no two are the same sound; events have ids of their own.
"""

import io
import json
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpserver.web.media import FINGERPRINT
from loadtest.load.kinds import Call, Kind

MEDIA_TYPES = {"fingerprint": FINGERPRINT, "wav": "audio/wav", "mp3": "audio/mpeg", "webm": "audio/webm"}
FILE_RATE_HZ = 22050
FILE_S = 60
STRETCHES = 8  # of a file
N_GENRES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A clip as it is sent."""

    data: bytes
    track_id: int  # whose it is; 0: nobody's


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request."""

    method: str
    path: str
    data: bytes | None = None
    media_type: str = ""
    track_id: int | None = None  # the right answer to a clip; None: it is none
    event: tuple[str, str] | None = None  # user and id of an event


@dataclass(frozen=True, slots=True, kw_only=True)
class Deck:
    """What requests are made of."""

    clips: Mapping[str, Sequence[Clip]]  # by kind
    songs: Sequence[bytes]  # mono, 16 bits, FILE_RATE_HZ
    n_tracks: int  # of the catalogue, with ids from 1
    n_users: int

    def ask(self, kind: Kind, mark: str, rng: np.random.Generator) -> Ask:
        """A request of a kind; `mark` is in no other request."""
        track_id = int(rng.integers(1, self.n_tracks + 1))
        user = f"user-{int(rng.integers(self.n_users))}"
        if kind.call is Call.IDENTIFY:
            clips = self.clips[kind.name]
            clip = clips[int(rng.integers(len(clips)))]
            return _post("/v1/identify", clip.data, MEDIA_TYPES[kind.form], track_id=clip.track_id)
        if kind.call is Call.FEEDBACK:
            event = {"user": user, "track_id": track_id, "kind": "play", "event_id": mark}
            return _post("/v1/feedback", json.dumps(event).encode(), "application/json", event=(user, mark))
        if kind.call is Call.INGEST:
            return _post("/v1/tracks", self.file(rng), MEDIA_TYPES["wav"])
        paths = {
            Call.SIMILAR: f"/v1/tracks/{track_id}/similar?k=10",
            Call.RECOMMEND: f"/v1/users/{user}/recommendations?k=10",
            Call.READ: f"/v1/tracks/{track_id}",
            Call.LIST: f"/v1/tracks?limit=20&genre=genre%20{int(rng.integers(N_GENRES))}",
        }
        return Ask(method="GET", path=paths[kind.call])

    def file(self, rng: np.random.Generator) -> bytes:
        """A WAV file as no other is."""
        n_bytes = 2 * (FILE_S * FILE_RATE_HZ // STRETCHES)
        stretches = []
        for _ in range(STRETCHES):
            tape = self.songs[int(rng.integers(len(self.songs)))]
            begin = 2 * int(rng.integers((len(tape) - n_bytes) // 2 + 1))
            stretches.append(tape[begin : begin + n_bytes])
        return _HEAD + b"".join(stretches)


def _post(path: str, data: bytes, media_type: str, **known: Any) -> Ask:
    return Ask(method="POST", path=path, data=data, media_type=media_type, **known)


def _head() -> bytes:
    """What a WAV file of FILE_S begins with."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(FILE_RATE_HZ)
        file.writeframes(bytes(2 * (FILE_S * FILE_RATE_HZ // STRETCHES) * STRETCHES))
    return buffer.getvalue()[: -2 * (FILE_S * FILE_RATE_HZ // STRETCHES) * STRETCHES]


_HEAD = _head()
