"""Settings: defaults here, then `config.toml`, then the environment; read once, checked once, passed in.

A table per room. `FPSERVER_<TABLE>__<KEY>` in the environment overrides the file (`FPSERVER_WEB__PORT=9000`).
An unknown table or key is refused, in either. Settings marked *stamped* change hashes or their place: an index
remembers those it was made with and refuses others.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fpserver.errors import ConfigInvalid
from fpserver.terms import PARTS

Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
StepLookups = Annotated[
    int, Meta(gt=0, le=8192)
]  # those of four steps are told apart by 15 bits (matching/voting.py)
ENV_PREFIX = "FPSERVER_"
KEY_VARIABLE = "FPSERVER_KEY"  # a secret that commands show to a server, and no setting


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings file."""


class RedisConfig(Section, frozen=True):
    """Where the store is."""

    url: str = "embedded"  # embedded | redis://… | rediss://… | redis+cluster://… | unix:///path
    timeout_s: Seconds = 5.0  # longest wait for one question
    data_dir: str = "data"  # folder of the embedded server's files, spool and run files


class AudioConfig(Section, frozen=True):
    """What is accepted as audio, and what decoding it may cost."""

    max_clip_bytes: Positive = 16 * 2**20  # a minute of 16-bit stereo at 48 kHz is 11.5 MB
    max_track_bytes: Positive = 2 * 2**30  # three hours of 16-bit stereo at 44.1 kHz is 1.9 GB
    min_clip_s: Seconds = 1.0
    max_clip_s: Seconds = 60.0  # what is longer is heard to here
    max_track_s: Seconds = 6 * 3600.0  # an offset has 20 bits: 13.5 h at the default hop
    clip_timeout_s: Seconds = 15.0
    track_timeout_s: Seconds = 600.0
    memory_limit_bytes: Positive = 3 * 2**30  # address space of a decoding process


class FingerprintConfig(Section, frozen=True):
    """How sound becomes peaks and pairs. All stamped; bounded by the bits of a hash (landmarks.py)."""

    rate_hz: Positive = 8000
    window: Annotated[int, Meta(gt=0, le=4096)] = 3072  # samples; half as many bins
    hop: Positive = 372  # samples
    dense_peaks_per_s: Positive = 120  # of a clip
    track_peaks_per_s: Positive = 40  # of a track, kept to verify with
    strong_peaks_per_s: Positive = 17  # of these, made into landmarks
    fan_out: Positive = 2  # pairs per anchor of a track
    min_delta_frames: Positive = 1
    max_delta_frames: Annotated[int, Meta(gt=0, le=15)] = 15
    max_delta_bins: Annotated[int, Meta(gt=0, le=127)] = 127


class IndexConfig(Section, frozen=True):
    """How postings are spread and read."""

    n_shards: Annotated[int, Meta(ge=1, le=4096)] = 16  # a power of two; stamped
    max_postings_per_hash: Positive = 20_000  # a hash with more is a stop hash: it says next to nothing
    max_postings_per_lookup: Positive = (
        2_000_000  # read for one question, all shards together; the longest lists are left out
    )
    shard_timeout_s: Seconds = 2.0  # longest wait for a node's answer to a reading
    write_timeout_s: Seconds = 30.0  # longest wait for a node to take one step of a writing


class MatchingConfig(Section, frozen=True):
    """What counts as found, and what every step of a search may cost."""

    max_false_accept_rate: Annotated[float, Meta(gt=0, lt=1)] = 1e-4
    max_verified: Positive = 40  # of a step's candidates, by votes and a quick fit
    max_hits: Positive = 2_000_000  # weighed per step; hashes with fewest hits first


class StepConfig(Section, frozen=True):
    """What one step of a search asks, and what it may cost."""

    peaks_per_s: Positive  # of the clip, the highest
    fan_out: Positive  # pairs per anchor of the clip
    max_lookups: StepLookups  # distinct hashes that no earlier step has read
    max_postings: Positive  # read for them, the rarest hashes first
    max_candidates: Positive  # by votes; their peaks are read


PLAIN = StepConfig(peaks_per_s=16, fan_out=3, max_lookups=1200, max_postings=30_000, max_candidates=24)
DENSE = StepConfig(peaks_per_s=60, fan_out=12, max_lookups=5800, max_postings=1_250_000, max_candidates=1000)
WARPED = StepConfig(peaks_per_s=24, fan_out=2, max_lookups=6000, max_postings=250_000, max_candidates=1000)
NARROWED = StepConfig(peaks_per_s=24, fan_out=3, max_lookups=7000, max_postings=450_000, max_candidates=600)


class FeaturesConfig(Section, frozen=True):
    """What tracks are described by, once they are identifiable; one switch per part."""

    temporal: bool = True  # loudness, level, zero crossings, onsets
    spectral: bool = True  # centroid, bandwidth, rolloff, contrast, flatness
    rhythm: bool = True  # tempo, beat strength, tempogram
    tonal: bool = True  # chroma, key
    timbre: bool = True  # MFCC with deltas
    segments: bool = True  # a vector per moment, for sound segments and time warping
    max_described_s: Seconds = 3600.0  # of a longer recording, its beginning is described
    min_described_s: Seconds = 3.0  # shorter ones say too little

    @property
    def parts(self) -> frozenset[str]:
        """Names of the parts that are switched on."""
        return frozenset(part for part in PARTS if getattr(self, part))


class SimilarityConfig(Section, frozen=True):
    """Who is near whom."""

    engine: Literal["embedded", "vector_sets"] = "embedded"  # who searches vectors
    url: str = ""  # of the Redis 8 server or Cluster whose vector sets are searched; empty: redis.url
    n_sets: Annotated[int, Meta(ge=1, le=256)] = (
        4  # vector sets per kind of vector, each in a slot of its own
    )
    exact_below: Count = 20_000  # vectors: so few are searched exactly
    follow_s: Seconds = 0.5  # how often a search looks for new, changed and removed tracks
    max_neighbours: Positive = 200
    max_matrix_tracks: Positive = 2000
    dtw_candidates: Positive = 200  # tracks that are warped against the one asked about
    max_map_tracks: Positive = 10_000
    map_timeout_s: Seconds = 180.0
    map_memory_bytes: Positive = 6 * 2**30  # address space of the process that computes a map


class RecommendConfig(Section, frozen=True):
    """What to hear next."""

    max_user_events: Annotated[int, Meta(ge=100, le=100_000)] = 10_000  # kept of a user, the newest
    max_recommendations: Positive = 200
    max_per_artist: Positive = 2  # tracks of one artist in an answer, unless the question says otherwise
    follow_s: Seconds = 1.0  # how often a process looks for new tracks and another model
    train_every_s: Annotated[float, Meta(ge=0)] = 3600.0  # if there is new feedback; 0: only on demand
    train_timeout_s: Seconds = 3600.0
    train_memory_bytes: Positive = 8 * 2**30  # address space of the process that trains
    n_factors: Annotated[int, Meta(ge=2, le=512)] = 64  # numbers that a track's taste is summed up by
    n_neighbors: Annotated[int, Meta(ge=1, le=500)] = (
        50  # tracks that are kept beside each, as heard by the same people
    )


class TracksConfig(Section, frozen=True):
    """The catalogue and its backlog."""

    max_attempts: Positive = 3  # a track whose workers died so often is failed
    claim_idle_s: Seconds = 15.0  # a claim not renewed for so long is taken over
    max_batch_errors: Positive = 10_000  # kept per batch


class WebConfig(Section, frozen=True):
    """The street door."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8710
    processes: Positive = 1
    places: Count = 0  # questions answered at once, per process; 0: two per decoding process
    max_wait_for_place_s: Annotated[float, Meta(ge=0)] = 0.5  # who would likely wait longer is answered 503
    max_connections: Positive = 4096  # per process; the oldest idle one makes room for one more
    max_unread_bytes: Positive = 256 * 2**20  # per process, of answers that clients do not read
    head_timeout_s: Seconds = 15.0  # longest arrival of a request's head
    idle_timeout_s: Seconds = 75.0  # longest wait for a request; more than a load balancer's, often 60 s
    write_timeout_s: Seconds = 30.0  # longest standstill of a client that should read its answer
    upload_timeout_s: Seconds = 3600.0
    clip_upload_timeout_s: Seconds = 30.0
    upload_idle_timeout_s: Seconds = 30.0  # longest wait for the next byte of an upload
    max_wait_s: Seconds = 600.0  # longest answer to `wait=1`; then it is 202, as without
    max_batch_files: Positive = 10_000
    manifest_roots: list[str] = []  # folders that manifest paths may name
    origins: list[str] = []  # of web pages elsewhere that may ask, as https://example.org
    leave_s: Annotated[float, Meta(ge=0)] = 0.0  # on stop: how long load balancers have to notice
    drain_s: Seconds = 10.0


class AccessConfig(Section, frozen=True):
    """Who may ask, and how much."""

    required: bool = False  # keys also on loopback; beyond it they always are
    rate_per_s: Annotated[float, Meta(ge=0.001, le=1e6)] = 20.0  # of a key that has no rate of its own
    burst: Positive = 40  # requests at once
    per_day: Count = 0  # requests from midnight to midnight, UTC; 0: any number


class WorkerConfig(Section, frozen=True):
    """The goods entrance."""

    processes: Count = 0  # decoding processes; 0: one per core
    place: str = ""  # whose files this worker can read; empty: this host's name
    poll_s: Seconds = 1.0
    drain_s: Seconds = 20.0  # on stop: what is not done by then goes back into the backlog
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0  # of `fpserver work`; 0: it tells nobody

    @property
    def n_processes(self) -> int:
        """Decoding processes on this machine."""
        return self.processes or os.cpu_count() or 1


class LogConfig(Section, frozen=True):
    """What is said while running."""

    level: str = "info"
    format: str = "text"  # text | json
    slow_request_s: Annotated[float, Meta(ge=0)] = 1.0  # one that took longer says why; 0: none does


class Config(Section, frozen=True):
    """All settings."""

    redis: RedisConfig = RedisConfig()
    audio: AudioConfig = AudioConfig()
    fingerprint: FingerprintConfig = FingerprintConfig()
    index: IndexConfig = IndexConfig()
    matching: MatchingConfig = MatchingConfig()
    plain: StepConfig = PLAIN
    dense: StepConfig = DENSE
    warped: StepConfig = WARPED
    narrowed: StepConfig = NARROWED
    tracks: TracksConfig = TracksConfig()
    web: WebConfig = WebConfig()
    access: AccessConfig = AccessConfig()
    worker: WorkerConfig = WorkerConfig()
    features: FeaturesConfig = FeaturesConfig()
    similarity: SimilarityConfig = SimilarityConfig()
    recommend: RecommendConfig = RecommendConfig()
    log: LogConfig = LogConfig()

    def with_values(self, **tables: Mapping[str, Any]) -> "Config":
        """A copy with some keys replaced: `config.with_values(web={"port": 0})`; checked like a file."""
        return _convert(_over(self, tables), "settings")


def load(path: Path | None = None, *, env: Mapping[str, str] = os.environ) -> Config:
    """Read settings from a TOML file (None: defaults) and the environment.

    Raises:
        ConfigInvalid: the file cannot be read, or a table, key or value breaks its rule.
    """
    document: dict[str, Any] = {}
    if path is not None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigInvalid(f"settings file {path}: {error}") from error
    config = _convert(_over(Config(), document), f"settings file {path}" if path else "settings")
    return _convert(_over(config, _tables(env)), "settings of the environment, FPSERVER_<TABLE>__<KEY>")


def _tables(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What the environment says, by table and key."""
    document: dict[str, dict[str, Any]] = {}
    for name, value in env.items():
        if not name.startswith(ENV_PREFIX) or name == KEY_VARIABLE or _is_of_a_service(name, value):
            continue
        table, dots, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if not dots:
            raise ConfigInvalid(f"environment: {name} is no setting; those are FPSERVER_<TABLE>__<KEY>")
        document.setdefault(table, {})[key] = _split(key, value)
    return document


def _is_of_a_service(name: str, value: str) -> bool:
    """What Kubernetes tells containers of a service that is called fpserver."""
    return bool(re.match(r"FPSERVER_(SERVICE_(HOST|PORT)|PORT_\d+_)", name)) or (
        name == "FPSERVER_PORT" and "://" in value
    )


def _split(key: str, value: str) -> str | list[str]:
    """What a variable of the environment says; of lists, paths are separated as in PATH, all else by spaces."""
    if key.endswith("_roots"):
        return value.split(os.pathsep)
    return value.split() if key == "origins" else value


def _over(config: Config, document: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those of a document in their place; what is no table stays, to be refused."""
    whole: dict[str, Any] = msgspec.to_builtins(config)
    for table, values in document.items():
        known = whole.get(table, {})
        whole[table] = {**known, **values} if isinstance(values, Mapping) else values
    return whole


def _convert(document: dict[str, Any], origin: str) -> Config:
    try:
        config = msgspec.convert(document, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{origin}: {error}") from error
    if config.index.n_shards & (config.index.n_shards - 1):
        raise ConfigInvalid(f"{origin}: index.n_shards is {config.index.n_shards}, must be a power of two")
    return config
