"""A server with very many tracks: how long a clip waits, how many are answered, and at what cost, by size.

    python -m loadtest.scale.serving CORPUS [--tracks 1000,10000,100000] [--arriving 100000] [--clips 200]

Real tracks are hidden among synthetic ones, as in `loadtest.scale`, and asked for over HTTP of a real `fpserver serve`:
one clip at a time, as fingerprint body and as WAV file; sounds that are made to cost much; and clips that arrive at
random, at one rate after the other until the server no longer keeps up, then at three times that rate. Who asks uses
the same cores. Writes serving.md, serving.json and serving.png to loadtest/results/.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from fpserver.fingerprint import wire
from fpserver.hearing import hear_clip
from fpserver.store.connect import Client, load_functions
from fpserver.terms import Metadata, Samples, Submission
from fpserver.tracks.catalogue import FUNCTIONS, Tracks
from fpserver.web.media import FINGERPRINT
from loadtest import report
from loadtest.accuracy.cells import Cell
from loadtest.accuracy.clips import render, studio
from loadtest.accuracy.peer_fpserver import wav
from loadtest.accuracy.run import say
from loadtest.corpus import RATE_HZ, music, thirds
from loadtest.scale import serving_page, stock
from loadtest.scale.among import Held, among, open_in
from loadtest.scale.asking import Body, Reply, arriving, cpu_of, one_by_one
from loadtest.scale.heard import CONFIG, STUDIO, apart, cells_to_ask, readable_thirds, track_peaks
from loadtest.scale.synthetic import Sources, track_among
from loadtest.server import Server, serving

WAV = "audio/wav"
CELLS = "clean_10s,noise_0dB_10s,phone_0dB_10s,noise_-9dB_10s,unknown_music_10s"
STEADY = "clean_10s"  # of which clips arrive
RATES = {
    FINGERPRINT: (60, 90, 120, 140, 160, 180, 210, 240),
    WAV: (15, 20, 25, 30, 34, 38, 42, 50, 60),
}  # a second
TOO_MUCH = 3.0  # times the rate that the server keeps up with
LIMIT_S = 0.5  # for 99 of 100 clips
COSTLY_S = 60.0
N_COSTLY = 5
MARK_AT_ONCE = 200


def main() -> None:
    """Measure and write."""
    args = _arguments()
    begin = time.perf_counter()
    parts = readable_thirds(thirds(music(args.corpus)))
    real = [*parts.reporting, *parts.tuning]
    unheard, more = apart(parts.unknown)
    STUDIO[:] = [studio(args.corpus, parts.reporting, unheard, args.seed)]
    cells = cells_to_ask(args.cells)
    say(f"peaks of {len(real) + len(more)} tracks, {args.clips} clips a cell")
    with ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        peaks = list(pool.map(track_peaks, [*real, *more], chunksize=4))
        made = list(pool.map(_sent, [(cell, i) for cell in cells for i in range(args.clips)], chunksize=4))
    track_ids = {each.name: i for i, each in enumerate(real, 1)}
    bodies: dict[str, list[Body]] = {}
    for cell, track, kind, data in (each for pair in made for each in pair):
        bodies.setdefault(f"{cell} {kind}", []).append(
            Body(kind=kind, data=data, track_id=track_ids.get(track, 0))
        )
    sources = Sources.of([*peaks[len(parts.reporting) : len(real)], *peaks[len(real) :]])
    track_of = partial(track_among, peaks[: len(real)], sources, CONFIG.fingerprint, args.seed)
    ends = [1, *(len(real) + 1 + n for n in dict.fromkeys([0, *args.tracks]))]
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "stock").mkdir()
        chunks = stock.write_all(work / "stock", track_of, ends, CONFIG.fingerprint, processes=args.processes)
        for n in args.tracks:
            some = stock.up_to(chunks, len(real) + n)
            measuring = _size(some, bodies, work / f"store{n}", args, at_random=n in args.arriving)
            sizes[str(n)] = asyncio.run(measuring)
            say(f"{n} synthetic tracks: measured")
    whole = {
        "setting": f"{len(real)} real tracks among synthetic ones. {args.web} web processes. Seed {args.seed}, "
        f"{report.machine()}, {(time.perf_counter() - begin) / 60:.0f} min.",
        "clips": args.clips,
        "cores": os.cpu_count(),
        "sizes": sizes,
    }
    report.write("serving", whole, serving_page.page(whole), out=args.out)
    serving_page.plot(args.out / "serving.png", sizes)


def _sent(job: tuple[Cell, int]) -> list[tuple[str, str, str, bytes]]:
    """(cell, track, media type, body) of a clip in both forms; nothing where the server would refuse it."""
    cell, number = job
    clip, pcm = render(STUDIO[0], cell, number)
    track, audio = clip.parts[0].track if clip.parts else "", wav(pcm)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(audio)
        file.flush()
        hearing = hear_clip(Path(file.name), CONFIG.audio, CONFIG.fingerprint)
    fingerprint = wire.pack(hearing, CONFIG.fingerprint)
    return [(cell.name, track, FINGERPRINT, fingerprint), (cell.name, track, WAV, audio)]


async def _size(
    chunks: Sequence[stock.Chunk],
    bodies: Mapping[str, Sequence[Body]],
    folder: Path,
    args: argparse.Namespace,
    *,
    at_random: bool,
) -> dict[str, Any]:
    """Everything that is measured of one catalogue."""
    begin = time.perf_counter()
    async with among(chunks, CONFIG, folder) as opened, open_in(folder, CONFIG) as client:
        load_s = time.perf_counter() - begin
        await _fill_catalogue(client, opened.held)
        store = int((await client.info("server"))["process_id"])
        environment = {"FPSERVER_WEB__PROCESSES": str(args.web)}
        with serving(folder, "--workers", "0", settings=environment) as server:
            waited = await asyncio.to_thread(_waited, server, store, bodies)
            found = {
                "held": _told(opened.held) | {"load_s": round(load_s)},
                "alone": waited,
                "costly": await asyncio.to_thread(_costly, server, store),
                "arriving": {},
            }
            for kind, rates in RATES.items() if at_random else ():
                steady = bodies[f"{STEADY} {kind}"]
                found["arriving"][kind] = await asyncio.to_thread(
                    _arrived, server, store, steady, rates, args
                )
        return found


def _told(held: Held) -> dict[str, Any]:
    return {
        "tracks": held.tracks,
        "hours": round(held.hours, 1),
        "postings": held.postings,
        "bytes": held.bytes,
        "bytes_per_hour": round(held.bytes_per_hour),
    }


async def _fill_catalogue(client: Client, held: Held) -> None:
    """A record of every track, as if a worker had heard it."""
    await load_functions(client, FUNCTIONS)
    tracks = Tracks(client, CONFIG.tracks)
    submissions = [
        Submission(
            source="", place="", content_sha256=f"{i:064x}", metadata=Metadata(title=f"Track {i}", artist="A")
        )
        for i in range(1, held.tracks + 1)
    ]
    ids = [each.track_id for each in await tracks.submit(submissions, now=time.time())]
    if ids != list(range(1, held.tracks + 1)):
        raise RuntimeError("the catalogue was not empty")
    for at in range(0, len(ids), MARK_AT_ONCE):
        marks = (
            tracks.mark_indexed(each, n_landmarks=1, duration_s=1.0, now=time.time())
            for each in ids[at : at + MARK_AT_ONCE]
        )
        await asyncio.gather(*marks)


def _waited(server: Server, store: int, bodies: Mapping[str, Sequence[Body]]) -> dict[str, Any]:
    """One clip at a time, by cell and form."""
    found = {}
    for name, some in bodies.items():
        asyncio.run(one_by_one(server.address, some[:10]))  # what is compiled or read once is there
        with cpu_of(server, store) as cpu:
            replies = asyncio.run(one_by_one(server.address, some))
        found[name] = _replies(replies) | {"cpu_ms": _ms_a_clip(cpu, len(some))}
    return found


def _replies(replies: Sequence[Reply]) -> dict[str, Any]:
    served = [each.seconds for each in replies if each.served] or [float("nan")]
    return {
        "clips": len(replies),
        "right": sum(each.right for each in replies),
        "refused": sum(each.status == 503 and each.retry_after for each in replies),
        "failed": sum(not each.served and not (each.status == 503 and each.retry_after) for each in replies),
        "ms": {
            name: round(1e3 * float(np.quantile(served, share)), 1)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0))
        },
    }


def _ms_a_clip(cpu_s: Mapping[str, float], n_clips: int) -> dict[str, float]:
    return {part: round(1e3 * seconds / max(1, n_clips), 2) for part, seconds in cpu_s.items()}


def _costly(server: Server, store: int) -> dict[str, Any]:
    """Sounds made to cost much, a minute of each."""
    found = {}
    for name, samples in _costly_sounds():
        pcm = (32767 * samples).astype(np.int16)
        body = Body(kind=WAV, data=wav(pcm))
        with cpu_of(server, store) as cpu:
            replies = asyncio.run(one_by_one(server.address, [body] * N_COSTLY))
        found[name] = _replies(replies) | {
            "cpu_ms": _ms_a_clip(cpu, N_COSTLY),
            "peak_mb": {part: round(n / 1e6) for part, n in server.peak_bytes().items()},
        }
    return found


def _costly_sounds() -> Iterator[tuple[str, Samples]]:
    n = int(COSTLY_S * RATE_HZ)
    time_s = np.arange(n) / RATE_HZ
    clicks = np.zeros(n)
    clicks[:: RATE_HZ // 8] = 0.9
    noise = 0.2 * np.clip(np.random.default_rng(1).standard_normal(n), -4, 4)
    beat = np.floor(4 * time_s) % 2
    chord = np.sum([np.sin(2 * np.pi * 110 * 2 ** (step / 12) * time_s) for step in range(0, 48, 3)], axis=0)
    sounds = {
        "tone of 440 Hz": 0.5 * np.sin(2 * np.pi * 440 * time_s),
        "eight clicks a second": clicks,
        "white noise": noise,
        "a chord on every beat": beat * chord / 20,
    }
    return ((name, samples.astype(np.float32)) for name, samples in sounds.items())


def _arrived(
    server: Server, store: int, bodies: Sequence[Body], rates: Sequence[float], args: argparse.Namespace
) -> dict[str, Any]:
    """Clips at random times: rate after rate until 99 % are no longer answered in time, then three times the best."""
    steady, best = [], 0.0
    for rate in rates:
        row = _at_rate(server, store, bodies, rate, args)
        steady.append(row)
        if row["refused"] or row["failed"] or row["ms"]["p99"] > 1e3 * LIMIT_S:
            break
        best = rate
    time.sleep(1.0)  # what still waited is answered
    over = _at_rate(server, store, bodies, TOO_MUCH * (best or rates[0]), args)
    after = _at_rate(server, store, bodies, max(1.0, 0.5 * best), args)
    return {"steady": steady, "best": best, "over": over, "after": after}


def _at_rate(
    server: Server, store: int, bodies: Sequence[Body], rate: float, args: argparse.Namespace
) -> dict[str, Any]:
    begin = time.perf_counter()
    with cpu_of(server, store) as cpu:
        replies = asyncio.run(
            arriving(server.address, bodies, rate=rate, seconds=args.seconds, seed=args.seed)
        )
    took_s = time.perf_counter() - begin
    served = sum(each.served for each in replies)
    return _replies(replies) | {
        "rate": rate,
        "served_per_s": round(served / took_s, 1),
        "cpu_ms": _ms_a_clip(cpu, served),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", default="1000,10000,100000", help="synthetic ones, by size, with commas")
    parser.add_argument(
        "--arriving", default="100000", help="of these sizes, those at which clips arrive at random"
    )
    parser.add_argument("--clips", type=int, default=200, help="a cell")
    parser.add_argument("--cells", default=CELLS, help=f"names, separated by commas; {STEADY} among them")
    parser.add_argument("--seconds", type=float, default=20.0, help="of arrivals at each rate")
    parser.add_argument("--web", type=int, default=os.cpu_count() or 1, help="web processes")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that prepare")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    args = parser.parse_args()
    args.tracks, args.arriving = (
        sorted({int(each) for each in text.split(",")}) for text in (args.tracks, args.arriving)
    )
    return args


if __name__ == "__main__":
    main()
