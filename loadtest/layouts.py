"""What posting lists cost in the store, by layout, server and number of postings.

    python -m loadtest.layouts CORPUS [--tracks 180,1800,18000] [--servers valkey-server,redis-server]

Synthetic tracks of the corpus's unknown third, some 5,600 postings each. All layouts are read and written by
functions, with the same questions; the processor time is the server's. Writes layouts.md and layouts.json to
loadtest/results/.

    strings   a string per hash
    buckets   a hash-type key per 128 hashes, a field per hash
    plain     the same, what a list has beyond 252 bytes in a string of its own
    sealed    the same, such lists as gaps in Golomb-Rice codes: fpserver's
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from fpserver.index import codec, keys, lists
from fpserver.index.store import FUNCTIONS, MAX_POSTINGS_PER_ADDITION
from fpserver.store.binary import find_server
from fpserver.store.embedded import KEEPING, launch
from fpserver.terms import Frames, Hashes, TrackIds
from loadtest.accuracy.run import say
from loadtest.bulk_index import Bucket, Command, buckets, heads_and_tails
from loadtest.corpus import music, thirds
from loadtest.scale import stock
from loadtest.scale.heard import CONFIG, readable_thirds, track_peaks
from loadtest.scale.synthetic import Sources, synthetic

RESULTS = Path(__file__).parent / "results"
N_SHARDS = 16
N_ADDED = 20  # tracks
N_QUESTIONS = 20
HASHES_PER_QUESTION = 2000
COMMANDS_PER_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How lists are kept."""

    name: str
    store: Callable[[Bucket], Iterator[Command]]
    add: Callable[[Redis, int, int, bytes], object]  # shard, track, chunk
    lookup: Callable[[Redis, int, Hashes], int]  # postings read
    packed: Callable[..., list[bytes]]  # track_id, offset, sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured."""

    server: str
    layout: str
    tracks: int
    postings: int
    bytes_per_posting: float
    added_per_cpu_s: float
    ms_per_1000_hashes: float
    postings_per_1000_hashes: float


def main() -> None:
    """Measure and write."""
    args = _arguments()
    sizes = [int(n) for n in args.tracks.split(",")]
    say("fingerprints of the tracks that synthetic ones are made of")
    sources = Sources.of([track_peaks(each) for each in readable_thirds(thirds(music(args.corpus))).unknown])
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        track_of = partial(synthetic, sources, seed=args.seed, config=CONFIG.fingerprint)
        ends = [1, *(1 + n for n in sizes), 1 + sizes[-1] + N_ADDED]
        chunks = stock.write_all(Path(folder), track_of, ends, CONFIG.fingerprint, processes=args.processes)
        added = [each for each in chunks if each.first_id > sizes[-1]]
        for size in sizes:
            held = [each for each in chunks if each.first_id <= size]
            for server in args.servers.split(","):
                for layout in LAYOUTS:
                    figures.append(_measured(server, layout, size, held, added, Path(folder)))
                    say(str(figures[-1]))
                    _write(args.out, figures)


def _measured(
    server: str,
    layout: Layout,
    n_tracks: int,
    held: Sequence[stock.Chunk],
    added: Sequence[stock.Chunk],
    folder: Path,
) -> Figures:
    rng = np.random.default_rng(1)
    with _serving(server, folder / "socket") as client:
        empty = client.info("memory")["used_memory"]
        for piece in stock.postings_of(held):
            commands = (
                command
                for bucket in buckets(piece, n_shards=N_SHARDS, packed=layout.packed)
                for command in layout.store(bucket)
            )
            while batch := list(islice(commands, COMMANDS_PER_BATCH)):
                with client.pipeline(transaction=False) as pipe:
                    for command in batch:
                        pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                    pipe.execute()
        n_postings = sum(each.n_postings for each in held)
        used = client.info("memory")["used_memory"] - empty
        tracks = [each for chunk in added for each in _tracks(chunk)]
        all_hashes = np.concatenate([hashes for _, hashes, _ in tracks])
        start, n_read = _cpu_s(client), 0
        for _ in range(N_QUESTIONS):
            asked = np.unique(rng.choice(all_hashes, HASHES_PER_QUESTION))
            for shard, (some, *_) in enumerate(_by_shard(asked)):
                n_read += layout.lookup(client, shard, asked[some])
        lookup_s = _cpu_s(client) - start
        start, n_added = _cpu_s(client), 0
        for track_id, hashes, offset in tracks:
            for shard, pieces in enumerate(_by_shard(hashes)):
                for some in pieces:
                    layout.add(
                        client,
                        shard,
                        track_id,
                        codec.pack_chunk(hashes[some], np.full(len(some), track_id), offset[some]),
                    )
            n_added += len(hashes)
        add_s = _cpu_s(client) - start
    n_hashes = N_QUESTIONS * HASHES_PER_QUESTION
    return Figures(
        server=server,
        layout=layout.name,
        tracks=n_tracks,
        postings=n_postings,
        bytes_per_posting=used / n_postings,
        added_per_cpu_s=n_added / add_s,
        ms_per_1000_hashes=1e6 * lookup_s / n_hashes,
        postings_per_1000_hashes=1000 * n_read / n_hashes,
    )


def _by_shard(hashes: Hashes) -> list[list[keys.Indices]]:
    pieces = keys.by_shard(hashes, n_shards=N_SHARDS, max_items=MAX_POSTINGS_PER_ADDITION)
    return [some or [np.zeros(0, np.int64)] for some in pieces]


def _tracks(chunk: stock.Chunk) -> Iterator[tuple[int, Hashes, npt.NDArray[np.int32]]]:
    """(track_id, hashes, offsets) of each track of a chunk."""
    (piece,) = stock.postings_of([chunk], n_ranges=1)
    for track_id in np.unique(piece.track_id).tolist():
        its = piece.track_id == track_id
        yield track_id, piece.hash[its], piece.offset[its]


def _plain(track_id: TrackIds, offset: Frames, sizes: npt.NDArray[np.int64]) -> list[bytes]:
    packed, ends = lists.plain(track_id, offset), (6 * np.cumsum(sizes)).tolist()
    return [packed[begin:end] for begin, end in pairwise([0, *ends])]


def _prefix(shard: int) -> str:
    return f"fp:{{{shard}}}:b:"


def _store_strings(bucket: Bucket) -> Iterator[Command]:
    shard, name, lows, lists_ = bucket
    for low, each in zip(lows, lists_, strict=True):
        yield "SET", _prefix(shard).encode() + name + bytes([low]), each


def _store_buckets(bucket: Bucket) -> Iterator[Command]:
    shard, name, lows, lists_ = bucket
    yield ("HSET", _prefix(shard).encode() + name, *chain(*zip(lows, lists_, strict=True)))


def _add(function: str, client: Redis, shard: int, track_id: int, chunk: bytes) -> object:
    return client.fcall(function, 1, _prefix(shard), chunk)


def _lookup(function: str, client: Redis, shard: int, hashes: Hashes) -> int:
    return len(client.fcall_ro(function, 1, _prefix(shard), codec.pack_question(hashes))) // 6


def _our_add(client: Redis, shard: int, track_id: int, chunk: bytes) -> object:
    names = keys.of_writing(shard)
    return client.fcall("fpserver_index_add", len(names), *names, b"alone:", 0, 1, chunk, track_id)


def _our_lookup(client: Redis, shard: int, hashes: Hashes) -> int:
    names, most = keys.of_reading(shard), codec.LEFT_OUT - 1
    question = codec.pack_question(hashes)
    packed = client.fcall_ro("fpserver_index_lookup", len(names), *names, most, most, question)
    return int(codec.unpack_answer(packed, len(hashes)).sizes.sum())


LAYOUTS = [
    Layout(
        name="strings",
        packed=_plain,
        store=_store_strings,
        add=partial(_add, "strings_add"),
        lookup=partial(_lookup, "strings_lookup"),
    ),
    Layout(
        name="buckets",
        packed=_plain,
        store=_store_buckets,
        add=partial(_add, "buckets_add"),
        lookup=partial(_lookup, "buckets_lookup"),
    ),
    Layout(
        name="plain",
        packed=_plain,
        store=heads_and_tails,
        add=_our_add,
        lookup=_our_lookup,
    ),
    Layout(
        name="sealed",
        packed=lists.packed,
        store=heads_and_tails,
        add=_our_add,
        lookup=_our_lookup,
    ),
]


@contextmanager
def _serving(server: str, socket: Path) -> Iterator[Redis]:
    """An empty server that keeps nothing, with all functions."""
    program = str(find_server()) if server == "valkey-server" else shutil.which(server)
    if program is None:
        raise SystemExit(f"no {server} on PATH: install it, or leave it out of --servers")
    conf = socket.with_name("conf")
    conf.write_text(f"port 0\nunixsocket {socket}\ndir {socket.parent}\n{KEEPING}appendonly no\n")
    process = launch(Path(program), conf)
    try:
        client = Redis(unix_socket_path=str(socket), retry=Retry(ConstantBackoff(0.1), 100))
        client.function_load(FUNCTIONS)
        client.function_load(Path(__file__).with_suffix(".lua").read_text(encoding="utf-8"))
        yield client
        client.close()
    finally:
        process.terminate()
        process.wait()


def _cpu_s(client: Redis) -> float:
    told = client.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


def _write(out: Path, figures: Sequence[Figures]) -> None:
    (out / "layouts.json").write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")
    lines = [
        "# What posting lists cost, by layout",
        "",
        "Bytes as stored, all included, without peaks. Processor time of the server: one core, through functions.",
        "What each layout is, stands at the top of loadtest/layouts.py.",
        "",
        "| server | postings | layout | bytes a posting | added a second | ms for 1,000 hashes | postings of them |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.server} | {each.postings:,} | {each.layout} | {each.bytes_per_posting:.2f} "
        f"| {each.added_per_cpu_s:,.0f} | {each.ms_per_1000_hashes:.2f} | {each.postings_per_1000_hashes:,.0f} |"
        for each in figures
    ]
    (out / "layouts.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", default="180,1800,18000", help="rising, with commas")
    parser.add_argument(
        "--servers", default="valkey-server", help="the one of the Python packages, or on PATH"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
