"""Tracks on their way into the catalogue."""

from loadtest.watching.panels import Dashboard, Panel, Row

PAGE = Dashboard(
    name="ingestion",
    title="fpserver: ingestion",
    text="Tracks on their way into the catalogue, and their descriptions.",
    rows=[
        Row(
            title="Tracks",
            panels=[
                Panel(
                    title="Backlog",
                    text="Tracks waiting or claimed, by the place whose workers can read them.",
                    unit="short",
                    queries={"{{place}}": "fpserver:backlog:now"},
                ),
                Panel(
                    title="Tracks by status",
                    text="The whole catalogue.",
                    unit="short",
                    queries={"{{status}}": "max by (status) (fpserver_tracks)"},
                ),
                Panel(
                    title="Workers",
                    text="By place, as the store has heard of them.",
                    unit="short",
                    queries={"{{place}}": "max by (place) (fpserver_workers)"},
                ),
                Panel(
                    title="Tracks that ended",
                    text="Indexed, failed, or the same as another; a second.",
                    unit="ops",
                    stacked=True,
                    queries={
                        "{{status}}": "sum by (status) (rate(fpserver_ingested_total[$__rate_interval]))"
                    },
                ),
                Panel(
                    title="Failures by reason",
                    text="Tracks of an hour. audio_*: most often the file. source_missing, internal: ours.",
                    unit="short",
                    queries={
                        "{{code}}": 'sum by (code) (increase(fpserver_ingested_total{status="failed"}[1h]))'
                    },
                ),
                Panel(
                    title="Speed",
                    text="Seconds of audio indexed in a second: 1 is real time.",
                    unit="none",
                    queries={"times real time": "fpserver:ingest_speed:rate5m"},
                ),
            ],
        ),
        Row(
            title="Time",
            panels=[
                Panel(
                    title="Stages of a track",
                    text="Mean. `index` is of all tracks that are written together.",
                    unit="s",
                    queries={"{{stage}}": 'fpserver:stage_seconds:mean5m{journey="ingest"}'},
                ),
                Panel(
                    title="Decoding processes",
                    text="Those of workers that Prometheus asks.",
                    unit="short",
                    queries={
                        "there": 'sum(fpserver_pool_processes{kind="worker"})',
                        "at work": 'sum(fpserver_pool_running{kind="worker"})',
                        "tracks waiting": 'sum(fpserver_pool_waiting{kind="worker"})',
                    },
                ),
                Panel(
                    title="Uploads",
                    text="Bytes of tracks and fingerprints a second.",
                    unit="Bps",
                    queries={
                        "{{kind}}": (
                            'sum by (kind) (rate(fpserver_received_bytes_total{kind=~"track.*"}[$__rate_interval]))'
                        )
                    },
                ),
            ],
        ),
        Row(
            title="Descriptions",
            panels=[
                Panel(
                    title="Waiting for a description",
                    text="Indexed tracks that similarity does not know yet, by place.",
                    unit="short",
                    queries={"{{place}}": "max by (place) (fpserver_undescribed)"},
                ),
                Panel(
                    title="Descriptions that ended",
                    text="A second. no_audio: came as a fingerprint, or its file has gone.",
                    unit="ops",
                    stacked=True,
                    queries={
                        "{{status}} {{code}}": (
                            "sum by (status, code) (rate(fpserver_described_total[$__rate_interval]))"
                        )
                    },
                ),
                Panel(
                    title="Time of a description",
                    text="Mean: in a child process, which gives way to all others; and the store.",
                    unit="s",
                    queries={"{{stage}}": 'fpserver:stage_seconds:mean5m{journey="describe"}'},
                ),
            ],
        ),
    ],
)
