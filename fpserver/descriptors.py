"""What each number of a descriptor vector is: its name and unit, in the order in which they are stored.

Changing an order or a meaning makes stored descriptors worthless: `VERSION` is kept with them, and those of another
version count as missing.
"""

from dataclasses import dataclass

from fpserver.terms import Group

VERSION = 1


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number of a vector."""

    name: str
    unit: str


FACTS: dict[str, str] = {  # numbers of a description that people filter by → unit
    "loudness_db": "LUFS",
    "rms_db": "dB",
    "zero_crossing_rate": "1",
    "onset_rate_hz": "1/s",
    "centroid_hz": "Hz",
    "bandwidth_hz": "Hz",
    "rolloff_hz": "Hz",
    "contrast_db": "dB",
    "flatness": "1",
    "tempo_bpm": "1/min",
    "beat_strength": "1",
    "key_strength": "1",
}

RATE_HZ = 22_050  # of the samples that are described
N_MFCC = 20
MOMENT_TIMBRE_DIM = 40

LAYOUT: dict[Group, tuple[Dimension, ...]] = dict.fromkeys(Group, ())
