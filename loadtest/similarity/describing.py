"""Does describing delay what is to be identified? MP3 files over HTTP, with descriptions and without.

    python -m loadtest.similarity.describing CORPUS [--tracks 40]

The same files are sent to a real `fpserver serve` with an empty store, three times with descriptions switched on and
three times without, in turns: how long until all are indexed, and until all are described. Then once more with
descriptions: as soon as all are indexed clips of them are identified, one after the other, while they are described
and after that.
Writes describing.md and .json to loadtest/results/.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.audio.encode import encode
from fpserver.terms import PARTS, Metadata
from fpserver.web.client import Client
from loadtest import report
from loadtest.accuracy.run import say
from loadtest.ingest_rate import make_mp3
from loadtest.scale.asking import Body, Reply, one_by_one
from loadtest.server import Server, serving

ROUNDS = 3
CLIP_S, CLIP_HZ = 10.0, 22_050
AT_ONCE = 5  # clips, between two looks at what still waits
OFF = {f"FPSERVER_FEATURES__{part.upper()}": "false" for part in PARTS}


def main() -> None:
    """Measure and write."""
    args = report.arguments(__doc__, tracks=40).parse_args()
    found: dict[str, Any] = {"setting": report.machine(), "rounds": []}
    with tempfile.TemporaryDirectory(prefix="fpserver-describing-") as folder:
        files = make_mp3(Path(folder), args, mono=False)
        found["n_files"] = len(files)
        for i in range(ROUNDS):
            rounds = {}
            for name, settings in (("off", OFF), ("on", {})):
                data_dir = Path(folder) / f"{name}-{i}"
                with serving(data_dir, settings=settings) as server:
                    rounds[name] = asyncio.run(_ingested(server, files, described=name == "on"))
            found["rounds"].append(rounds)
            say(str(rounds))
        with serving(Path(folder) / "asked") as server:
            found |= asyncio.run(_asked(server, files))
    report.write("describing", found, page(found))


async def _ingested(server: Server, files: Sequence[Path], *, described: bool) -> dict[str, float]:
    begin = time.perf_counter()
    async with Client(server.address) as client:
        batch = await client.ingest([(path, path.name, Metadata()) for path in files])
        while not batch["done"]:
            await asyncio.sleep(0.05)
            batch = await client.batch(batch["batch_id"])
    found = {"indexed_s": round(time.perf_counter() - begin, 2), "audio_s": batch["audio_s"]}
    if described:
        await _all_described(server)
        found["described_s"] = round(time.perf_counter() - begin, 2)
    return found


async def _all_described(server: Server) -> None:
    async with aiohttp.ClientSession(server.address) as session:
        while await _n_undescribed(session):  # noqa: ASYNC110 – another process, no event of ours
            await asyncio.sleep(0.2)


async def _n_undescribed(session: aiohttp.ClientSession) -> int:
    async with session.get("/v1/tracks", params={"status": "indexed", "limit": 200}) as response:
        tracks = (await response.json())["tracks"]
    return sum(track["description"]["status"] == "waiting" for track in tracks)


async def _asked(server: Server, files: Sequence[Path]) -> dict[str, Any]:
    """Milliseconds of clips while tracks are described that have just been indexed, and when nothing is."""
    bodies = [_clip(path) for path in files]
    await one_by_one(server.address, bodies[:AT_ONCE])
    await _ingested(server, files, described=False)
    beside: list[Reply] = []
    coming = cycle(bodies)
    async with aiohttp.ClientSession(server.address) as session:
        while await _n_undescribed(session):
            beside += await one_by_one(server.address, list(islice(coming, AT_ONCE)))
    alone = await one_by_one(server.address, list(islice(cycle(bodies), len(beside))))

    def told(replies: Sequence[Reply]) -> dict[str, float]:
        ms = [1000 * reply.seconds for reply in replies]
        assert all(reply.served for reply in replies)
        return {
            "p50_ms": round(float(np.percentile(ms, 50)), 1),
            "p95_ms": round(float(np.percentile(ms, 95)), 1),
        }

    return {"n_clips": len(beside), "beside": told(beside), "alone": told(alone)}


def _clip(path: Path) -> Body:
    import librosa  # noqa: PLC0415 – only here

    samples, _ = librosa.load(path, sr=CLIP_HZ, mono=True, offset=20.0, duration=CLIP_S)
    return Body(kind="audio/wav", data=encode(samples, CLIP_HZ, container="wav"))


def page(found: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {i} | {each['off']['indexed_s']} | {each['on']['indexed_s']} | "
        f"{each['on']['indexed_s'] / each['off']['indexed_s']:.2f} | {each['on']['described_s']} |"
        for i, each in enumerate(found["rounds"], 1)
    )
    audio_s = found["rounds"][0]["on"]["audio_s"]
    beside, alone = found["beside"], found["alone"]
    return f"""# Descriptions beside what is to be identified

{found["setting"]}. {found["n_files"]} MP3 files, {audio_s / 60:.0f} minutes, over HTTP into an empty store.

| round | all indexed, without descriptions, s | with | ratio | all described, s |
|---|---|---|---|---|
{rows}

{found["n_clips"]} clips of {CLIP_S:.0f} s as WAV, one after the other, while tracks were described: median
{beside["p50_ms"]} ms, 95 % {beside["p95_ms"]}; as many when nothing was described:
{alone["p50_ms"]} and {alone["p95_ms"]}.
"""


if __name__ == "__main__":
    main()
