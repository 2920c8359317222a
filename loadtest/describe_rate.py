"""What a description costs: seconds of processor time per stage, on recordings as their files are.

    python -m loadtest.describe_rate CORPUS [--tracks 40]

Recordings of the corpus, spread over it, at most five minutes of each, by one process with one thread. Every stage is
timed alone, three times, the stages in turn; the least time of each counts. "Levels" and the transform are what a frame
costs before any descriptor; each group's line is what its own numbers cost beyond that. The whole is timed as a worker
does it, from the file to the description, and beside it what the same file costs to decode for a fingerprint.
Another process says what the first description costs where nothing has been imported yet.
Writes describe_rate.md and .json to loadtest/results/.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fpserver.audio.decode import decode
from fpserver.audio.loudness import LoudnessMeter
from fpserver.config import Config
from fpserver.descriptors import RATE_HZ
from fpserver.features.describe import describe
from fpserver.features.frames import frames_of
from fpserver.terms import PARTS, SEGMENTS, Description, Group, Samples
from loadtest import report
from loadtest.corpus import Recording, music

MAX_S = 300.0
ROUNDS = 3
CONFIG = Config()
COLD = """
import time
from pathlib import Path
begin = time.process_time()
from fpserver.describing import describe_track
from fpserver.config import Config
imported = time.process_time()
import sys
config = Config()
for _ in range(2):
    start = time.process_time()
    describe_track(Path(sys.argv[1]), config.audio, config.features, config.features.parts)
    print(time.process_time() - start)
print(imported - begin)
"""

Stage = Callable[[Path, Samples], object]


def main() -> None:
    """Measure and write."""
    args = report.arguments(__doc__, tracks=40).parse_args()
    long = [each for each in music(args.corpus) if each.seconds >= 30]
    chosen = long[:: max(1, len(long) // args.tracks)][: args.tracks]
    stages = dict(_stages())
    cpu_s = dict.fromkeys(stages, 0.0)
    audio_s = 0.0
    for recording in chosen:
        samples = _decoded(recording.path, RATE_HZ)
        audio_s += len(samples) / RATE_HZ
        for name, seconds in _least(stages, recording, samples).items():
            cpu_s[name] += seconds
    found = {
        "setting": report.machine(),
        "recordings": len(chosen),
        "packages": len({each.package for each in chosen}),
        "minutes": round(audio_s / 60, 1),
        "rounds": ROUNDS,
        "cpu_s": {name: round(seconds, 3) for name, seconds in cpu_s.items()},
        "x_realtime": {name: round(audio_s / seconds) for name, seconds in cpu_s.items()},
        "cold_cpu_s": _cold(chosen[0].path),
    }
    report.write("describe_rate", found, _page(found))


def _stages() -> Iterator[tuple[str, Stage]]:
    yield "decoded for a fingerprint", lambda path, _: _decoded(path, CONFIG.fingerprint.rate_hz)
    yield "decoded", lambda path, _: _decoded(path, RATE_HZ)
    yield "decoded, with loudness", lambda path, _: _decoded(path, RATE_HZ, meter=LoudnessMeter())
    yield "transform and levels", lambda _, samples: frames_of(samples, ())
    for part in PARTS:
        yield part, lambda _, samples, part=part: _described(samples, (part,))  # type: ignore[misc]
    yield "all parts, from samples", lambda _, samples: _described(samples, PARTS)


def _decoded(path: Path, rate_hz: int, *, meter: LoudnessMeter | None = None) -> Samples:
    observe = None if meter is None else meter.hear
    return decode(path, rate_hz=rate_hz, max_s=MAX_S, max_bytes=2**31, cut=True, observe=observe).samples


def _described(samples: Samples, parts: tuple[str, ...]) -> Description:
    return describe(samples, parts=parts, loudness_db=-20.0)


def _least(stages: dict[str, Stage], recording: Recording, samples: Samples) -> dict[str, float]:
    """Of each stage, its least time in so many rounds."""
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(ROUNDS):
        for name, stage in stages.items():
            begin = time.process_time()
            stage(recording.path, samples)
            times[name].append(time.process_time() - begin)
    return {name: min(each) for name, each in times.items()}


def _cold(path: Path) -> dict[str, float]:
    """Of a new process."""
    said = subprocess.run(
        [sys.executable, "-c", COLD, str(path)], capture_output=True, text=True, check=True
    ).stdout
    first, second, imports = map(float, said.split())
    return {"imports": round(imports, 2), "loops": round(first - second, 2)}


def _page(found: dict[str, Any]) -> str:
    cpu_s, minutes = found["cpu_s"], found["minutes"]
    transform = cpu_s["transform and levels"]
    whole = cpu_s["decoded, with loudness"] + cpu_s["all parts, from samples"]
    rows = [
        ("decoding to 22,050 Hz", cpu_s["decoded"]),
        ("loudness, while decoding", cpu_s["decoded, with loudness"] - cpu_s["decoded"]),
        ("transform, power, levels", transform),
        *((f"{group} alone, beyond that", cpu_s[group] - transform) for group in Group),
        ("moments alone, beyond that", cpu_s[SEGMENTS] - transform),
        ("all parts together, from samples", cpu_s["all parts, from samples"]),
        ("**all, from the file**", whole),
        ("beside it: decoding for a fingerprint", cpu_s["decoded for a fingerprint"]),
    ]
    cold = found["cold_cpu_s"]
    return "\n".join(
        [
            "# What a description costs",
            "",
            f"{found['recordings']} recordings of {found['packages']} packages, {minutes} minutes (at most {MAX_S:g} s "
            f"each), one process, one thread; least of {ROUNDS} rounds per recording and stage, added up. "
            f"{found['setting']}.",
            "",
            "| stage | ms of a core per minute of sound | times real time | share |",
            "|---|---|---|---|",
            *(
                f"| {name} | {1000 * seconds / minutes:.1f} | {60 * minutes / max(seconds, 1e-9):,.0f} | "
                f"{seconds / whole:.0%} |"
                for name, seconds in rows
            ),
            "",
            "Groups share what they need (mel bands, pitch classes), so together they cost less than their sum.",
            "",
            f"A process that has imported nothing: {cold['imports']} s of a core for imports, {cold['loops']} s to "
            "read the compiled loops from where they are kept. The fork server pays both, once; its children do not.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
