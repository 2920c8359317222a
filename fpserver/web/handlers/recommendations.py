"""What next, for a user or from some tracks."""

from time import perf_counter

from aiohttp import web

from fpserver import errors
from fpserver.errors import InvalidRequest
from fpserver.feedback import check_user
from fpserver.recommend.reasons import Why
from fpserver.suggest import Suggestion, Suggestions, Told, Wish, suggest
from fpserver.terms import Track
from fpserver.web.answers import answer
from fpserver.web.contract import Body, Reply, speaks
from fpserver.web.convert import metadata_fields
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.media import JSON, MSGPACK
from fpserver.web.reading import no_query, read_document, read_query
from fpserver.web.recommend_schemas import (
    ReasonAnswer,
    RecommendationAnswer,
    RecommendationsAnswer,
    RecommendationsRequest,
    RecommendQuery,
)
from fpserver.web.similar_schemas import SieveIn

DIGITS = 4
ERRORS = (
    errors.InvalidRequest,
    errors.Overloaded,  # the copy of the catalogue is being filled
    errors.StoreUnavailable,
)
REPLIES = {200: Reply(text="the tracks, best first", schema=RecommendationsAnswer)}


@speaks(query=RecommendQuery, replies=REPLIES, errors=ERRORS)
async def of_user(request: web.Request) -> web.StreamResponse:
    """Recommend tracks to a user, by what he has heard and liked up to this moment.

    A user of whom nothing is known gets a varied start, and `standing` says so.
    """
    query = read_query(request, RecommendQuery)
    wish = Wish(
        user=_user(request.match_info["user"]),
        strategy=query.strategy,
        k=_k(request, query.k),
        diversity=query.diversity,
        max_per_artist=query.max_per_artist,
        seed=query.seed,
        again=query.again,
        sieve=query.sieve(),
    )
    return await _answered(request, wish)


@speaks(
    bodies=(
        Body(media_type=JSON, text="what is liked, and what is wanted", schema=RecommendationsRequest),
        Body(media_type=MSGPACK, text="the same", schema=RecommendationsRequest),
    ),
    replies=REPLIES,
    errors=(*ERRORS, errors.MediaTypeUnsupported, errors.BodyTooLarge, errors.UploadTimeout),
)
async def of_tracks(request: web.Request) -> web.StreamResponse:
    """Recommend tracks to go on with from one track, a list or a playlist, for a user or for nobody in particular.

    Nothing of the question is kept. Tracks that are not there say nothing, as those that nobody can compare.
    """
    no_query(request)
    door = request.app[DOOR]
    asked = await read_document(request, RecommendationsRequest, door.patience())
    wish = Wish(
        user=None if asked.user is None else _user(asked.user),
        liked=asked.track_ids,
        disliked=asked.disliked,
        strategy=asked.strategy,
        k=_k(request, asked.k),
        diversity=asked.diversity,
        max_per_artist=asked.max_per_artist,
        seed=asked.seed,
        again=asked.again,
        sieve=(asked.filter or SieveIn()).sieve(without=asked.exclude),
    )
    return await _answered(request, wish)


async def _answered(request: web.Request, wish: Wish) -> web.StreamResponse:
    start = perf_counter()
    door = request.app[DOOR]
    async with door.places.taken():
        found = await suggest(door.desk, wish)
    return answer(request, _recommendations(request, wish, found, start))


def _user(name: str) -> str:
    check_user(name)
    return name


def _k(request: web.Request, k: int) -> int:
    limit = request.app[DOOR].config.recommend.max_recommendations
    if k > limit:
        raise InvalidRequest(f"k is {k}, at most {limit} tracks are recommended at once")
    return k


def _recommendations(
    request: web.Request, wish: Wish, found: Suggestions, start: float
) -> RecommendationsAnswer:
    return RecommendationsAnswer(
        request_id=request[REQUEST_ID],
        user=wish.user,
        standing=found.standing.value,
        n_liked=found.n_liked,
        strategy=wish.strategy,
        model=found.model,
        recommendations=[_recommendation(each) for each in found.suggestions],
        timings_ms={"recommend": round(1000 * (perf_counter() - start), 2)},
    )


def _recommendation(found: Suggestion) -> RecommendationAnswer:
    return RecommendationAnswer(
        **metadata_fields(found.track),
        score=round(found.score, DIGITS),
        reasons=[_reason(told) for told in found.reasons],
    )


def _reason(told: Told) -> ReasonAnswer:
    reason = told.reason
    return ReasonAnswer(
        kind=reason.why.value,
        text=_words(told),
        share=reason.share,
        track_id=reason.because_of,
        same_artist=reason.same_artist,
        same_genre=reason.same_genre,
        tags=list(reason.tags),
        similar={group.value: round(how, 2) for group, how in told.alike.items()},
    )


def _words(told: Told) -> str:
    """A reason as people say it."""
    reason, of = told.reason, told.because_of
    if reason.why is Why.LIKE:
        if of is None:
            return "like what you like"
        alike = [f"similar {group.value} {how:.2f}" for group, how in told.alike.items()]
        alike += ["same artist"] if reason.same_artist else []
        alike += ["same genre"] if reason.same_genre and not reason.same_artist else []
        alike += [f"also tagged {', '.join(reason.tags[:3])}"] if reason.tags else []
        return f"because you like {_name(of)}" + (f": {', '.join(alike)}" if alike else "")
    if reason.why is Why.PEOPLE:
        return (
            "people who play what you like also play this"
            if of is None
            else f"people who play {_name(of)} also play this"
        )
    return {
        Why.TASTE: "people with a taste like yours like this",
        Why.POPULAR: "many like this",
        Why.NEW: "new here: hardly anybody has heard this yet",
        Why.START: "to begin with: something of everything",
    }[reason.why]


def _name(track: Track) -> str:
    title = track.metadata.title or track.metadata.external_id or f"track {track.track_id}"
    return f"“{title}”" + (f" by {track.metadata.artist}" if track.metadata.artist else "")
