"""The index: postings by hash in shards, peaks by track.

Always true: a track's peaks are written before its first posting and removed after its last, so whoever finds
a track half written or half removed knows which postings it may have; and each chunk of its postings is
written once, however often `add` is repeated.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import zip_longest
from typing import TypeAlias

import numpy as np

from fpserver.config import IndexConfig
from fpserver.errors import Conflict, StoreUnavailable
from fpserver.index import codec, keys, lists, rewriting, stamp
from fpserver.index import peaks as peaks_codec
from fpserver.store.nodes import Call, Client, Nodes, Observer, Reply
from fpserver.terms import Fingerprint, Hashes, IndexStats, Landmarks, Lookup, Peaks, TrackPeaks, Window
from fpserver.thinking import think

FUNCTIONS = files(__package__).joinpath("functions.lua").read_text(encoding="utf-8")

# How much one call may do, so that it holds a node up for some tens of milliseconds at most.
MAX_POSTINGS_PER_ADDITION = 2048
MAX_HASHES_PER_QUESTION = 8192

GROWN = 1.1  # times as many postings as when lists were last sealed: time to do it again
SEALING_S = 600  # after which another process may do it, too: no harm but the work
_ALL = codec.LEFT_OUT - 1  # postings

Question: TypeAlias = tuple[int, keys.Indices]  # a shard, and which of the hashes it is asked


class Index:
    """The index on one store. Opened once, used by many at the same time."""

    def __init__(self, client: Client, config: IndexConfig, *, observe: Observer | None = None) -> None:
        self._config = config
        self._nodes = Nodes(client, functions=FUNCTIONS, observe=observe)

    async def open(self, fingerprint_stamp: Mapping[str, str]) -> None:
        """Stamp a new index with the settings it is made with, or check an old one's.

        Raises:
            ForeignIndex: it was made by other settings.
            StoreUnavailable: the store does not answer.
        """
        ours = stamp.complete(fingerprint_stamp, n_shards=self._config.n_shards)
        calls = [
            Call(key=keys.STAMP, command=("SETNX", keys.STAMP, stamp.write(ours))),
            Call(key=keys.STAMP, command=("GET", keys.STAMP)),
        ]
        _, stored = await self._nodes.demand(calls, timeout_s=self._config.shard_timeout_s)
        stamp.check(stored, ours)

    async def prepare(self) -> None:
        """Make ready to look up, so that no clip waits for it: some seconds where it was never done before."""
        await think(lists.warm_up)
        await think(peaks_codec.warm_up)

    async def add(self, track_id: int, fingerprint: Fingerprint) -> None:
        """Keep a track's fingerprint. Repeating it changes nothing, also after a crash in the middle.

        Raises:
            Conflict: the track is being removed or was begun together with others, or another fingerprint was begun or
                kept under its id: remove that first, by the landmarks of the peaks that the index holds.
            AudioTooLong, InvalidRequest: an offset, frame, bin or the id needs more bits than a posting has.
            StoreUnavailable: a shard did not answer; repeat it later.
        """
        await self.add_together({track_id: fingerprint})

    async def add_together(self, fingerprints: Mapping[int, Fingerprint]) -> None:
        """Keep tracks' fingerprints, some dozens: a posting list that several are in is written once.

        Repeating it with the same tracks changes nothing, also after a crash in the middle.

        Raises:
            Conflict: as of `add`, for one of them; add them one by one.
            AudioTooLong, InvalidRequest, StoreUnavailable: as of `add`.
        """
        if not fingerprints:
            return
        peaks, additions = await think(self._pack_addition, fingerprints)
        await self._keep_peaks(peaks)
        for calls in _in_step(additions):
            if -1 in await self._write(calls):
                raise Conflict(
                    f"track {' or '.join(map(str, fingerprints))} is being removed from the index, or was begun "
                    "together with others: it can be added after its removal"
                )

    async def remove(self, track_id: int, landmarks: Landmarks) -> int:
        """Cut a track's postings under the hashes of these landmarks, then forget its peaks.

        Returns:
            How many postings were cut: 0 when it is repeated.

        Raises:
            StoreUnavailable: a shard did not answer; repeat it later.
        """
        by_shard = self._by_shard(np.unique(landmarks.hash))
        await self._write([self._pack_removal(track_id, shard, is_done=False) for shard in by_shard])
        rewriting = (self._rewrite(shard, hashes, without=track_id) for shard, hashes in by_shard.items())
        n_cut = sum(n_less for _, n_less in await asyncio.gather(*rewriting))
        await self._write([self._pack_removal(track_id, shard, is_done=True) for shard in by_shard])
        shard = keys.peaks_prefix(self._shard_of_track(track_id))
        await self._write_one(Call(key=shard, command=("UNLINK", self._peaks_key(track_id))))
        return n_cut

    async def seal_if_grown(self) -> int:
        """Seal when the index has grown by GROWN since it was last done; of several that ask, one does it.

        Returns:
            How many lists were sealed.

        Raises:
            StoreUnavailable: a shard did not answer; what is sealed stays so.
        """
        n_postings = (await self.stats()).n_postings
        lease = ("SET", keys.SEALING, 1, "NX", "EX", SEALING_S)
        if not await self._write_one(Call(key=keys.SEALING, command=lease)):
            return 0
        try:
            get = Call(key=keys.SEALED, command=("GET", keys.SEALED))
            n_before = int(await self._write_one(get) or 0)
            n_sealed = await self.seal() if n_postings > GROWN * n_before else 0
            if n_postings > GROWN * n_before or n_postings < n_before:
                await self._write_one(Call(key=keys.SEALED, command=("SET", keys.SEALED, n_postings)))
            return n_sealed
        finally:
            await self._write_one(Call(key=keys.SEALING, command=("DEL", keys.SEALING)))

    async def seal(self) -> int:
        """Seal the posting lists that are worth it, while others read and add; repeat it after a crash anywhere.

        Returns:
            How many were sealed.

        Raises:
            StoreUnavailable: a shard did not answer; what is sealed stays so.
        """
        n_sealed = 0
        async for names in self._nodes.scan(keys.TAILS, timeout_s=self._config.write_timeout_s):
            for shard, hashes in keys.of_tails(names).items():
                n_sealed += (await self._rewrite(shard, hashes))[0]
        return n_sealed

    async def lookup(self, hashes: Hashes, *, max_postings: int | None = None) -> Lookup:
        """The posting lists of these hashes, which are unique; one round trip per node, nodes in parallel.

        Rarest first: where a shard's lists are more than its part of `max_postings`, which goes by the hashes it is
        asked, the longest are left out. So are lists longer than `max_postings_per_hash`.
        `degraded`: a shard did not answer in time.

        Args:
            hashes: asked for.
            max_postings: read in all, at most `max_postings_per_lookup`, which None stands for.

        Raises:
            StoreUnavailable: no shard answered.
        """
        most = self._config.max_postings_per_lookup
        max_postings = most if max_postings is None else min(max_postings, most)
        questions, calls = await think(self._pack_questions, hashes, max_postings)
        replies = await self._read(calls)
        return await think(_lookup_of, questions, replies)

    async def windows(self, windows: Sequence[Window]) -> list[Peaks | None]:
        """Peaks of these parts of tracks, each of at least the frames asked for; one round trip per node.

        Frames and `n_frames` are the track's. None where the index has no such track, or its shard did not answer.

        Raises:
            StoreUnavailable: no shard answered.
        """
        pieces, questions, calls = self._pack_windows(windows)
        replies = await self._read(calls)
        return await think(_windows_of, len(windows), pieces, questions, replies)

    async def peaks(self, track_ids: Sequence[int]) -> dict[int, TrackPeaks]:
        """All peaks of these tracks, in one round trip per node.

        Without those that the index does not hold, and those whose shard did not answer in time.

        Raises:
            StoreUnavailable: no shard answered.
        """
        by_shard: dict[int, list[int]] = {}
        for track_id in dict.fromkeys(track_ids):
            by_shard.setdefault(self._shard_of_track(track_id), []).append(track_id)
        calls = []
        for ids in by_shard.values():
            shard = keys.peaks_prefix(self._shard_of_track(ids[0]))
            calls.append(Call(key=shard, command=("MGET", *map(self._peaks_key, ids))))
        replies = await self._read(calls)
        return {
            track_id: await think(peaks_codec.unpack, packed)
            for ids, reply in zip(by_shard.values(), replies, strict=True)
            if not isinstance(reply, StoreUnavailable)
            for track_id, packed in zip(ids, reply, strict=True)
            if packed is not None
        }

    async def stats(self) -> IndexStats:
        """How much the index holds.

        Raises:
            StoreUnavailable: a shard did not answer.
        """
        timeout_s = self._config.shard_timeout_s
        names = [keys.n_postings(shard) for shard in range(self._config.n_shards)]
        calls = [Call(key=name, command=("GET", name)) for name in names]
        counts = await self._nodes.demand(calls, timeout_s=timeout_s)
        used_bytes, max_bytes = await self._nodes.memory_bytes(timeout_s=timeout_s)
        return IndexStats(
            n_postings=sum(int(count or 0) for count in counts),
            used_memory_bytes=used_bytes,
            max_memory_bytes=max_bytes,
        )

    async def _read(self, calls: Sequence[Call]) -> list[Reply | StoreUnavailable]:
        """Replies, some of which may be missing.

        Raises:
            StoreUnavailable: all are.
        """
        replies = await self._nodes.ask(calls, timeout_s=self._config.shard_timeout_s)
        failures = [reply for reply in replies if isinstance(reply, StoreUnavailable)]
        if failures and len(failures) == len(replies):
            raise failures[0]
        return replies

    async def _rewrite(self, shard: int, hashes: Hashes, *, without: int | None = None) -> tuple[int, int]:
        """Put others in the place of lists of one shard: without a track, those that it is in; else sealed ones.

        What was added in the meantime stays, and a list that was rewritten in the meantime is read again.

        Returns:
            Lists that were replaced, and by how many postings they are shorter.
        """
        n_lists = n_less = 0
        for piece in rewriting.pieces(hashes, (await self._lists(shard, hashes, max_postings=0)).left_out):
            left = piece
            while len(left):
                answer = await self._lists(shard, left, max_postings=_ALL)
                changed, replacements, less = await think(rewriting.replacements, answer, without)
                left = left[changed]
                if not len(left):
                    break
                packed = codec.pack_replacements(left, replacements)
                call = Call.function("fpserver_index_replace", keys.of_reading(shard), packed)
                done = np.frombuffer(await self._write_one(call), np.uint8) == ord("1")
                n_lists, n_less = n_lists + int(done.sum()), n_less + int(less[done].sum())
                left = left[~done]
        return n_lists, n_less

    async def _lists(self, shard: int, hashes: Hashes, *, max_postings: int) -> codec.Answer:
        """Lists of one shard, or their lengths alone if no posting may be read."""
        question = codec.pack_question(hashes)
        call = Call.function(
            "fpserver_index_lookup", keys.of_reading(shard), max_postings, max_postings, question
        )
        return codec.unpack_answer(await self._write_one(call), len(hashes))

    def _by_shard(self, hashes: Hashes) -> dict[int, Hashes]:
        """The hashes of each shard that has some, sorted."""
        pieces = keys.by_shard(hashes, n_shards=self._config.n_shards, max_items=max(1, len(hashes)))
        return {shard: hashes[some[0]] for shard, some in enumerate(pieces) if some}

    async def _write(self, calls: Sequence[Call]) -> list[Reply]:
        return await self._nodes.demand(calls, timeout_s=self._config.write_timeout_s)

    async def _write_one(self, call: Call) -> Reply:
        (reply,) = await self._write([call])
        return reply

    async def _keep_peaks(self, packed: Mapping[int, bytes]) -> None:
        calls = []
        for track_id, each in packed.items():
            shard, key = keys.peaks_prefix(self._shard_of_track(track_id)), self._peaks_key(track_id)
            calls += [Call(key=shard, command=command) for command in (("SETNX", key, each), ("GET", key))]
        kept = (await self._write(calls))[1::2]
        for (track_id, each), stored in zip(packed.items(), kept, strict=True):
            if stored != each:
                raise Conflict(
                    f"the index holds another fingerprint of track {track_id}: remove that one first"
                )

    def _peaks_key(self, track_id: int) -> bytes:
        return keys.peaks(self._shard_of_track(track_id), track_id)

    def _shard_of_track(self, track_id: int) -> int:
        return keys.shard_of_track(track_id, n_shards=self._config.n_shards)

    def _pack_questions(self, hashes: Hashes, max_postings: int) -> tuple[list[Question], list[Call]]:
        """Questions to all shards, also those that have none of the hashes: each says how much it holds."""
        pieces = keys.by_shard(hashes, n_shards=self._config.n_shards, max_items=MAX_HASHES_PER_QUESTION)
        nothing = np.zeros(0, np.int64)
        questions = [(shard, indices) for shard, some in enumerate(pieces) for indices in some or [nothing]]
        return questions, [
            Call.function(
                "fpserver_index_lookup",
                keys.of_reading(shard),
                self._config.max_postings_per_hash,
                max_postings * len(indices) // max(1, len(hashes)),
                codec.pack_question(hashes[indices]),
            )
            for shard, indices in questions
        ]

    def _pack_windows(
        self, windows: Sequence[Window]
    ) -> tuple[list[keys.Indices], list[peaks_codec.Question], list[Call]]:
        """A question per shard that holds a track of these, and which of the windows it is asked."""
        asked = np.array([(w.track_id, w.first_frame, w.last_frame) for w in windows], np.int64).reshape(
            -1, 3
        )
        shards = asked[:, 0] % self._config.n_shards
        track_id, (first, last) = asked[:, 0], peaks_codec.blocks_asked(asked[:, 1], asked[:, 2])
        pieces, questions, calls = [], [], []
        for shard in np.unique(shards).tolist():
            indices = np.flatnonzero(shards == shard)
            question = peaks_codec.Question(
                track_id=track_id[indices], first=first[indices], last=last[indices]
            )
            prefix = keys.peaks_prefix(shard)
            pieces.append(indices)
            questions.append(question)
            calls.append(Call.function("fpserver_index_windows", [prefix], question.packed()))
        return pieces, questions, calls

    def _pack_addition(
        self, fingerprints: Mapping[int, Fingerprint]
    ) -> tuple[dict[int, bytes], list[list[Call]]]:
        """Peaks by track; and calls that add the landmarks: per shard, in the order in which they must be made."""
        ids, landmarks = list(fingerprints), [each.landmarks for each in fingerprints.values()]
        company = codec.company(ids)
        for track_id, each in zip(ids, landmarks, strict=True):
            codec.check(track_id, each.offset)
        peaks = {track_id: peaks_codec.pack(each.peaks) for track_id, each in fingerprints.items()}
        track_id_of = np.repeat(np.array(ids, np.int64), [len(each) for each in landmarks])
        hash_of = np.concatenate([each.hash for each in landmarks])
        offset_of = np.concatenate([each.offset for each in landmarks])
        pieces = keys.by_shard(hash_of, n_shards=self._config.n_shards, max_items=MAX_POSTINGS_PER_ADDITION)
        return peaks, [
            [
                Call.function(
                    "fpserver_index_add",
                    keys.of_writing(shard),
                    company,
                    chunk,
                    len(chunks),
                    codec.pack_chunk(hash_of[some], track_id_of[some], offset_of[some]),
                    *ids,
                )
                for chunk, some in enumerate(chunks)
            ]
            for shard, chunks in enumerate(pieces)
        ]

    def _pack_removal(self, track_id: int, shard: int, *, is_done: bool) -> Call:
        return Call.function("fpserver_index_removal", keys.of_writing(shard), track_id, int(is_done))


def _in_step(calls_of_shards: list[list[Call]]) -> Iterator[list[Call]]:
    """The first call of every shard, then the second of every shard that has one, and so on."""
    for calls in zip_longest(*calls_of_shards):
        yield [call for call in calls if call is not None]


def _lookup_of(questions: Sequence[Question], replies: Sequence[Reply | StoreUnavailable]) -> Lookup:
    """Answers of the function put together, without those that are missing."""
    hash_index = [np.zeros(0, np.int64)]
    sizes = [np.zeros(0, np.int64)]
    found: list[bytes] = []
    n_indexed: dict[int, int] = {}  # by shard: one of many hashes is asked several questions
    left_out = np.zeros(sum(len(indices) for _, indices in questions), np.int64)
    for (shard, indices), reply in zip(questions, replies, strict=True):
        if isinstance(reply, StoreUnavailable):
            continue
        answer = codec.unpack_answer(reply, len(indices))
        hash_index.append(np.repeat(indices, answer.sizes))
        sizes.append(answer.sizes)
        found.append(answer.lists)
        n_indexed[shard] = answer.n_indexed
        left_out[indices] = answer.left_out
    postings = lists.unpack(b"".join(found), np.concatenate(sizes))
    return Lookup(
        hash_index=np.concatenate(hash_index),
        track_id=postings.track_id,
        offset=postings.offset,
        n_indexed=sum(n_indexed.values()),
        left_out=left_out,
        degraded=len(found) < len(replies),
    )


def _windows_of(
    n_windows: int,
    pieces: Sequence[keys.Indices],
    questions: Sequence[peaks_codec.Question],
    replies: Sequence[Reply | StoreUnavailable],
) -> list[Peaks | None]:
    """Windows in the order asked, without those whose shard is missing."""
    answers = {i: reply for i, reply in enumerate(replies) if not isinstance(reply, StoreUnavailable)}
    found = peaks_codec.unpack_windows([questions[i] for i in answers], list(answers.values()))
    windows: list[Peaks | None] = [None] * n_windows
    places = (place for i in answers for place in pieces[i].tolist())
    for place, peaks in zip(places, found, strict=True):
        windows[place] = peaks
    return windows
