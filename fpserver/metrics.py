"""Every metric of fpserver, in one file. Names follow Prometheus' rules: base units, `_total`, labels for stages.

Several processes share them through `PROMETHEUS_MULTIPROC_DIR`, which must be set before this module is imported
and holds one file per process and kind; `exposition()` adds them up. Without it the figures are this process's own.
"""

import os
from itertools import product

from prometheus_client import REGISTRY as OWN_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    start_http_server,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
COUNT_BUCKETS = (0, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7)

STAGE_SECONDS = Histogram(
    "fpserver_stage_seconds",
    "Time of one stage of a journey",
    ["journey", "stage"],
    buckets=LATENCY_BUCKETS_S,
)
REQUEST_SECONDS = Histogram(
    "fpserver_request_seconds",
    "Time from a request's first byte to its last answer byte",
    ["route", "status"],
    buckets=LATENCY_BUCKETS_S,
)
ERRORS = Counter("fpserver_errors_total", "Requests answered with an error, by its code", ["code"])
IDENTIFICATIONS = Counter(
    "fpserver_identifications_total",
    "Clips answered: match, no_match; whole or degraded",
    ["outcome", "degraded"],
)
IDENTIFY_SECONDS = Histogram(
    "fpserver_identify_seconds",
    "Time from a clip's last byte to its answer",
    buckets=LATENCY_BUCKETS_S,
)
CONFIDENCE = Histogram(
    "fpserver_match_confidence",
    "Confidence of the best match",
    buckets=(0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1),
)
HASHES_ASKED = Histogram("fpserver_hashes_asked", "Hashes looked up per clip", buckets=COUNT_BUCKETS)
POSTINGS_READ = Histogram("fpserver_postings_read", "Postings read per clip", buckets=COUNT_BUCKETS)
SHARD_SECONDS = Histogram(
    "fpserver_shard_seconds", "Time of one round trip to an index node", ["node"], buckets=LATENCY_BUCKETS_S
)
SHARD_ERRORS = Counter("fpserver_shard_errors_total", "Round trips to an index node that failed", ["node"])
INGESTED = Counter(
    "fpserver_ingested_total", "Tracks that ended in the worker, by status and error code", ["status", "code"]
)
DESCRIBED = Counter(
    "fpserver_described_total",
    "Descriptions that ended in the worker, by status and error code",
    ["status", "code"],
)
UNDESCRIBED = Gauge(
    "fpserver_undescribed",
    "Tracks that wait for a description, by place",
    ["place"],
    multiprocess_mode="mostrecent",
)
INGESTED_AUDIO_SECONDS = Counter("fpserver_ingested_audio_seconds_total", "Seconds of audio indexed")
FEEDBACK = Counter(
    "fpserver_feedback_total",
    "Events of feedback, by kind and what became of them",
    ["kind", "outcome"],
)
RECEIVED_BYTES = Counter("fpserver_received_bytes_total", "Bytes of uploads received", ["kind"])
POOL_PROCESSES = Gauge(
    "fpserver_pool_processes",
    "Decoding processes, by the kind of process they work for",
    ["kind"],
    multiprocess_mode="livesum",
)
POOL_RUNNING = Gauge(
    "fpserver_pool_running", "Decoding processes at work", ["kind"], multiprocess_mode="livesum"
)
POOL_WAITING = Gauge(
    "fpserver_pool_waiting", "Jobs waiting for a decoding process", ["kind"], multiprocess_mode="livesum"
)
OPEN_REQUESTS = Gauge(
    "fpserver_open_requests", "Requests that are being answered", multiprocess_mode="livesum"
)
PLACES = Gauge(
    "fpserver_places", "Questions that are answered at once", ["lane"], multiprocess_mode="livesum"
)
PLACES_TAKEN = Gauge("fpserver_places_taken", "Those that are", ["lane"], multiprocess_mode="livesum")
PLACES_WAITING = Gauge(
    "fpserver_places_waiting", "Questions that wait for a place", ["lane"], multiprocess_mode="livesum"
)
TRACKS = Gauge(
    "fpserver_tracks", "Tracks in the catalogue, by status", ["status"], multiprocess_mode="mostrecent"
)
BACKLOG_DEPTH = Gauge(
    "fpserver_backlog_depth", "Tracks waiting or claimed, by place", ["place"], multiprocess_mode="mostrecent"
)
SIMILAR_TRACKS = Gauge(
    "fpserver_similar_tracks", "Tracks that the engine of neighbours holds", multiprocess_mode="mostrecent"
)
SIMILAR_VECTORS = Gauge(
    "fpserver_similar_vectors", "Vectors that the engine of neighbours holds", multiprocess_mode="mostrecent"
)
STOCKED_TRACKS = Gauge(
    "fpserver_stocked_tracks", "Tracks that can be recommended", multiprocess_mode="mostrecent"
)
TRAINED = Counter("fpserver_trained_total", "Trainings that ended, by status", ["status"])
MODEL_TRAINED_TIMESTAMP = Gauge(
    "fpserver_model_trained_timestamp_seconds",
    "When the model that recommends was trained",
    multiprocess_mode="mostrecent",
)
MODEL_TRACKS = Gauge(
    "fpserver_model_tracks", "Tracks that the model that recommends knows", multiprocess_mode="mostrecent"
)
MODEL_BYTES = Gauge(
    "fpserver_model_bytes", "Size of the model that recommends", multiprocess_mode="mostrecent"
)
INDEX_POSTINGS = Gauge("fpserver_index_postings", "Postings in the index", multiprocess_mode="mostrecent")
STORE_BYTES = Gauge(
    "fpserver_store_bytes", "Memory used by the store's masters", multiprocess_mode="mostrecent"
)
STORE_MAX_BYTES = Gauge(
    "fpserver_store_max_bytes",
    "Memory that the store's masters may use; 0: no limit is set",
    multiprocess_mode="mostrecent",
)
READY = Gauge(
    "fpserver_ready",
    "1 when the store answers and its index is of these settings, else 0",
    multiprocess_mode="mostrecent",
)
WORKERS = Gauge(
    "fpserver_workers",
    "Workers that the store has lately heard of, by place",
    ["place"],
    multiprocess_mode="mostrecent",
)
BUILD = Gauge("fpserver_build_info", "The version that runs", ["version"], multiprocess_mode="livemax")
PROCESSES = Gauge("fpserver_processes", "Processes that live", ["kind"], multiprocess_mode="livesum")
PROCESS_STARTED = Gauge(
    "fpserver_process_start_time_seconds",
    "When the youngest process of a kind was started",
    ["kind"],
    multiprocess_mode="livemax",
)
PROCESS_RESIDENT_BYTES = Gauge(
    "fpserver_process_resident_memory_bytes",
    "Memory of all processes of a kind",
    ["kind"],
    multiprocess_mode="livesum",
)
PROCESS_OPEN_FDS = Gauge(
    "fpserver_process_open_fds",
    "Open descriptors of the process of a kind that has most",
    ["kind"],
    multiprocess_mode="livemax",
)
PROCESS_MAX_FDS = Gauge(
    "fpserver_process_max_fds", "Descriptors that a process may open", ["kind"], multiprocess_mode="livemin"
)

# What happens seldom is there from the start: of a counter that begins with its first event, nobody sees a rise.
for _status in ("done", "failed"):
    TRAINED.labels(_status)
for _outcome, _degraded in product(("match", "no_match"), ("true", "false")):
    IDENTIFICATIONS.labels(_outcome, _degraded)


def serve(host: str, port: int) -> None:
    """Answer GET /metrics at an address of its own, from a thread: for processes that answer nothing else.

    Raises:
        OSError: the address is taken.
    """
    start_http_server(port, host)


def exposition() -> bytes:
    """All processes' figures in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(OWN_REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
