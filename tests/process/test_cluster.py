"""The same walk on a Cluster of three masters, one of which is killed and started again in the middle."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver.audio.encode import encode
from fpserver.web.client import Client
from loadtest.cluster import Cluster, joined, kill
from tests.opened import song_file
from tests.process.running import serving, started
from tests.synth import RATE_HZ, song

N_TRACKS = 16
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with joined(tmp_path / "cluster") as cluster:
        yield cluster


async def test_an_ingest_on_a_cluster_outlives_the_restart_of_a_master(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FPSERVER_REDIS__URL", cluster.url)
    music, clip = tmp_path / "music", tmp_path / "clip.mp3"
    music.mkdir()
    for seed in range(N_TRACKS):
        song_file(music, seed, duration_s=15.0)
    clip.write_bytes(
        encode(song(2, 15.0)[4 * RATE_HZ : 11 * RATE_HZ], RATE_HZ, container="mp3", bitrate=48_000)
    )

    with serving(tmp_path / "data") as server:
        async with Client(server.address) as client:
            uploading = started("ingest", music, "--server", server.address)
            async with asyncio.timeout(60):
                while len((await client.tracks(status="indexed"))["tracks"]) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            kill(cluster.nodes[1])
            await asyncio.sleep(0.5)
            cluster.nodes[1].start()
            told, _ = await asyncio.to_thread(uploading.communicate)
            assert uploading.returncode == 0, told
            assert told.startswith(f"{N_TRACKS} files: {N_TRACKS} indexed"), told
            tracks = (await client.tracks(limit=200))["tracks"]
            assert {track["status"] for track in tracks} == {"indexed"}
            answer = await client.identify(clip)
        assert answer["degraded"] is False
        assert answer["matches"][0]["title"] == "song-2"
        assert answer["matches"][0]["track_offset_s"] == pytest.approx(4.0, abs=0.1)
        doctor = started("doctor", "--data", tmp_path / "data")
        told, _ = await asyncio.to_thread(doctor.communicate)
        assert doctor.returncode == 0, told
