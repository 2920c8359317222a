"""The walk: a server on its own data folder, a small catalogue over HTTP, a degraded clip, the answer.

The server is left running, in a session of its own; `stop` ends it.
"""

import asyncio
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fpserver import words
from fpserver.audio.encode import encode
from fpserver.bulk.catalogues import RemoteCatalogue
from fpserver.bulk.run import Report, ingest
from fpserver.bulk.telling import IngestBar, summary
from fpserver.config import Config
from fpserver.demo.clip import Damage, DegradedClip, degraded_clip
from fpserver.demo.songs import song, title
from fpserver.dsp_pool import DspPool
from fpserver.errors import AudioError, Conflict, InvalidRequest
from fpserver.files import find_audio, sha256_of
from fpserver.run_folder import RunningServer, running_server
from fpserver.web.client import Client

N_SONGS = 12
SONG_S = (40, 60)  # shortest, longest
SONG_RATE_HZ = 22050
MAX_MUSIC_FILES = 200
SNR_DB = 8.0
BITRATE = 32_000
START_WITHIN_S = 90.0
STOP_WITHIN_S = 60.0
SAME_PLACE_S = 0.5


async def walk(config: Config, *, config_file: Path | None, music: Path | None) -> int:
    """Do it all and print it; returns 0 when the clip was recognised."""
    data_dir = Path(config.redis.data_dir).resolve()  # noqa: ASYNC240 – nobody else is served here
    server = await _server(config, config_file, data_dir)
    files = await asyncio.to_thread(_music, music) if music else await asyncio.to_thread(_songs, data_dir)
    async with Client(server.address) as client:
        with IngestBar(len(files)) as bar:
            report = await ingest(RemoteCatalogue(client), files, watch=bar.show)
        print(_told(report))
        path, clip = await _clip(config, files, report)
        clip_file = data_dir / "clip.mp3"
        clip_file.write_bytes(clip.mp3)
        print(
            f"\na clip: {clip.duration_s:.0f} s of {path.name}, from {words.clock(clip.start_s)}, with noise "
            f"{SNR_DB:.0f} dB below it, as {BITRATE // 1000} kbit/s mp3 ({clip_file})\n"
        )
        begun = time.perf_counter()
        document = await client.identify(clip_file)
        elapsed_s = time.perf_counter() - begun
        sha256 = await asyncio.to_thread(sha256_of, path)
        true_id = (await client.known([sha256])).get(sha256)
    verdict = _verdict(document, true_id, clip)
    print(_answer(document, elapsed_s))
    print(f"  truth    {path.name} at {words.clock(clip.start_s)}: {verdict}\n")
    print("try it with your own: .venv/bin/fpserver identify CLIP --server", server.address)
    print("stop it:              .venv/bin/fpserver demo --stop --data", config.redis.data_dir)
    print(f"fpserver is running at {server.address}")
    return 0 if verdict.startswith("right") else 1


async def stop(config: Config) -> int:
    """End the server of the data folder, and wait until it has gone."""
    data_dir = Path(config.redis.data_dir).resolve()  # noqa: ASYNC240
    server = running_server(data_dir)
    if server is None:
        print(f"no server runs on {data_dir}")
        return 0
    server.terminate()
    async with asyncio.timeout(STOP_WITHIN_S):
        while running_server(data_dir) is not None:  # noqa: ASYNC110 – another process, no event of ours
            await asyncio.sleep(0.1)
    print(f"stopped the server that was at {server.address}")
    return 0


async def _server(config: Config, config_file: Path | None, data_dir: Path) -> RunningServer:
    """The server that runs on the data folder, or a new one; ready to answer."""
    server = running_server(data_dir)
    if server is not None:
        print(f"found the server that runs on {data_dir}")
    process = None if server else _start(config, config_file, data_dir)
    give_up = time.monotonic() + START_WITHIN_S
    while time.monotonic() < give_up:
        server = running_server(data_dir)
        if server is not None:
            async with Client(server.address) as client:
                if await client.ready():
                    return server
        elif process is not None and process.poll() is not None:
            break
        await asyncio.sleep(0.1)
    tail = _log_file(data_dir).read_text(errors="replace").strip().splitlines()[-3:]
    raise Conflict("the server does not get ready: " + (" | ".join(tail) or f"see {_log_file(data_dir)}"))


def _start(config: Config, config_file: Path | None, data_dir: Path) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "fpserver",
        "serve",
        "--data",
        str(data_dir),
        "--port",
        str(config.web.port),
    ]
    if config_file is not None:
        command += ["--config", str(config_file)]
    data_dir.mkdir(parents=True, exist_ok=True)
    print(f"starting a server on {data_dir} (embedded store, log in {_log_file(data_dir).name})")
    with _log_file(data_dir).open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )


def _log_file(data_dir: Path) -> Path:
    return data_dir / "server.log"


def _songs(data_dir: Path) -> list[Path]:
    """Synthesise the demo's catalogue, once per data folder."""
    folder = data_dir / "songs"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(N_SONGS):
        name, artist = title(seed)
        path = folder / f"{artist} - {name}.flac"
        if not path.exists():
            duration_s = float(np.random.default_rng(seed).uniform(*SONG_S))
            tags = {"title": name, "artist": artist, "album": "The Demo Tape", "genre": "Synthetic"}
            part = path.with_suffix(".part")
            part.write_bytes(
                encode(song(seed, duration_s, SONG_RATE_HZ), SONG_RATE_HZ, container="flac", metadata=tags)
            )
            part.rename(path)
        paths.append(path)
    print(f"{N_SONGS} synthesised songs in {folder}")
    return paths


def _music(folder: Path) -> list[Path]:
    files = list(find_audio([folder]))
    if not files:
        raise InvalidRequest(f"{folder} holds no audio files")
    if len(files) > MAX_MUSIC_FILES:
        print(f"{folder} holds {len(files)} audio files; the demo takes the first {MAX_MUSIC_FILES}")
    return files[:MAX_MUSIC_FILES]


async def _clip(config: Config, files: list[Path], report: Report) -> tuple[Path, DegradedClip]:
    """A clip of one of the files that are in the catalogue; another each time."""
    refused = {name for name, _ in report.failures}
    sound = [path for path in files if str(path) not in refused and path.name not in refused]
    async with DspPool(processes=1, memory_limit_bytes=config.audio.memory_limit_bytes) as pool:
        for path in secrets.SystemRandom().sample(sound, len(sound)):
            damage = Damage(seed=secrets.randbelow(2**32), snr_db=SNR_DB, bitrate=BITRATE)
            try:
                clip = await pool.run(
                    degraded_clip, path, config.audio, damage, timeout_s=config.audio.track_timeout_s
                )
            except AudioError:
                continue
            return path, clip
    raise InvalidRequest("none of the files can be used as audio")


def _told(report: Report) -> str:
    """The run's summary; a walk that is repeated need not name every song it knows."""
    if report.failures or report.duplicates or not report.known:
        return summary(report)
    return f"{len(report.known)} of {report.n_files} songs were in the catalogue already"


def _verdict(document: dict[str, Any], true_id: int | None, clip: DegradedClip) -> str:
    if not document["matches"] or document["matches"][0]["track_id"] != true_id:
        return "NOT what was found"
    if abs(document["matches"][0]["track_offset_s"] - clip.start_s) > SAME_PLACE_S:
        return "right, but for the place: this passage comes more than once"
    return "right"


def _answer(document: dict[str, Any], elapsed_s: float) -> str:
    if not document["matches"]:
        return "  answer   nothing in the catalogue is like this clip\n"
    best = document["matches"][0]
    return "\n".join(
        (
            f"  answer   {words.name(best)}",
            f"  where    {words.place(best)}",
            f"  sure?    {words.sureness(best)}",
            f"  took     {1000 * elapsed_s:.0f} ms over HTTP, decoding and all",
        )
    )
