"""The API in one screen: what there is, and who answers."""

from dataclasses import dataclass

from aiohttp import web

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


ROUTES = (
    Route("POST", "/v1/identify", identify.identify, "Identify", "Which track is this clip from?"),
    Route("POST", "/v1/tracks", additions.add, "Catalogue", "Add one recording"),
    Route("GET", "/v1/tracks", tracks.page, "Catalogue", "List tracks"),
    Route(
        "POST", "/v1/tracks/known", additions.known, "Catalogue", "Which of these files are there already?"
    ),
    Route("GET", "/v1/tracks/{track_id}", tracks.read, "Catalogue", "Read a track"),
    Route("PATCH", "/v1/tracks/{track_id}", tracks.edit, "Catalogue", "Change a track's metadata"),
    Route("DELETE", "/v1/tracks/{track_id}", tracks.remove, "Catalogue", "Remove a track"),
    Route("POST", "/v1/ingest", ingest.take, "Bulk", "Add many recordings"),
    Route("GET", "/v1/ingest/{batch_id}", batches.read, "Bulk", "How far has a batch come?"),
    Route("GET", "/v1/ingest/{batch_id}/events", batches.events, "Bulk", "Watch a batch"),
    Route("DELETE", "/v1/ingest/{batch_id}", batches.cancel, "Bulk", "Cancel a batch"),
    Route("GET", "/v1/tracks/{track_id}/similar", similar.of_track, "Similarity", "What is like this track?"),
    Route("POST", "/v1/similar", similar.of_clip, "Similarity", "What is like this clip?"),
    Route("GET", "/v1/similarity/{a}/{b}", similar.pair, "Similarity", "How far apart are two tracks?"),
    Route("POST", "/v1/similarity/matrix", similar.matrix, "Similarity", "How far apart are many tracks?"),
    Route("POST", "/v1/segments/search", segments.of_clip, "Similarity", "Which moments are like this clip?"),
    Route(
        "GET",
        "/v1/tracks/{track_id}/similar-segments",
        segments.of_moment,
        "Similarity",
        "Which moments are like this moment?",
    ),
    Route("POST", "/v1/map", maps.draw, "Similarity", "Lay tracks out in the plane"),
    Route("POST", "/v1/feedback", feedback.take, "Feedback", "Somebody did something with a track"),
    Route("GET", "/v1/users/{user}", users.read, "Feedback", "What is kept of a user?"),
    Route("DELETE", "/v1/users/{user}", users.erase, "Feedback", "Erase what is kept of a user"),
    Route(
        "GET",
        "/v1/users/{user}/recommendations",
        recommendations.of_user,
        "Recommendation",
        "What next for this user?",
    ),
    Route(
        "POST",
        "/v1/recommendations",
        recommendations.of_tracks,
        "Recommendation",
        "What next after these tracks?",
    ),
    Route(
        "GET",
        "/v1/recommendations/model",
        models.read,
        "Recommendation",
        "What are recommendations made by?",
    ),
    Route("POST", "/v1/recommendations/model", models.ask, "Recommendation", "Train another model"),
    Route("GET", "/healthz", operations.healthz, "Operations", "Is the process alive?"),
    Route("GET", "/readyz", operations.readyz, "Operations", "Is it ready for clips?"),
    Route("GET", "/metrics", operations.prometheus, "Operations", "Metrics for Prometheus"),
    Route("GET", "/v1/openapi.json", operations.openapi, "Operations", "This API for programs"),
    Route("GET", "/docs", operations.docs, "Operations", "This API for people"),
    Route("GET", "/", operations.root, "Operations", "To the documentation"),
)


ANY_USER = ("{user}", "{user:[^/]+}")  # aiohttp's own parameters hold no braces


def register(app: web.Application) -> None:
    """Give the app its routes; what can be read can be asked for with HEAD, except a stream."""
    for route in ROUTES:
        path = route.path.replace(*ANY_USER)
        if route.method == "GET" and route.handler is not batches.events:
            app.router.add_get(path, route.handler)
        else:
            app.router.add_route(route.method, path, route.handler)
