"""Tracks that are described already, without a file, a worker or a decoder."""

import time
from collections.abc import Collection, Mapping

from fpserver.descriptors import VERSION
from fpserver.features.describe import describe
from fpserver.learning import learn_if_grown
from fpserver.services import Services
from fpserver.terms import PARTS, DescriptionStatus, Metadata, Samples, Submission


async def add_described(
    services: Services,
    sounds: Mapping[str, Samples],
    *,
    genre: str | None = None,
    parts: Collection[str] = PARTS,
) -> dict[str, int]:
    """Ids by title of sounds, at 22,050 Hz, that are now indexed and described."""
    offers = [
        Submission(
            source=f"file:/nowhere/{title}",
            place="nowhere",
            content_sha256=title.encode().hex().zfill(64),
            metadata=Metadata(title=title, genre=genre),
        )
        for title in sounds
    ]
    submitted = await services.tracks.submit(offers, now=time.time())
    ids = {title: each.track_id for title, each in zip(sounds, submitted, strict=True)}
    for title, samples in sounds.items():
        await services.tracks.mark_indexed(
            ids[title],
            n_landmarks=1,
            duration_s=len(samples) / 22050,
            now=time.time(),
            description=DescriptionStatus.WAITING,
        )
        description = describe(samples, parts=parts, loudness_db=-20.0)
        await services.descriptions.put(ids[title], description)
        await services.undescribed.mark_described(
            ids[title],
            sorted(parts),
            facts=description.facts,
            key=description.key,
            version=VERSION,
            now=time.time(),
        )
    await learn_if_grown(services)
    return ids
