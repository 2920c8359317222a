"""What the measurement of recommendations over HTTP says, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

WITHIN_MS = 30.0  # wanted at 95 %
PLAYLISTS = "playlists of 50 tracks that one of them heard"
NOTHING, MODELS = "nothing", "other models are put in force"
TRACKS, FILES = "described tracks come in", "files are taken in by a worker"


def lost(found: Mapping[str, Any]) -> list[str]:
    """Which questions, one at a time with nothing else going on, take longer than is wanted."""
    return [name for name, each in found["questions"].items() if each["p95_ms"] > WITHIN_MS]


def page(found: Mapping[str, Any]) -> str:
    """All figures, and what is lost."""
    model, start, memory, after = found["model"], found["start"], found["web_bytes"], found["after"]
    beside = found["beside"]
    people = ", ".join(f"{n:,} with {of}" for of, n in found["people"].items())
    losing = lost(found)
    verdict = (
        f"Of {len(found['questions'])} kinds, {len(losing)} take longer than {WITHIN_MS:.0f} ms at 95 %: "
        f"{'; '.join(losing)}."
        if losing
        else f"All {len(found['questions'])} kinds are answered within {WITHIN_MS:.0f} ms at 95 %."
    )
    size = f"{found['tracks']:,} tracks, {found['users']:,} people, {found['events']:,} events"
    return f"""# Recommendations over HTTP: {size}

{found["setting"]}. Tracks, people and events are made up ([recommend_training.py](../recommend_training.py)); the
model is trained on all of them ({model["training_s"]:.0f} s, {model["n_bytes"] / 2**20:.0f} MiB). One web process, one
worker, the embedded store, and who asks, all on the same cores. Chosen by chance among all people with so many events
({people}) and among {PLAYLISTS}.

## One question at a time

{found["asked"]} of each kind, ten tracks unless another k is named; times are those of who asks. "Inside" is the median
of what the server says of the recommendation itself, without HTTP. {verdict}

| asked | median, ms | 95 % | 99 % | longest | inside | a core: web, ms | store | 95 % within {WITHIN_MS:.0f} ms |
|---|---|---|---|---|---|---|---|---|
{_questions(found["questions"])}

Right after a verdict: somebody likes, or dislikes, what was recommended first and asks again at once, {after["n"]}
times. From telling to the new answer: median {after["p50_ms"]} ms, 95 % {after["p95_ms"]} ms, 99 %
{after["p99_ms"]} ms (telling alone: median {after["feedback_p50_ms"]} ms). The track was never recommended again, and
{after["n_more_changed"]} times the rest of the list changed too.

## At random times

The four hybrid kinds with k 10 in turns, {found["rate_s"]:.0f} s at each rate, whether the server keeps up or not; a
question's time begins when it was to be asked.

| a second | n | median, ms | 95 % | 99 % | longest | 95 % within {WITHIN_MS:.0f} ms |
|---|---|---|---|---|---|---|
{_rows(found["rates"], "rate")}

## While something else goes on

Hybrid questions of people with 100 events, one at a time.

| meanwhile | n | median, ms | 95 % | 99 % | longest | 95 % within {WITHIN_MS:.0f} ms |
|---|---|---|---|---|---|---|
{_rows([{"name": name, **each} for name, each in beside.items()], "name")}

- Models: {found["swaps"]} times another one was put in force within {beside[MODELS]["seconds"]:.0f} s, read from the
  store, unpacked and laid on the shelf; {beside[MODELS]["models"]} different ones answered.
- Tracks: {beside[TRACKS]["tracks"]:,} came within {beside[TRACKS]["seconds"]:.0f} s, and the copy of the catalogue was
  laid down anew again and again.
- Files: {beside[FILES]["files"]} minutes of sound, taken in within {beside[FILES]["seconds"]:.0f} s by decoding
  processes that use all cores.

## Start and memory

From `fpserver serve` to an answer: {start["answers_s"]} s, of which the store needed {start["running_s"]} s until the
server ran; from the start of the web process: {start["web_answers_s"]} s. The web process has
{_mib(memory["settled"])} resident before any question, {_mib(memory["asked"])} after those of the first table,
{_mib(memory["end"])} at the end, {_mib(memory["peak"])} at most. It holds the copy of the catalogue twice: for
recommendations, and for likeness.

    python -m loadtest.recommend_serving --data DIR --tracks {found["tracks"]} --users {found["users"]} \\
        --events {found["events"]}
"""


def _questions(questions: Mapping[str, Mapping[str, float]]) -> str:
    return "\n".join(
        f"| {name} | {_waits(each)} | {each['inside_p50_ms']} | {each['web_cpu_ms']} | {each['store_cpu_ms']} | "
        f"{_yes(each)} |"
        for name, each in questions.items()
    )


def _rows(rows: Sequence[Mapping[str, Any]], first: str) -> str:
    return "\n".join(f"| {each[first]} | {each['n']:,} | {_waits(each)} | {_yes(each)} |" for each in rows)


def _waits(each: Mapping[str, float]) -> str:
    return f"{each['p50_ms']} | {each['p95_ms']} | {each['p99_ms']} | {each['max_ms']}"


def _yes(each: Mapping[str, float]) -> str:
    return "yes" if each["p95_ms"] <= WITHIN_MS else "no"


def _mib(n_bytes: float) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"
