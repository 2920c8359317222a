"""Kill -9 of the store while tracks are offered and walked: nothing is lost, nothing happens twice."""

import asyncio
import os
import signal
from pathlib import Path

from fpserver.config import RedisConfig, TracksConfig
from fpserver.store.connect import Client, load_functions, open_store
from fpserver.terms import Submitted, TrackStatus
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import FUNCTIONS, Tracks
from tests.tracks.offers import PLACE, submission

CONFIG = TracksConfig(claim_idle_s=0.5, max_attempts=100)
N_OFFERS = 40
N_EACH = 25


async def kill_server(client: Client) -> None:
    os.kill(int((await client.info("server"))["process_id"]), signal.SIGKILL)


async def test_tracks_survive_a_store_that_is_killed_again_and_again(tmp_path: Path) -> None:
    async with open_store(RedisConfig(data_dir=str(tmp_path))) as client:
        await load_functions(client, FUNCTIONS)
        tracks, backlog = Tracks(client, CONFIG), Backlog(client, CONFIG)
        batch_id = await tracks.create_batch(now=1.0)

        async def offer(i: int) -> list[Submitted]:
            await asyncio.sleep(0.05 * i)
            offers = [submission(f"{i}-{j}") for j in range(N_EACH)]
            return await tracks.submit(offers, now=1.0, batch_id=batch_id)

        done: set[int] = set()

        async def work(consumer: str) -> None:
            while len(done) < N_OFFERS * N_EACH:
                claim = await backlog.take_over(PLACE, consumer, now=2.0)
                claim = claim or await backlog.claim(PLACE, consumer, block_s=0.1)
                if claim is not None:
                    track_id = claim.track.track_id
                    if await tracks.mark_indexed(track_id, n_landmarks=1, duration_s=1.0, now=3.0):
                        done.add(track_id)
                    await backlog.finish(PLACE, claim.ticket)

        async def kill_thrice() -> None:
            for _ in range(3):
                await asyncio.sleep(0.6)
                await kill_server(client)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            offered = [group.create_task(offer(i)) for i in range(N_OFFERS)]
            group.create_task(kill_thrice())
            for i in range(3):
                group.create_task(work(f"w{i}"))

        submitted = [one for task in offered for one in task.result()]
        assert not any(one.duplicate for one in submitted)
        n_tracks = N_OFFERS * N_EACH
        assert sorted(one.track_id for one in submitted) == list(range(1, n_tracks + 1))
        assert (await tracks.counts())[TrackStatus.INDEXED] == n_tracks
        batch = await tracks.batch(batch_id)
        assert (batch.n_items, batch.counts, batch.audio_s) == (
            n_tracks,
            {TrackStatus.INDEXED: n_tracks},
            n_tracks,
        )
        assert await backlog.depth() == {PLACE: 0}
