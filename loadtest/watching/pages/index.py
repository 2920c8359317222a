"""The index, and the store that holds it."""

from loadtest.watching.panels import Dashboard, Panel, Row

PAGE = Dashboard(
    name="index",
    title="fpserver: index and store",
    text="What the index holds and costs, and how the nodes of the store answer.",
    rows=[
        Row(
            title="Index",
            panels=[
                Panel(
                    title="Postings",
                    text="(track, offset) pairs under all hashes.",
                    unit="short",
                    queries={"postings": "max(fpserver_index_postings)"},
                ),
                Panel(
                    title="Memory of the store",
                    text="Of all masters, whatever they hold; and what they may use, where a limit is set.",
                    unit="bytes",
                    queries={
                        "used": "max(fpserver_store_bytes)",
                        "limit (0: none)": "max(fpserver_store_max_bytes)",
                    },
                ),
                Panel(
                    title="Bytes per posting",
                    text="All the store's memory by postings. About 6 with a large catalogue: docs/capacity.md.",
                    unit="bytes",
                    queries={"bytes": "fpserver:bytes_per_posting:now"},
                ),
                Panel(
                    title="Postings read per hash asked",
                    text="How crowded the lists are that clips hit. Grows with the catalogue.",
                    unit="short",
                    queries={"postings": "fpserver:postings_per_hash:rate5m"},
                ),
                Panel(
                    title="Postings read",
                    text="A second, for all clips.",
                    unit="ops",
                    queries={"postings": "sum(rate(fpserver_postings_read_sum[$__rate_interval]))"},
                ),
                Panel(
                    title="Tracks",
                    text="Indexed tracks, for comparison.",
                    unit="short",
                    queries={"indexed": 'max(fpserver_tracks{status="indexed"})'},
                ),
            ],
        ),
        Row(
            title="Questions to its nodes",
            panels=[
                Panel(
                    title="Slowest hundredth by node",
                    text="Time of one round trip. Above index.shard_timeout_s a node is left out of an answer.",
                    unit="s",
                    queries={"{{node}}": "fpserver:shard_seconds:p99_5m"},
                ),
                Panel(
                    title="Share of errors by node",
                    text="Round trips that failed or were not answered in time. Should be 0.",
                    unit="percentunit",
                    queries={"{{node}}": "fpserver:shard_error_ratio:rate5m"},
                ),
                Panel(
                    title="Questions by node",
                    text="Round trips a second. One node that has many more holds too many slots.",
                    unit="ops",
                    queries={
                        "{{node}}": "sum by (node) (rate(fpserver_shard_seconds_count[$__rate_interval]))"
                    },
                ),
            ],
        ),
        Row(
            title="Nodes of the store, as they tell themselves",
            panels=[
                Panel(
                    title="Nodes that answer",
                    text="1: it answers the exporter.",
                    unit="none",
                    most=1,
                    queries={"{{instance}}": "redis_up"},
                ),
                Panel(
                    title="Memory by node",
                    text="Used; and resident, which is more by what is fragmented.",
                    unit="bytes",
                    queries={
                        "{{instance}} used": "redis_memory_used_bytes",
                        "{{instance}} resident": "redis_memory_used_rss_bytes",
                    },
                ),
                Panel(
                    title="Commands by node",
                    text="A second.",
                    unit="ops",
                    queries={"{{instance}}": "rate(redis_commands_processed_total[$__rate_interval])"},
                ),
                Panel(
                    title="Connections by node",
                    text="Each web process and worker keeps some.",
                    unit="short",
                    queries={"{{instance}}": "redis_connected_clients"},
                ),
                Panel(
                    title="Keys by node",
                    text="Of all rooms.",
                    unit="short",
                    queries={"{{instance}}": "sum by (instance) (redis_db_keys)"},
                ),
                Panel(
                    title="Keys thrown away",
                    text="Must be 0: maxmemory-policy has to be noeviction, or the index loses postings.",
                    unit="short",
                    queries={"{{instance}}": "increase(redis_evicted_keys_total[1h])"},
                ),
            ],
        ),
    ],
)
