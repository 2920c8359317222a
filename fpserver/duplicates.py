"""Is this recording in the catalogue already, under another name, in another container, encoded anew?

The new track's own landmarks are looked up like a clip's. A catalogued track of the same length that begins at the
same time and agrees all the way through is the same recording.
"""

import numpy as np

from fpserver.fingerprint.constellation import frames_per_s
from fpserver.matching.candidates import candidates_of, hits_of
from fpserver.matching.sameness import is_same_recording
from fpserver.services import Services
from fpserver.terms import Candidate, Fingerprint, Hearing, Landmarks, TrackStatus
from fpserver.thinking import think

MAX_LANDMARKS = 8000  # asked for a track, spread over its length: a look-up of some ten milliseconds
MAX_POSTINGS = 300_000  # read for these, rarest first
MAX_LENGTH_DIFFERENCE_S = 1.0  # encoders pad the ends
MAX_START_DIFFERENCE_S = 1.0
MAX_CANDIDATES = 5


async def find(services: Services, track_id: int, fingerprint: Fingerprint, hearing: Hearing) -> int | None:
    """The indexed track that holds the same recording, or None.

    Two copies that are indexed at the same moment do not see each other.
    """
    step = -(-len(fingerprint.landmarks) // MAX_LANDMARKS)
    asked = Landmarks(hash=fingerprint.landmarks.hash[::step], offset=fingerprint.landmarks.offset[::step])
    hashes, hash_of_landmark = np.unique(asked.hash, return_inverse=True)
    found = await services.index.lookup(hashes, max_postings=MAX_POSTINGS)
    hits = await think(
        hits_of, found, hash_of_landmark, asked.offset, max_hits=services.config.matching.max_hits
    )
    candidates = await think(candidates_of, hits, max_candidates=MAX_CANDIDATES)
    for candidate in await _alike(services, track_id, candidates, hearing):
        old = (await services.index.peaks([candidate.track_id])).get(candidate.track_id)
        if old is not None and await think(
            is_same_recording,
            old=old,
            new=fingerprint.peaks,
            new_dense=hearing.constellation,
            alignment=round(candidate.alignment),
        ):
            return candidate.track_id
    return None


async def _alike(
    services: Services, track_id: int, candidates: list[Candidate], hearing: Hearing
) -> list[Candidate]:
    """Candidates that are other, indexed tracks of the same length and begin at the same time."""
    max_frames = MAX_START_DIFFERENCE_S * frames_per_s(services.config.fingerprint)
    near = [
        candidate
        for candidate in candidates
        if candidate.track_id != track_id and abs(candidate.alignment) <= max_frames
    ]
    tracks = await services.tracks.get([candidate.track_id for candidate in near])
    return [
        candidate
        for candidate in near
        if (track := tracks.get(candidate.track_id))
        and track.status is TrackStatus.INDEXED
        and abs((track.duration_s or 0.0) - hearing.duration_s) <= MAX_LENGTH_DIFFERENCE_S
    ]
