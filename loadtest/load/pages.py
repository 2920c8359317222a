"""Pieces of the pages: what must be shown first, then tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest.load.kinds import KINDS
from loadtest.load.verdicts import Check

QUANTILE_NAMES = ("p50", "p95", "p99", "most")
SENDER = (
    "Requests arrive at random (Poisson) and are sent by a process of its own on the same cores, whether the server "
    "keeps up or not; a request's time begins when it was due. 'Missed' is a clip without a match that has one, "
    "'wrong' one with another's match; 'refused' is 429 or 503 with Retry-After, 'failed' all else that was not served."
)


def checks(found: Sequence[Check]) -> Iterator[str]:
    """What must be shown, and whether it was."""
    yield "| must be shown | found | shown |"
    yield "|---|---|---|"
    for each in found:
        yield f"| {each.what} | {each.found} | {'yes' if each.ok else '**no**'} |"
    yield ""


def mix() -> Iterator[str]:
    """What is asked, and in which shares."""
    told = ", ".join(f"{kind.name} {kind.share:g}" for kind in KINDS)
    yield f"Shares of requests, %: {told}. Clips are 10 s long; noisy ones have as much noise as music."
    yield "Files that go in are a minute of synthetic music each, no two the same; as many tracks go out again."
    yield ""
    yield SENDER
    yield ""


def table(rows: Mapping[str, Mapping[str, Any]], *, refused: bool = False) -> Iterator[str]:
    """Kinds and their times."""
    extra = "| refused after, ms: 50 % | 95 % | 99 % | most " if refused else ""
    yield f"| asked | n | served | refused | failed | missed | wrong | ms: 50 % | 95 % | 99 % | most {extra}|"
    yield "|---" * (11 + 4 * refused) + "|"
    for name, row in rows.items():
        if not row["n"]:
            continue
        cells = [row[each] for each in ("n", "served", "refused", "failed", "missed", "wrong")]
        cells += [row["ms"].get(each, "") for each in QUANTILE_NAMES]
        if refused:
            cells += [row["refused_ms"].get(each, "") for each in QUANTILE_NAMES]
        yield f"| {name} | {' | '.join(map(str, cells))} |"
    yield ""


def sender(found: Mapping[str, Any]) -> str:
    """How well whoever sent kept up."""
    late = found["late_ms"]
    valid = "" if found["valid"] else " It fell behind: **this run is invalid**."
    return (
        f"The sender used {found['cores']:.2f} of a core and sent half of the requests within {late['p50']} ms, "
        f"99 % within {late['p99']} ms of when they were due.{valid}"
    )


def faults(found: Mapping[str, int]) -> Iterator[str]:
    """What went wrong, if anything did."""
    for name, n in sorted(found.items(), key=lambda each: -each[1]):
        yield f"- {name}: {n}"
    if found:
        yield ""
