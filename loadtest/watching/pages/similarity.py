"""Who is near whom, and what next."""

from loadtest.watching.panels import Dashboard, Panel, Row

PAGE = Dashboard(
    name="similarity",
    title="fpserver: similarity and recommendation",
    text="Who is near whom, what next, and the model that says so.",
    rows=[
        Row(
            title="Similarity",
            panels=[
                Panel(
                    title="Questions",
                    text="Answers a second about neighbours, pairs, segments and maps.",
                    unit="reqps",
                    stacked=True,
                    queries={
                        "{{route}}": (
                            'sum by (route) (fpserver:requests:rate5m{route=~".*/similar.*|/v1/segments.*|/v1/map"})'
                        )
                    },
                ),
                Panel(
                    title="Slowest hundredth of each stage",
                    text="Of neighbours and segments; `describe` is for clips alone.",
                    unit="s",
                    queries={
                        "{{journey}} {{stage}}": 'fpserver:stage_seconds:p99_5m{journey=~"similar|segments"}'
                    },
                ),
                Panel(
                    title="Time of a map",
                    text="Mean: choosing its tracks, and the wait for a turn with the computing.",
                    unit="s",
                    queries={"{{stage}}": 'fpserver:stage_seconds:mean5m{journey="map"}'},
                ),
                Panel(
                    title="Tracks that can be compared",
                    text="Those that a web process finds neighbours among, beside all that are indexed.",
                    unit="short",
                    width=12,
                    queries={
                        "{{instance}} with neighbours": "fpserver_similar_tracks",
                        "indexed": 'max(fpserver_tracks{status="indexed"})',
                    },
                ),
                Panel(
                    title="Vectors",
                    text="That the engine of neighbours holds.",
                    unit="short",
                    width=12,
                    queries={"{{instance}}": "fpserver_similar_vectors"},
                ),
            ],
        ),
        Row(
            title="Recommendation",
            panels=[
                Panel(
                    title="Questions by status",
                    text="Answers a second.",
                    unit="reqps",
                    stacked=True,
                    queries={
                        "{{route}} {{status}}": (
                            "sum by (route, status)"
                            ' (fpserver:requests:rate5m{route=~"/v1/users/.*/recommendations|/v1/recommendations"})'
                        )
                    },
                ),
                Panel(
                    title="Slowest hundredth of each stage",
                    text="`choose` scores the whole catalogue.",
                    unit="s",
                    queries={"{{stage}}": 'fpserver:stage_seconds:p99_5m{journey="recommend"}'},
                ),
                Panel(
                    title="Feedback",
                    text="Events a second, by kind and what became of them; `known`: sent before.",
                    unit="ops",
                    stacked=True,
                    queries={
                        "{{kind}} {{outcome}}": (
                            "sum by (kind, outcome) (rate(fpserver_feedback_total[$__rate_interval]))"
                        )
                    },
                ),
                Panel(
                    title="Tracks to recommend from",
                    text="On the shelf of each server, and those that the model knows.",
                    unit="short",
                    queries={
                        "{{instance}} on the shelf": "fpserver_stocked_tracks",
                        "in the model": "max(fpserver_model_tracks)",
                    },
                ),
                Panel(
                    title="Age of the model",
                    text="A saw, as long as there is new feedback. Grows when trainings fail or no worker runs.",
                    unit="s",
                    queries={"age": "time() - max(fpserver_model_trained_timestamp_seconds > 0)"},
                ),
                Panel(
                    title="Size of the model",
                    text="Each web process holds one.",
                    unit="bytes",
                    queries={"size": "max(fpserver_model_bytes)"},
                ),
                Panel(
                    title="Trainings of a day",
                    text="By how they ended.",
                    unit="short",
                    width=12,
                    queries={"{{status}}": "sum by (status) (increase(fpserver_trained_total[1d]))"},
                ),
                Panel(
                    title="Time of a training",
                    text="Mean of the last hour: reading feedback and catalogue, and learning.",
                    unit="s",
                    width=12,
                    queries={
                        "{{stage}}": (
                            'sum by (stage) (rate(fpserver_stage_seconds_sum{journey="train"}[1h]))'
                            ' / sum by (stage) (rate(fpserver_stage_seconds_count{journey="train"}[1h]))'
                        )
                    },
                ),
            ],
        ),
    ],
)
