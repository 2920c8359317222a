"""Clips in, matches out."""

from time import perf_counter

from aiohttp import web

from fpserver import errors, metrics
from fpserver.identify import IdentifyOptions, identify_file
from fpserver.web import convert
from fpserver.web.answers import answer
from fpserver.web.clips import PLACE, received_clip
from fpserver.web.contract import AUDIO_BODY, FINGERPRINT_BODY, Reply, form, speaks
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.reading import read_query
from fpserver.web.schemas import IdentifyAnswer, IdentifyQuery


@speaks(
    query=IdentifyQuery,
    bodies=(AUDIO_BODY, form("a form with the clip", clip="the audio"), FINGERPRINT_BODY),
    replies={200: Reply(text="the matches, best first; none: an empty list", schema=IdentifyAnswer)},
    errors=(
        errors.InvalidRequest,
        errors.BodyTooLarge,
        errors.UploadTimeout,
        errors.AudioEmpty,
        errors.AudioUnsupported,
        errors.AudioDamaged,
        errors.AudioTooLarge,
        errors.AudioTooShort,
        errors.AudioTimeout,
        errors.AudioCrash,
        errors.FingerprintInvalid,
        errors.FingerprintForeign,
        errors.Overloaded,
        errors.StoreUnavailable,
    ),
)
async def identify(request: web.Request) -> web.StreamResponse:
    """Say which track a clip is from, and where in it the clip lies.

    The body is audio, in any container the decoder knows and under any content type, or a fingerprint.
    A clip longer than `audio.max_clip_s` is heard to there. No match is an answer: 200 with an empty list.
    """
    door = request.app[DOOR]
    query = read_query(request, IdentifyQuery)
    options = IdentifyOptions(
        limit=query.limit,
        max_false_accept_rate=query.max_false_accept_rate,
        speed=query.speed,
        explain=query.explain,
    )
    async with received_clip(request) as clip:
        found = await identify_file(
            door.services, clip.path, options, longer=lambda: request[PLACE].move_to(door.long_places)
        )
        metrics.IDENTIFY_SECONDS.observe(perf_counter() - clip.whole_at)
    document = convert.identification(found, request_id=request[REQUEST_ID], explain=query.explain)
    return answer(request, document)
