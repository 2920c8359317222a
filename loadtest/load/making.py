"""A catalogue on disk and the requests to ask of it, made once and kept: each measurement works on a copy.

Real tracks of a corpus are the first of the catalogue, and what clips are cut from; the others are made of further
tracks (loadtest.scale.synthetic). What all of them sound like, who made them and what people did with them is made
up as in loadtest.recommend_training, and a model is trained on it.
"""

import asyncio
import json
import pickle
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.demo.songs import song
from fpserver.errors import AudioError
from fpserver.fingerprint import wire
from fpserver.fingerprint.stamp import stamp
from fpserver.hearing import hear_clip
from fpserver.services import open_services
from loadtest.accuracy.clips import render, studio
from loadtest.accuracy.peer_fpserver import wav
from loadtest.accuracy.run import say
from loadtest.corpus import RATE_HZ, as_samples, music, thirds
from loadtest.load.deck import FILE_RATE_HZ, Clip, Deck
from loadtest.load.kinds import KINDS, UNKNOWN, Call, Kind
from loadtest.recommend_crowd import crowd
from loadtest.recommend_training import fill_feedback, fill_tracks
from loadtest.scale import stock
from loadtest.scale.among import fill
from loadtest.scale.heard import CONFIG, STUDIO, apart, cells_to_ask, readable_thirds, track_peaks
from loadtest.scale.synthetic import Sources, track_among

BITRATES = {"mp3": 64_000, "webm": 32_000}
N_SONGS = 16
SONG_S = 30.0
N_EVENTS = 100_000
TOLD = ("n_real", "n_tracks", "n_clips", "n_users", "seed")  # what was made is made of these
DECK, STORE = "deck.pickle", "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be made."""

    corpus: Path
    n_real: int
    n_tracks: int  # with the real ones
    n_clips: int  # of each kind
    n_users: int
    seed: int
    processes: int


def made(wanted: Wanted, folder: Path) -> Deck:
    """The requests; the data folder of a server with the catalogue is `folder`/store. Taken up where it is there."""
    told = {name: str(getattr(wanted, name)) for name in TOLD} | {
        "corpus": str(wanted.corpus.resolve()),
        "stamp": str(stamp(CONFIG.fingerprint)),
    }
    mark, kept = folder / "made.json", folder / DECK
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == told:
        deck: Deck = pickle.loads(kept.read_bytes())
        return deck
    folder.mkdir(parents=True, exist_ok=True)
    parts = readable_thirds(thirds(music(wanted.corpus)))
    known, (unheard, more) = parts.reporting[: wanted.n_real], apart(parts.unknown)
    STUDIO[:] = [studio(wanted.corpus, known, unheard, wanted.seed)]
    say(f"peaks of {len(known)} real tracks, and what {wanted.n_tracks} are made of")
    sources = [*parts.tuning, *more]
    with ProcessPoolExecutor(wanted.processes, mp_context=get_context("fork")) as pool:
        peaks = list(pool.map(track_peaks, [*known, *sources], chunksize=4))
        say(f"{wanted.n_clips} clips of each kind")
        track_ids = {each.name: i for i, each in enumerate(known, 1)}
        jobs = [
            (kind, i, track_ids)
            for kind in KINDS
            if kind.call is Call.IDENTIFY
            for i in range(wanted.n_clips)
        ]
        clips = list(pool.map(_clip, jobs, chunksize=4))
        songs = list(pool.map(_song, range(N_SONGS)))
    deck = Deck(clips=_by_kind(jobs, clips), songs=songs, n_tracks=wanted.n_tracks, n_users=wanted.n_users)
    track_of = partial(
        track_among, peaks[: len(known)], Sources.of(peaks[len(known) :]), CONFIG.fingerprint, wanted.seed
    )
    asyncio.run(_fill(folder / STORE, track_of, wanted))
    kept.write_bytes(pickle.dumps(deck))
    mark.write_text(json.dumps(told), encoding="utf-8")
    return deck


def _by_kind(
    jobs: Sequence[tuple[Kind, int, dict[str, int]]], clips: Sequence[Clip | None]
) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = {}
    for (kind, _, _), clip in zip(jobs, clips, strict=True):
        if clip is not None:
            found.setdefault(kind.name, []).append(clip)
    return found


def _clip(job: tuple[Kind, int, dict[str, int]]) -> Clip | None:
    """A clip as it is sent; None where the server would refuse it."""
    kind, number, track_ids = job
    (cell,) = cells_to_ask(kind.cell)
    truth, pcm = render(STUDIO[0], cell, number)
    if kind.form in BITRATES:
        data = encode(as_samples(pcm), RATE_HZ, container=kind.form, bitrate=BITRATES[kind.form])
    else:
        data = wav(pcm)
    with tempfile.NamedTemporaryFile(suffix=".part") as file:
        file.write(data)
        file.flush()
        try:
            hearing = hear_clip(Path(file.name), CONFIG.audio, CONFIG.fingerprint)
        except AudioError:
            return None
    if kind.form == "fingerprint":
        data = wire.pack(hearing, CONFIG.fingerprint)
    track = 0 if kind.cell == UNKNOWN else track_ids[truth.parts[0].track]
    return Clip(data=data, track_id=track)


def _song(seed: int) -> bytes:
    return (32767 * song(9000 + seed, SONG_S, FILE_RATE_HZ)).astype(np.int16).tobytes()


async def _fill(data_dir: Path, track_of: stock.TrackOf, wanted: Wanted) -> None:
    """A store with the catalogue, what people did with it, and the index."""
    config = Config().with_values(redis={"data_dir": str(data_dir)})
    with tempfile.TemporaryDirectory() as folder:
        say("the index")
        ends = [1, wanted.n_tracks + 1]
        chunks = await asyncio.to_thread(
            stock.write_all, Path(folder), track_of, ends, CONFIG.fingerprint, processes=wanted.processes
        )
        async with open_services(config, pool_processes=0) as services:
            await fill(services.client, chunks, config)
            say("descriptions and feedback")
            await fill_tracks(services, wanted.n_tracks)
            ids = sorted([each for each, _ in await services.tracks.changes(after=0, limit=10**7)])
            if ids != list(range(1, wanted.n_tracks + 1)):
                raise RuntimeError(f"{data_dir} is no empty store")
            people = crowd(np.array(ids), n_users=wanted.n_users, n_events=N_EVENTS, seed=wanted.seed)
            await fill_feedback(services, people)
