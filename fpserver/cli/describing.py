"""`describe`: have tracks described that lack something of their description."""

import argparse
import asyncio
import time
from collections.abc import Sequence

from rich.console import Console

from fpserver.config import Config
from fpserver.descriptions import Wanted, want_missing
from fpserver.ingest import place_of
from fpserver.services import Services, open_services
from fpserver.terms import DescriptionStatus
from fpserver.worker.describer import Describer

LOOK_S = 0.3
PAGE = 200


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Describe what lacks something, or let it wait for a worker; 1 when some could not be described."""
    return asyncio.run(_run(config, again=arguments.again, leave=arguments.leave))


async def _run(config: Config, *, again: bool, leave: bool) -> int:
    async with open_services(config, pool_processes=0) as services:
        wanted = await want_missing(services, again=again)
        print(_sentence(wanted))
        if leave or not wanted.track_ids:
            return 0
        await _work(services)
        failures = await _failures(services, wanted.track_ids)
    for line in failures:
        print(line)
    print(f"described: {len(wanted.track_ids) - len(failures)}; failed: {len(failures)}")
    return 1 if failures else 0


def _sentence(wanted: Wanted) -> str:
    words = [f"{wanted.n_complete} tracks lack nothing", f"{len(wanted.track_ids)} wait to be described"]
    if wanted.n_no_audio:
        words.append(f"{wanted.n_no_audio} cannot be: they came as fingerprints, or their files are gone")
    if wanted.n_elsewhere:
        words.append(f"{wanted.n_elsewhere} have their files at another place")
    return "; ".join(words)


async def _work(services: Services) -> None:
    """Describe, beside whatever worker runs, until nothing waits."""
    place, stop = place_of(services.config), asyncio.Event()
    n_first, start = await services.undescribed.n_waiting(place), time.monotonic()
    describer = Describer(services, processes=services.config.worker.n_processes)
    working = asyncio.create_task(describer.run(stop))
    try:
        with Console(stderr=True).status("describing") as status:
            while not working.done() and (n_left := await services.undescribed.n_waiting(place)):
                await describer.renew()
                rate = (n_first - n_left) / (time.monotonic() - start)
                status.update(f"{n_left} wait, {rate:.2f} a second are described")
                await asyncio.wait([working], timeout=LOOK_S)
    finally:
        stop.set()
        await working


async def _failures(services: Services, track_ids: Sequence[int]) -> list[str]:
    failures = []
    for first in range(0, len(track_ids), PAGE):
        tracks = await services.tracks.get(track_ids[first : first + PAGE])
        failures += [
            f"track {track.track_id}, {track.metadata.title}: {track.description_message}"
            for track in tracks.values()
            if track.description in (DescriptionStatus.FAILED, DescriptionStatus.NO_AUDIO)
        ]
    return failures
