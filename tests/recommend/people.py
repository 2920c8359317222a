"""Tracks that are indexed, and people who do something with them."""

import time
from collections.abc import Sequence

import numpy as np

from fpserver.services import Services
from fpserver.terms import FeedbackEvent, FeedbackKind, Metadata, Submission


async def add_indexed(services: Services, n_tracks: int, *, first: int = 0) -> list[int]:
    """Ids of tracks that are indexed and not described."""
    offers = [
        Submission(
            source=f"file:/nowhere/{i}",
            place="nowhere",
            content_sha256=f"{i:064x}",
            metadata=Metadata(title=f"Song {i}", artist=f"Artist {i % 7}", genre=f"genre {i % 3}"),
        )
        for i in range(first, first + n_tracks)
    ]
    submitted = await services.tracks.submit(offers, now=time.time())
    ids = [each.track_id for each in submitted]
    for track_id in ids:
        await services.tracks.mark_indexed(track_id, n_landmarks=1, duration_s=10.0, now=time.time())
    return ids


def events(
    track_ids: Sequence[int], *, n_users: int, n_each: int, rng: np.random.Generator, name: str = "user"
) -> list[FeedbackEvent]:
    """Plays and likes: each person prefers a part of the tracks."""
    made = []
    for user in range(n_users):
        taste = rng.permutation(len(track_ids))[: max(2, len(track_ids) // 2)]
        for i in range(n_each):
            kind = FeedbackKind.LIKE if i % 3 == 0 else FeedbackKind.PLAY
            made.append(
                FeedbackEvent(
                    user=f"{name}-{user}",
                    event_id=f"e{i}",
                    track_id=int(track_ids[rng.choice(taste)]),
                    kind=kind,
                    value=1.0,
                    at=1e9 + 1000.0 * user + i,
                )
            )
    return made
