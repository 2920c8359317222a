"""Everything a journey needs, opened and closed in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fpserver import metrics
from fpserver.access.store import FUNCTIONS as ACCESS_FUNCTIONS
from fpserver.access.store import Keys
from fpserver.config import Config
from fpserver.dsp_pool import DspPool
from fpserver.fingerprint.stamp import stamp
from fpserver.index.store import FUNCTIONS as INDEX_FUNCTIONS
from fpserver.index.store import Index
from fpserver.map_pool import MapPool
from fpserver.recommend.models import Models
from fpserver.recommend.store import FUNCTIONS as RECOMMEND_FUNCTIONS
from fpserver.recommend.store import Feedback
from fpserver.similarity.store import Descriptions
from fpserver.store.connect import Client, load_functions, open_store
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import FUNCTIONS as TRACKS_FUNCTIONS
from fpserver.tracks.catalogue import Tracks
from fpserver.tracks.undescribed import Undescribed


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The rooms, opened on one store."""

    config: Config
    client: Client
    index: Index
    tracks: Tracks
    backlog: Backlog
    undescribed: Undescribed
    descriptions: Descriptions
    feedback: Feedback
    models: Models
    keys: Keys
    pool: DspPool
    maps: MapPool


@asynccontextmanager
async def open_services(config: Config, *, pool_processes: int) -> AsyncIterator[Services]:
    """Open the store, the index (checking its stamp), the catalogue, and a pool of decoding processes.

    With `pool_processes=0` the pool has no processes and refuses work: for callers that only read.

    Raises:
        StoreUnavailable, EmbeddedStoreMissing: there is no store to open.
        ForeignIndex: the store holds an index made by other settings.
    """
    pool = DspPool(processes=pool_processes, memory_limit_bytes=config.audio.memory_limit_bytes)
    async with pool, MapPool(config.similarity) as maps, open_store(config.redis) as client:
        await load_functions(client, INDEX_FUNCTIONS)
        await load_functions(client, TRACKS_FUNCTIONS)
        await load_functions(client, RECOMMEND_FUNCTIONS)
        await load_functions(client, ACCESS_FUNCTIONS)
        index = Index(client, config.index, observe=_observe_shard)
        await index.open(stamp(config.fingerprint))
        yield Services(
            config=config,
            client=client,
            index=index,
            tracks=Tracks(client, config.tracks),
            backlog=Backlog(client, config.tracks),
            undescribed=Undescribed(client, config.tracks),
            descriptions=Descriptions(
                client, n_shards=config.index.n_shards, timeout_s=config.redis.timeout_s
            ),
            feedback=Feedback(
                client,
                n_shards=config.index.n_shards,
                max_user_events=config.recommend.max_user_events,
                timeout_s=config.redis.timeout_s,
            ),
            models=Models(client, timeout_s=config.redis.timeout_s),
            keys=Keys(client, config.access, timeout_s=config.redis.timeout_s),
            pool=pool,
            maps=maps,
        )


def _observe_shard(node: str, seconds: float, ok: bool) -> None:
    metrics.SHARD_SECONDS.labels(node).observe(seconds)
    if not ok:
        metrics.SHARD_ERRORS.labels(node).inc()
