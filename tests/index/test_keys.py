import numpy as np

from fpserver.index import keys


def test_keys_of_a_shard_carry_its_hash_tag() -> None:
    names = [*keys.of_writing(7), keys.peaks_prefix(7)]
    assert names == [
        "fp:{7}:tracks",
        "fp:{7}:doing",
        "fp:{7}:n_postings",
        "fp:{7}:b:",
        "fp:{7}:t:",
        "fp:{7}:p:",
    ]

    assert keys.peaks(7, 0x1234) == b"fp:{7}:p:\0\0\x12\x34"


def test_hashes_of_a_bucket_share_a_shard() -> None:
    shards = keys.shards_of(np.arange(1 << 16, dtype=np.uint32), n_shards=16).reshape(-1, 128)
    assert (shards == shards[:, :1]).all()


def test_shards_are_known_from_before() -> None:
    hashes = np.array([0, 128, 256, 2**23 - 1, 2**32 - 1], np.uint32)
    # bucket × 2654435769 mod 2^32, upper 4 bits: 0, 0x9E3779B9, 0x3C6EF372, 65535 × …, (2^25 − 1) × …
    assert keys.shards_of(hashes, n_shards=16).tolist() == [
        (bucket * 2654435769 % 2**32) >> 28 for bucket in (hashes >> np.uint32(7)).tolist()
    ]
    assert keys.shards_of(hashes, n_shards=16).tolist()[:3] == [0, 9, 3]
    assert keys.shards_of(hashes, n_shards=1).tolist() == [0] * 5


def test_buckets_spread_evenly_over_shards() -> None:
    buckets = np.arange(1 << 16, dtype=np.uint32) << np.uint32(7)
    counts = np.bincount(keys.shards_of(buckets, n_shards=16), minlength=16)
    assert counts.min() > 0.95 * counts.mean()
    assert counts.max() < 1.05 * counts.mean()


def test_pieces_of_shards_hold_every_index_once_ordered_by_hash(rng: np.random.Generator) -> None:
    hashes = rng.integers(0, 5000, 3000).astype(np.uint32)
    pieces = keys.by_shard(hashes, n_shards=4, max_items=100)
    assert max(len(indices) for shard in pieces for indices in shard) == 100
    for shard, indices in enumerate(np.concatenate(piece) for piece in pieces):
        assert (keys.shards_of(hashes[indices], n_shards=4) == shard).all()
        order = list(zip(hashes[indices].tolist(), indices.tolist(), strict=True))
        assert order == sorted(order)
    assert sorted(np.concatenate([np.concatenate(piece) for piece in pieces])) == list(range(3000))


def test_a_shard_without_hashes_has_no_pieces() -> None:
    assert keys.by_shard(np.array([5], np.uint32), n_shards=4, max_items=10)[1:] == [[], [], []]
