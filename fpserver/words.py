"""An answer in words: for the terminal, from the document that the HTTP API gives."""

from collections.abc import Mapping
from typing import Any

SURENESS = (  # false accepts per clip in this catalogue, at most
    (1e-9, "certain"),
    (1e-6, "as good as certain"),
    (1e-4, "sure"),
    (1e-2, "fairly sure"),
)
NOTICED_SPEED = 0.002  # a turntable is off by less


def clock(seconds: float) -> str:
    """Minutes and seconds as players show them: 0:07, 3:25, 1:02:09; -0:02 for a clip that starts before."""
    sign, whole = ("-" if seconds <= -1 else ""), abs(int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{sign}{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{sign}{minutes}:{whole % 60:02}"


def name(track: Mapping[str, Any]) -> str:
    """What people call a track: “Title” by Artist, as far as known."""
    title = track.get("title") or track.get("external_id") or f"track {track.get('track_id')}"
    return f"“{title}” by {track['artist']}" if track.get("artist") else f"“{title}”"


def place(match: Mapping[str, Any]) -> str:
    """Where in the track the clip lies, and how fast it was played."""
    start = match["track_offset_s"] + match["clip_start_s"] * match["speed"]
    end = match["track_offset_s"] + match["clip_end_s"] * match["speed"]
    words = f"{clock(start)} to {clock(end)}"
    if abs(match["speed"] - 1) > NOTICED_SPEED:
        words += f", played at {100 * match['speed']:.1f} % of its speed"
    return words


def sureness(match: Mapping[str, Any]) -> str:
    """Confidence in words and figures."""
    rate = match["false_accept_rate"]
    word = next((word for limit, word in SURENESS if rate <= limit), "a guess")
    confidence = 100 * match["confidence"]
    percent = "over 99.9999 %" if confidence > 99.9999 else f"{confidence:.4f} %"
    return f"{word} (confidence {percent}, wrong answers on such evidence: {_one_in(rate)})"


def _one_in(rate: float) -> str:
    """A rate as people say it."""
    for limit, words in ((1e-12, "a trillion"), (1e-9, "a billion"), (1e-6, "a million")):
        if rate <= limit:
            return f"fewer than one in {words} clips"
    return f"one in {1 / rate:,.0f} clips"


def answer(document: Mapping[str, Any]) -> str:
    """An identification, several lines."""
    clip, matches = document["clip"], document["matches"]
    lines = []
    for match in matches:
        lines += [name(match), f"    where   {place(match)}", f"    sure?   {sureness(match)}"]
        album = f" · {match['album']}" if match.get("album") else ""
        lines += [f"    track   {match['track_id']}{album}"]
    if not matches:
        heard = f"{clip['duration_s']:.1f} s, {clip['n_landmarks']} landmarks"
        lines += [f"no match: nothing in the catalogue is like this clip ({heard})"]
    if document["degraded"]:
        lines += ["careful: part of the index did not answer, there may be more"]
    total_ms = sum(document["timings_ms"].values())
    lines += [
        f"answered in {total_ms:.0f} ms: "
        + ", ".join(f"{k} {v:.1f}" for k, v in document["timings_ms"].items())
    ]
    return "\n".join(lines)
