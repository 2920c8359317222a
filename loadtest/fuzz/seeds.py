"""Good inputs, from which strange ones are made."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fpserver.audio.encode import KINDS, encode
from fpserver.config import Config, FingerprintConfig
from fpserver.demo.songs import song
from fpserver.descriptors import LAYOUT, MOMENT_TIMBRE_DIM, N_PITCH_CLASSES
from fpserver.exchange import MAGIC, Footer, Header, framed, record_of
from fpserver.fingerprint import wire
from fpserver.fingerprint.stamp import stamp
from fpserver.hearing import hear_recording, hear_track
from fpserver.terms import Description, Group, Metadata, Moments, Track, TrackStatus

RATE_HZ = 11025
SONG_S = 1.6
TAGS = {"title": "Blüte", "artist": "A; B", "album": "C", "genre": "(17)Rock"}
CONFIG = Config()


@cache
def files() -> dict[str, bytes]:
    """A short song in every kind of file, by its suffix; one in stereo, one with tags."""
    sound = song(3, SONG_S, RATE_HZ)
    made = {kind: encode(sound, RATE_HZ, container=kind, metadata=TAGS) for kind in KINDS}
    made["flac stereo"] = encode(np.stack([sound, -sound]), RATE_HZ, container="flac")
    made["wav 8 channels"] = encode(np.stack([sound[:4000]] * 8), RATE_HZ, container="wav")
    return made


def cut() -> list[bytes]:
    """The same, and each cut at some places."""
    whole = list(files().values())
    return whole + [each[: len(each) * part // 8] for each in whole for part in (1, 3, 7)]


@cache
def fingerprints() -> list[bytes]:
    """Fingerprint bodies of a clip and of a track, with metadata and without."""
    config = CONFIG.fingerprint
    with TemporaryDirectory() as folder:
        path = Path(folder) / "song"
        path.write_bytes(files()["flac"])
        clip = hear_recording(path, CONFIG.audio, config)
        track, _ = hear_track(path, CONFIG.audio, config)
    return [
        wire.pack(clip, config),
        wire.pack(track, config, metadata=Metadata(title="Blüte", artist="A", isrc="DEXX00000001")),
    ]


def manifest() -> list[bytes]:
    """Manifests: what lies below the roots, what does not, and what leads out of them."""
    paths = (
        *(
            "a.mp3",
            "./a.mp3",
            "below/b.flac",
            "below/../a.mp3",
            "../secret",
            "../../../../etc/passwd",
            "/etc/passwd",
        ),
        *(
            "out/secret",
            "away",
            "loop/loop",
            "pipe",
            "below",
            "",
            ".",
            "a.mp3/",
            "a.mp3\x00.wav",
            "x" * 300,
            "x/" * 900,
        ),
        *("ü.mp3", "u\u0308.mp3", "\ud7ff", "a.mp3 ", "~/a", "file:///etc/passwd", "dangling"),
    )
    lines = [json.dumps({"path": path, "title": "t", "tags": "a, b"}).encode() for path in paths]
    return [*lines, b"\n".join(lines), b"\r\n".join(lines[:4])]


FILTER = {"genre": "Rock", "q": "x", "tempo_bpm_min": 80, "loudness_db_max": -3.5, "key": "A minor"}
EVENTS: list[dict[str, Any]] = [
    {"user": "ann", "track_id": 1, "kind": "play", "fraction": 0.5, "at": 1_700_000_000.25},
    {"user": "bob", "track_id": 2, "kind": "rating", "rating": 4, "at": "2026-01-31T12:00:00+01:00"},
    {"user": "ü/7", "track_id": 3, "kind": "like", "event_id": "e-1"},
    {"user": "eve", "track_id": 4, "kind": "skip"},
]
DOCUMENTS: dict[str, list[dict[str, Any]]] = {
    "MetadataIn": [
        {"title": "a", "tags": "x, y"},
        dict.fromkeys(("title", "artist", "album", "isrc"), "z" * 1000),
    ],
    "MetadataChanges": [{"title": None, "artist": "b"}],
    "KnownRequest": [{"sha256": ["ab" * 32, "00" * 32]}],
    "ManifestLine": [{"path": "a.mp3", "title": "t"}],
    "FeedbackIn": EVENTS,
    "MatrixRequest": [{"track_ids": [1, 2, 3], "features": {"timbre": 2, "tonal": 0.5}, "metric": "dtw"}],
    "MapRequest": [
        {"track_ids": [1, 2], "features": ["timbre"], "n_neighbors": 5, "min_dist": 0.5, "seed": 3},
        {"filter": FILTER, "limit": 10},
        {"like": 3.0},
    ],
    "RecommendationsRequest": [
        {
            "track_ids": [1],
            "disliked": [2],
            "exclude": [3],
            "user": "ann",
            "filter": FILTER,
            "k": 5,
            "seed": 1,
        }
    ],
}
QUERIES = (
    b"limit=5&max_false_accept_rate=1e-4&speed=off&explain=1",
    b"wait=1",
    b"batch_id=abc_-9",
    b"q=x&genre=Rock&tag=a&status=indexed&tempo_bpm_min=80&tempo_bpm_max=90.5&cursor=3&limit=200",
    b"k=3&features=timbre:2,rhythm:0.5&metric=cosine&transpose=1&exact=true&key=A%20minor",
    b"start_s=1.5&end_s=3&limit=5",
    b"k=3&strategy=content&diversity=0.3&max_per_artist=2&seed=1&again=1",
    b"limit=3&cursor=Qdk3zAAAAABlLTE",
)


def forms() -> list[bytes]:
    """Bodies of multipart forms, of boundary X."""
    part = b'--X\r\nContent-Disposition: form-data; name="%s"%s\r\nContent-Type: %s\r\n\r\n%s\r\n'
    metadata = part % (b"metadata", b"", b"application/json", b'{"title": "a"}')
    file = part % (b"file", b'; filename="a b.mp3"', b"audio/mpeg", b"sound" * 30)
    utf8 = part % (b"audio", b"; filename*=utf-8''%C3%BC.wav", b"audio/wav", b"RIFF")
    coded = b'--X\r\nContent-Disposition: form-data; name="clip"; filename="c"\r\nContent-Transfer-Encoding: '
    end = b"--X--\r\n"
    return [
        metadata + file + end,
        file + metadata + utf8 + end,
        utf8 + end,
        file,
        end,
        coded + b"base64\r\n\r\nc291bmQ=\r\n" + end,
        coded + b"quoted-printable\r\n\r\n=41=zz\r\n" + end,
        coded + b"binary\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd\r\n" + end,
        b"--X\r\nContent-Type: multipart/mixed; boundary=Y\r\n\r\n--Y\r\n\r\nx\r\n--Y--\r\n" + end,
    ]


TABLES = (
    b"user,track_id,kind,fraction,rating,at,event_id\nann,1,play,0.5,,1700000000,e1\nbob,2,rating,,4,2026-01-31T12:00:00Z,\n",
    b'\xef\xbb\xbfuser;title;artist;kind\r\n"an;n";"a ""b""";c;like\r\nbob;x;y;skip;;\r\n',
    b"line\treason\tuser\texternal_id\tkind\n3\twhy\tann\tx-1\tdislike\n",
    b"user,track_id,kind\n\n ,1,like\nann,x,like\nann,1\n",
)


@cache
def exports() -> list[bytes]:
    """Portable catalogues of one track and of none."""
    config = FingerprintConfig()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "song"
        path.write_bytes(files()["wav"])
        _, fingerprint = hear_track(path, CONFIG.audio, config)
    record = record_of(_track(), fingerprint.peaks, _description())
    header, none = framed(Header(stamp=stamp(config))), framed(Footer(n_tracks=0))
    return [MAGIC + header + framed(record) + framed(Footer(n_tracks=1)), MAGIC + header + none]


def _track() -> Track:
    return Track(
        track_id=1,
        status=TrackStatus.INDEXED,
        source="file:/x",
        place="x",
        content_sha256="ab" * 32,
        metadata=Metadata(title="a", tags="b, c"),
        created_at=0.0,
        updated_at=0.0,
        duration_s=SONG_S,
    )


def _description() -> Description:
    chance = np.random.default_rng(1)
    moments = Moments(
        timbre=chance.normal(size=(3, MOMENT_TIMBRE_DIM)).astype(np.float32),
        chroma=chance.random((3, N_PITCH_CLASSES), dtype=np.float32),
    )
    vectors = {group: chance.normal(size=len(LAYOUT[group])).astype(np.float32) for group in Group}
    return Description(vectors=vectors, facts={"tempo_bpm": 90.0}, key="A minor", moments=moments)
