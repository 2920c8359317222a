"""The page of a run of abuses."""

from collections.abc import Mapping
from typing import Any

HEAD = """# Abuse

What strangers do to a server, while an honest client asks for clips at fixed moments ({setting}; {seconds:g} s of each
abuse, by many connections at once, from the same machine). Limits of waiting were set lower than their defaults, so
that an abuse lasts longer than each: a head 2 s, an idle connection 3 s, an answer that is not read 2 s, a body that
stands still 2 s, the upload of a clip 4 s.

What must hold of each row:

{rules}

How connections ended: the last status that was answered ("408"), "closed" without an answer, "cut off" (reset),
"not let in", "left" (the attacker went), "still open" at the end of the abuse; in brackets, how long such a connection
was held (median). The honest client's waiting is counted from the moment at which a clip was due. Processor time is
that of all the server's processes, without what the honest client takes, in cores. Memory and descriptors are those of
all web processes (without connections to the store, which are kept for later): before, at most, and afterwards.
"""


def page(found: Mapping[str, Any]) -> str:
    """Markdown."""
    rules = "\n".join(f"- *{name}*: {rule};" for name, rule in found["rules"].items()).rstrip(";") + "."
    return "\n".join([HEAD.format(**{**found, "rules": rules}), *map(_run, found["runs"])])


def _run(run: Mapping[str, Any]) -> str:
    calm, rows = run["calm"], run["rows"]
    lost = [row["abuse"] for row in rows if row["broken"]]
    plural = "" if run["processes"] == 1 else "es"
    lines = [
        f"## {run['processes']} web process{plural}",
        "",
        f"In calm the honest client waits {calm['p50_ms']} ms, {calm['p99_ms']} ms at 99 % (n = {calm['n']}). "
        f"{len(rows) - len(lost)} of {len(rows)} rows hold"
        + (f"; lost: {', '.join(lost)}." if lost else "."),
        "",
        "| abuse | it does | at once | how connections ended | honest: failed of | p50, p99 ms | cores | "
        "memory MB | decoding MB | descriptors | rules |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, rows), ""])


def _row(row: Mapping[str, Any]) -> str:
    ends = ", ".join(f"{n} {end} ({held_s:g} s)" for end, (n, held_s) in row["ends"].items())
    failed = ", ".join(f"{n} ({why})" for why, n in row["failures"].items()) or "0"
    broken = "**broken: " + ", ".join(row["broken"]) + "**" if row["broken"] else "hold"
    memory, decoding, descriptors = (
        " → ".join(f"{each:g}" for each in row[name]) for name in ("web_mb", "decoding_mb", "descriptors")
    )
    return (
        f"| {row['abuse']} | {row['does']} | {row['at_once']} | {ends} | {failed} of {row['n_asked']} | "
        f"{row['p50_ms']}, {row['p99_ms']} | {row['cpu_share']} | {memory} | {decoding} | {descriptors} | {broken} |"
    )
