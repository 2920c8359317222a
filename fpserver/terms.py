"""The frozen values that pass through the doors between rooms.

Rooms do not know each other; they know these. Arrays are columns of equal length, never lists of tuples.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.float32]  # mono PCM, -1..1, (n_samples,)
Frames: TypeAlias = npt.NDArray[np.int32]  # spectrogram columns, index
Bins: TypeAlias = npt.NDArray[np.int32]  # spectrogram rows, index
Levels: TypeAlias = npt.NDArray[np.uint8]  # height of a peak above its surroundings, steps of 0.25 dB
CellLevels: TypeAlias = npt.NDArray[np.uint8]  # level of each cell of a spectrogram, 0..3, (n_frames, n_bins)
Hashes: TypeAlias = npt.NDArray[np.uint32]
TrackIds: TypeAlias = npt.NDArray[np.int64]
Vector: TypeAlias = npt.NDArray[np.float32]  # (n_dimensions,)
Vectors: TypeAlias = npt.NDArray[np.float32]  # (n_vectors, n_dimensions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Where a recording has peaks, ordered by frame, then bin; at most one per (frame, bin)."""

    frame: Frames
    bin: Bins
    n_frames: int  # length of the whole recording

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constellation(Peaks):
    """All peaks of a recording, with their heights."""

    level: Levels


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPeaks(Peaks):
    """The highest peaks of a track, as the index keeps them."""

    strong: npt.NDArray[np.bool_]  # whether landmarks are made of the peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """Hashes and the frame of each one's anchor, ordered by offset."""

    hash: Hashes
    offset: Frames

    def __len__(self) -> int:
        return len(self.hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What the index keeps of a track: its landmarks, and its peaks, which say the landmarks again."""

    landmarks: Landmarks
    peaks: TrackPeaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a track, frames first_frame..last_frame - 1; either may lie outside the track."""

    track_id: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What was decoded: mono samples at the analysis rate, and what was cut or lost on the way."""

    samples: Samples
    rate_hz: int
    truncated: bool = False  # the recording goes on past the limit, or its file is damaged from here on

    @property
    def duration_s(self) -> float:
        """Length of what was decoded."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What a clip is heard with beyond its peaks; nobody needs it of a track."""

    between: Constellation  # peaks of frames half a hop later
    levels: CellLevels


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What a child process makes of a file: its dense constellation, and the time each stage took."""

    constellation: Constellation
    detail: Detail | None = None
    duration_s: float
    truncated: bool
    timings_s: dict[str, float]
    is_audio: bool = True  # False: a fingerprint was unpacked, nobody has heard anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A track whose recording was heard, and that is not in the index yet."""

    track_id: int
    fingerprint: Fingerprint
    constellation: Constellation
    duration_s: float
    description: "DescriptionStatus | None" = None  # whether it is to be described next


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Postings found for query hashes, as columns: `hash_index[i]` says which query hash found posting i."""

    hash_index: npt.NDArray[np.int64]  # index into the hashes asked for
    track_id: TrackIds
    offset: Frames  # anchor's frame in the track
    left_out: npt.NDArray[np.int64]  # of each hash asked for, postings in its list where that was not read
    n_indexed: int = 0  # postings in the whole index, as far as it answered
    degraded: bool = False  # a shard did not answer

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def n_stopped(self) -> int:
        """Lists that were not read, since they are too long to say much."""
        return int(np.count_nonzero(self.left_out))


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStats:
    """How much the index holds."""

    n_postings: int
    used_memory_bytes: int  # of all the store's masters, whatever they hold
    max_memory_bytes: int  # that they may use; 0: no limit is set


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """How a clip was changed against its track; a record player that runs 2 % fast has both at 1.02."""

    speed: float = 1.0  # times as fast
    pitch: float = 1.0  # times as high


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A track, and the alignment at which hashes agree under a warp."""

    track_id: int
    alignment: float  # track frame at the clip's first frame, below a frame: the mean of its votes
    warp: Warp = Warp()
    votes: float  # weighted by how rare each hash is
    n_votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A candidate that was verified against the clip."""

    track_id: int
    alignment: float  # track frame at the clip's first frame, refined below a frame
    warp: Warp
    clip_start_frame: int  # part of the clip that agrees
    clip_end_frame: int
    score: float
    lead: float  # how far the score stands above what chance reaches for this clip in this catalogue
    confidence: float  # 0..1
    false_accept_rate: float  # expected, per clip, in this catalogue
    n_votes: int
    z_time: float  # how much better the track fits here than at other times, standard deviations
    z_bin: float  # the same against other frequencies


class Group(StrEnum):
    """Descriptors that answer one question about a sound; what each holds is listed in `descriptors.py`."""

    TEMPORAL = "temporal"  # how loud, how noisy, how eventful
    SPECTRAL = "spectral"  # where in frequency its energy lies
    RHYTHM = "rhythm"  # how fast, how regular
    TONAL = "tonal"  # which notes
    TIMBRE = "timbre"  # what instruments and production


SEGMENTS = "segments"  # the part of a description that is no group: about a second of sound per vector
PARTS = (*(group.value for group in Group), SEGMENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """A recording moment by moment: row i is what sounds from i · MOMENT_HOP_S on, for MOMENT_S.

    A recording shorter than MOMENT_S has one. Both columns have the same length.
    """

    timbre: Vectors  # (n_moments, MOMENT_TIMBRE_DIM), made from MFCC
    chroma: (
        Vectors  # (n_moments, 12), energy of the pitch classes C, C#, …, B, each row's largest 1; silence: 0
    )

    def __len__(self) -> int:
        return len(self.timbre)


MOMENT_S = 1.0
MOMENT_HOP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a recording sounds like, as far as it was asked for."""

    vectors: Mapping[Group, Vector]  # in the units of `descriptors.py`
    facts: Mapping[str, float]  # the numbers of it that people filter by, by the names in `descriptors.FACTS`
    key: str | None = None  # estimated, as "A minor"; None where no key stands out
    moments: Moments | None = None
    truncated: bool = False  # the recording goes on after what was described


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """Which described tracks may be neighbours: those that agree with everything given."""

    equal: Mapping[str, str] = field(
        default_factory=dict
    )  # metadata field, "key" or "tag" (one of the tags) → value; letter case is no matter
    ranges: Mapping[str, tuple[float | None, float | None]] = field(
        default_factory=dict
    )  # fact → least, most
    q: str | None = None  # part of title, artist, album, external_id or isrc
    without: frozenset[int] = frozenset()  # tracks that are none


class Scope(StrEnum):
    """What a key may be used for."""

    IDENTIFY = "identify"  # ask: identify, search, compare, recommend; tell what people did
    INGEST = "ingest"  # change the catalogue
    METRICS = "metrics"  # read /metrics
    ADMIN = "admin"  # everything


class TrackStatus(StrEnum):
    """How far a track has come. Only `INDEXED` tracks are ever an answer."""

    QUEUED = "queued"  # in the backlog
    INDEXING = "indexing"  # claimed by a worker
    INDEXED = "indexed"
    FAILED = "failed"
    DUPLICATE = "duplicate"  # the same recording is `duplicate_of`
    CANCELLED = "cancelled"
    DELETING = "deleting"  # its postings are being removed


class DescriptionStatus(StrEnum):
    """How far the description of an indexed track has come."""

    WAITING = "waiting"  # for a worker that is not busy indexing
    DONE = "done"
    FAILED = "failed"
    NO_AUDIO = "no_audio"  # it came as a fingerprint, or its file is gone


PENDING = frozenset({TrackStatus.QUEUED, TrackStatus.INDEXING})
ENDED = frozenset({TrackStatus.INDEXED, TrackStatus.FAILED, TrackStatus.DUPLICATE, TrackStatus.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What people call a track. Free text, each at most 1,000 characters; None where it is not known."""

    external_id: str | None = None
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    isrc: str | None = None
    genre: str | None = None
    tags: str | None = None  # with commas between

    def items(self) -> Iterator[tuple[str, str | None]]:
        """(field, value) in the order above."""
        return ((name, getattr(self, name)) for name in METADATA_FIELDS)


def fold(text: str | None) -> str:
    """Text as it is compared: letter case and compatibility forms make no difference."""
    return unicodedata.normalize("NFKC", text or "").casefold()


def tags_of(text: str | None) -> tuple[str, ...]:
    """The tags of a text with commas between, as they are compared, each once, in order."""
    return tuple(dict.fromkeys(tag for part in fold(text).split(",") if (tag := part.strip())))


METADATA_FIELDS = ("external_id", "title", "artist", "album", "isrc", "genre", "tags")
MAX_METADATA_CHARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A recording offered to the catalogue, not yet a track."""

    source: str  # where a worker of `place` finds it: "file:/path" stays, "spool:/path" is deleted at the end
    place: str  # the machine whose workers can read the source
    content_sha256: str  # of the file's bytes, hex
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a submission."""

    track_id: int
    status: TrackStatus
    duplicate: bool  # these bytes were there already: `track_id` is the existing track's


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A recording in the catalogue, and how far it has come."""

    track_id: int
    status: TrackStatus
    metadata: Metadata
    source: str
    place: str
    content_sha256: str
    created_at: float  # seconds since 1970
    updated_at: float
    attempts: int = 0  # times a worker has claimed it
    duration_s: float | None = None
    n_landmarks: int | None = None
    duplicate_of: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    batch_id: str | None = None
    description: DescriptionStatus | None = None  # None: nobody has asked for one
    described: frozenset[str] = frozenset()  # the parts that are stored, of `PARTS`
    description_version: int | None = None  # of their layout
    facts: Mapping[str, float] = field(default_factory=dict)
    key: str | None = None
    description_code: str | None = None  # why it failed
    description_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A track taken from the backlog by one worker; `ticket` is what it gives back."""

    ticket: str
    track: Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How far a bulk ingest has come."""

    batch_id: str
    created_at: float
    updated_at: float
    n_items: int
    counts: dict[TrackStatus, int]
    audio_s: float  # seconds of audio indexed so far
    errors: list[dict[str, Any]]  # {"item", "code", "message", "track_id"}
    cancelled: bool = False

    @property
    def n_pending(self) -> int:
        """Tracks that have not ended."""
        return sum(self.counts.get(status, 0) for status in PENDING)


MAX_TRACK_ID = 2**28 - 1  # as wide as a posting's track_id (index/lists.py)


class FeedbackKind(StrEnum):
    """What somebody did with a track. The order is that of the numbers in which they are stored."""

    PLAY = "play"
    SKIP = "skip"
    LIKE = "like"
    DISLIKE = "dislike"
    RATING = "rating"


KINDS = tuple(FeedbackKind)  # by their number
MAX_USER_CHARS = 200
MAX_EVENT_ID_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEvent:
    """What one user did with one track."""

    user: str  # the caller's name for somebody, opaque
    event_id: str  # the caller's; the same user with the same id is the same event
    track_id: int
    kind: FeedbackKind
    value: float = 1.0  # play, skip: fraction heard, 0..1; rating: 1..5; like, dislike: 1
    at: float  # seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Events in columns, of one user or of many; each user's oldest first."""

    user: npt.NDArray[np.int32]  # number of the user, ascending; all 0 for one user
    track_id: TrackIds
    kind: npt.NDArray[np.uint8]  # place in KINDS
    value: npt.NDArray[np.float32]
    at: npt.NDArray[np.float64]  # seconds since 1970

    def __len__(self) -> int:
        return len(self.track_id)

    def taken(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> "History":
        """Some of the events, in the order given."""
        return History(
            user=self.user[which],
            track_id=self.track_id[which],
            kind=self.kind[which],
            value=self.value[which],
            at=self.at[which],
        )
