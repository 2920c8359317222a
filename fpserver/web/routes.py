"""The API in one screen: what there is, and who answers."""

from dataclasses import dataclass

from aiohttp import web

from fpserver.terms import Scope
from fpserver.web.contract import Handler
from fpserver.web.handlers import (
    additions,
    batches,
    feedback,
    identify,
    ingest,
    maps,
    models,
    operations,
    recommendations,
    segments,
    similar,
    tracks,
    users,
)


@dataclass(frozen=True, slots=True)
class Route:
    """One call."""

    method: str
    path: str
    handler: Handler
    section: str
    summary: str
    scopes: tuple[Scope, ...]  # a key needs one of them, or `admin`; none: open to all


ASK, READ = (Scope.IDENTIFY,), (Scope.IDENTIFY, Scope.INGEST)
FILL, RUN, WATCH = (Scope.INGEST,), (Scope.ADMIN,), (Scope.METRICS,)
ANYBODY: tuple[Scope, ...] = ()

ROUTES = (
    Route("POST", "/v1/identify", identify.identify, "Identify", "Which track is this clip from?", ASK),
    Route("POST", "/v1/tracks", additions.add, "Catalogue", "Add one recording", FILL),
    Route("GET", "/v1/tracks", tracks.page, "Catalogue", "List tracks", READ),
    Route(
        "POST",
        "/v1/tracks/known",
        additions.known,
        "Catalogue",
        "Which of these files are there already?",
        FILL,
    ),
    Route("GET", "/v1/tracks/{track_id}", tracks.read, "Catalogue", "Read a track", READ),
    Route("PATCH", "/v1/tracks/{track_id}", tracks.edit, "Catalogue", "Change a track's metadata", FILL),
    Route("DELETE", "/v1/tracks/{track_id}", tracks.remove, "Catalogue", "Remove a track", FILL),
    Route("POST", "/v1/ingest", ingest.take, "Bulk", "Add many recordings", FILL),
    Route("GET", "/v1/ingest/{batch_id}", batches.read, "Bulk", "How far has a batch come?", FILL),
    Route("GET", "/v1/ingest/{batch_id}/events", batches.events, "Bulk", "Watch a batch", FILL),
    Route("DELETE", "/v1/ingest/{batch_id}", batches.cancel, "Bulk", "Cancel a batch", FILL),
    Route(
        "GET",
        "/v1/tracks/{track_id}/similar",
        similar.of_track,
        "Similarity",
        "What is like this track?",
        ASK,
    ),
    Route("POST", "/v1/similar", similar.of_clip, "Similarity", "What is like this clip?", ASK),
    Route("GET", "/v1/similarity/{a}/{b}", similar.pair, "Similarity", "How far apart are two tracks?", ASK),
    Route(
        "POST", "/v1/similarity/matrix", similar.matrix, "Similarity", "How far apart are many tracks?", ASK
    ),
    Route(
        "POST",
        "/v1/segments/search",
        segments.of_clip,
        "Similarity",
        "Which moments are like this clip?",
        ASK,
    ),
    Route(
        "GET",
        "/v1/tracks/{track_id}/similar-segments",
        segments.of_moment,
        "Similarity",
        "Which moments are like this moment?",
        ASK,
    ),
    Route("POST", "/v1/map", maps.draw, "Similarity", "Lay tracks out in the plane", ASK),
    Route("POST", "/v1/feedback", feedback.take, "Feedback", "Somebody did something with a track", ASK),
    Route("GET", "/v1/users/{user}", users.read, "Feedback", "What is kept of a user?", RUN),
    Route("DELETE", "/v1/users/{user}", users.erase, "Feedback", "Erase what is kept of a user", RUN),
    Route(
        "GET",
        "/v1/users/{user}/recommendations",
        recommendations.of_user,
        "Recommendation",
        "What next for this user?",
        ASK,
    ),
    Route(
        "POST",
        "/v1/recommendations",
        recommendations.of_tracks,
        "Recommendation",
        "What next after these tracks?",
        ASK,
    ),
    Route(
        "GET",
        "/v1/recommendations/model",
        models.read,
        "Recommendation",
        "What are recommendations made by?",
        ASK,
    ),
    Route("POST", "/v1/recommendations/model", models.ask, "Recommendation", "Train another model", RUN),
    Route("GET", "/healthz", operations.healthz, "Operations", "Is the process alive?", ANYBODY),
    Route("GET", "/readyz", operations.readyz, "Operations", "Is it ready for clips?", ANYBODY),
    Route("GET", "/metrics", operations.prometheus, "Operations", "Metrics for Prometheus", WATCH),
    Route("GET", "/v1/openapi.json", operations.openapi, "Operations", "This API for programs", ANYBODY),
    Route("GET", "/docs", operations.docs, "Operations", "This API for people", ANYBODY),
    Route("GET", "/", operations.root, "Operations", "To the documentation", ANYBODY),
)


PATTERNS = {
    "{user}": "{user:[^/]+}",  # aiohttp's own parameters hold no braces
    "{track_id}": "{track_id:(?!known$)[^/]+}",  # /v1/tracks/known is a place of its own, whatever the method
}


def register(app: web.Application) -> None:
    """Give the app its routes; what can be read can be asked for with HEAD, except a stream."""
    for route in ROUTES:
        path = route.path
        for name, pattern in PATTERNS.items():
            path = path.replace(name, pattern)
        if route.method == "GET" and route.handler is not batches.events:
            app.router.add_get(path, route.handler)
        else:
            app.router.add_route(route.method, path, route.handler)
