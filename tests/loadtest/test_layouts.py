"""All layouts hold the same lists, before and after something is added."""

from pathlib import Path

import numpy as np
import pytest

from fpserver.index import codec, keys
from loadtest.bulk_index import Postings, buckets
from loadtest.layouts import LAYOUTS, N_SHARDS, Layout, _by_shard, _serving


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_holds_every_posting(layout: Layout, rng: np.random.Generator, tmp_path: Path) -> None:
    hashes = np.sort(rng.integers(0, 400, 20_000)).astype(np.uint32) * np.uint32(61)
    piece = Postings(
        hash=hashes,
        track_id=np.sort(rng.integers(1, 900, (400, 50)), axis=1).ravel(),
        offset=rng.integers(0, 4000, 20_000).astype(np.int32),
    )
    order = np.lexsort((piece.offset, piece.track_id, piece.hash))
    piece = Postings(hash=piece.hash, track_id=piece.track_id[order], offset=piece.offset[order])
    asked = np.unique(hashes)
    with _serving("valkey-server", tmp_path / "socket") as client:
        for bucket in buckets(piece, n_shards=N_SHARDS, packed=layout.packed):
            for command in layout.store(bucket):
                client.execute_command(*command)  # type: ignore[no-untyped-call]

        def found() -> int:
            shards = enumerate(_by_shard(asked))
            return sum(layout.lookup(client, shard, asked[some]) for shard, (some, *_) in shards)

        assert found() == 20_000
        for shard in range(N_SHARDS):
            some = asked[keys.shards_of(asked, n_shards=N_SHARDS) == shard]
            chunk = codec.pack_chunk(some, np.full(len(some), 901), np.zeros(len(some), np.int32))
            layout.add(client, shard, 901, chunk)
        assert found() == 20_000 + len(asked)
