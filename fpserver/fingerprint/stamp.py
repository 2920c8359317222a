"""What two fingerprints must agree on to be compared.

The stamp holds every setting that changes peaks or hashes. An index keeps it, a fingerprint body carries its digest.
"""

import hashlib

import msgspec

from fpserver.config import FingerprintConfig
from fpserver.fingerprint import constellation, landmarks

ALGORITHM = 3  # raise when the code changes what the same settings give


def stamp(config: FingerprintConfig) -> dict[str, str]:
    """Name and value of every setting that changes peaks or hashes."""
    settings = {f"fingerprint.{name}": str(value) for name, value in msgspec.structs.asdict(config).items()}
    return settings | {
        "fingerprint algorithm": str(ALGORITHM),
        "fingerprint band_hz": f"{constellation.MIN_HZ:g}-{constellation.MAX_HZ:g}",
        "fingerprint hash_bits": str(landmarks.HASH_BITS),
    }


def digest(config: FingerprintConfig) -> str:
    """The stamp in 16 hexadecimal digits."""
    text = "\n".join(f"{name}={value}" for name, value in sorted(stamp(config).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
