"""What is like it: neighbours of a track or a clip, two tracks side by side, many as a matrix."""

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter

import msgpack
import msgspec
import numpy as np
from aiohttp import web

from fpserver import apart, errors, similar
from fpserver.apart import PairReport
from fpserver.comparable import Likeness
from fpserver.errors import InvalidRequest
from fpserver.similar import Neighbour
from fpserver.similarity.measures import Apart
from fpserver.terms import Group, Vectors
from fpserver.web.answers import answer, preferred
from fpserver.web.clips import received_clip
from fpserver.web.contract import AUDIO_BODY, Body, Reply, form, speaks
from fpserver.web.convert import metadata_fields
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.likeness import likeness_of, weights_in, weights_of
from fpserver.web.media import JSON, MSGPACK
from fpserver.web.reading import no_query, read_document, read_query, track_id
from fpserver.web.similar_schemas import (
    ApartAnswer,
    MatrixAnswer,
    MatrixRequest,
    NeighbourAnswer,
    NeighboursAnswer,
    PairAnswer,
    SimilarQuery,
    WarpedAnswer,
)

CLIP_ERRORS = (
    errors.UploadTimeout,
    errors.AudioEmpty,
    errors.AudioUnsupported,
    errors.AudioDamaged,
    errors.AudioTooLarge,
    errors.AudioTooShort,
    errors.AudioSilent,
    errors.AudioTimeout,
    errors.AudioCrash,
    errors.Overloaded,
)
TRACK_ERRORS = (
    errors.InvalidRequest,
    errors.TrackNotFound,
    errors.NotDescribed,
    errors.Overloaded,  # the copy of the catalogue is being filled
    errors.StoreUnavailable,
)
DIGITS = 6


@speaks(
    query=SimilarQuery,
    replies={200: Reply(text="the neighbours, nearest first", schema=NeighboursAnswer)},
    errors=TRACK_ERRORS,
)
async def of_track(request: web.Request) -> web.StreamResponse:
    """Find the nearest tracks of a track, by any mix of groups of descriptors, among those that pass the filters.

    Distances are relative to this catalogue: 1 is what its random pairs are apart in the middle, in each group.
    """
    door = request.app[DOOR]
    query = read_query(request, SimilarQuery)
    wanted, likeness, start = track_id(request), _likeness(request, query), perf_counter()
    async with door.places.taken():
        found = await similar.like_track(
            door.neighbourhood, wanted, likeness, k=_k(request, query), sieve=query.sieve()
        )
    return answer(request, _neighbours(request, query, likeness, found, start))


@speaks(
    query=SimilarQuery,
    bodies=(AUDIO_BODY, form("a form with the clip", clip="the audio")),
    replies={200: Reply(text="the neighbours, nearest first", schema=NeighboursAnswer)},
    errors=(errors.InvalidRequest, errors.NotDescribed, errors.StoreUnavailable, *CLIP_ERRORS),
)
async def of_clip(request: web.Request) -> web.StreamResponse:
    """Find the nearest tracks of a clip that need not be in the catalogue; a fingerprint of it will not do."""
    door = request.app[DOOR]
    query = read_query(request, SimilarQuery)
    likeness, k = _likeness(request, query), _k(request, query)
    async with received_clip(request) as clip:
        start = perf_counter()
        found = await similar.like_clip(door.neighbourhood, clip.path, likeness, k=k, sieve=query.sieve())
    return answer(request, _neighbours(request, query, likeness, found, start))


@speaks(
    replies={200: Reply(text="the two, by every measure and group", schema=PairAnswer)},
    errors=TRACK_ERRORS,
)
async def pair(request: web.Request) -> web.StreamResponse:
    """Compare two tracks: by all groups that both are described by, by each alone, and moment by moment."""
    no_query(request)
    a, b = track_id(request, "a"), track_id(request, "b")
    door = request.app[DOOR]
    async with door.places.taken():
        report = await apart.pair(door.neighbourhood, a, b)
    return answer(request, _pair(request, a, b, report))


@speaks(
    bodies=(Body(media_type=JSON, text="the tracks, and what is meant by near", schema=MatrixRequest),),
    replies={200: Reply(text="the matrix, row by row as it is made", schema=MatrixAnswer)},
    errors=(
        errors.InvalidRequest,
        errors.MediaTypeUnsupported,
        errors.BodyTooLarge,
        errors.UploadTimeout,
        errors.TrackNotFound,
        errors.NotDescribed,
        errors.LengthsDiffer,
        errors.Overloaded,
        errors.StoreUnavailable,
    ),
)
async def matrix(request: web.Request) -> web.StreamResponse:
    """Compare many tracks, each with each: at most `similarity.max_matrix_tracks`, or 64 with dtw.

    The answer is one document that is sent while it is made, so that it may be read as it comes.
    """
    no_query(request)
    door = request.app[DOOR]
    asked = await read_document(request, MatrixRequest, door.patience())
    likeness = likeness_of(
        weights_in(asked.features), metric=asked.metric, transpose=asked.transpose, known=_known(request)
    )
    door.places.check()
    blocks = apart.matrix(
        door.neighbourhood, asked.track_ids, likeness, as_similarity=asked.values == "similarity"
    )
    first = await anext(blocks)  # what is wrong is said before the answer begins
    kind = preferred(request.headers.get("Accept", ""))
    response = web.StreamResponse(headers={"Vary": "Accept"})
    response.content_type = kind
    await response.prepare(request)
    head: dict[str, object] = {
        "request_id": request[REQUEST_ID],
        "values": asked.values,
        "track_ids": asked.track_ids,
    }
    writer = _MsgpackMatrix() if kind == MSGPACK else _JsonMatrix()
    await response.write(writer.head(head, len(asked.track_ids)))
    async for block in _chained(first, blocks):
        await response.write(await asyncio.to_thread(writer.rows, block))
    await response.write(writer.end())
    return response


async def _chained(first: Vectors, rest: AsyncIterator[Vectors]) -> AsyncIterator[Vectors]:
    yield first
    async for block in rest:
        yield block


class _JsonMatrix:
    """A document whose last field is a matrix that comes in pieces, as JSON."""

    def __init__(self) -> None:
        self._between = b""

    def head(self, fields: dict[str, object], n_rows: int) -> bytes:
        """Everything before the first row."""
        assert n_rows
        return msgspec.json.encode(fields)[:-1] + b',"matrix":['

    def rows(self, block: Vectors) -> bytes:
        """Some rows."""
        between, self._between = self._between, b","
        return between + msgspec.json.encode(_rounded(block))[1:-1]

    def end(self) -> bytes:
        """What comes after the last row."""
        return b"]}"


class _MsgpackMatrix:
    """The same as msgpack."""

    def head(self, fields: dict[str, object], n_rows: int) -> bytes:
        """Everything before the first row."""
        packer = msgpack.Packer(autoreset=False)
        packer.pack_map_header(len(fields) + 1)
        for name, value in fields.items():
            packer.pack(name)
            packer.pack(value)
        packer.pack("matrix")
        packer.pack_array_header(n_rows)
        return bytes(packer.bytes())

    def rows(self, block: Vectors) -> bytes:
        """Some rows."""
        return b"".join(map(msgspec.msgpack.encode, _rounded(block)))

    def end(self) -> bytes:
        """What comes after the last row."""
        return b""


def _rounded(block: Vectors) -> list[list[float]]:
    rows: list[list[float]] = np.round(block.astype(np.float64), DIGITS).tolist()
    return rows


def _known(request: web.Request) -> list[Group]:
    return list(request.app[DOOR].neighbourhood.near.scales.groups)


def _likeness(request: web.Request, query: SimilarQuery) -> Likeness:
    return likeness_of(
        weights_of(query.features),
        metric=query.metric,
        transpose=query.transpose,
        exact=query.exact,
        known=_known(request),
    )


def _k(request: web.Request, query: SimilarQuery) -> int:
    limit = request.app[DOOR].config.similarity.max_neighbours
    if query.k > limit:
        raise InvalidRequest(f"query parameter k is {query.k}, at most {limit} neighbours are named at once")
    return query.k


def _neighbours(
    request: web.Request, query: SimilarQuery, likeness: Likeness, found: list[Neighbour], start: float
) -> NeighboursAnswer:
    return NeighboursAnswer(
        request_id=request[REQUEST_ID],
        features={group.value: round(share, DIGITS) for group, share in likeness.mix.shares.items()},
        metric=query.metric,
        neighbours=[
            NeighbourAnswer(
                **metadata_fields(each.track),
                distance=round(each.distance, DIGITS),
                similarity=round(each.similarity, DIGITS),
                groups={group.value: _apart(by_group) for group, by_group in each.groups.items()},
                semitones=each.semitones,
                start_s=each.start_s,
                end_s=each.end_s,
            )
            for each in found
        ],
        timings_ms={"similarity": round(1000 * (perf_counter() - start), 2)},
    )


def _apart(told: Apart) -> ApartAnswer:
    return ApartAnswer(distance=round(told.distance, DIGITS), similarity=round(told.similarity, DIGITS))


def _pair(request: web.Request, a: int, b: int, report: PairReport) -> PairAnswer:
    groups = {
        group.value: {"euclidean": _apart(told), "cosine": _apart(report.cosine.groups[group])}
        for group, told in report.euclidean.groups.items()
    }
    if report.transposed is not None:
        groups["tonal"]["transposed"] = _apart(report.transposed.groups[Group.TONAL])
    return PairAnswer(
        request_id=request[REQUEST_ID],
        a=a,
        b=b,
        euclidean=_apart(report.euclidean.whole),
        cosine=_apart(report.cosine.whole),
        groups=groups,
        semitones=None if report.transposed is None else report.transposed.semitones,
        dtw={
            name: WarpedAnswer(
                distance=round(aligned.distance, DIGITS),
                similarity=round(aligned.similarity, DIGITS),
                semitones=aligned.semitones,
            )
            for name, aligned in report.warped.items()
        },
        dtw_error=report.not_warped,
    )
