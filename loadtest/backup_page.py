"""What the measurement of backups found: whether all that it must show is shown, and the page for people."""

from typing import Any


def is_shown(found: dict[str, Any]) -> bool:
    """Whether all that is claimed was seen."""
    restore, middle = found["restore"], found["middle"]
    counts = middle["counts"]
    return (
        not restore["differing"]
        and not found["changed_under_load"]
        and not sum(found["failures"].values())
        and counts["landmarks"] == counts["postings"]
        and counts["constellations"] == counts["indexed"]
        and counts["under_way"] == counts["failed"] == middle["lost"] == 0
        and middle["late_found"] == middle["late_there"] > 0
        and found["in_ingest"]["under_way"] > 0
    )


def page(found: dict[str, Any]) -> str:
    """For people."""
    restore, middle, asked = found["restore"], found["middle"], found["asked"]
    backups, counts = found["backups"], found["middle"]["counts"]
    n_clips, n_other = asked["clips"], asked["other"]
    seconds = sorted(each["seconds"] for each in backups)
    pauses = sorted(each["pause_ms"] for each in backups)
    lines = [
        "# Backup, wipe, restore",
        "",
        f"An embedded store of {found['tracks']} recordings and {found['synthetic']:,} synthetic tracks "
        f"({found['store_mb']} MB of memory), feedback of {found['users']} users and a model. {found['setting']}.",
        "",
        f"**{restore['same_clips']} of {n_clips} clips** (a fifth each: clean, under noise of 3 dB, at another "
        f"speed, unknown, as a fingerprint; {restore['matched']} have a match) and "
        f"**{restore['same_other']} of {n_other} other answers** (what users did, what they are recommended, what is "
        "like a track, what a track is) are the same after the data folder was deleted and restored, byte for byte "
        "but for ids and times of requests.",
        "",
        f"{len(backups)} backups while {found['askers']} ask clips one after the other and one writes feedback:",
        "",
        "| backup | median | longest |",
        "|---|---|---|",
        f"| seconds, start of Python included | {seconds[len(seconds) // 2]} | {seconds[-1]} |",
        f"| ms in which nothing could be written | {pauses[len(pauses) // 2]} | {pauses[-1]} |",
        f"| MB | {backups[-1]['mb']} | |",
        "",
        "| | n | a second | median, ms | p99, ms | longest, ms |",
        "|---" * 6 + "|",
        *(
            f"| {name} | {row['n']} | {row['per_s']} | {row['p50_ms']} | {row['p99_ms']} | {row['p100_ms']} |"
            for name, row in found["load"].items()
        ),
        "",
        f"“Before” is {found['quiet_s']:g} s without a backup; “during” is what overlaps one. On few cores the command "
        "itself takes from the clips what it needs. Refused or failed meanwhile: "
        f"{sum(found['failures'].values())}.",
        "",
        f"Restore: {restore['seconds']} s; the server answers {restore['ready_s']} s after its beginning.",
        "",
        "## In the middle of an ingest",
        "",
        f"Backed up while {found['late']} recordings were indexed: {found['in_ingest']['seconds']} s, in which nothing "
        f"could be written for {found['in_ingest']['pause_ms']} ms. What was restored held "
        f"{middle['held']['indexed']:,} indexed tracks and {middle['held']['under_way']} under way. When its server "
        f"had taken those up: {counts['indexed']:,} tracks with {counts['landmarks']:,} landmarks, and "
        f"{counts['postings']:,} postings; {counts['constellations']:,} constellations, {counts['failed']} failed; "
        f"{middle['late_found']} of {middle['late_there']} of the late recordings found by a clip. Of "
        f"{middle['acknowledged']:,} events acknowledged before the backup began, {middle['lost']} are missing.",
        "",
    ]
    return "\n".join(lines)
