"""A desk that is asked, and a catalogue small enough to know by heart."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np

from fpserver.desk import Desk
from fpserver.recommend.model import Model
from fpserver.recommend.train import Size, train
from fpserver.services import Services
from fpserver.suggest import Suggestions
from fpserver.terms import KINDS, FeedbackEvent, FeedbackKind, History, Submission
from tests.recommend.putting import FIGURES
from tests.tracks.offers import submission

SIZE = Size(n_factors=8, n_neighbors=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A track before it is in the catalogue."""

    title: str
    artist: str = ""
    genre: str = ""
    tags: str = ""


def catalogue(*, n_artists: int = 6, n_each: int = 4) -> list[Named]:
    """Artists of three genres, each with some tracks; each track has one tag of its own artist's two."""
    return [
        Named(
            title=f"song {artist}.{i}",
            artist=f"Artist {artist}",
            genre=f"genre {artist % 3}",
            tags=f"tag {artist % 3}, tag {artist}.{i % 2}",
        )
        for artist in range(n_artists)
        for i in range(n_each)
    ]


async def add(services: Services, tracks: Sequence[Named]) -> dict[str, int]:
    """Ids by title of tracks that are indexed, and not described."""
    offers = [_offer(track) for track in tracks]
    now = time.time()
    ids = [each.track_id for each in await services.tracks.submit(offers, now=now)]
    for track_id in ids:
        await services.tracks.mark_indexed(track_id, n_landmarks=1, duration_s=10.0, now=now)
    return {track.title: track_id for track, track_id in zip(tracks, ids, strict=True)}


def _offer(track: Named) -> Submission:
    words = {"title": track.title, "artist": track.artist, "genre": track.genre, "tags": track.tags}
    return submission(uuid4().hex, **{name: text for name, text in words.items() if text})


def did(
    user: str, kind: FeedbackKind, *track_ids: int, value: float = 1.0, at: float | None = None
) -> list[FeedbackEvent]:
    """What somebody did with some tracks."""
    return [
        FeedbackEvent(
            user=user,
            event_id=uuid4().hex,
            track_id=track_id,
            kind=kind,
            value=value,
            at=time.time() if at is None else at,
        )
        for track_id in track_ids
    ]


def history(*events: tuple[int, int, FeedbackKind, float, float]) -> History:
    """Events in columns, of (user, track, kind, value, at)."""
    user, track_id, kind, value, at = zip(*events, strict=True) if events else ((), (), (), (), ())
    return History(
        user=np.array(user, np.int32),
        track_id=np.array(track_id, np.int64),
        kind=np.array([KINDS.index(each) for each in kind], np.uint8),
        value=np.array(value, np.float32),
        at=np.array(at, np.float64),
    )


async def made_ready(desk: Desk) -> None:
    """Let it take up, at once, what is in the catalogue and which model is in force."""
    stock = desk._stock
    while True:  # it may just have been about to lay something else down
        stock._not_before = 0.0
        await stock.catch_up()
        if stock._copy is not None and not stock._copy.is_new:
            break
    await desk._trained.catch_up()
    await desk.make_ready()


async def trained(desk: Desk, *, seed: int = 0) -> Model:
    """A model of all that was done with what is on its shelf, put in force; the desk takes it up when it next looks."""
    pages = [page async for page in desk.services.feedback.pages()]
    first = np.cumsum([0, *(int(page.user.max(initial=-1)) + 1 for page in pages)])
    columns = {
        name: np.concatenate([getattr(page, name) for page in pages])
        for name in ("track_id", "kind", "value", "at")
    }
    user = np.concatenate([page.user + start for page, start in zip(pages, first, strict=False)])
    everything = History(user=user.astype(np.int32), **columns)
    model = train(everything, desk.ready.stocked.shelf, size=SIZE, seed=seed)
    assert model is not None
    await desk.services.models.put(model.pack(), figures=FIGURES)
    return model


def titles(found: Suggestions) -> list[str | None]:
    """What was suggested, best first."""
    return [each.track.metadata.title for each in found.suggestions]
