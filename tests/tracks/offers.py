"""Recordings to offer to the catalogue."""

import hashlib

from fpserver.config import TracksConfig
from fpserver.terms import Metadata, Submission
from fpserver.tracks.catalogue import Tracks

PLACE = "here"
CONFIG = TracksConfig(claim_idle_s=0.05, max_attempts=3, max_batch_errors=5)
IDLE_S = 0.08  # longer than claim_idle_s


def sha256(name: str) -> str:
    """Of a recording whose bytes are its name."""
    return hashlib.sha256(name.encode()).hexdigest()


def submission(name: str, *, place: str = PLACE, source: str = "", **metadata: str) -> Submission:
    """A recording whose bytes are its name."""
    return Submission(
        source=source or f"file:/music/{name}.mp3",
        place=place,
        content_sha256=sha256(name),
        metadata=Metadata(**{"title": name, **metadata}),
    )


async def submit(tracks: Tracks, *names: str, batch_id: str | None = None) -> list[int]:
    """Offer recordings; their ids."""
    offers = [submission(name) for name in names]
    return [done.track_id for done in await tracks.submit(offers, now=1.0, batch_id=batch_id)]
