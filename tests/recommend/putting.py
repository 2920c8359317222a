"""A process that puts models into a store, one after the other: `python -m tests.recommend.putting URL SEED N`."""

import asyncio
import sys

from fpserver.config import RedisConfig
from fpserver.recommend.models import Figures, Models
from fpserver.store.connect import open_store

FIGURES = Figures(
    trained_at=1000.0,
    reading_s=1.0,
    training_s=2.0,
    training_cpu_s=1.5,
    n_users=3,
    n_tracks=4,
    n_events=5,
    n_changes=6,
    peak_memory_bytes=7,
)


def packed_model(seed: int, n_bytes: int = 50_000) -> bytes:
    """Bytes that are no other seed's."""
    return b"".join((1000 * seed + i).to_bytes(4, "little") for i in range(n_bytes // 4))


async def _put(url: str, seed: int, n: int) -> None:
    async with open_store(RedisConfig(url=url)) as client:
        for i in range(n):
            await Models(client, timeout_s=5.0).put(packed_model(seed + i), figures=FIGURES)


if __name__ == "__main__":
    from fpserver.recommend import models

    models.PIECE_BYTES = 4096
    asyncio.run(_put(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
