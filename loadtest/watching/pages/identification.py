"""Clips and their answers."""

from loadtest.watching.panels import Dashboard, Panel, Row

PAGE = Dashboard(
    name="identification",
    title="fpserver: identification",
    text="Clips and their answers: how many, how sure, how fast, and which stage takes the time.",
    rows=[
        Row(
            title="Answers",
            panels=[
                Panel(
                    title="Answers by outcome",
                    text="Clips answered a second; degraded ones by nodes that did not answer.",
                    unit="reqps",
                    stacked=True,
                    queries={"{{outcome}}, degraded: {{degraded}}": "fpserver:identifications:rate5m"},
                ),
                Panel(
                    title="Share of matches",
                    text="A sudden fall means other clips, or an index that has lost something.",
                    unit="percentunit",
                    most=1,
                    queries={
                        "match": (
                            'sum(fpserver:identifications:rate5m{outcome="match"})'
                            " / sum(fpserver:identifications:rate5m)"
                        )
                    },
                ),
                Panel(
                    title="Share of degraded answers",
                    text="Answers that lack a part of the index. Should be 0.",
                    unit="percentunit",
                    queries={"degraded": "fpserver:degraded_ratio:rate5m"},
                ),
                Panel(
                    title="Confidence of matches",
                    text="Share of best matches at most that sure. Low ones grow when clips get worse.",
                    unit="percentunit",
                    most=1,
                    queries={
                        "at most {{le}}": (
                            'sum by (le) (rate(fpserver_match_confidence_bucket{le!="+Inf"}[$__rate_interval]))'
                            " / on () group_left () sum(rate(fpserver_match_confidence_count[$__rate_interval]))"
                        )
                    },
                ),
                Panel(
                    title="Questions by status",
                    text="POST /v1/identify by how it was answered.",
                    unit="reqps",
                    stacked=True,
                    queries={
                        "{{status}}": 'sum by (status) (fpserver:requests:rate5m{route="/v1/identify"})',
                    },
                ),
                Panel(
                    title="Refused clips",
                    text="By why: the audio itself (audio_*, clip_too_short), or too many at once (overloaded).",
                    unit="reqps",
                    queries={
                        "{{code}}": (
                            'sum by (code) (rate(fpserver_errors_total{code=~"audio_.*|clip_too_short'
                            '|fingerprint_.*|overloaded|store_unavailable"}[$__rate_interval]))'
                        )
                    },
                ),
            ],
        ),
        Row(
            title="Time",
            panels=[
                Panel(
                    title="Time of a clip",
                    text="From its last byte to its answer, in the middle and of the slowest hundredth.",
                    unit="s",
                    queries={
                        "50 %": "fpserver:identify_seconds:p50_5m",
                        "99 %": "fpserver:identify_seconds:p99_5m",
                    },
                ),
                Panel(
                    title="Time of a clip, all of them",
                    text="How many clips took how long.",
                    unit="s",
                    kind="heatmap",
                    queries={
                        "{{le}}": "sum by (le) (increase(fpserver_identify_seconds_bucket[$__rate_interval]))"
                    },
                ),
                Panel(
                    title="Where the time goes",
                    text="Mean of each stage; together, about the time of a clip. `pool`: waiting to be decoded.",
                    unit="s",
                    stacked=True,
                    queries={"{{stage}}": 'fpserver:stage_seconds:mean5m{journey="identify"}'},
                ),
                Panel(
                    title="Slowest hundredth of each stage",
                    text="The stage that jumps when clips get slow is the one to look at.",
                    unit="s",
                    queries={
                        "{{stage}}": 'fpserver:stage_seconds:p99_5m{journey="identify"}',
                        "waiting for a place": 'fpserver:stage_seconds:p99_5m{journey="web",stage="place"}',
                    },
                ),
                Panel(
                    title="Decoding processes",
                    text="Those of web processes. Clips that wait for long mean more work than cores.",
                    unit="short",
                    queries={
                        "there": 'sum(fpserver_pool_processes{kind="web"})',
                        "at work": 'sum(fpserver_pool_running{kind="web"})',
                        "clips waiting": 'sum(fpserver_pool_waiting{kind="web"})',
                    },
                ),
                Panel(
                    title="Places",
                    text=(
                        "For questions that take computing; long: clips that the first step does not find. "
                        "Where some wait all the time, others are refused."
                    ),
                    unit="short",
                    queries={
                        "{{lane}}, taken": "sum by (lane) (fpserver_places_taken)",
                        "{{lane}}, there": "sum by (lane) (fpserver_places)",
                        "{{lane}}, waiting": "sum by (lane) (fpserver_places_waiting)",
                    },
                ),
            ],
        ),
        Row(
            title="Work",
            panels=[
                Panel(
                    title="Hashes asked per clip",
                    text="More when clips are bad: each further step of the search asks for more.",
                    unit="short",
                    width=12,
                    queries={
                        "hashes": (
                            "sum(rate(fpserver_hashes_asked_sum[$__rate_interval]))"
                            " / sum(rate(fpserver_hashes_asked_count[$__rate_interval]))"
                        )
                    },
                ),
                Panel(
                    title="Postings read per clip",
                    text="Grows with the catalogue, up to the limits of the steps (config.toml).",
                    unit="short",
                    width=12,
                    queries={
                        "postings": (
                            "sum(rate(fpserver_postings_read_sum[$__rate_interval]))"
                            " / sum(rate(fpserver_postings_read_count[$__rate_interval]))"
                        )
                    },
                ),
            ],
        ),
    ],
)
