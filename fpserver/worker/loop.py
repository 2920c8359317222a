"""Take tracks from the backlog and walk each to its end.

Recordings are heard by as many lanes as there are decoding processes, and one more so that they are busy while a track
is written to the index. Fingerprints, which are heard already, have many lanes, so that they are written together.
A lane holds one claim at a time; claims in hand are renewed, claims of workers that died are taken over, and
deletes that somebody began are ended. Posting lists that have grown are sealed. Beside all that, indexed tracks are
described (describer.py), and the models that recommend are trained (trainer.py). The store may go away and come back:
lanes wait, and lose nothing.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import chain, repeat

import structlog

from fpserver import duplicates, metrics, vitals
from fpserver.errors import FpserverError, StoreUnavailable
from fpserver.ingest import (
    MAY_PASS,
    NOT_THE_RECORDINGS_FAULT,
    index_track,
    is_light,
    place_of,
    resume_deletes,
    sweep_spool,
)
from fpserver.keeping import AT_ONCE, Keeper
from fpserver.learning import learn_if_grown
from fpserver.services import Services
from fpserver.terms import Claim, Track
from fpserver.worker.describer import Describer
from fpserver.worker.trainer import Trainer

log = structlog.get_logger()

BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # between attempts at a store that does not answer
RESUME_DELETES_S = 30.0  # a delete takes a second; one that is older than this has lost its process
SEAL_S = 30.0
MEASURE_S = 5.0
LIGHT_LANES = 2 * AT_ONCE  # while a company is written, the next is got ready
SWEEP_S = 3600.0
LEARN_S = 5.0


async def work(services: Services, *, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then end what is in hand within `worker.drain_s` and give the rest back."""
    await Worker(services).run(stop)


class Worker:
    """The lanes of one worker process, and the claims they hold."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.place = place_of(services.config)
        self.consumer = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self.in_hand: dict[str, Claim] = {}
        self._keeper = Keeper(services)
        self._describer = Describer(services, processes=services.pool.n_processes)
        self._taking = asyncio.Lock()  # one lane at a time waits at the backlog
        self._to_hear = asyncio.Semaphore(services.pool.n_processes + 1)  # recordings in hand
        self._next_take_over = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Lanes and housekeeping until `stop`, then the drain."""
        claim_idle_s = self.services.config.tracks.claim_idle_s
        await self.services.index.prepare()
        await duplicates.prepare()
        async with asyncio.TaskGroup() as group:
            ended = asyncio.Event()
            housekeeping = [
                group.create_task(self._every(seconds, do, until=ended))
                for seconds, do in (
                    (claim_idle_s / 4, self._renew),
                    (claim_idle_s / 4, self._describer.renew),
                    (RESUME_DELETES_S, self._resume_deletes),
                    (SEAL_S, self._seal),
                    (SWEEP_S, self._sweep),
                    (LEARN_S, self._learn),
                    (MEASURE_S, self._measure),
                )
            ]
            n_lanes = self.services.pool.n_processes + 1 + LIGHT_LANES
            lanes = [group.create_task(self._lane(stop)) for _ in range(n_lanes)]
            group.create_task(self._describer.run(stop))
            group.create_task(Trainer(self.services).run(stop))
            log.info("worker.started", place=self.place, consumer=self.consumer, lanes=n_lanes)
            await stop.wait()
            await asyncio.wait(lanes, timeout=self.services.config.worker.drain_s)
            ended.set()
            for task in [*lanes, *housekeeping]:
                task.cancel()
        await self._give_back()
        log.info("worker.stopped", consumer=self.consumer)

    async def _lane(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with self._taking:
                claim = await self._take(stop)
                if claim is None:
                    continue
                self.in_hand[claim.ticket] = claim
                light = await asyncio.to_thread(is_light, claim.track)
                if not light:
                    await self._to_hear.acquire()
                if stop.is_set():
                    return  # it is given back
            try:
                await self._walk(claim)
            finally:
                if not light:
                    self._to_hear.release()

    async def _take(self, stop: asyncio.Event) -> Claim | None:
        """The next track: one whose worker died, or the next in the backlog; None when there is none now."""
        backlog, config = self.services.backlog, self.services.config
        if stop.is_set():
            return None
        try:
            if time.monotonic() >= self._next_take_over:
                claim = await backlog.take_over(self.place, self.consumer, now=time.time())
                if claim is not None:
                    log.info("worker.took_over", track_id=claim.track.track_id, attempt=claim.track.attempts)
                    return claim
                self._next_take_over = time.monotonic() + config.tracks.claim_idle_s / 3
            return await backlog.claim(self.place, self.consumer, block_s=config.worker.poll_s)
        except StoreUnavailable as error:
            log.warning("worker.waits_for_store", reason=error.message)
            await asyncio.sleep(1.0)
            return None

    async def _walk(self, claim: Claim) -> None:
        """Walk a track to its end, and say so in the backlog.

        A claim is in hand only while its track has not ended: what is in hand at the drain is given back.
        """
        track = claim.track
        with structlog.contextvars.bound_contextvars(track_id=track.track_id, **_batch_of(track)):
            await self._walk_named(claim)

    async def _walk_named(self, claim: Claim) -> None:
        track = claim.track
        try:
            status = await index_track(self.services, track, keeper=self._keeper)
        except (*NOT_THE_RECORDINGS_FAULT, *MAY_PASS) as error:
            log.warning("worker.puts_back", reason=error.message)
            await _insist(lambda: self.services.backlog.retry(self.place, claim, now=time.time()))
            self.in_hand.pop(claim.ticket)
            return
        except Exception as error:  # a fault of ours; it must not take the other lanes with it
            log.exception("worker.fault")
            await self._after_fault(claim, error)
            self.in_hand.pop(claim.ticket)
            return
        self.in_hand.pop(claim.ticket)
        log.info("worker.ended", status=status.value)
        await _insist(lambda: self.services.backlog.finish(self.place, claim.ticket))

    async def _after_fault(self, claim: Claim, error: Exception) -> None:
        """Try again as often as for a worker that died, then fail with the reason."""
        tracks, backlog = self.services.tracks, self.services.backlog
        if claim.track.attempts < self.services.config.tracks.max_attempts:
            await _insist(lambda: backlog.retry(self.place, claim, now=time.time()))
            return
        reason = FpserverError(f"track {claim.track.track_id}: {type(error).__name__}: {error}")
        await _insist(lambda: tracks.mark_failed(claim.track.track_id, reason, now=time.time()))
        await _insist(lambda: backlog.finish(self.place, claim.ticket))

    async def _give_back(self) -> None:
        """Put what the drain did not end back into the backlog. Without a store it is taken over later."""
        for claim in self.in_hand.values():
            with suppress(StoreUnavailable):
                await self.services.backlog.retry(self.place, claim, now=time.time())
                log.info("worker.gave_back", track_id=claim.track.track_id)

    async def _every(
        self, seconds: float, do: Callable[[], Awaitable[None]], *, until: asyncio.Event
    ) -> None:
        """Again and again. A client that is connecting may swallow a cancellation: only `until` ends it for sure."""
        while not until.is_set():
            try:
                await do()
            except StoreUnavailable as error:
                log.warning("worker.waits_for_store", reason=error.message)
            except Exception:
                log.exception("worker.fault")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await until.wait()

    async def _renew(self) -> None:
        if self.in_hand:
            await self.services.backlog.renew(self.place, self.consumer, list(self.in_hand))

    async def _resume_deletes(self) -> None:
        if n_deletes := await resume_deletes(self.services):
            log.info("worker.resumed_deletes", n_deletes=n_deletes)

    async def _seal(self) -> None:
        if n_lists := await self.services.index.seal_if_grown():
            log.info("worker.sealed", n_lists=n_lists)

    async def _sweep(self) -> None:
        if n_files := await sweep_spool(self.services, now=time.time()):
            log.info("worker.swept_spool", n_files=n_files)

    async def _learn(self) -> None:
        if self.services.config.features.parts:
            await learn_if_grown(self.services)

    async def _measure(self) -> None:
        pool = self.services.pool
        await asyncio.to_thread(vitals.tell, "worker")
        vitals.tell_pool(
            "worker", n_processes=pool.n_processes, n_running=pool.n_running, n_waiting=pool.n_waiting
        )
        for status, n_tracks in (await self.services.tracks.counts()).items():
            metrics.TRACKS.labels(status.value).set(n_tracks)
        for place, n_tracks in (await self.services.backlog.depth()).items():
            metrics.BACKLOG_DEPTH.labels(place).set(n_tracks)
        stats = await self.services.index.stats()
        metrics.INDEX_POSTINGS.set(stats.n_postings)
        metrics.STORE_BYTES.set(stats.used_memory_bytes)
        metrics.STORE_MAX_BYTES.set(stats.max_memory_bytes)


def _batch_of(track: Track) -> dict[str, str]:
    """What the log tells of a track beside its id."""
    return {} if track.batch_id is None else {"batch_id": track.batch_id}


async def _insist(do: Callable[[], Awaitable[object]]) -> None:
    """Do it again until the store takes it."""
    for wait_s in chain(BACK_OFF_S, repeat(BACK_OFF_S[-1])):
        try:
            await do()
            return
        except StoreUnavailable:
            await asyncio.sleep(wait_s)
