"""Write hashes.json: what three synthetic songs hash to.

Run it only when a decision changes hashes, together with ALGORITHM in fpserver/fingerprint/stamp.py: every index
made before is foreign from then on.

    python -m tests.golden.make
"""

import json
from pathlib import Path

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of
from tests.synth import song

FILE = Path(__file__).parent / "hashes.json"
SEEDS = (101, 102, 103)


def golden() -> dict[str, list[list[int]]]:
    """[offset, hash] of every landmark of six seconds of each song."""
    config = FingerprintConfig()
    songs = {}
    for seed in SEEDS:
        landmarks = fingerprint_of(
            constellation_of(song(seed, 6.0, config.rate_hz), config), config
        ).landmarks
        songs[str(seed)] = [
            [int(offset), int(hash_)] for offset, hash_ in zip(landmarks.offset, landmarks.hash, strict=True)
        ]
    return songs


if __name__ == "__main__":
    FILE.write_text(json.dumps(golden()).replace("]], ", "]],\n") + "\n", encoding="utf-8")
