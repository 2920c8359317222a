"""The page of a measurement of restarts."""

from collections.abc import Mapping
from typing import Any


def page(found: Mapping[str, Any]) -> str:
    """What failed, how long requests took, and how connections spread."""
    balanced, reloaded = found["balanced"], found["reloaded"]
    return (
        "\n".join(
            [
                "# Restarts under load",
                "",
                f"{found['setting']}. Who asks uses the same cores. To measure again: `python -m loadtest.rolling`.",
                "",
                "Requests arrive at random, over connections that clients keep; nothing is tried twice.",
                "",
                "| | restarts | requests | failed | clips answered wrongly | uploads | of them lost | seconds |",
                "|---|---|---|---|---|---|---|---|",
                _row(f"two servers behind HAProxy, SIGTERM in turn, leave_s {found['leave_s']:g}", balanced),
                _row("one server, two web processes and a worker, SIGHUP", reloaded),
                "",
                "| request | behind HAProxy: n, median / 99 % ms | SIGHUP: n, median / 99 % ms |",
                "|---|---|---|",
                *(
                    f"| {kind} | {_times(balanced['kinds'][kind])} | {_times(reloaded['kinds'].get(kind))} |"
                    for kind in balanced["kinds"]
                ),
                f"| longest of all, ms | {balanced['longest_ms']} | {reloaded['longest_ms']} |",
                "",
                "Connections of two web processes that take them from one socket, a clip as audio on each:",
                "",
                "| clients come | connections of the one | of the other |",
                "|---|---|---|",
                *(f"| {name} | {counts[0]} | {counts[1]} |" for name, counts in found["spread"].items()),
                "",
                *(f"- {line}" for part in (balanced, reloaded) for line in part["failures"]),
            ]
        ).rstrip()
        + "\n"
    )


def _row(name: str, part: Mapping[str, Any]) -> str:
    return (
        f"| {name} | {part['restarts']} | {part['requests']} | {part['failed']} | {part['wrong']} | "
        f"{part['uploaded']} | {len(part['lost'])} | {part['seconds']:.0f} |"
    )


def _times(kind: Mapping[str, int] | None) -> str:
    return f"{kind['n']}, {kind['p50_ms']} / {kind['p99_ms']}" if kind else "none"
