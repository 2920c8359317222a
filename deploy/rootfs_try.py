"""Inside a root that deploy/rootfs.py has made: start the server as told, and identify a clip through it.

Runs with the root's own python, as the container's user would, on a read-only root. Prints what it finds.
"""

import io
import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import time
import urllib.request
import wave
from pathlib import Path

ADDRESS = "http://127.0.0.1:8710"
READY_LIMIT_S = 300.0
RATE_HZ = 22050
HEADERS: dict[str, str] = {}
TRACK_S, CLIP_S, CLIP_AT_S = 20, 8, 6


def main() -> int:
    """0 when everything is as it should be."""
    said = json.loads(sys.argv[1])
    checks = {
        "not root": os.getuid() != 0,
        "root is read-only": not can_write("/") and not can_write("/opt/fpserver"),
        "volume can be written": all(map(can_write, said["volumes"])),
        "no compiler": not any(map(on_path, ("cc", "gcc", "g++", "ld", "make"))),
        "no pip": not Path("/opt/fpserver/bin/pip").exists(),
    }
    begin = time.monotonic()
    key = subprocess.run(said["first_key"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    HEADERS["Authorization"] = f"Bearer {key}"
    print(f"a first key after {time.monotonic() - begin:.1f} s")
    begin = time.monotonic()
    signal.alarm(round(READY_LIMIT_S))  # ends this, and with it all that it has started
    server = subprocess.Popen(said["server"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        signal.alarm(0)
        print(f"ready after {time.monotonic() - begin:.1f} s: {line.strip()}")
        checks["ready"] = ask("/readyz")["status"] == "ready"
        checks["health check"] = subprocess.run(said["healthcheck"], check=False).returncode == 0
        samples = tune()
        begin = time.monotonic()
        track = ask("/v1/tracks?wait=1", wav(samples))
        print(f"track of {TRACK_S} s indexed after {time.monotonic() - begin:.1f} s")
        begin = time.monotonic()
        answer = ask("/v1/identify", wav(samples[CLIP_AT_S * RATE_HZ : (CLIP_AT_S + CLIP_S) * RATE_HZ]))
        print(f"clip answered after {1000 * (time.monotonic() - begin):.0f} ms: {answer['matches'][:1]}")
        checks["identified"] = [m["track_id"] for m in answer["matches"][:1]] == [track["track_id"]]
    finally:
        begin = time.monotonic()
        server.send_signal(signal.SIGTERM)
        checks["stopped with 0"] = server.wait(120) == 0
        print(f"stopped after {time.monotonic() - begin:.1f} s")
    for name, holds in checks.items():
        print(f"{'ok   ' if holds else 'wrong'}  {name}")
    return 0 if all(checks.values()) else 1


def tune() -> list[float]:
    """Notes at random, each with harmonics that fade, over a little noise."""
    chance = random.Random(1)
    samples = [0.02 * chance.uniform(-1, 1) for _ in range(TRACK_S * RATE_HZ)]
    for begin in range(0, len(samples), RATE_HZ // 5):
        pitch = 220 * 2 ** (chance.randrange(30) / 12)
        for i in range(begin, min(begin + RATE_HZ // 3, len(samples))):
            t = (i - begin) / RATE_HZ
            samples[i] += (
                0.25 * math.exp(-6 * t) * sum(math.sin(2 * math.pi * pitch * h * t) / h for h in (1, 2, 3))
            )
    return samples


def wav(samples: list[float]) -> bytes:
    """16-bit WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(
            struct.pack(f"<{len(samples)}h", *(round(20000 * max(-1, min(1, s))) for s in samples))
        )
    return file.getvalue()


def ask(path: str, body: bytes | None = None):  # type: ignore[no-untyped-def]  # a JSON document
    """GET, or POST with a body."""
    with urllib.request.urlopen(
        urllib.request.Request(ADDRESS + path, data=body, headers=HEADERS), timeout=120
    ) as response:
        return json.load(response)


def can_write(folder: str) -> bool:
    """Whether a file can be made there."""
    path = Path(folder) / "written-by-rootfs-try"
    try:
        path.touch()
        path.unlink()
    except OSError:
        return False
    return True


def on_path(program: str) -> bool:
    """Whether a program is there."""
    return any(os.access(Path(folder) / program, os.X_OK) for folder in os.environ["PATH"].split(":"))


if __name__ == "__main__":
    sys.exit(main())
