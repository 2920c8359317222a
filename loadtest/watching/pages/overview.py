"""Is it well? The first page to open at night."""

from loadtest.watching.panels import Dashboard, Panel, Row

PAGE = Dashboard(
    name="overview",
    title="fpserver: overview",
    text="Is it well? The first page to open at night.",
    rows=[
        Row(
            title="Now",
            panels=[
                Panel(
                    title="Alerts",
                    text="Alerts that are firing. docs/runbook.md has a section for each.",
                    unit="none",
                    kind="stat",
                    width=3,
                    queries={"alerts": 'count(ALERTS{alertstate="firing"}) or vector(0)'},
                ),
                Panel(
                    title="Servers",
                    text="Servers that answer Prometheus, and those that say they are ready.",
                    unit="none",
                    kind="stat",
                    width=4,
                    queries={"up": 'sum(up{job="fpserver"})', "ready": "sum(fpserver_ready)"},
                ),
                Panel(
                    title="Errors",
                    text="Share of requests of the last hour that ended with 5xx; 0.1 % are promised.",
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    queries={"errors": "fpserver:error_ratio:rate1h"},
                ),
                Panel(
                    title="A clip takes",
                    text="Of a hundred clips, the slowest but one: from its last byte to its answer.",
                    unit="s",
                    kind="stat",
                    width=4,
                    queries={"p99": "fpserver:identify_seconds:p99_5m"},
                ),
                Panel(
                    title="Catalogue",
                    text="Tracks that can be found.",
                    unit="short",
                    kind="stat",
                    width=4,
                    queries={"tracks": 'max(fpserver_tracks{status="indexed"})'},
                ),
                Panel(
                    title="Backlog",
                    text="Tracks that wait for a worker.",
                    unit="short",
                    kind="stat",
                    width=3,
                    queries={"waiting": "sum(fpserver:backlog:now)"},
                ),
                Panel(
                    title="Version",
                    text="The versions that run; two of them only while servers are being replaced.",
                    unit="none",
                    kind="stat",
                    width=2,
                    queries={"{{version}}": "count by (version) (fpserver_build_info)"},
                ),
            ],
        ),
        Row(
            title="Requests",
            panels=[
                Panel(
                    title="Requests by status",
                    text="Answers a second. 499: the client left before its answer.",
                    unit="reqps",
                    stacked=True,
                    queries={"{{status}}": "sum by (status) (fpserver:requests:rate5m)"},
                ),
                Panel(
                    title="Errors by code",
                    text="Refusals a second by their code; docs/api.md says what each means.",
                    unit="reqps",
                    queries={"{{code}}": "sum by (code) (rate(fpserver_errors_total[$__rate_interval]))"},
                ),
                Panel(
                    title="Share of errors, by how long one looks back",
                    text="5xx of all requests. Above 1.44 % for an hour somebody is woken.",
                    unit="percentunit",
                    queries={
                        "5 minutes": "fpserver:error_ratio:rate5m",
                        "30 minutes": "fpserver:error_ratio:rate30m",
                        "1 hour": "fpserver:error_ratio:rate1h",
                        "6 hours": "fpserver:error_ratio:rate6h",
                    },
                ),
                Panel(
                    title="Requests by route",
                    text="Answers a second, of everything that is asked.",
                    unit="reqps",
                    stacked=True,
                    queries={"{{route}}": "sum by (route) (fpserver:requests:rate5m)"},
                ),
                Panel(
                    title="Time of a request (99 %) by route",
                    text="From its first byte to its answer's last, so a client that sends slowly counts here.",
                    unit="s",
                    queries={"{{route}}": "fpserver:request_seconds:p99_5m > 0"},
                ),
                Panel(
                    title="Requests in hand",
                    text="What is being answered now, of all kinds; and those that take computing.",
                    unit="short",
                    queries={
                        "requests": "sum(fpserver_open_requests)",
                        "in places": "sum(fpserver_places_taken)",
                        "waiting for a place": "sum(fpserver_places_waiting)",
                    },
                ),
            ],
        ),
        Row(
            title="Processes",
            panels=[
                Panel(
                    title="Processes",
                    text="Web processes and workers that live, beside servers; workers of all machines by place.",
                    unit="short",
                    queries={
                        "{{kind}}": "sum by (kind) (fpserver_processes)",
                        "workers at {{place}}": "max by (place) (fpserver_workers)",
                    },
                ),
                Panel(
                    title="Age of the youngest process",
                    text="A saw means that processes die and are started again: the log says serve.child_died.",
                    unit="s",
                    queries={
                        "{{instance}} {{kind}}": "time() - fpserver_process_start_time_seconds",
                    },
                ),
                Panel(
                    title="Memory of processes",
                    text="Resident, without decoding processes. Flat while no tracks are added.",
                    unit="bytes",
                    stacked=True,
                    queries={"{{instance}} {{kind}}": "fpserver_process_resident_memory_bytes"},
                ),
                Panel(
                    title="Descriptors in use",
                    text="Of the process that has most. At 100 % no connection is taken.",
                    unit="percentunit",
                    most=1,
                    queries={
                        "{{instance}} {{kind}}": "fpserver_process_open_fds / fpserver_process_max_fds",
                    },
                ),
                Panel(
                    title="Received",
                    text="Bytes of uploads a second, by what they are.",
                    unit="Bps",
                    stacked=True,
                    queries={
                        "{{kind}}": "sum by (kind) (rate(fpserver_received_bytes_total[$__rate_interval]))"
                    },
                ),
                Panel(
                    title="Rules that failed",
                    text="Evaluations a second that Prometheus could not do. Other than 0: alerts may be missing.",
                    unit="ops",
                    queries={
                        "{{rule_group}}": "sum by (rule_group) (rate(prometheus_rule_evaluation_failures_total[5m]))"
                    },
                ),
            ],
        ),
    ],
)
